import hashlib

import pytest
from cryptography import x509

from contrast_tasks import __version__
from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api import userapi_pb2 as pb
from coordinator.extapi import PeerCount, get_status
from coordinator.presence import Alone
from coordinator.state import Guard
from coordinator.store.base import StoreError
from coordinator.userapi import set_manifest
from tests.fakes.coordinator import NOBODY, POLICY, Caller, make_guard, tiny_manifest
from tests.fakes.store import MemoryStore


class Others(Alone):
    """A presence with others that serve; None: the store fails."""

    def __init__(self, count: int | None) -> None:
        self.count = count
        self.asked = 0

    def others(self) -> list[str]:
        self.asked += 1
        if self.count is None:
            raise StoreError("cannot list pods")
        return [f"10.0.0.{number}:7777" for number in range(self.count)]


def put(guard: Guard, manifest: bytes) -> pb.SetManifestResponse:
    request = pb.SetManifestRequest(Manifest=manifest, Policies=[POLICY])
    return set_manifest(request, NOBODY, guard)


def status_of(guard: Guard) -> ext.GetStatusResponse:
    return get_status(ext.GetStatusRequest(), NOBODY, guard, peers=PeerCount())


def test_before_the_first_manifest_the_status_is_initial(guard: Guard) -> None:
    told = status_of(guard)

    assert told == ext.GetStatusResponse(
        Version=__version__, State="initial", Reason="no manifest was set", PeersServing=0
    )


def test_a_served_state_tells_its_transition_and_how_long_its_certificates_are_good(
    guard: Guard, owner: Caller
) -> None:
    manifest = tiny_manifest(owners=[owner.digest_hex])

    response = put(guard, manifest)

    told = status_of(guard)
    assert (told.State, told.Reason, told.Generation) == ("active", "", 1)
    # The transition hash: docs/internals/coordinator.md 8.1.
    after_none = hashlib.sha256(manifest).digest() + bytes(32)
    assert told.TransitionHash == hashlib.sha256(after_none).digest()
    root, mesh = map(x509.load_pem_x509_certificate, (response.RootCA, response.MeshCA))
    assert told.RootCANotAfter == root.not_valid_after_utc.timestamp()
    assert told.MeshCANotAfter == mesh.not_valid_after_utc.timestamp()


def test_a_manifest_without_owners_is_told_as_final(guard: Guard) -> None:
    put(guard, tiny_manifest())

    assert status_of(guard).State == "final"


def test_a_restarted_coordinator_tells_that_it_waits_for_recovery_and_no_transition(
    guard: Guard, store: MemoryStore
) -> None:
    put(guard, tiny_manifest())

    told = status_of(make_guard(store))

    assert (told.State, told.Generation) == ("recovery", 0)
    assert told.Reason == "the coordinator was restarted and holds no keys"
    assert told.TransitionHash == b""


def test_a_stale_coordinator_tells_no_transition_as_the_one_in_force(guard: Guard) -> None:
    put(guard, tiny_manifest())
    guard.outdate(guard.current())

    told = status_of(guard)

    assert (told.State, told.Generation) == ("stale", 1)
    assert told.TransitionHash == b""


@pytest.mark.parametrize("count", [0, 2])
def test_others_that_serve_are_counted(guard: Guard, count: int) -> None:
    guard.presence = Others(count)

    assert status_of(guard).PeersServing == count


def test_a_store_that_cannot_be_listed_leaves_the_number_out(guard: Guard) -> None:
    guard.presence = Others(None)

    assert not status_of(guard).HasField("PeersServing")


def test_anybody_may_ask_but_others_are_looked_up_every_five_seconds_only() -> None:
    times = iter([100.0, 100.1, 104.9, 105.0])
    peers = PeerCount(clock=lambda: next(times))
    others = Others(2)

    counts = [peers.of(others) for _ in range(3)]
    others.count = 1
    counts.append(peers.of(others))

    assert counts == [2, 2, 2, 1]
    assert others.asked == 2
