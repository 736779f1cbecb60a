"""What the initializer receives, checked before anything is written.

A false Coordinator cannot make certificates that honest peers accept, but it could hand out nonsense that breaks
the pod much later. Source: docs/internals/runtime.md 7.2, 7.3; the certificates are those of docs/internals/coordinator.md 7.1.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from contrast_tasks.errors import CoordinatorUnreachable

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    from contrast_tasks.api.meshapi import MeshCert

# The Coordinator's certificates begin an hour early; a guest's clock may be off by as much.
CLOCK_SKEW = timedelta(hours=1)
_CHAIN_LENGTH = 2


class BadCredentials(CoordinatorUnreachable):
    """The answer to NewMeshCert does not hold together; nothing of it may be used."""


def verify_credentials(
    credentials: "MeshCert", key: "ec.EllipticCurvePrivateKey", now: datetime
) -> None:
    """Return if the leaf is for `key` and leads to the mesh CA and, through the intermediate, to the root CA.

    Raises BadCredentials with the first thing that is wrong.
    """
    mesh_ca = _one(credentials.mesh_ca_pem, "mesh CA")
    root_ca = _one(credentials.root_ca_pem, "root CA")
    chain = _certificates(credentials.cert_chain_pem, "certificate chain")
    if len(chain) != _CHAIN_LENGTH:
        raise BadCredentials(
            f"the certificate chain has {len(chain)} certificates, wanted leaf and intermediate"
        )
    leaf, intermediate = chain
    _same_key(leaf, key.public_key(), "the leaf certificate is for another key than ours")
    _same_key(
        intermediate, mesh_ca.public_key(), "the intermediate has another key than the mesh CA"
    )
    if intermediate.subject != mesh_ca.subject:
        raise BadCredentials("the intermediate has another subject than the mesh CA")
    for subject, issuer, name in (
        (mesh_ca, mesh_ca, "the mesh CA is not signed by itself"),
        (root_ca, root_ca, "the root CA is not signed by itself"),
        (leaf, mesh_ca, "the leaf certificate is not signed by the mesh CA"),
        (intermediate, root_ca, "the intermediate is not signed by the root CA"),
    ):
        _issued_by(subject, issuer, name)
    for certificate, name in (
        (leaf, "leaf certificate"),
        (intermediate, "intermediate"),
        (mesh_ca, "mesh CA"),
        (root_ca, "root CA"),
    ):
        _valid_at(certificate, name, now)
        _is_authority(certificate, name, wanted=certificate is not leaf)


def _certificates(pem: bytes, name: str) -> Sequence["x509.Certificate"]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as err:
        raise BadCredentials(f"the {name} is not a PEM certificate") from err


def _one(pem: bytes, name: str) -> "x509.Certificate":
    found = _certificates(pem, name)
    if len(found) != 1:
        raise BadCredentials(f"the {name} holds {len(found)} certificates, wanted one")
    return found[0]


def _same_key(certificate: "x509.Certificate", key: object, message: str) -> None:
    if certificate.public_key() != key:
        raise BadCredentials(message)


def _issued_by(subject: "x509.Certificate", issuer: "x509.Certificate", message: str) -> None:
    from cryptography.exceptions import InvalidSignature

    try:
        subject.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError) as err:
        raise BadCredentials(message) from err


def _valid_at(certificate: "x509.Certificate", name: str, now: datetime) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begins - CLOCK_SKEW <= now <= ends + CLOCK_SKEW:
        raise BadCredentials(
            f"the {name} is valid from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC, "
            f"and it is {now:%Y-%m-%d %H:%M} UTC"
        )


def _is_authority(certificate: "x509.Certificate", name: str, *, wanted: bool) -> None:
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        found = False
    if found is not wanted:
        raise BadCredentials(f"the {name} is {'not ' if wanted else ''}a certificate authority")
