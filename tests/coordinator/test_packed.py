"""Sets, plans and the history in packs, which the test makes itself; and that either way of setting leaves the same history."""

import hashlib
from collections.abc import Callable, Sequence

import grpc
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.api.packs import PackedDocuments, read_pack
from coordinator.extapi import plan_manifest, plan_packed
from coordinator.refusal import Refusal
from coordinator.state import Guard, Keys
from coordinator.store.base import StoreError
from coordinator.store.memory import MemoryStore
from coordinator.userapi import get_manifests, get_packed, set_manifest, set_packed
from tests.fakes.coordinator import (
    NOBODY,
    OTHER_POLICY,
    OTHER_POLICY_HASH,
    POLICY,
    POLICY_HASH,
    BreakingStore,
    Caller,
    make_guard,
    new_owner,
    tiny_manifest,
)
from tests.fakes.packs import pack, pack_of


def request(manifest: bytes, *packs: bytes, previous: bytes = b"") -> ext.PackedManifest:
    """Return a request; packs: by default one of manifest and policy."""
    return ext.PackedManifest(
        Manifest=hashlib.sha256(manifest).digest(),
        PreviousTransitionHash=previous,
        Packs=packs or [pack_of(manifest, POLICY)],
    )


def refused(call: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value


def fetch(guard: Guard) -> pb.GetManifestsResponse:
    content = get_manifests(pb.GetManifestsRequest(), NOBODY, guard)
    return pb.GetManifestsResponse.FromString(content)


def fetch_packed(guard: Guard, known: Sequence[bytes] = ()) -> ext.GetPackedResponse:
    return get_packed(ext.GetPackedRequest(Known=known), NOBODY, guard)


def restarted(guard: Guard, store: MemoryStore) -> Guard:
    again, engine = make_guard(store), guard.current().engine
    again.reset(again.unrecovered(), lambda _: Keys(engine))
    return again


@pytest.fixture
def manifest(owner: Caller) -> bytes:
    return tiny_manifest(owners=[owner.digest_hex])


@pytest.fixture
def both(owner: Caller) -> bytes:
    policies = {POLICY_HASH: {"SANs": ["web"]}, OTHER_POLICY_HASH: {"SANs": ["emoji"]}}
    return tiny_manifest(policies, owners=[owner.digest_hex])


def test_a_packed_set_is_the_same_as_a_plain_one(manifest: bytes) -> None:
    packed, plain = make_guard(), make_guard()

    answer = set_packed(request(manifest), NOBODY, packed)

    assert answer.RootCA == packed.current().ca.root_ca_pem
    set_manifest(pb.SetManifestRequest(Manifest=manifest, Policies=[POLICY]), NOBODY, plain)
    for each in (packed, plain):
        assert list(fetch(each).Manifests) == [manifest]
        assert list(fetch(each).Policies) == [POLICY]
    assert fetch(packed).LatestTransition.TransitionHash == (
        fetch(plain).LatestTransition.TransitionHash
    )


def test_policies_of_the_history_need_not_be_sent_again(
    guard: Guard, store: MemoryStore, owner: Caller, manifest: bytes, both: bytes
) -> None:
    set_manifest(pb.SetManifestRequest(Manifest=manifest, Policies=[POLICY]), NOBODY, guard)

    set_packed(request(both, pack_of(both, OTHER_POLICY)), owner.identity, guard)

    for each in (guard, restarted(guard, store)):
        assert list(fetch(each).Manifests) == [manifest, both]
        assert sorted(fetch(each).Policies) == sorted([POLICY, OTHER_POLICY])


def test_a_policy_that_nobody_has_is_missing(
    guard: Guard, owner: Caller, manifest: bytes, both: bytes
) -> None:
    set_packed(request(manifest), NOBODY, guard)

    refusal = refused(lambda: set_packed(request(both, pack_of(both)), owner.identity, guard))

    assert str(refusal) == f"no policy provided for hash {OTHER_POLICY_HASH}"
    assert refusal.reason == "policies_differ"
    assert guard.current().generation == 1


def test_whoever_is_no_owner_is_refused_before_packs_are_read(
    guard: Guard, manifest: bytes
) -> None:
    set_packed(request(manifest), NOBODY, guard)

    refusal = refused(lambda: set_packed(request(manifest, b"no pack"), NOBODY, guard))
    stranger = new_owner().identity
    assert refused(lambda: set_packed(request(manifest), stranger, guard)).code is (
        grpc.StatusCode.PERMISSION_DENIED
    )

    assert refusal.code is grpc.StatusCode.PERMISSION_DENIED


MANIFEST = tiny_manifest()
LARGE = bytes(1024 * 1024)
REFUSED = {
    "no packs": ([], "no pack holds the manifest"),
    "manifest missing": ([pack_of(POLICY)], "no pack holds the manifest"),
    "no pack": ([pack_of(MANIFEST, POLICY), b"no pack"], "pack 1: it is no zlib stream"),
    "too many packs": ([pack_of(POLICY)] * 33, "found 33 packs, wanted at most 32"),
    "pack too large": ([b"x" * 1024 * 1024], "pack 0 has 1048576 bytes, wanted at most 1048575"),
    "policy too large": ([pack_of(MANIFEST, LARGE)], "has 1048576 bytes, wanted at most 1048575"),
    "policy of one part again and again": (
        [pack([MANIFEST, bytes(4 * 1024 * 1024)], [[0], [1, 1, 1]])],
        "has 12582912 bytes, wanted at most 1048575",
    ),
    "unnamed policy": ([pack_of(MANIFEST, POLICY, b"other")], "that the manifest does not name"),
    "too many policies": (
        [
            pack_of(MANIFEST, POLICY),
            *(pack_of(*(b"%d" % n for n in range(start, start + 9000))) for start in (0, 9000)),
        ],
        "found 18001 policies, wanted at most 16384",
    ),
}


@pytest.mark.parametrize(("packs", "text"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_right_is_refused_and_changes_nothing(
    guard: Guard, packs: list[bytes], text: str
) -> None:
    wanted = ext.PackedManifest(Manifest=hashlib.sha256(MANIFEST).digest(), Packs=packs)

    refusal = refused(lambda: set_packed(wanted, NOBODY, guard))

    assert text in str(refusal)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert guard.status().name == "initial"


def test_a_plan_in_packs_says_what_a_plain_one_says(
    guard: Guard, owner: Caller, manifest: bytes, both: bytes
) -> None:
    set_packed(request(manifest), NOBODY, guard)
    plain = pb.SetManifestRequest(Manifest=both, Policies=[POLICY, OTHER_POLICY])

    told = plan_packed(request(both, pack_of(both, OTHER_POLICY)), owner.identity, guard)

    assert told == plan_manifest(plain, owner.identity, guard)
    assert told.Refusal == ""
    assert guard.current().generation == 1


def test_the_history_comes_in_packs_and_only_what_is_new(
    guard: Guard, owner: Caller, manifest: bytes, both: bytes
) -> None:
    set_manifest(pb.SetManifestRequest(Manifest=manifest, Policies=[POLICY]), NOBODY, guard)
    first = fetch_packed(guard)
    set_packed(request(both, pack_of(both, OTHER_POLICY)), owner.identity, guard)

    second = fetch_packed(guard, first.Hashes)

    assert list(second.Manifests) == [hashlib.sha256(each).digest() for each in (manifest, both)]
    assert list(second.Packs) == [pack_of(both, OTHER_POLICY)]
    assert set(second.Hashes) == {
        hashlib.sha256(each).digest() for each in (*first.Packs, *second.Packs)
    }
    packs = [read_pack(content) for content in (*first.Packs, *second.Packs)]
    names = {name for each in packs for name in each.sizes}
    assert sorted(PackedDocuments(packs, names)) == sorted([manifest, both, POLICY, OTHER_POLICY])
    assert (second.RootCA, second.MeshCA, second.LatestTransition) == (
        fetch(guard).RootCA,
        fetch(guard).MeshCA,
        fetch(guard).LatestTransition,
    )
    newest = hashlib.sha256(pack_of(both, OTHER_POLICY)).digest()
    assert list(fetch_packed(guard, [newest]).Packs) == list(first.Packs)
    assert list(fetch_packed(guard, [*first.Hashes, *second.Hashes]).Packs) == []


def test_an_answer_has_as_many_packs_as_fit_and_one_at_least(
    guard: Guard, manifest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_manifest(pb.SetManifestRequest(Manifest=manifest, Policies=[POLICY]), NOBODY, guard)
    monkeypatch.setattr("coordinator.userapi.MAX_ANSWER_BYTES", 1)

    first = fetch_packed(guard)
    second = fetch_packed(guard, [hashlib.sha256(each).digest() for each in first.Packs])

    assert [len(first.Packs), len(second.Packs)] == [1, 1]
    assert set(first.Hashes) == {
        hashlib.sha256(each).digest() for each in (*first.Packs, *second.Packs)
    }


def test_a_history_too_large_for_getmanifests_is_got_in_packs(
    guard: Guard, owner: Caller, manifest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_packed(request(manifest), NOBODY, guard)
    for module in ("userapi", "sent"):
        monkeypatch.setattr(f"coordinator.{module}.MAX_HISTORY_BYTES", 10)

    refusal = refused(lambda: fetch(guard))
    plain = pb.SetManifestRequest(Manifest=manifest, Policies=[POLICY])
    full = refused(lambda: set_manifest(plain, owner.identity, guard))

    assert (refusal.reason, refusal.code) == (
        "answer_too_large",
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
    assert "GetManifests returns at most 10" in str(refusal)
    assert "contrast-tasks" in refusal.hint
    assert full.reason == "history_full"
    assert len(fetch_packed(guard).Packs) == 1
    set_packed(request(manifest), owner.identity, guard)


def test_a_history_that_takes_too_much_memory_in_packs_is_full(
    guard: Guard, owner: Caller, manifest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_packed(request(manifest), NOBODY, guard)
    sent = pack_of(manifest)
    size = 2 * 1024 + len(pack_of(manifest, POLICY)) + len(sent)
    monkeypatch.setattr("coordinator.sent.MAX_PACKED_HISTORY_BYTES", size - 1)

    refusal = refused(lambda: set_packed(request(manifest, sent), owner.identity, guard))

    assert refusal.reason == "history_full"
    assert f"would have {size} bytes, a coordinator keeps in packs at most {size - 1}" in str(
        refusal
    )
    monkeypatch.setattr("coordinator.sent.MAX_PACKED_HISTORY_BYTES", size)
    set_packed(request(manifest, sent), owner.identity, guard)


@pytest.mark.parametrize("fail_at", range(1, 5))
def test_a_failure_at_any_write_of_a_packed_update_leaves_the_old_state(
    owner: Caller, manifest: bytes, both: bytes, fail_at: int
) -> None:
    store = BreakingStore()
    guard = make_guard(store)
    set_packed(request(manifest), NOBODY, guard)
    store.fail_at = store.writes + fail_at
    update = request(both, pack_of(both), pack_of(OTHER_POLICY))

    # Two packs, the manifest, the transition, the head.
    with pytest.raises(StoreError):
        set_packed(update, owner.identity, guard)

    store.fail_at = None
    again = restarted(guard, store)
    assert list(fetch(again).Manifests) == [manifest]
    set_packed(update, owner.identity, again)
    assert list(fetch(restarted(again, store)).Manifests) == [manifest, both]


def test_the_pack_of_an_interrupted_set_does_no_harm(
    owner: Caller, store: MemoryStore, manifest: bytes, both: bytes
) -> None:
    guard = make_guard(store)
    guard.history.put_packs([read_pack(pack_of(POLICY, b"of a set that was interrupted"))])

    set_packed(request(both, pack_of(both), pack_of(POLICY), pack_of(OTHER_POLICY)), NOBODY, guard)

    for each in (guard, restarted(guard, store)):
        assert sorted(fetch(each).Policies) == sorted([POLICY, OTHER_POLICY])


def test_an_owner_signs_a_packed_update_too(guard: Guard, owner: Caller) -> None:
    manifest = tiny_manifest(owner_keys=[owner.spki.hex()])
    set_packed(request(manifest), NOBODY, guard)
    first = guard.current().latest.transition_hash
    # The text that is signed: docs/internals/coordinator.md 4.5.
    next_hex = hashlib.sha256(hashlib.sha256(manifest).digest() + first).hexdigest()
    signed = request(manifest)
    assert isinstance(owner.key, ec.EllipticCurvePrivateKey)
    signed.Signatures.append(owner.key.sign(next_hex.encode(), ec.ECDSA(hashes.SHA256())))

    set_packed(signed, NOBODY, guard)

    assert guard.current().generation == 2
    assert refused(lambda: set_packed(signed, NOBODY, guard)).reason == "bad_signature"


@pytest.mark.sweep
def test_ten_thousand_workloads_and_the_coordinator_are_set_and_found_again(
    store: MemoryStore,
) -> None:
    rules = b"package agent_policy\n" + b"# rules\n" * 3000
    documents = [rules + b"%d" % number for number in range(10_001)]
    names = [hashlib.sha256(each).hexdigest() for each in documents]
    manifest = tiny_manifest({name: {"SANs": [f"web-{name[:8]}", "*"]} for name in names})
    tails = [b"%d" % number for number in range(10_001)]
    packed = pack([rules, *tails], [[0, number + 1] for number in range(10_001)])
    guard = make_guard(store)

    set_packed(request(manifest, pack_of(manifest), packed), NOBODY, guard)

    again = restarted(guard, store)
    assert again.current().manifest_bytes == manifest
    assert again.current().documents.policy_names == set(names)
    assert again.current().documents.is_whole
    assert (
        sum(map(len, (store.get(f"packs/{name}") for name in store.names("packs")))) < 1024 * 1024
    )
    assert refused(lambda: fetch(again)).reason == "answer_too_large"
