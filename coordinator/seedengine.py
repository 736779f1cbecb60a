"""Keys and secrets that are derived from the seed, and so survive a restart.

    seed -- POD STATE SECRET ------------ pod state seed -- WORKLOAD SECRET ID: <id> -- workload secret
                                                        -- WORKLOAD SECRET ID: <version>_<id> -- transit key
         -- TRANSACTION SIGNING SECRET -- ECDSA P-384, signs the newest transition
         -- ROOT CA SEED ---------------- ECDSA P-384, root CA
         -- ROOT CA CERT SERIAL --------- serial number of the root certificate (ours)

Every arrow is HKDF-SHA256 (RFC 5869) with the public salt and the named info; its output is as long as its input. The mesh
CA key is not in the tree on purpose: a holder of the seed must not be able to compute it.
Source: docs/internals/coordinator.md 5.
"""

import hashlib
import hmac
from collections.abc import Iterator
from functools import cached_property

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from contrast_tasks.errors import ContrastError

SEED_BYTES = 64  # generated
MIN_SEED_BYTES = 32  # accepted
SALT_BYTES = 32
TRANSIT_KEY_BYTES = 32

# SEC 2, curve secp384r1, order of the base point.
_P384_ORDER = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffff"
    "c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    16,
)
_P384_BYTES = 48
_KEYGEN_PERSONALIZATION = b"det ECDSA key gen P-384"
_SERIAL_BYTES = 16


class BadSeed(ContrastError):
    """Seed, salt or secret id is unusable; the message never holds their bytes."""


class SeedEngine:
    """Derives keys and secrets from one seed (at least 32 bytes) and one salt (32 bytes).

    Raises BadSeed for other lengths. The object's representation shows no secret.
    """

    def __init__(self, seed: bytes, salt: bytes) -> None:
        if len(seed) < MIN_SEED_BYTES:
            raise BadSeed("secret seed must be at least 32 bytes long")
        if len(salt) != SALT_BYTES:
            raise BadSeed("salt must be 32 bytes long")
        self.seed = seed
        self.salt = salt

    @cached_property
    def pod_state_seed(self) -> bytes:
        """Return the secret that workload secrets are derived from, as long as the seed."""
        return self._derive(self.seed, "POD STATE SECRET")

    @cached_property
    def root_ca_key(self) -> ec.EllipticCurvePrivateKey:
        """Return the root CA key, P-384."""
        return deterministic_p384(self._derive(self.seed, "ROOT CA SEED"))

    @cached_property
    def transaction_key(self) -> ec.EllipticCurvePrivateKey:
        """Return the key that signs the newest transition, P-384."""
        return deterministic_p384(self._derive(self.seed, "TRANSACTION SIGNING SECRET"))

    @cached_property
    def root_ca_serial(self) -> int:
        """Return the root certificate's serial number, positive and at most 127 bits."""
        # The top bit is cleared so that the DER integer stays 16 bytes long.
        raw = self._derive(self.seed, "ROOT CA CERT SERIAL")[:_SERIAL_BYTES]
        return (int.from_bytes(raw) & ((1 << 127) - 1)) or 1

    def workload_secret(self, secret_id: str) -> bytes:
        """Return the secret of a WorkloadSecretID, as long as the seed; BadSeed for an empty id."""
        if not secret_id:
            raise BadSeed("workload secret id must not be empty")
        return self._derive(self.pod_state_seed, f"WORKLOAD SECRET ID: {secret_id}")

    def transit_key(self, secret_id: str, version: int) -> bytes:
        """Return a version of the key by which a workload's data are encrypted for it, for AES-256.

        It is the first half of the workload secret of `<version>_<secret_id>`, so no manifest may name both ids.
        Raises BadSeed for an empty id.
        """
        if not secret_id:
            raise BadSeed("workload secret id must not be empty")
        return self.workload_secret(f"{version}_{secret_id}")[:TRANSIT_KEY_BYTES]

    def _derive(self, secret: bytes, info: str) -> bytes:
        hkdf = HKDF(
            algorithm=hashes.SHA256(), length=len(secret), salt=self.salt, info=info.encode()
        )
        return hkdf.derive(secret)


def deterministic_p384(entropy: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the P-384 key derived from `entropy` (here as long as the seed).

    The first output of an HMAC-DRBG (SHA-256) in 1..n-1 is the private scalar.
    Source: NIST SP 800-90A 10.1.2 with the personalization string of the `det-keygen` ECDSA profile.
    """
    for candidate in _hmac_drbg(entropy, _KEYGEN_PERSONALIZATION):
        scalar = int.from_bytes(candidate)
        if 0 < scalar < _P384_ORDER:
            return ec.derive_private_key(scalar, ec.SECP384R1())
    raise AssertionError("the generator never ends")


def _hmac_drbg(entropy: bytes, personalization: bytes) -> Iterator[bytes]:
    def mac(key: bytes, content: bytes) -> bytes:
        return hmac.digest(key, content, hashlib.sha256)

    material = entropy + personalization
    key, value = bytes(32), b"\x01" * 32
    for marker in (b"\x00", b"\x01"):
        key = mac(key, value + marker + material)
        value = mac(key, value)
    while True:
        output = b""
        while len(output) < _P384_BYTES:
            value = mac(key, value)
            output += value
        yield output[:_P384_BYTES]
        # The update after a request; reached when the candidate is out of range, for P-384 once in 2**190.
        key = mac(key, value + b"\x00")
        value = mac(key, value)
