"""The files that the initializer writes for the other containers of the pod, each of them atomically.

Source of paths, modes and contents: docs/internals/runtime.md 7.3.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from contrast_tasks.files import sha256_hex, write_atomic

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from contrast_tasks.api.meshapi import MeshCert

_PUBLIC = 0o444
_PRIVATE = 0o400
_GROUP_READS = 0o440


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFiles:
    """The files on the volume that the containers of a pod share; root: /contrast in a guest.

    cert_chain: leaf and intermediate. key: PKCS#8. workload_secret: hex, written only if the manifest assigns one.
    complete: written last, with the digest of the chain; Envoy watches it.
    """

    root: Path
    mesh_ca: Path
    cert_chain: Path
    key: Path
    root_ca: Path
    workload_secret: Path
    complete: Path

    @classmethod
    def below(cls, root: Path) -> "SecretFiles":
        """Return the files below a folder."""
        tls = root / "tls-config"
        return cls(
            root=root,
            mesh_ca=tls / "mesh-ca.pem",
            cert_chain=tls / "certChain.pem",
            key=tls / "key.pem",
            root_ca=tls / "coordinator-root-ca.pem",
            workload_secret=root / "secrets" / "workload-secret-seed",
            complete=root / "complete",
        )


class Reader(NamedTuple):
    """Who reads the private files besides root. uid: the user whom they belong to; gid: a group; None: as whoever writes them."""

    uid: int | None = None
    gid: int | None = None


NO_READER = Reader()


def write_credentials(
    files: SecretFiles,
    credentials: "MeshCert",
    key: "ec.EllipticCurvePrivateKey",
    *,
    reader: Reader = NO_READER,
) -> None:
    """Write all files, `complete` last. reader: of the private files. Raises OSError."""
    for folder in (files.root, files.key.parent, files.workload_secret.parent):
        folder.mkdir(parents=True, exist_ok=True)
        if folder != files.root:
            folder.chmod(0o755)
    for path, content in _private(files, credentials, key):
        write_atomic(path, content, mode=_PRIVATE)
        if reader.uid is not None and os.geteuid() == 0:
            os.chown(path, reader.uid, -1)
        if reader.gid is not None:
            os.chown(path, -1, reader.gid)
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
