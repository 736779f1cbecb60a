"""A workload owner's detached signature over an update: made where the key is, checked by the Coordinator.

What is signed is a text, the lower-case hex of the next transition hash, so that a security module can sign a file. The hash
covers the manifest and the transition before it: a signature is for one manifest in one place of one history.
Source: docs/internals/coordinator.md 4.5.
"""

from typing import TYPE_CHECKING

from contrast_tasks.manifest.hashes import manifest_hash, transition_digest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )


def text_to_sign(manifest: bytes, previous: bytes) -> bytes:
    """Return the 64 hex digits that put `manifest` in force after `previous` (32 bytes, zeros for none), without a newline."""
    return transition_digest(manifest_hash(manifest), previous).hex().encode()


def sign_text(key: "EllipticCurvePrivateKey", text: bytes) -> bytes:
    """Return the signature of an owner: ECDSA over the SHA-256 of the text, ASN.1 DER."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return key.sign(text, ec.ECDSA(hashes.SHA256()))


def is_text_signed(key: "EllipticCurvePublicKey", signature: bytes, text: bytes) -> bool:
    """Return whether a signature is the key's over the text; both s and its negative are, as every implementation makes either."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def is_signature(content: bytes) -> bool:
    """Return whether bytes are an ECDSA signature in ASN.1 DER: two positive numbers; who signed what remains open."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    try:
        return min(decode_dss_signature(content)) > 0
    except ValueError:
        return False
