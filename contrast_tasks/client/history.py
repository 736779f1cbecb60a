"""Checks on what an attested Coordinator presents: a consistent history and two proper CA certificates.

They are a second line of defence behind attestation.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from contrast_tasks.api.ca_names import MESH_CA, ROOT_CA
from contrast_tasks.errors import MismatchError
from contrast_tasks.files import sha256_hex

if TYPE_CHECKING:
    from cryptography import x509

    from contrast_tasks.api.userapi import ManifestHistory

ROOT_CA_FILE = "coordinator-root-ca.pem"
MESH_CA_FILE = "mesh-ca.pem"


def newest_transition(history: "ManifestHistory") -> bytes:
    """Return the last hash (32 bytes) of the chain over all manifests, 32 zeros without any."""
    from contrast_tasks.manifest.hashes import NO_TRANSITION, manifest_hash, transition_digest

    transition = history.lost_before or NO_TRANSITION
    for number, content in enumerate(history.manifests):
        digest = history.lost_manifests.get(number) or manifest_hash(content)
        transition = transition_digest(digest, transition)
    return transition


def lost_lines(history: "ManifestHistory", subject: str) -> list[str]:
    """Return a warning for each part of the history that the Coordinator says it lost."""
    lost = f"warning: {subject} lost a part of its history"
    lines = [
        f"{lost}: manifest {number} with SHA-256 {digest.hex()}"
        for number, digest in sorted(history.lost_manifests.items())
    ]
    lines += [f"{lost}: policy {name}" for name in sorted(history.lost_policies)]
    if history.lost_before:
        lines.append(f"{lost}: everything up to transition {history.lost_before.hex()}")
    return lines


def check_history(history: "ManifestHistory", subject: str) -> None:
    """Raise MismatchError unless the history is consistent.

    The policies must be exactly those that the manifests name. What the Coordinator says it lost may be missing, but nothing of
    the manifest in force. The newest transition, which older releases do not present,
    must be the end of the hash chain over all manifests and come with a signature; by which key is the Coordinator's secret.
    The manifests' contents are not checked here.
    """
    from contrast_tasks.manifest.hashes import named_policies
    from contrast_tasks.manifest.signing import is_signature

    presented = history.policy_hashes()
    named: set[str] = set()
    if len(history.manifests) - 1 in history.lost_manifests:
        raise MismatchError(f"{subject} lost the manifest in force")
    for number, content in enumerate(history.manifests):
        if number in history.lost_manifests:
            continue
        is_newest = number == len(history.manifests) - 1
        policies = named_policies(content)
        if policies is None:
            raise MismatchError(f"{subject} presents a manifest {number} that is not a manifest")
        lost = frozenset() if is_newest else history.lost_policies
        if missing := sorted(policies - presented - lost):
            raise MismatchError(
                f"{subject} names policy {missing[0]} in manifest {number} and does not present it"
            )
        named |= policies
    if unnamed := sorted(presented - named):
        raise MismatchError(f"{subject} presents policy {unnamed[0]}, which no manifest names")
    latest, transition = history.latest_transition, newest_transition(history)
    if latest is not None and latest.transition_hash != transition:
        raise MismatchError(
            f"{subject} presented a history that does not lead to its newest transition\n"
            f"  expected  {transition.hex()}   from {len(history.manifests)} manifests\n"
            f"  presented {latest.transition_hash.hex()}"
        )
    if latest is not None and not is_signature(latest.signature):
        raise MismatchError(f"{subject} presents a newest transition without a signature over it")


def check_certificates(root_ca_pem: bytes, mesh_ca_pem: bytes, subject: str, now: datetime) -> None:
    """Raise MismatchError unless each is exactly one self-signed CA certificate with the right name, valid at `now`.

    Clients are told to trust these files, so they may hold nothing else.
    """
    keys = []
    for what, pem, name in (
        ("root ca", root_ca_pem, ROOT_CA),
        ("mesh ca", mesh_ca_pem, MESH_CA),
    ):
        certificate = _only_certificate(pem)
        if certificate is None:
            fault = "not one certificate in PEM form"
        else:
            fault = _fault_of_authority(certificate, name, now)
            keys.append(certificate.public_key())
        if fault:
            raise MismatchError(
                f"{subject} presents a {what} that cannot be trusted: it is {fault}"
            )
    if keys[0] == keys[1]:
        raise MismatchError(f"{subject} presents a root ca and a mesh ca with the same key")


def _only_certificate(pem: bytes) -> "x509.Certificate | None":
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from contrast_tasks.attestation.pki.forms import PARSE_ERRORS

    try:
        certificate = x509.load_pem_x509_certificate(pem)
        # The key is parsed only when it is read.
        certificate.public_key()
        is_alone = certificate.public_bytes(Encoding.PEM).split() == pem.split()
    except PARSE_ERRORS:
        return None
    return certificate if is_alone else None


def _fault_of_authority(certificate: "x509.Certificate", name: str, now: datetime) -> str:
    """Return what is wrong with a CA certificate, "" if it is right."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.x509.oid import NameOID

    from contrast_tasks.attestation.pki.forms import PARSE_ERRORS

    wanted = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]).rfc4514_string()
    try:
        found = certificate.subject.rfc4514_string()
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        certificate.verify_directly_issued_by(certificate)
    except x509.ExtensionNotFound:
        return "no certificate authority"
    except (InvalidSignature, *PARSE_ERRORS):
        return "not signed by its own key"
    if found != wanted:
        return f"of {found or '(no name)'}, expected {wanted}"
    if not constraints.value.ca:
        return "no certificate authority"
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin <= now <= end:
        return f"valid from {begin:%Y-%m-%dT%H:%M:%SZ} to {end:%Y-%m-%dT%H:%M:%SZ}, and it is {now:%Y-%m-%dT%H:%M:%SZ}"
    return ""


def is_same_key(one_pem: bytes, other_pem: bytes) -> bool:
    """Return whether two PEM certificates have the same key; the reference product renews its root CA certificate."""
    one, other = _only_certificate(one_pem), _only_certificate(other_pem)
    return one is not None and other is not None and one.public_key() == other.public_key()


def certificate_sha256(pem: bytes) -> str:
    """Return the SHA-256 hex over a PEM certificate's DER, as browsers show it; "" if it is not exactly one certificate."""
    from cryptography.hazmat.primitives.serialization import Encoding

    certificate = _only_certificate(pem)
    return "" if certificate is None else sha256_hex(certificate.public_bytes(Encoding.DER))
