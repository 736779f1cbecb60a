"""Updates that an owner has signed and somebody else sends.

The signatures are made with the openssl command over text that the test writes itself, as a security module would: SHA-256 of
the lower-case hex of SHA-256(SHA-256(manifest) || previous transition). Source: docs/internals/coordinator.md 4.5.
"""

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.atls.types import PeerIdentity
from contrast_tasks.manifest.signing import text_to_sign
from coordinator.refusal import Refusal
from coordinator.state import Guard
from coordinator.userapi import set_manifest
from tests.fakes.coordinator import NOBODY, POLICY, Caller, new_owner, tiny_manifest

ZEROS = bytes(32)
# The order of P-384. Source: FIPS 186-4 D.1.2.4.
ORDER = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    16,
)
Sign = Callable[[Caller, bytes, bytes], bytes]


def chain(manifest: bytes, previous: bytes) -> bytes:
    """Return the transition hash, computed as the documentation says."""
    return hashlib.sha256(hashlib.sha256(manifest).digest() + previous).digest()


@pytest.fixture
def sign(tmp_path: Path) -> Sign:
    """Sign as an owner with a security module does: with openssl, a key file and the prepared text."""

    def run(owner: Caller, manifest: bytes, previous: bytes) -> bytes:
        key, text = tmp_path / "key.pem", tmp_path / "next-transition"
        key.write_bytes(owner.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        text.write_text(chain(manifest, previous).hex())
        command = ["openssl", "pkeyutl", "-sign", "-rawin", "-digest", "sha256", "-inkey", str(key)]
        return subprocess.run([*command, "-in", str(text)], capture_output=True, check=True).stdout

    return run


def send(
    guard: Guard,
    manifest: bytes,
    signature: bytes,
    *,
    by: PeerIdentity = NOBODY,
    previous: bytes = b"",
) -> pb.SetManifestResponse:
    request = pb.SetManifestRequest(
        Manifest=manifest,
        Policies=[POLICY],
        Signature=signature,
        PreviousTransitionHash=previous,
    )
    return set_manifest(request, by, guard)


def denied(guard: Guard, manifest: bytes, signature: bytes, *, by: PeerIdentity = NOBODY) -> None:
    """Require that nothing changes and that the answer tells nothing about the cause."""
    before = guard.current()
    with pytest.raises(Refusal) as caught:
        send(guard, manifest, signature, by=by)
    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert str(caught.value) == "validating manifest signature"
    assert guard.current() is before


def spki_hex(owner: Caller) -> str:
    return owner.spki.hex()


@pytest.fixture
def manifest(owner: Caller) -> bytes:
    return tiny_manifest(owner_keys=[spki_hex(owner)])


@pytest.fixture
def first(guard: Guard, manifest: bytes) -> bytes:
    """Set the first manifest and return its transition hash."""
    send(guard, manifest, b"")
    return chain(manifest, ZEROS)


def test_the_text_for_an_empty_object_is_the_known_vector() -> None:
    wanted = "a48bf97e27b31e740c70c45c448a6662348ac17929be75f4575cad36401c8211"
    again = "d64ed2e599f892fe4dab03191df07e1cc9d3fc05ab9f2d1df6cdd1d972c10471"
    digest = "f13a758a0a006a24e143e8e508bcee0c78ebf3d229b21f703e29232300f8ea6e"

    assert text_to_sign(b"{}", ZEROS) == wanted.encode()
    assert text_to_sign(b"{}", bytes.fromhex(wanted)) == again.encode()
    assert hashlib.sha256(text_to_sign(b"{}", ZEROS)).hexdigest() == digest


def test_a_signed_update_needs_no_client_key(
    guard: Guard, owner: Caller, manifest: bytes, first: bytes, sign: Sign
) -> None:
    new = tiny_manifest(owner_keys=[spki_hex(owner), spki_hex(new_owner())])

    send(guard, new, sign(owner, new, first), previous=first)

    assert guard.current().manifest_bytes == new
    assert guard.current().latest.transition_hash == chain(new, first)


def test_an_owner_of_whom_the_manifest_lists_the_full_key_may_update_by_client_key(
    guard: Guard, owner: Caller, manifest: bytes, first: bytes
) -> None:
    send(guard, manifest, b"", by=owner.identity)

    assert guard.current().generation == 2


def test_a_first_manifest_may_be_signed_by_an_owner_that_it_lists_itself(
    guard: Guard, owner: Caller, manifest: bytes, sign: Sign
) -> None:
    send(guard, manifest, sign(owner, manifest, ZEROS), previous=ZEROS)

    assert guard.current().manifest_bytes == manifest


def test_a_first_manifest_with_a_wrong_signature_is_refused(
    guard: Guard, manifest: bytes, sign: Sign
) -> None:
    with pytest.raises(Refusal, match=r"^validating manifest signature$"):
        send(guard, manifest, sign(new_owner(), manifest, ZEROS))

    assert guard.status().name == "initial"


def test_a_signature_by_another_key_is_denied(
    guard: Guard, manifest: bytes, first: bytes, sign: Sign
) -> None:
    denied(guard, manifest, sign(new_owner(), manifest, first))


def test_a_signature_by_a_key_that_only_the_new_manifest_lists_is_denied(
    guard: Guard, first: bytes, sign: Sign
) -> None:
    thief = new_owner()
    new = tiny_manifest(owner_keys=[spki_hex(thief)])

    denied(guard, new, sign(thief, new, first))


def test_a_signature_by_a_revoked_key_is_denied(
    guard: Guard, owner: Caller, manifest: bytes, first: bytes, sign: Sign
) -> None:
    successor = new_owner()
    second = tiny_manifest(owner_keys=[spki_hex(successor)])
    send(guard, second, sign(owner, second, first))
    latest = chain(second, first)

    denied(guard, manifest, sign(owner, manifest, latest))


def test_a_signature_of_another_manifest_is_denied(
    guard: Guard, owner: Caller, manifest: bytes, first: bytes, sign: Sign
) -> None:
    denied(guard, manifest + b"\n", sign(owner, manifest, first))


def test_a_signature_cannot_be_used_again_after_any_update(
    guard: Guard, owner: Caller, manifest: bytes, first: bytes, sign: Sign
) -> None:
    signature = sign(owner, manifest, first)
    send(guard, manifest, signature)

    denied(guard, manifest, signature)


def test_a_signature_over_a_past_transition_is_denied(
    guard: Guard, owner: Caller, manifest: bytes, first: bytes, sign: Sign
) -> None:
    denied(guard, manifest, sign(owner, manifest, ZEROS))


def test_an_expected_transition_that_is_not_the_latest_is_told_before_the_signature(
    guard: Guard, owner: Caller, manifest: bytes, first: bytes, sign: Sign
) -> None:
    with pytest.raises(Refusal, match="does not match latest state") as caught:
        send(guard, manifest, sign(owner, manifest, ZEROS), previous=ZEROS)

    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_digests_of_keys_verify_no_signature(guard: Guard, owner: Caller, sign: Sign) -> None:
    manifest = tiny_manifest(owners=[owner.digest_hex])
    send(guard, manifest, b"")

    denied(guard, manifest, sign(owner, manifest, chain(manifest, ZEROS)))


def test_a_manifest_without_owners_cannot_be_updated_by_a_signature(
    guard: Guard, owner: Caller, sign: Sign
) -> None:
    manifest = tiny_manifest()
    send(guard, manifest, b"")

    denied(guard, manifest, sign(owner, manifest, chain(manifest, ZEROS)))


def test_a_wrong_signature_is_denied_even_with_an_owners_client_key(
    guard: Guard, owner: Caller, manifest: bytes, first: bytes, sign: Sign
) -> None:
    wrong = sign(new_owner(), manifest, first)

    denied(guard, manifest, wrong, by=owner.identity)


def test_a_right_signature_suffices_beside_a_strangers_client_key(
    guard: Guard, owner: Caller, manifest: bytes, first: bytes, sign: Sign
) -> None:
    send(guard, manifest, sign(owner, manifest, first), by=new_owner().identity)

    assert guard.current().generation == 2


def test_both_values_of_s_are_accepted_and_only_once(
    guard: Guard, owner: Caller, manifest: bytes, first: bytes, sign: Sign
) -> None:
    r, s = decode_dss_signature(sign(owner, manifest, first))
    low, high = sorted((s, ORDER - s))
    send(guard, manifest, encode_dss_signature(r, high))

    denied(guard, manifest, encode_dss_signature(r, low))
    r, s = decode_dss_signature(sign(owner, manifest, chain(manifest, first)))
    send(guard, manifest, encode_dss_signature(r, min(s, ORDER - s)))

    assert guard.current().generation == 3


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda der: der[:-1], id="cut"),
        pytest.param(lambda der: der + b"\0", id="a byte after it"),
        pytest.param(lambda der: b"\x30\x80" + der[2:] + b"\0\0", id="indefinite length"),
        pytest.param(lambda der: b"\x31" + der[1:], id="another tag"),
        pytest.param(
            lambda der: der[:3] + bytes([der[3] + 1]) + b"\0" + der[4:], id="long integer"
        ),
        pytest.param(lambda _der: encode_dss_signature(0, 0), id="zeros"),
        pytest.param(lambda _der: encode_dss_signature(1, ORDER), id="s is the order"),
        pytest.param(lambda _der: b"\0", id="one byte"),
        pytest.param(lambda _der: b"\x30" * 100_000, id="long"),
        pytest.param(lambda der: der.hex().encode(), id="hex"),
    ],
)
def test_a_signature_that_is_not_der_is_denied(
    guard: Guard,
    owner: Caller,
    manifest: bytes,
    first: bytes,
    sign: Sign,
    spoil: Callable[[bytes], bytes],
) -> None:
    denied(guard, manifest, spoil(sign(owner, manifest, first)))


def test_every_flipped_bit_of_a_signature_is_denied(
    guard: Guard, owner: Caller, manifest: bytes, first: bytes, sign: Sign
) -> None:
    signature = sign(owner, manifest, first)

    for position in range(0, len(signature), 7):
        flipped = bytearray(signature)
        flipped[position] ^= 1
        denied(guard, manifest, bytes(flipped))


def test_a_signature_over_the_hash_itself_is_denied(
    guard: Guard, owner: Caller, manifest: bytes, first: bytes
) -> None:
    assert isinstance(owner.key, ec.EllipticCurvePrivateKey)
    raw = owner.key.sign(chain(manifest, first), ec.ECDSA(hashes.SHA256()))

    denied(guard, manifest, raw)
