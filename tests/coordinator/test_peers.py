"""Recovery by peers: what is taken from whom, and that a store that was rolled back is not met with newer keys."""

import logging
from collections.abc import Callable, Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from contrast_tasks.api.meshapi import RecoveryKeys
from contrast_tasks.errors import CoordinatorUnreachable
from contrast_tasks.manifest.model import Manifest
from coordinator.peers import PeerRecovery
from coordinator.seedengine import SeedEngine
from coordinator.state import Guard, Keys, State
from coordinator.store.base import StoreError
from coordinator.store.memory import MemoryStore
from tests.fakes.coordinator import POLICY, make_guard, parse_tiny, tiny_manifest

ENGINE = SeedEngine(bytes(range(64)), bytes(range(32)))
MANIFEST = tiny_manifest(owners=["00" * 32])
OTHER = tiny_manifest(owners=["11" * 32])


def put(guard: Guard, old: State | None, content: bytes = MANIFEST) -> State:
    return guard.update(
        old, engine=ENGINE, manifest=parse_tiny(content), manifest_bytes=content, policies=[POLICY]
    )


def answer_of(state: State, **changes: bytes) -> RecoveryKeys:
    """Return what a Coordinator with this state answers."""
    told = {
        "seed": state.engine.seed,
        "salt": state.engine.salt,
        "mesh_ca_key_pem": state.ca.mesh_key_pem(),
        "manifest": state.manifest_bytes,
        "transition_hash": state.latest.transition_hash,
        **changes,
    }
    return RecoveryKeys(**told)


class Peers:
    """Those who serve, by address; each answers or raises. asked: who was asked with which manifest."""

    def __init__(self, answers: Mapping[str, RecoveryKeys | Exception]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Manifest]] = []

    def announce(self) -> None:
        """Do nothing."""

    def withdraw(self) -> None:
        """Do nothing."""

    def others(self) -> list[str]:
        """Return the addresses."""
        return list(self.answers)

    def ask(self, address: str, manifest: Manifest) -> RecoveryKeys:
        """Answer, or raise."""
        self.asked.append((address, manifest))
        found = self.answers[address]
        if isinstance(found, Exception):
            raise found
        return found


def restarted(store: MemoryStore, peers: Peers) -> tuple[Guard, PeerRecovery]:
    guard = make_guard(store)
    guard.presence = peers
    return guard, PeerRecovery(guard, peers.ask)


@pytest.fixture
def serving(store: MemoryStore) -> State:
    guard = make_guard(store)
    return put(guard, put(guard, None), OTHER)


def test_a_restarted_coordinator_gets_seed_and_mesh_ca_key_of_a_peer(
    serving: State, store: MemoryStore
) -> None:
    guard, recovery = restarted(store, peers := Peers({"one:7777": answer_of(serving)}))

    assert recovery.attempt()

    state = guard.current()
    assert peers.asked == [("one:7777", parse_tiny(OTHER))]
    assert state.manifest_bytes == OTHER
    assert state.generation == 2
    assert state.engine.seed == serving.engine.seed
    assert state.ca.mesh_key_pem() == serving.ca.mesh_key_pem()
    assert state.ca.root_ca_pem == serving.ca.root_ca_pem
    assert not recovery.attempt()


def test_the_reference_products_coordinator_tells_no_transition(
    serving: State, store: MemoryStore
) -> None:
    guard, recovery = restarted(store, Peers({"one:1": answer_of(serving, transition_hash=b"")}))

    assert recovery.attempt()
    assert guard.status().name == "active"


def test_a_store_that_was_rolled_back_never_meets_the_newer_mesh_ca_key(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise workloads of a revoked manifest would get certificates that the current mesh trusts."""
    active = make_guard(store)
    first = put(active, None)
    older = store.get("transitions/latest")
    newer = put(active, first, OTHER)
    store.set("transitions/latest", older)
    guard, recovery = restarted(store, Peers({"one:1": answer_of(newer)}))

    assert not recovery.attempt()

    assert guard.status().name == "recovery"
    assert "the store was rolled back, or the peer is behind" in caplog.text


def test_the_same_manifest_in_another_generation_is_another_transition(
    store: MemoryStore,
) -> None:
    active = make_guard(store)
    first = put(active, None)
    older = store.get("transitions/latest")
    again = put(active, first, MANIFEST)
    store.set("transitions/latest", older)
    guard, recovery = restarted(store, Peers({"one:1": answer_of(again)}))

    assert not recovery.attempt()
    assert guard.status().name == "recovery"


P256 = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"seed": bytes(64)}, id="another-seed"),
        pytest.param({"seed": b""}, id="no-seed"),
        pytest.param({"salt": bytes(31)}, id="short-salt"),
        pytest.param({"mesh_ca_key_pem": b""}, id="17.3 no-key"),
        pytest.param({"mesh_ca_key_pem": b"no pem"}, id="17.3 no-pem"),
        pytest.param({"mesh_ca_key_pem": P256}, id="another-curve"),
        pytest.param({"manifest": b"{}"}, id="17.3 another-manifest"),
        pytest.param({"transition_hash": bytes(32)}, id="another-transition"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_the_next_peer_is_asked(
    serving: State, store: MemoryStore, changes: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    answers = {"bad:1": answer_of(serving, **changes)}
    guard, recovery = restarted(store, Peers(answers))

    assert not recovery.attempt()
    assert guard.status().name == "recovery"
    assert serving.engine.seed.hex() not in caplog.text

    both = Peers({**answers, "good:1": answer_of(serving)})
    guard, recovery = restarted(store, both)
    assert recovery.attempt()
    assert [address for address, _ in both.asked] == ["bad:1", "good:1"]


def test_a_stale_coordinator_takes_the_newer_manifest_from_a_peer(store: MemoryStore) -> None:
    guard = make_guard(store)
    state = put(guard, None)
    other = make_guard(store)
    other.reset(other.unrecovered(), lambda _: Keys(ENGINE))
    newer = put(other, other.current(), OTHER)
    guard.outdate(state)
    peers = Peers({"other:1": answer_of(newer)})
    guard.presence = peers

    assert PeerRecovery(guard, peers.ask).attempt()

    assert guard.current().manifest_bytes == OTHER
    mesh_key = load_pem_private_key(guard.current().ca.mesh_key_pem(), password=None)
    assert isinstance(mesh_key, ec.EllipticCurvePrivateKey)


def make_active() -> Guard:
    guard = make_guard()
    put(guard, None)
    return guard


@pytest.mark.parametrize("make", [make_guard, make_active], ids=["initial", "active"])
def test_without_something_to_recover_nobody_is_asked(make: Callable[[], Guard]) -> None:
    guard = make()
    peers = Peers({"one:1": CoordinatorUnreachable("not to be asked")})
    guard.presence = peers

    assert not PeerRecovery(guard, peers.ask).attempt()
    assert peers.asked == []


def test_each_kind_of_trouble_is_logged_once(
    serving: State, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    peers = Peers({"one:1": CoordinatorUnreachable("cannot reach it")})
    guard, recovery = restarted(store, peers)

    for _ in range(3):
        assert not recovery.attempt()
    peers.answers = {"one:1": answer_of(serving)}
    assert recovery.attempt()

    troubles = [line for line in caplog.messages if "cannot reach it" in line]
    assert troubles == ["Not recovered from peers: peer one:1: cannot reach it"]
    assert "Recovered from a peer" in caplog.messages
    assert guard.status().name == "active"


def test_peers_that_cannot_be_listed_are_no_end(
    serving: State, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Peers):
        def others(self) -> list[str]:
            raise StoreError("the API server does not answer")

    guard, recovery = restarted(store, Broken({}))

    assert not recovery.attempt()

    assert serving.generation == 2
    assert guard.status().name == "recovery"
    assert "the API server does not answer" in caplog.text
