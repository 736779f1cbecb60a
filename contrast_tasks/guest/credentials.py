"""Checks on the credentials that the initializer receives, made before anything is written.

A false Coordinator cannot issue certificates that honest peers accept, but it could send invalid ones that break the pod
much later. What a pod has already is replaced only by something younger. Source: docs/internals/runtime.md 7.2, 7.3, 7.5; for the certificates docs/internals/coordinator.md 7.1.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from contrast_tasks.errors import CoordinatorUnreachable
from contrast_tasks.guest.secret_files import SecretFiles
from contrast_tasks.records import Record

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    from contrast_tasks.api.meshapi import MeshCert

# The Coordinator's certificates begin an hour early; a guest's clock may be off by as much.
CLOCK_SKEW = timedelta(hours=1)
_CHAIN_LENGTH = 2


class BadCredentials(CoordinatorUnreachable):
    """The answer to NewMeshCert is inconsistent; nothing of it may be used."""


def verify_credentials(
    credentials: "MeshCert", key: "ec.EllipticCurvePrivateKey", now: datetime
) -> None:
    """Require a leaf for `key` that chains to the mesh CA and, through the intermediate, to the root CA.

    Raises BadCredentials for the first fault.
    """
    mesh_ca = _only_certificate(credentials.mesh_ca_pem, "mesh CA")
    root_ca = _only_certificate(credentials.root_ca_pem, "root CA")
    chain = _certificates(credentials.cert_chain_pem, "certificate chain")
    if len(chain) != _CHAIN_LENGTH:
        raise BadCredentials(
            f"the certificate chain has {len(chain)} certificates, wanted leaf and intermediate"
        )
    leaf, intermediate = chain
    if leaf.public_key() != key.public_key():
        raise BadCredentials("the leaf certificate is for another key than ours")
    if intermediate.public_key() != mesh_ca.public_key():
        raise BadCredentials("the intermediate has another key than the mesh CA")
    if intermediate.subject != mesh_ca.subject:
        raise BadCredentials("the intermediate has another subject than the mesh CA")
    for subject, issuer, name in (
        (mesh_ca, mesh_ca, "the mesh CA is not signed by itself"),
        (root_ca, root_ca, "the root CA is not signed by itself"),
        (leaf, mesh_ca, "the leaf certificate is not signed by the mesh CA"),
        (intermediate, root_ca, "the intermediate is not signed by the root CA"),
    ):
        _require_issuer(subject, issuer, name)
    for certificate, name in (
        (leaf, "leaf certificate"),
        (intermediate, "intermediate"),
        (mesh_ca, "mesh CA"),
        (root_ca, "root CA"),
    ):
        _require_valid(certificate, name, now)
        _require_authority(certificate, name, wanted=certificate is not leaf)


def _certificates(pem: bytes, name: str) -> Sequence["x509.Certificate"]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as err:
        raise BadCredentials(f"the {name} is not a PEM certificate") from err


def _only_certificate(pem: bytes, name: str) -> "x509.Certificate":
    certificates = _certificates(pem, name)
    if len(certificates) != 1:
        raise BadCredentials(f"the {name} holds {len(certificates)} certificates, wanted one")
    return certificates[0]


def _require_issuer(subject: "x509.Certificate", issuer: "x509.Certificate", message: str) -> None:
    from cryptography.exceptions import InvalidSignature

    try:
        subject.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError) as err:
        raise BadCredentials(message) from err


def _require_valid(certificate: "x509.Certificate", name: str, now: datetime) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begins - CLOCK_SKEW <= now <= ends + CLOCK_SKEW:
        raise BadCredentials(
            f"the {name} is valid from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC, "
            f"and it is {now:%Y-%m-%d %H:%M} UTC"
        )


def _require_authority(certificate: "x509.Certificate", name: str, *, wanted: bool) -> None:
    from cryptography import x509

    try:
        is_authority = certificate.extensions.get_extension_for_class(
            x509.BasicConstraints
        ).value.ca
    except (x509.ExtensionNotFound, ValueError):
        is_authority = False
    if is_authority is not wanted:
        raise BadCredentials(f"the {name} is {'not ' if wanted else ''}a certificate authority")


class Held(Record):
    """The certificates that a pod has already; key: of the leaf. secret: the workload secret."""

    root: "x509.Certificate"
    mesh_ca: "x509.Certificate"
    leaf: "x509.Certificate"
    key: "ec.EllipticCurvePrivateKey"
    secret: bytes | None


def read_held(files: SecretFiles) -> Held | None:
    """Return what an earlier run has written, None if it was not finished or cannot be read."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        if not files.complete.exists():
            return None
        key = load_pem_private_key(files.key.read_bytes(), password=None)
        leaf = _certificates(files.cert_chain.read_bytes(), "certificate chain")[0]
        secret = None
        if files.workload_secret.exists():
            secret = bytes.fromhex(files.workload_secret.read_text(encoding="ascii"))
        root = _only_certificate(files.root_ca.read_bytes(), "root CA")
        mesh_ca = _only_certificate(files.mesh_ca.read_bytes(), "mesh CA")
    except (OSError, ValueError, TypeError, BadCredentials):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or leaf.public_key() != key.public_key():
        return None
    return Held(root=root, mesh_ca=mesh_ca, leaf=leaf, key=key, secret=secret)


def verify_successor(held: Held, credentials: "MeshCert") -> None:
    """Require that verified credentials come after those held; raises BadCredentials.

    The root CA stays, as it does for the life of a Coordinator's seed: so whoever answers is the Coordinator that answered first,
    or knows its key. A mesh CA of another generation must be younger: one that lags behind, as a second Coordinator may, would
    bring a manifest back that has been replaced.
    """
    root = _only_certificate(credentials.root_ca_pem, "root CA")
    mesh_ca = _only_certificate(credentials.mesh_ca_pem, "mesh CA")
    leaf = _certificates(credentials.cert_chain_pem, "certificate chain")[0]
    if root.public_key() != held.root.public_key():
        raise BadCredentials(
            "the root CA is another one than before",
            hint="delete the pod if its Coordinator was set up anew",
        )
    if mesh_ca.public_key() == held.mesh_ca.public_key():
        old, new, name = held.leaf.not_valid_after_utc, leaf.not_valid_after_utc, "certificate"
    else:
        old, new = held.mesh_ca.not_valid_before_utc, mesh_ca.not_valid_before_utc
        name = "mesh CA"
    if new < old:
        raise BadCredentials(
            f"the {name} is of {new:%Y-%m-%d %H:%M:%S} UTC, older than the one before, of {old:%Y-%m-%d %H:%M:%S} UTC",
            hint="an older manifest may be in force there",
        )
