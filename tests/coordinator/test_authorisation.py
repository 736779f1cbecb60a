import hashlib
import json

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.findings import FindingsError
from contrast_tasks.manifest.codec import parse_manifest
from contrast_tasks.manifest.model import Manifest
from contrast_tasks.trusted_guests import ReferenceValues
from coordinator.authorisation import authorise_update, key_digest_hex
from coordinator.refusal import Refusal
from coordinator.userapi import set_manifest
from tests.fakes.coordinator import (
    NOBODY,
    Caller,
    make_guard,
    new_owner,
)


def test_the_digest_of_the_key_with_scalar_one_is_the_known_vector() -> None:
    key = Caller(key=ec.derive_private_key(1, ec.SECP384R1()))

    wanted = "29f8fe74f38c49d49810cec736a26732a30bff2e64827b709a1c63340d4f7181"
    assert key_digest_hex(key.spki) == wanted


def test_the_digest_of_an_rsa_key_is_over_its_pkcs1_form(seedshare_owner: Caller) -> None:
    pkcs1 = bytes.fromhex(seedshare_owner.pkcs1_hex)

    assert key_digest_hex(seedshare_owner.spki) == hashlib.sha256(pkcs1).hexdigest()


@settings(max_examples=50, deadline=None)
@given(spki=st.binary(max_size=200))
def test_bytes_that_are_no_key_are_denied(spki: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        key_digest_hex(spki)

    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_bytes_that_are_no_manifest_are_invalid_and_leave_no_state(content: bytes) -> None:
    guard = make_guard()
    guard.parse = parse_manifest

    with pytest.raises(Refusal) as caught:
        set_manifest(pb.SetManifestRequest(Manifest=content), NOBODY, guard)

    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert guard.status().name == "initial"


def test_an_owner_listed_by_key_or_by_digest_may_update() -> None:
    owner, other = new_owner(), new_owner()
    by_key = Manifest(
        policies={},
        reference_values=ReferenceValues(),
        workload_owner_pub_keys=(owner.spki.hex(),),
        workload_owner_key_digests=(other.digest_hex,),
    )

    authorise_update(owner.spki, by_key)
    authorise_update(other.spki, by_key)


def test_whoever_is_in_neither_list_may_not_update() -> None:
    owner = new_owner()
    by_key = Manifest(
        policies={},
        reference_values=ReferenceValues(),
        workload_owner_pub_keys=(owner.spki.hex(),),
    )

    with pytest.raises(Refusal, match="peer not authorized"):
        authorise_update(new_owner().spki, by_key)
    with pytest.raises(Refusal, match="setting manifest is disabled"):
        authorise_update(owner.spki, by_key.replace(workload_owner_pub_keys=()))


@pytest.mark.parametrize("digits", ["", "00", "ab" * 31])
def test_fault_17_10_a_policy_hash_that_is_too_short_is_refused_and_not_padded(digits: str) -> None:
    """Zeros behind it would make it the hash of a guest that names no policy."""
    manifest = {"Policies": {digits: {"SANs": ["web"]}}}

    with pytest.raises(FindingsError) as caught:
        parse_manifest(json.dumps(manifest).encode())

    assert "M012" in {finding.entry.code for finding in caught.value.findings}
