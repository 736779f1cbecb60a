import hashlib
import json
import threading
from collections.abc import Callable
from functools import partial

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.api.limits import MAX_POLICIES
from contrast_tasks.atls.types import PeerIdentity
from contrast_tasks.errors import ContrastError
from contrast_tasks.manifest.codec import parse_manifest
from contrast_tasks.manifest.sizes import MAX_OBJECT_BYTES
from coordinator.history import HistoryCorrupt
from coordinator.refusal import Refusal, refusal_from
from coordinator.seedshares import EncryptedShare
from coordinator.state import Guard
from coordinator.store.memory import MemoryStore
from coordinator.userapi import get_manifests, get_seed_shares, recover, set_manifest
from tests.fakes.coordinator import (
    NOBODY,
    OTHER_POLICY,
    OTHER_POLICY_HASH,
    POLICY,
    POLICY_HASH,
    Caller,
    make_guard,
    new_owner,
    tiny_manifest,
)
from tests.fakes.testdata import RELEASES

INVALID = grpc.StatusCode.INVALID_ARGUMENT
DENIED = grpc.StatusCode.PERMISSION_DENIED
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


def send(
    guard: Guard,
    manifest: bytes,
    *policies: bytes,
    by: PeerIdentity = NOBODY,
    previous: bytes = b"",
) -> pb.SetManifestResponse:
    request = pb.SetManifestRequest(
        Manifest=manifest, Policies=policies or (POLICY,), PreviousTransitionHash=previous
    )
    return set_manifest(request, by, guard)


def fetch(guard: Guard) -> pb.GetManifestsResponse:
    content = get_manifests(pb.GetManifestsRequest(), NOBODY, guard)
    return pb.GetManifestsResponse.FromString(content)


def refused(call: Callable[[], object]) -> Refusal:
    with pytest.raises(ContrastError) as caught:
        call()
    return refusal_from(caught.value)


@pytest.mark.skipif(not RELEASES.is_dir(), reason="what releases wrote is not at hand")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("v1.11.0/channel/metal-qemu-snp/web.policy.bin", id="plain"),
        pytest.param("v1.13.0/channel/metal-qemu-snp/web.policy.bin", id="gzip"),
        pytest.param("v1.21.0/channel/metal-qemu-snp/web.initdata.toml", id="initdata"),
    ],
)
def test_documents_of_every_channel_are_known_by_their_hash(guard: Guard, name: str) -> None:
    document = (RELEASES / name).read_bytes()
    key = hashlib.sha256(document).hexdigest()

    send(guard, tiny_manifest({key: {"SANs": ["web"]}}), document)

    assert list(fetch(guard).Policies) == [document]


def test_the_first_manifest_is_set_by_anybody(guard: Guard) -> None:
    response = send(guard, tiny_manifest())

    assert response.RootCA.startswith(b"-----BEGIN CERTIFICATE-----")
    assert response.MeshCA.startswith(b"-----BEGIN CERTIFICATE-----")
    assert response.RootCA != response.MeshCA
    assert guard.current().manifest_bytes == tiny_manifest()


def test_without_seedshare_owners_there_is_no_document(guard: Guard) -> None:
    assert not send(guard, tiny_manifest()).HasField("SeedSharesDoc")


def test_the_first_set_returns_the_seed_for_each_owner_and_later_ones_do_not(
    guard: Guard, owner: Caller, seedshare_owner: Caller
) -> None:
    manifest = tiny_manifest(
        owners=[owner.digest_hex], seedshare_owners=[seedshare_owner.pkcs1_hex]
    )

    first = send(guard, manifest)
    second = send(guard, manifest, by=owner.identity)

    assert [share.PublicKey for share in first.SeedSharesDoc.SeedShares] == [
        seedshare_owner.pkcs1_hex
    ]
    assert len(first.SeedSharesDoc.salt) == 32
    assert not second.HasField("SeedSharesDoc")


def regain(guard: Guard, by: PeerIdentity) -> ext.GetSeedSharesResponse:
    return get_seed_shares(ext.GetSeedSharesRequest(), by, guard)


def test_owners_get_the_same_seed_once_more(
    guard: Guard, owner: Caller, seedshare_owner: Caller
) -> None:
    manifest = tiny_manifest(
        owners=[owner.digest_hex], seedshare_owners=[seedshare_owner.pkcs1_hex]
    )
    first = seed_of(send(guard, manifest), seedshare_owner)

    for caller in (owner, seedshare_owner):
        assert seed_of(regain(guard, caller.identity), seedshare_owner) == first


def test_nobody_else_gets_the_seed_shares(
    guard: Guard, owner: Caller, seedshare_owner: Caller, other_seedshare_owner: Caller
) -> None:
    assert refused(lambda: regain(guard, seedshare_owner.identity)).code is PRECONDITION
    send(guard, tiny_manifest(seedshare_owners=[seedshare_owner.pkcs1_hex]))

    for stranger in (NOBODY, owner.identity, other_seedshare_owner.identity):
        assert refused(partial(regain, guard, stranger)).code is DENIED


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"null", id="17.1 null"),
        pytest.param(b"[]", id="array"),
        pytest.param(b"{}", id="no-members"),
        pytest.param(b'{"Policies": 1}', id="wrong-type"),
        pytest.param(b"{", id="not-json"),
        pytest.param(b"\xff", id="not-utf-8"),
    ],
)
@pytest.mark.parametrize("strict", [True, False], ids=["real-parser", "tiny-parser"])
def test_a_bad_manifest_is_invalid_and_changes_nothing(
    guard: Guard, store: MemoryStore, manifest: bytes, strict: bool
) -> None:
    if strict:
        guard.parse = parse_manifest

    refusal = refused(lambda: send(guard, manifest))

    assert refusal.code is INVALID
    assert str(refusal).startswith("unmarshaling manifest:")
    assert store._values == {}
    assert guard.status().name == "initial"


def test_an_extra_key_is_refused_with_file_and_line(guard: Guard, store: MemoryStore) -> None:
    guard.parse = parse_manifest
    document = json.loads(tiny_manifest()) | {"Extra": 1}

    refusal = refused(lambda: send(guard, json.dumps(document, indent=2).encode()))

    assert refusal.code is INVALID
    assert "manifest.json:" in str(refusal)
    assert "Extra" in str(refusal)
    assert store._values == {}


def test_a_missing_policy_is_refused_and_named(guard: Guard, store: MemoryStore) -> None:
    refusal = refused(lambda: send(guard, tiny_manifest(), OTHER_POLICY))

    assert refusal.code is INVALID
    assert str(refusal) == f"no policy provided for hash {POLICY_HASH}"
    assert store._values == {}


def test_fault_17_7_a_policy_the_manifest_does_not_name_is_refused(
    guard: Guard, store: MemoryStore
) -> None:
    refusal = refused(lambda: send(guard, tiny_manifest(), POLICY, OTHER_POLICY))

    assert refusal.code is INVALID
    assert OTHER_POLICY_HASH in str(refusal)
    assert store._values == {}


def test_the_same_policy_twice_is_one(guard: Guard) -> None:
    send(guard, tiny_manifest(), POLICY, POLICY)

    assert list(fetch(guard).Policies) == [POLICY]


def test_many_missing_policies_are_counted_not_listed(guard: Guard) -> None:
    policies: dict[str, dict[str, list[str]]] = {
        f"{number:064x}": {"SANs": []} for number in range(9)
    }

    assert "and 4 more" in str(refused(lambda: send(guard, tiny_manifest(policies))))


def test_a_name_that_cannot_be_certified_is_refused(guard: Guard, store: MemoryStore) -> None:
    manifest = tiny_manifest({POLICY_HASH: {"SANs": ["b\u00fccher"]}})

    refusal = refused(lambda: send(guard, manifest))

    assert refusal.code is INVALID
    assert POLICY_HASH in str(refusal)
    assert store._values == {}


def test_a_seedshare_owner_key_that_cannot_be_used_is_refused(
    guard: Guard, store: MemoryStore
) -> None:
    refusal = refused(lambda: send(guard, tiny_manifest(seedshare_owners=["zz"])))

    assert refusal.code is INVALID
    assert str(refusal).startswith("initializing seed engine: seedshare owner key 0")
    assert store._values == {}


def test_fault_17_7_an_object_too_large_to_store_is_refused(
    guard: Guard, store: MemoryStore
) -> None:
    large = bytes(MAX_OBJECT_BYTES + 1)

    assert refused(lambda: send(guard, large)).code is INVALID
    refusal = refused(lambda: send(guard, tiny_manifest(), POLICY, large))

    assert refusal.code is INVALID
    assert str(refusal) == "policy 1 has 1048576 bytes, wanted at most 1048575"
    assert store._values == {}


def test_more_policies_than_any_manifest_can_name_are_refused(
    guard: Guard, store: MemoryStore
) -> None:
    refusal = refused(lambda: send(guard, tiny_manifest(), *[b""] * (MAX_POLICIES + 1)))

    assert refusal.code is INVALID
    assert str(refusal) == "found 16385 policies, wanted at most 16384"
    assert store._values == {}


def test_an_owner_may_update(guard: Guard, owner: Caller) -> None:
    first = send(guard, tiny_manifest(owners=[owner.digest_hex]))

    second = send(guard, tiny_manifest(owners=[owner.digest_hex]), by=owner.identity)

    assert second.MeshCA != first.MeshCA
    assert second.RootCA == first.RootCA
    assert guard.current().generation == 2


def test_an_rsa_owner_may_update(guard: Guard) -> None:
    rsa_owner = Caller(key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    manifest = tiny_manifest(owners=[rsa_owner.digest_hex])
    send(guard, manifest)

    send(guard, manifest, by=rsa_owner.identity)

    assert guard.current().generation == 2


def unsupported() -> PeerIdentity:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PeerIdentity(public_key_spki=spki, certificate_der=b"", evidence=None, snapshot=None)


@pytest.mark.parametrize(
    ("caller", "text"),
    [
        pytest.param(NOBODY, "no client certificate", id="no-certificate"),
        pytest.param(new_owner().identity, "peer not authorized", id="other-key"),
        pytest.param(
            Caller(key=ec.generate_private_key(ec.SECP256R1())).identity,
            "peer not authorized",
            id="other-curve",
        ),
        pytest.param(unsupported(), "unsupported key type", id="ed25519"),
    ],
)
def test_an_unauthorised_update_is_denied_and_changes_nothing(
    guard: Guard, store: MemoryStore, owner: Caller, caller: PeerIdentity, text: str
) -> None:
    send(guard, tiny_manifest(owners=[owner.digest_hex]))
    before, state = dict(store._values), guard.current()

    refusal = refused(lambda: send(guard, tiny_manifest(), by=caller))

    assert refusal.code is DENIED
    assert str(refusal) == f"validating peer: {text}"
    assert store._values == before
    assert guard.current() is state


def test_without_owners_nobody_may_ever_update(guard: Guard, owner: Caller) -> None:
    send(guard, tiny_manifest())

    refusal = refused(lambda: send(guard, tiny_manifest(), by=owner.identity))

    assert refusal.code is DENIED
    assert str(refusal) == "validating peer: setting manifest is disabled"


def test_rights_come_from_the_manifest_in_force_not_from_the_new_one(
    guard: Guard, owner: Caller
) -> None:
    thief = new_owner()
    send(guard, tiny_manifest(owners=[owner.digest_hex]))

    refusal = refused(
        lambda: send(guard, tiny_manifest(owners=[thief.digest_hex]), by=thief.identity)
    )

    assert refusal.code is DENIED


def test_owner_keys_can_be_rotated(guard: Guard, owner: Caller) -> None:
    successor = new_owner()
    send(guard, tiny_manifest(owners=[owner.digest_hex]))
    rotated = tiny_manifest(owners=[successor.digest_hex])

    send(guard, rotated, by=owner.identity)

    assert refused(lambda: send(guard, rotated, by=owner.identity)).code is DENIED
    send(guard, rotated, by=successor.identity)
    assert guard.current().generation == 3


def test_seedshare_owners_cannot_change(
    guard: Guard, owner: Caller, seedshare_owner: Caller, other_seedshare_owner: Caller
) -> None:
    keys = [seedshare_owner.pkcs1_hex, other_seedshare_owner.pkcs1_hex]
    send(guard, tiny_manifest(owners=[owner.digest_hex], seedshare_owners=keys))

    fewer = tiny_manifest(owners=[owner.digest_hex], seedshare_owners=keys[:1])
    swapped = tiny_manifest(owners=[owner.digest_hex], seedshare_owners=keys[::-1])
    none = tiny_manifest(owners=[owner.digest_hex])
    refusals = [
        refused(partial(send, guard, manifest, by=owner.identity))
        for manifest in (fewer, swapped, none)
    ]

    assert [refusal.code for refusal in refusals] == [DENIED] * 3
    assert {str(refusal) for refusal in refusals} == {"changes to seedshare owners are not allowed"}
    assert guard.current().generation == 1


def test_a_stranger_learns_nothing_from_a_missing_policy(guard: Guard, owner: Caller) -> None:
    send(guard, tiny_manifest(owners=[owner.digest_hex]))

    assert refused(lambda: send(guard, tiny_manifest(), OTHER_POLICY)).code is DENIED


def test_an_atomic_set_needs_the_hash_of_the_latest_transition(guard: Guard, owner: Caller) -> None:
    manifest = tiny_manifest(owners=[owner.digest_hex])
    send(guard, manifest, previous=bytes(32))
    latest = guard.current().latest.transition_hash

    stale = refused(lambda: send(guard, manifest, by=owner.identity, previous=bytes(32)))
    short = refused(lambda: send(guard, manifest, by=owner.identity, previous=latest[:31]))
    send(guard, manifest, by=owner.identity, previous=latest)

    assert stale.code is PRECONDITION
    assert stale.reason == "concurrent_update"
    assert "does not match latest state" in str(stale)
    assert short.code is INVALID
    assert guard.current().generation == 2


def test_an_atomic_first_set_with_a_hash_is_refused(guard: Guard) -> None:
    assert refused(lambda: send(guard, tiny_manifest(), previous=b"\x01" * 32)).code is PRECONDITION


def test_there_are_no_manifests_before_the_first_set(guard: Guard) -> None:
    refusal = refused(lambda: fetch(guard))

    assert refusal.code is PRECONDITION
    assert str(refusal) == "no manifest configured"
    assert refusal.reason == "no_manifest"


def test_all_manifests_and_policies_are_returned_oldest_first(guard: Guard, owner: Caller) -> None:
    first = tiny_manifest(owners=[owner.digest_hex])
    second = tiny_manifest({POLICY_HASH: {"SANs": ["web"]}, OTHER_POLICY_HASH: {"SANs": ["emoji"]}})
    send(guard, first)
    answer = send(guard, second, OTHER_POLICY, POLICY, by=owner.identity)

    found = fetch(guard)

    assert list(found.Manifests) == [first, second]
    assert sorted(found.Policies) == sorted([POLICY, OTHER_POLICY])
    assert found.RootCA == answer.RootCA
    assert found.MeshCA == answer.MeshCA
    assert found.LatestTransition.TransitionHash == guard.current().latest.transition_hash
    assert found.LatestTransition.Signature == guard.current().latest.signature


def test_a_running_coordinator_does_not_need_the_documents_of_its_store(
    guard: Guard, owner: Caller, store: MemoryStore
) -> None:
    manifest = tiny_manifest(owners=[owner.digest_hex])
    send(guard, manifest)
    before = fetch(guard)
    for name in store.names("packs"):
        store.set(f"packs/{name}", b"package evil\n")
    for name in store.names("manifests"):
        del store._values[f"manifests/{name}"]

    assert fetch(guard) == before
    send(guard, manifest, by=owner.identity)
    assert len(fetch(guard).Manifests) == 2


def test_an_update_after_which_the_history_could_not_be_returned_is_refused(
    guard: Guard, owner: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tiny_manifest(owners=[owner.digest_hex])
    send(guard, manifest)
    size = 2 * len(manifest) + len(POLICY)

    monkeypatch.setattr("coordinator.sent.MAX_HISTORY_BYTES", size - 1)
    refusal = refused(lambda: send(guard, manifest, by=owner.identity))

    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"would have {size} bytes" in str(refusal)
    assert guard.current().generation == 1
    monkeypatch.setattr("coordinator.sent.MAX_HISTORY_BYTES", size)
    send(guard, manifest, by=owner.identity)
    assert len(fetch(guard).Manifests) == 2


def test_an_identical_manifest_is_a_transition_of_its_own(guard: Guard, owner: Caller) -> None:
    manifest = tiny_manifest(owners=[owner.digest_hex])
    send(guard, manifest)
    send(guard, manifest, by=owner.identity)

    assert list(fetch(guard).Manifests) == [manifest, manifest]


def test_fault_17_6_sets_and_gets_at_once_pair_history_and_mesh_ca_of_one_generation(
    guard: Guard, owner: Caller
) -> None:
    manifest = tiny_manifest(owners=[owner.digest_hex])
    mesh_cas = {1: send(guard, manifest).MeshCA}
    barrier = threading.Barrier(12)
    seen: list[pb.GetManifestsResponse] = []
    set_codes: list[grpc.StatusCode | None] = []

    def setter() -> None:
        barrier.wait()
        try:
            answer = send(guard, manifest, by=owner.identity)
        except ContrastError as err:
            set_codes.append(refusal_from(err).code)
        else:
            set_codes.append(None)
            mesh_cas[len(mesh_cas) + 1] = answer.MeshCA

    def getter() -> None:
        barrier.wait()
        seen.append(fetch(guard))

    threads = [threading.Thread(target=setter) for _ in range(6)]
    threads += [threading.Thread(target=getter) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == 6
    assert set(set_codes) <= {None, PRECONDITION}
    assert guard.current().generation == 1 + set_codes.count(None)
    by_generation: dict[int, set[bytes]] = {}
    for response in seen:
        by_generation.setdefault(len(response.Manifests), set()).add(response.MeshCA)
    assert all(len(found) == 1 for found in by_generation.values())


@pytest.fixture
def restarted(
    store: MemoryStore, owner: Caller, seedshare_owner: Caller
) -> tuple[Guard, pb.SetManifestResponse]:
    """A Coordinator after a restart, and what the first set had returned."""
    manifest = tiny_manifest(
        owners=[owner.digest_hex], seedshare_owners=[seedshare_owner.pkcs1_hex]
    )
    return make_guard(store), send(make_guard(store), manifest)


def seed_of(
    response: pb.SetManifestResponse | ext.GetSeedSharesResponse, owner: Caller
) -> tuple[bytes, bytes]:
    (share,) = response.SeedSharesDoc.SeedShares
    encrypted = EncryptedShare(public_key_hex=share.PublicKey, ciphertext=share.EncryptedSeed)
    assert isinstance(owner.key, rsa.RSAPrivateKey)
    return owner.decrypt(encrypted), response.SeedSharesDoc.salt


def test_in_recovery_nothing_is_set_or_returned(
    restarted: tuple[Guard, pb.SetManifestResponse], owner: Caller
) -> None:
    guard, _ = restarted

    for call in (lambda: fetch(guard), lambda: send(guard, tiny_manifest(), by=owner.identity)):
        refusal = refused(call)
        assert refusal.code is PRECONDITION
        assert str(refusal) == "coordinator is in recovery mode"
        assert refusal.reason == "needs_recovery"


def test_a_seedshare_owner_recovers_the_same_manifest_and_root(
    restarted: tuple[Guard, pb.SetManifestResponse], seedshare_owner: Caller
) -> None:
    guard, first = restarted
    seed, salt = seed_of(first, seedshare_owner)
    request = pb.RecoverRequest(Seed=seed, Salt=salt)

    recover(request, seedshare_owner.identity, guard)

    assert fetch(guard).RootCA == first.RootCA
    assert fetch(guard).MeshCA != first.MeshCA
    again = refused(lambda: recover(request, seedshare_owner.identity, guard))
    assert again.code is PRECONDITION
    assert str(again) == "coordinator is already recovered"


def test_a_history_without_what_the_caller_knows_is_refused_as_rolled_back(
    restarted: tuple[Guard, pb.SetManifestResponse], seedshare_owner: Caller
) -> None:
    guard, first = restarted
    seed, salt = seed_of(first, seedshare_owner)
    request = pb.RecoverRequest(Seed=seed, Salt=salt, KnownTransition=b"\x11" * 32)

    refusal = refused(lambda: recover(request, seedshare_owner.identity, guard))

    assert refusal.code is PRECONDITION
    assert refusal.reason == "rolled_back"
    assert "11" * 32 in str(refusal)
    assert guard.status().name == "recovery"


def test_a_known_transition_of_the_wrong_length_is_invalid(
    restarted: tuple[Guard, pb.SetManifestResponse], seedshare_owner: Caller
) -> None:
    guard, first = restarted
    seed, salt = seed_of(first, seedshare_owner)
    request = pb.RecoverRequest(Seed=seed, Salt=salt, KnownTransition=bytes(31))

    refusal = refused(lambda: recover(request, seedshare_owner.identity, guard))

    assert refusal.code is INVALID
    assert str(refusal) == "known transition has 31 bytes, wanted 32"


def test_there_is_nothing_to_recover_before_the_first_set(
    guard: Guard, seedshare_owner: Caller
) -> None:
    request = pb.RecoverRequest(Seed=bytes(64), Salt=bytes(32))

    refusal = refused(lambda: recover(request, seedshare_owner.identity, guard))

    assert refusal.code is PRECONDITION
    assert str(refusal) == "no state to recover from"


@pytest.mark.parametrize(
    ("seed", "salt", "text"),
    [
        pytest.param(b"", bytes(32), "secret seed must be at least 32 bytes long", id="no-seed"),
        pytest.param(bytes(31), bytes(32), "secret seed must be at least 32", id="short-seed"),
        pytest.param(bytes(64), b"", "salt must be 32 bytes long", id="no-salt"),
        pytest.param(bytes(64), bytes(31), "salt must be 32 bytes long", id="short-salt"),
        pytest.param(bytes(64), bytes(32), "not signed by the key of this seed", id="wrong-seed"),
    ],
)
def test_a_seed_that_does_not_fit_is_invalid(
    restarted: tuple[Guard, pb.SetManifestResponse],
    seedshare_owner: Caller,
    seed: bytes,
    salt: bytes,
    text: str,
) -> None:
    guard, _ = restarted

    refusal = refused(
        lambda: recover(pb.RecoverRequest(Seed=seed, Salt=salt), seedshare_owner.identity, guard)
    )

    assert refusal.code is INVALID
    assert text in str(refusal)
    assert guard.status().name == "recovery"


def test_who_calls_is_settled_before_the_seed_is_looked_at(
    restarted: tuple[Guard, pb.SetManifestResponse], owner: Caller, other_seedshare_owner: Caller
) -> None:
    guard, _ = restarted

    request = pb.RecoverRequest(Seed=b"", Salt=b"")

    codes = [
        refused(partial(recover, request, caller, guard)).code
        for caller in (NOBODY, owner.identity, other_seedshare_owner.identity)
    ]

    assert codes == [DENIED] * 3


def test_a_refusal_never_shows_a_path_of_the_store(guard: Guard, store: MemoryStore) -> None:
    send(guard, tiny_manifest())
    error = HistoryCorrupt("history object x was changed")

    assert refusal_from(error).code is grpc.StatusCode.DATA_LOSS
    assert refusal_from(ContrastError("secret detail")).args == ("internal error",)
