import hashlib

import pytest
from cryptography import x509

from contrast_tasks import __version__
from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.atls.types import PeerIdentity
from coordinator.extapi import PeerCount, get_status, plan_manifest
from coordinator.presence import Alone
from coordinator.refusal import Refusal
from coordinator.state import Guard
from coordinator.store.base import StoreError
from coordinator.store.memory import MemoryStore
from coordinator.userapi import set_manifest
from tests.fakes.coordinator import (
    NOBODY,
    OTHER_POLICY,
    OTHER_POLICY_HASH,
    POLICY,
    POLICY_HASH,
    Caller,
    make_guard,
    tiny_manifest,
)


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


def plan(
    guard: Guard,
    manifest: bytes,
    *policies: bytes,
    by: PeerIdentity = NOBODY,
    previous: bytes = b"",
) -> ext.PlanManifestResponse:
    request = pb.SetManifestRequest(
        Manifest=manifest, Policies=policies or (POLICY,), PreviousTransitionHash=previous
    )
    return plan_manifest(request, by, guard)


def contents(store: MemoryStore) -> dict[str, bytes]:
    folders = ("manifests", "policies", "transitions", "metadata", "audit")
    return {
        f"{folder}/{name}": store.get(f"{folder}/{name}")
        for folder in folders
        for name in store.names(folder)
    }


def test_the_plan_of_a_first_manifest_adds_everything(guard: Guard, store: MemoryStore) -> None:
    manifest = tiny_manifest({POLICY_HASH: {"SANs": ["web"], "WorkloadSecretID": "s"}})

    planned = plan(guard, manifest)

    after_none = hashlib.sha256(manifest).digest() + bytes(32)
    assert planned == ext.PlanManifestResponse(
        CurrentTransitionHash=bytes(32),
        NextTransitionHash=hashlib.sha256(after_none).digest(),
        Workloads=[
            ext.WorkloadChange(
                Name="web", NewPolicy=POLICY_HASH, NewSANs=["web"], NewWorkloadSecretID="s"
            )
        ],
        Final=True,
        NextApprovalsWanted=1,
    )
    assert contents(store) == {}
    assert guard.status().name == "initial"


def test_a_plan_tells_what_the_update_does_which_then_does_it(
    guard: Guard, store: MemoryStore, owner: Caller
) -> None:
    by = owner.identity
    put(
        guard,
        tiny_manifest(
            {POLICY_HASH: {"SANs": ["web"], "WorkloadSecretID": "s"}}, owners=[owner.digest_hex]
        ),
    )
    other = "ab" * 32
    update = tiny_manifest(
        {OTHER_POLICY_HASH: {"SANs": ["web", "www"]}}, owners=[owner.digest_hex, other]
    )
    before = contents(store)

    planned = plan(guard, update, OTHER_POLICY, by=by)

    assert contents(store) == before
    current = guard.current().latest.transition_hash
    assert planned.CurrentTransitionHash == current
    assert planned.Refusal == ""
    assert list(planned.Workloads) == [
        ext.WorkloadChange(
            Name="web",
            OldPolicy=POLICY_HASH,
            NewPolicy=OTHER_POLICY_HASH,
            OldSANs=["web"],
            NewSANs=["web", "www"],
            OldWorkloadSecretID="s",
        )
    ]
    assert (list(planned.OwnersAdded), list(planned.OwnersRemoved)) == ([other], [])
    assert list(planned.LostWorkloadSecretIDs) == ["s"]
    assert (planned.RotatesMeshCA, list(planned.Restart)) == (True, ["web"])
    assert not planned.LocksOutCaller
    request = pb.SetManifestRequest(
        Manifest=update, Policies=[OTHER_POLICY], PreviousTransitionHash=current
    )
    set_manifest(request, by, guard)
    assert guard.current().latest.transition_hash == planned.NextTransitionHash


def test_setting_the_same_manifest_again_is_told_to_rotate_the_mesh_ca(
    guard: Guard, owner: Caller
) -> None:
    manifest = tiny_manifest(owners=[owner.digest_hex])
    put(guard, manifest)

    planned = plan(guard, manifest, by=owner.identity)

    assert (planned.Unchanged, planned.RotatesMeshCA) == (True, True)
    assert (list(planned.Workloads), list(planned.Restart)) == ([], ["web"])


@pytest.mark.parametrize(
    ("owners", "locks_out", "final"),
    [
        pytest.param(["ab" * 32], True, False, id="others"),
        pytest.param([], True, True, id="nobody"),
    ],
)
def test_a_plan_tells_that_it_locks_its_caller_out(
    guard: Guard, owner: Caller, owners: list[str], locks_out: bool, final: bool
) -> None:
    put(guard, tiny_manifest(owners=[owner.digest_hex]))

    planned = plan(guard, tiny_manifest(owners=owners), by=owner.identity)

    assert (planned.LocksOutCaller, planned.Final) == (locks_out, final)
    assert list(planned.OwnersRemoved) == [owner.digest_hex]
    assert not plan(guard, tiny_manifest(owners=owners)).LocksOutCaller


def test_a_plan_tells_why_the_same_set_would_be_refused(
    guard: Guard, owner: Caller, seedshare_owner: Caller
) -> None:
    manifest = tiny_manifest(owners=[owner.digest_hex])
    put(guard, manifest)
    by = owner.identity
    other_seed = tiny_manifest(
        owners=[owner.digest_hex], seedshare_owners=[seedshare_owner.pkcs1_hex]
    )

    refusals = [
        plan(guard, manifest).Refusal,
        plan(guard, manifest, OTHER_POLICY, by=by).Refusal,
        plan(guard, manifest, by=by, previous=bytes(32)).Refusal,
        plan(guard, other_seed, by=by).Refusal,
    ]

    assert [text.split(":")[0].split(" 00")[0] for text in refusals] == [
        "validating peer",
        f"no policy provided for hash {POLICY_HASH}",
        "previous transition",
        "changes to seedshare owners are not allowed",
    ]
    assert plan(guard, other_seed, by=by).SeedshareOwnersChanged


@pytest.mark.parametrize("manifest", [b"", b"null", b"{", b'{"Policies": 1}'])
def test_a_manifest_that_cannot_be_parsed_cannot_be_planned(guard: Guard, manifest: bytes) -> None:
    with pytest.raises(Refusal, match="unmarshaling manifest"):
        plan(guard, manifest)
