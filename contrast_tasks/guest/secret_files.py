"""The files that the initializer leaves for the pod, and the ones that others wait for.

Paths, modes and contents: docs/internals/runtime.md 7.3. Each file appears whole: it is written under another name first.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks.files import sha256_hex, write_atomic

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from contrast_tasks.api.meshapi import MeshCert

_PUBLIC = 0o444
_PRIVATE = 0o400
_GROUP_READS = 0o440


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFiles:
    """The files below the shared volume, `/contrast` in a guest."""

    root: Path

    @property
    def mesh_ca(self) -> Path:
        """Return the file of the self-signed mesh CA."""
        return self.root / "tls-config" / "mesh-ca.pem"

    @property
    def cert_chain(self) -> Path:
        """Return the file of leaf and intermediate."""
        return self.root / "tls-config" / "certChain.pem"

    @property
    def key(self) -> Path:
        """Return the file of the private key, PKCS#8."""
        return self.root / "tls-config" / "key.pem"

    @property
    def root_ca(self) -> Path:
        """Return the file of the Coordinator's root CA."""
        return self.root / "tls-config" / "coordinator-root-ca.pem"

    @property
    def workload_secret(self) -> Path:
        """Return the file of the workload secret, there only if the manifest gives the workload one."""
        return self.root / "secrets" / "workload-secret-seed"

    @property
    def complete(self) -> Path:
        """Return the file that is renamed into place when a set is complete; it names the set, and Envoy watches for it."""
        return self.root / "complete"

    def needed_by_mesh(self) -> tuple[Path, Path, Path]:
        """Return the files that Envoy reads."""
        return self.cert_chain, self.key, self.mesh_ca


def write_credentials(
    files: SecretFiles,
    credentials: "MeshCert",
    key: "ec.EllipticCurvePrivateKey",
    *,
    key_gid: int | None = None,
) -> None:
    """Write everything, the sign that the set is complete last.

    key_gid: group that may read the private files too; without it only their owner may.
    Raises OSError.
    """
    for folder in (files.root, files.key.parent, files.workload_secret.parent):
        folder.mkdir(parents=True, exist_ok=True)
        if folder != files.root:
            folder.chmod(0o755)
    for path, content in _private(files, credentials, key):
        write_atomic(path, content, mode=_PRIVATE)
        if key_gid is not None:
            os.chown(path, -1, key_gid)
            path.chmod(_GROUP_READS)
    if credentials.workload_secret is None:
        files.workload_secret.unlink(missing_ok=True)
    write_atomic(files.root_ca, credentials.root_ca_pem, mode=_PUBLIC)
    write_atomic(files.mesh_ca, credentials.mesh_ca_pem, mode=_PUBLIC)
    write_atomic(files.cert_chain, credentials.cert_chain_pem, mode=_PUBLIC)
    write_atomic(files.complete, sha256_hex(credentials.cert_chain_pem).encode(), mode=_PUBLIC)


def _private(
    files: SecretFiles, credentials: "MeshCert", key: "ec.EllipticCurvePrivateKey"
) -> Iterator[tuple[Path, bytes]]:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    yield files.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if credentials.workload_secret is not None:
        yield files.workload_secret, credentials.workload_secret.hex().encode()
