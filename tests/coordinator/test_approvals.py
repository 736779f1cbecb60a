"""Updates that several owners have to approve: by signatures over the next transition, one of them perhaps by client key.

Who counts and who does not is written out in the tables; source: docs/internals/coordinator.md 4.5.
"""

from collections.abc import Callable

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.atls.types import PeerIdentity
from contrast_tasks.manifest.hashes import manifest_hash, transition_digest
from contrast_tasks.manifest.signing import sign_text, text_to_sign
from coordinator.extapi import plan_manifest
from coordinator.refusal import Refusal
from coordinator.state import Guard
from coordinator.userapi import set_manifest
from tests.fakes.coordinator import (
    NOBODY,
    POLICY,
    Caller,
    make_guard,
    new_owner,
    tiny_manifest,
)

ANNA, BEN, CLEO, STRANGER = (new_owner() for _ in range(4))
OWNERS = {"anna": ANNA, "ben": BEN, "cleo": CLEO, "stranger": STRANGER}
ZEROS = bytes(32)


def manifest_of(owners: list[Caller], approvals: int) -> bytes:
    keys = [owner.spki.hex() for owner in owners]
    return tiny_manifest(owner_keys=keys, approvals=approvals)


TWO_OF_THREE = manifest_of([ANNA, BEN, CLEO], 2)
FIRST = transition_digest(manifest_hash(TWO_OF_THREE), ZEROS)


def sign(owner: Caller, manifest: bytes, previous: bytes) -> bytes:
    assert isinstance(owner.key, ec.EllipticCurvePrivateKey)
    return sign_text(owner.key, text_to_sign(manifest, previous))


def request_of(manifest: bytes, *signatures: bytes) -> pb.SetManifestRequest:
    return pb.SetManifestRequest(
        Manifest=manifest,
        Policies=[POLICY],
        Signature=b"".join(signatures[:1]),
        Approvals=signatures[1:],
    )


def identity_of(name: str) -> PeerIdentity:
    return OWNERS[name].identity if name else NOBODY


@pytest.fixture
def guard(guard: Guard) -> Guard:
    """Return a Coordinator whose manifest in force demands two of three owners; nobody had to approve the first."""
    set_manifest(request_of(TWO_OF_THREE), NOBODY, guard)
    return guard


@pytest.mark.parametrize(
    ("caller", "signers"),
    [
        ("", "anna ben"),
        ("", "cleo anna"),
        ("", "anna ben cleo"),
        ("anna", "ben"),
        ("ben", "anna ben"),
        ("stranger", "ben cleo"),
        ("", "anna anna ben"),
    ],
)
def test_enough_distinct_owners_set_a_manifest(guard: Guard, caller: str, signers: str) -> None:
    new = manifest_of([ANNA, BEN, CLEO], 1)
    signatures = [sign(OWNERS[name], new, FIRST) for name in signers.split()]

    set_manifest(request_of(new, *signatures), identity_of(caller), guard)

    assert guard.current().manifest_bytes == new


@pytest.mark.parametrize(
    ("caller", "signers", "found"),
    [
        ("", "", 0),
        ("stranger", "", 0),
        ("anna", "", 1),
        ("", "anna", 1),
        ("anna", "anna", 1),
        ("", "anna anna", 1),
        ("", "anna anna anna", 1),
        ("stranger", "cleo", 1),
    ],
)
def test_too_few_owners_are_refused_with_who_is_missing(
    guard: Guard, caller: str, signers: str, found: int
) -> None:
    # Also one that demands less.
    new = manifest_of([ANNA], 1)
    names = signers.split()
    signatures = [sign(OWNERS[name], new, FIRST) for name in names]
    there = {caller, *names} & {"anna", "ben", "cleo"}
    missing = sorted(OWNERS[name].digest_hex for name in {"anna", "ben", "cleo"} - there)

    with pytest.raises(Refusal, match=r"^validating peer: peer not authorized$") as caught:
        set_manifest(request_of(new, *signatures), identity_of(caller), guard)

    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert caught.value.reason == "approvals_missing"
    assert caught.value.found == {
        "found": str(found),
        "wanted": "2",
        "missing": ", ".join(missing),
    }
    assert guard.current().manifest_bytes == TWO_OF_THREE


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda new: sign(STRANGER, new, FIRST), id="stranger"),
        pytest.param(lambda new: sign(BEN, new, ZEROS), id="another transition"),
        pytest.param(lambda _new: sign(BEN, TWO_OF_THREE, FIRST), id="another manifest"),
        pytest.param(lambda _new: b"", id="empty"),
        pytest.param(lambda _new: b"\x30\x00", id="malformed"),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_one_wrong_signature_spoils_all(
    guard: Guard, wrong: Callable[[bytes], bytes], place: int
) -> None:
    new = manifest_of([ANNA, BEN, CLEO], 1)
    signatures = [sign(ANNA, new, FIRST)]
    signatures.insert(place, wrong(new))

    with pytest.raises(Refusal, match=r"^validating manifest signature$"):
        set_manifest(request_of(new, *signatures), ANNA.identity, guard)

    assert guard.current().manifest_bytes == TWO_OF_THREE


def test_more_signatures_than_keys_are_refused_before_they_are_verified(guard: Guard) -> None:
    signature = sign(ANNA, TWO_OF_THREE, FIRST)

    with pytest.raises(Refusal, match=r"^validating manifest signature$"):
        set_manifest(request_of(TWO_OF_THREE, *[signature] * 4), NOBODY, guard)


def test_who_approved_stands_in_the_audit_log(guard: Guard) -> None:
    new = manifest_of([ANNA, BEN, CLEO], 3)
    set_manifest(request_of(new, sign(BEN, new, FIRST)), CLEO.identity, guard)
    guard.audit.flush(is_last=True)

    entries = [each.members for each in guard.audit.since(0)]
    approved = [each["actor"] for each in entries if each["event"] == "approved"]
    assert approved == sorted([BEN.digest_hex, CLEO.digest_hex])
    assert {each["transition"] for each in entries if each["event"] == "approved"} == {
        transition_digest(manifest_hash(new), FIRST).hex()
    }


def test_the_plan_tells_which_approvals_are_there(guard: Guard) -> None:
    new = manifest_of([ANNA, BEN, CLEO], 3)

    one = plan_manifest(request_of(new, sign(BEN, new, FIRST)), NOBODY, guard)
    two = plan_manifest(request_of(new, sign(BEN, new, FIRST)), ANNA.identity, guard)
    wrong = plan_manifest(request_of(new, sign(STRANGER, new, FIRST)), NOBODY, guard)

    assert (one.RefusalReason, one.ApprovalsWanted) == ("approvals_missing", 2)
    assert list(one.ApprovedBy) == [BEN.digest_hex]
    assert list(one.NotApprovedBy) == sorted([ANNA.digest_hex, CLEO.digest_hex])
    assert one.NextApprovalsWanted == 3
    assert (two.RefusalReason, list(two.NotApprovedBy)) == ("", [CLEO.digest_hex])
    assert (wrong.RefusalReason, list(wrong.ApprovedBy)) == ("bad_signature", [])


def test_before_the_first_manifest_nobody_has_to_approve() -> None:
    fresh = plan_manifest(request_of(TWO_OF_THREE), NOBODY, make_guard())

    assert (fresh.RefusalReason, fresh.ApprovalsWanted, fresh.NextApprovalsWanted) == ("", 0, 2)
