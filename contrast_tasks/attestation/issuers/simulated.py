"""A simulated SEV-SNP processor: real report format, real P-384 signatures, its own certificate chain.

Its chain has AMD's form in everything that is verified (names, extensions, RSASSA-PSS, serial number 0, a revocation list), so
the same code verifies both; only the pinned root differs. Its reports name processor family 0xff, which no reference value for
hardware accepts. `generate` needs the root only, so the signing of reports is in `simulated_guest`, which imports protobuf.

Read access to the directory suffices to forge evidence of this processor. It is for development on one machine.
"""

import contextlib
import os
import shutil
import tempfile
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from contrast_tasks.attestation.issuers.simulated_chain import SIMULATED_TCB, Chain, new_chain
from contrast_tasks.attestation.snp.endorsement import TrustAnchor, parse_endorsement, verify_chain
from contrast_tasks.attestation.snp.lines import LINE_SIMULATED
from contrast_tasks.errors import ClusterError, EvidenceRejected
from contrast_tasks.platforms import SIMULATED_MEASUREMENT

if TYPE_CHECKING:
    from contrast_tasks.attestation.issuers.simulated_guest import SimulatedIssuer

DEFAULT_GUEST_POLICY = 0x30000  # ABI 0.0, SMT allowed, as on bare metal

_CERTIFICATES = ("ark.der", "ask.der", "vcek.der", "crl.der")
_KEY = "vcek.pem"


class SimulatedProcessor:
    """One processor with its endorsement key; use `load_or_create` or `load` to get it."""

    def __init__(self, chain: Chain, key: ec.EllipticCurvePrivateKey) -> None:
        self.chain = chain
        self._key = key

    @classmethod
    def load_or_create(
        cls, directory: Path, *, now: datetime | None = None
    ) -> "SimulatedProcessor":
        """Return the processor stored in `directory`; create it on first use, which takes a tenth of a second.

        The directory (mode 0700, files 0600) is created atomically, so concurrent processes get the same processor.
        now: the start of its certificates' validity, by default the current time.
        Raises ClusterError if the directory holds something else or cannot be written.
        """
        if not _has_content(directory):
            _create(directory, now or datetime.now(UTC))
        return cls.load(directory)

    @classmethod
    def load(cls, directory: Path) -> "SimulatedProcessor":
        """Return the processor stored in `directory`; raises ClusterError if there is none or it is damaged."""
        try:
            ark, ask, vcek, crl = ((directory / name).read_bytes() for name in _CERTIFICATES)
            key = load_pem_private_key((directory / _KEY).read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as err:
            raise _damaged(directory, "it is incomplete or unreadable") from err
        processor = cls(Chain(ark_der=ark, ask_der=ask, vcek_der=vcek, crl_der=crl), key)  # type: ignore[arg-type]  # checked by _verify_whole
        processor._verify_whole(directory)
        return processor

    @cached_property
    def root_sha256_hex(self) -> str:
        """Return the SHA-256 of the root certificate (DER), which a manifest pins as RootSHA256."""
        return sha256(self.chain.ark_der).hexdigest()

    def issuer(
        self,
        host_data: bytes,
        measurement: bytes | None = None,
        *,
        guest_policy: int = DEFAULT_GUEST_POLICY,
    ) -> "SimulatedIssuer":
        """Return the issuer of one guest.

        host_data: the policy hash, 32 bytes. measurement: 48 bytes, by default the one of every simulated guest.
        guest_policy: the 64-bit word that the guest is launched with.
        """
        from contrast_tasks.attestation.issuers.simulated_guest import new_guest

        launch_digest = bytes.fromhex(SIMULATED_MEASUREMENT) if measurement is None else measurement
        return new_guest(self.chain, self._key, host_data, launch_digest, guest_policy)

    def _verify_whole(self, directory: Path) -> None:
        """Raise ClusterError unless key and certificates belong together."""
        try:
            endorsement = parse_endorsement(self.chain.vcek_der)
            anchor = TrustAnchor(
                line=LINE_SIMULATED, root_sha256=bytes.fromhex(self.root_sha256_hex)
            )
            verify_chain(
                endorsement,
                anchor,
                ica_der=self.chain.ask_der,
                ark_der=self.chain.ark_der,
                now=endorsement.certificate.not_before,
            )
        except EvidenceRejected as err:
            raise _damaged(directory, str(err)) from err
        wanted = endorsement.certificate.spki
        found = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if found != wanted:
            raise _damaged(directory, "its key is not the one of its certificate")


def _has_content(directory: Path) -> bool:
    try:
        return any(directory.iterdir())
    except FileNotFoundError:
        return False
    except OSError as err:
        raise _damaged(directory, "it is not a readable directory") from err


def _create(directory: Path, now: datetime) -> None:
    chain, key = new_chain(now, SIMULATED_TCB)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    contents = (chain.ark_der, chain.ask_der, chain.vcek_der, chain.crl_der, pem)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as err:
        raise _damaged(directory, "it cannot be made") from err
    try:
        for name, content in zip((*_CERTIFICATES, _KEY), contents, strict=True):
            _write_private(scratch / name, content)
        # The first process wins: renaming replaces an empty directory, but fails for one with content.
        with contextlib.suppress(OSError):
            scratch.rename(directory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _damaged(directory: Path, what: str) -> ClusterError:
    return ClusterError(
        f"no simulated processor in {directory}: {what}",
        hint="remove the directory and deploy again; manifests that trust it must be generated and set again",
    )
