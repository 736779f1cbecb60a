"""The three hashes over policies and manifests.

Source: docs/internals/manifest.md 5, 6; docs/internals/coordinator.md 8 (transition).
"""

import hashlib

from contrast_tasks.decode import DecodeError, parse_json

NO_TRANSITION = bytes(32)
_HASH_BYTES = 32


def policy_hash_hex(policy: bytes) -> str:
    """Return the key of a policy in the manifest: SHA-256 of its bytes, 64 lower-case hex digits."""
    return hashlib.sha256(policy).hexdigest()


def manifest_hash(content: bytes) -> bytes:
    """Return the SHA-256 (32 bytes) of the manifest's bytes, as sent and stored."""
    return hashlib.sha256(content).digest()


def named_policies(manifest: bytes) -> frozenset[str] | None:
    """Return the hashes (hex) of the policies that a manifest names, None if it is not a manifest."""
    try:
        return frozenset(name for name, _ in parse_json(manifest).at("Policies").members())
    except DecodeError:
        return None


def transition_digest(manifest_hash: bytes, previous: bytes = NO_TRANSITION) -> bytes:
    """Return SHA-256(manifest hash || previous transition digest), 32 bytes; before the first are 32 zero bytes.

    Raises ValueError unless both are 32 bytes long.
    """
    for name, value in (("manifest hash", manifest_hash), ("previous transition", previous)):
        if len(value) != _HASH_BYTES:
            raise ValueError(f"{name} has {len(value)} bytes, expected {_HASH_BYTES}")
    return hashlib.sha256(manifest_hash + previous).digest()
