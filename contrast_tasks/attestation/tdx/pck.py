"""Intel's certificate chains: the PCK chain of a quote, and the chains of collateral.

Trust rests on one pinned root key, which the root that a peer sends must have. The caller gives the time of verification.

Source: Intel SGX PCK Certificate and CRL profile, 1.5.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contrast_tasks.attestation.errors import EndorsementRejected, MalformedEvidence
from contrast_tasks.attestation.pki.forms import PARSE_ERRORS, load_certificate
from contrast_tasks.attestation.pki.validity import Period, require_valid
from contrast_tasks.attestation.tdx.sgx_extension import PckFacts, parse_pck_facts

ROOT_NAME = "Intel SGX Root CA"
LEAF_NAME = "Intel SGX PCK Certificate"
CA_NAMES = ("Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA")
TCB_SIGNER_NAME = "Intel SGX TCB Signing"

_LEAF_EXTENSIONS = 6
_CHAIN_CERTIFICATES = 3
_PEM_BEGIN = b"-----BEGIN CERTIFICATE-----"
_PEM_END = b"-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class PckChain:
    """Leaf, intermediate and root of a quote; `authority` is `platform` or `processor`, by the leaf's issuer."""

    leaf: x509.Certificate
    intermediate: x509.Certificate
    root: x509.Certificate
    facts: PckFacts
    authority: str

    @classmethod
    def of(
        cls, leaf: x509.Certificate, intermediate: x509.Certificate, root: x509.Certificate
    ) -> "PckChain":
        """Return the content of a chain; nothing is verified."""
        authority = "processor" if "Processor" in common_name(intermediate) else "platform"
        facts = parse_pck_facts(leaf)
        return cls(
            leaf=leaf, intermediate=intermediate, root=root, facts=facts, authority=authority
        )


def spki_der(certificate: x509.Certificate) -> bytes:
    """Return the DER SubjectPublicKeyInfo."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def p256_key(certificate: x509.Certificate, what: str) -> ec.EllipticCurvePublicKey:
    """Return the certificate's key, which must be on P-256."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise EndorsementRejected(f"{what} has no P-256 key")
    return key


def has_signed(key: ec.EllipticCurvePublicKey, signature: bytes, content: bytes) -> bool:
    """Return whether a P-256 key signed `content` with SHA-256; the signature is r||s, 64 bytes, big-endian."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    return is_signature_of(key, encode_dss_signature(r, s), content)


def is_signature_of(key: ec.EllipticCurvePublicKey, signature_der: bytes, content: bytes) -> bool:
    """Return whether a P-256 key signed `content` with SHA-256; the signature is DER."""
    try:
        key.verify(signature_der, content, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def load_chain(pem: bytes, what: str) -> list[x509.Certificate]:
    """Load at most 3 concatenated PEM certificates, with nothing but line ends between and around them."""
    certificates: list[x509.Certificate] = []
    rest = pem.strip(b"\r\n")
    while rest:
        end = rest.find(_PEM_END)
        if not rest.startswith(_PEM_BEGIN) or end < 0 or len(certificates) == _CHAIN_CERTIFICATES:
            raise MalformedEvidence(f"{what} is not a chain of at most 3 PEM certificates")
        end += len(_PEM_END)
        certificates.append(load_certificate(rest[:end], f"a certificate of the {what}"))
        rest = rest[end:].lstrip(b"\r\n")
    return certificates


def parse_pck_chain(pem: bytes) -> PckChain:
    """Return the content of a PCK chain; nothing is verified. Raises MalformedEvidence or EndorsementRejected."""
    return PckChain.of(*_chain_of(pem, _CHAIN_CERTIFICATES, "PCK chain"))


def verify_pck_chain(pem: bytes, *, root_spki: bytes, now: datetime) -> PckChain:
    """Verify the PCK chain of a quote, except for revocation, which needs collateral.

    root_spki: DER SubjectPublicKeyInfo of the pinned root. Raises EndorsementRejected or MalformedEvidence.
    """
    chain, validities = _linked_chain(pem, root_spki)
    for validity in validities:
        require_valid(validity, now)
    return chain


@lru_cache(maxsize=256)
def _linked_chain(pem: bytes, root_spki: bytes) -> tuple[PckChain, tuple[Period, ...]]:
    """Verify what does not depend on the time; a platform always sends the same chain."""
    leaf, intermediate, root = _chain_of(pem, _CHAIN_CERTIFICATES, "PCK chain")
    _require_root(root, root_spki)
    _require_link(intermediate, root, "PCK intermediate", CA_NAMES, authority=True)
    _require_link(leaf, intermediate, "PCK certificate", (LEAF_NAME,), authority=False)
    p256_key(leaf, "PCK certificate")
    if len(leaf.extensions) != _LEAF_EXTENSIONS:
        raise EndorsementRejected(
            f"PCK certificate has {len(leaf.extensions)} extensions, wanted {_LEAF_EXTENSIONS}"
        )
    return PckChain.of(leaf, intermediate, root), (
        Period.of_certificate(leaf, "PCK certificate"),
        Period.of_certificate(intermediate, "PCK intermediate"),
        Period.of_certificate(root, "Intel root"),
    )


def _chain_of(pem: bytes, count: int, what: str) -> list[x509.Certificate]:
    certificates = load_chain(pem, what)
    if len(certificates) != count:
        raise EndorsementRejected(f"{what} has {len(certificates)} certificates, wanted {count}")
    return certificates


@lru_cache(maxsize=64)
def verified_signer(pem: bytes, root_spki: bytes) -> tuple[x509.Certificate, x509.Certificate]:
    """Verify a collateral issuer chain, except for its validity in time; return signer and root."""
    signer, root = _chain_of(pem, 2, "collateral issuer chain")
    _require_root(root, root_spki)
    _require_link(signer, root, "collateral signer", (TCB_SIGNER_NAME,), authority=False)
    p256_key(signer, "collateral signer")
    return signer, root


@lru_cache(maxsize=64)
def verified_ca(pem: bytes, root_spki: bytes) -> tuple[x509.Certificate, x509.Certificate]:
    """Verify a CRL issuer chain, except for its validity in time; return PCK intermediate and root."""
    authority, root = _chain_of(pem, 2, "PCK CRL issuer chain")
    _require_root(root, root_spki)
    _require_link(authority, root, "PCK intermediate", CA_NAMES, authority=True)
    return authority, root


def _require_root(root: x509.Certificate, root_spki: bytes) -> None:
    found = spki_der(root)
    if found != root_spki or common_name(root) != ROOT_NAME:
        raise EndorsementRejected(
            f"the chain does not end at the pinned Intel SGX Root CA: found {common_name(root)!r} with the key "
            f"{sha256(found).hexdigest()}, wanted {sha256(root_spki).hexdigest()} (sha-256)",
            reason="root",
        )
    _require_link(root, root, "Intel root", (ROOT_NAME,), authority=True)
    depth = root.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    if depth is not None and depth < 1:
        raise EndorsementRejected("Intel root may have no intermediate below it")


@lru_cache(maxsize=256)
def _require_link(
    child: x509.Certificate,
    parent: x509.Certificate,
    what: str,
    names: tuple[str, ...],
    *,
    authority: bool,
) -> None:
    """Verify what does not depend on the time; chains share links, and failures are not cached."""
    if child.version is not x509.Version.v3:
        raise EndorsementRejected(f"{what} is not an X.509 version 3 certificate")
    if common_name(child) not in names:
        raise EndorsementRejected(
            f"{what} is named {common_name(child)!r}, wanted {' or '.join(names)}"
        )
    if not isinstance(child.signature_hash_algorithm, SHA256):
        raise EndorsementRejected(f"{what} is not signed with SHA-256")
    _require_use(child, what, authority=authority)
    try:
        child.verify_directly_issued_by(parent)
    except (*PARSE_ERRORS, InvalidSignature) as err:
        raise EndorsementRejected(f"{what} was not issued by {common_name(parent)!r}") from err


def _require_use(certificate: x509.Certificate, what: str, *, authority: bool) -> None:
    """Verify that a certificate may issue others (`authority`) or sign data. Source: RFC 5280, 4.2.1.3, 4.2.1.9, 6.1.4."""
    is_authority, signs = False, True
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            is_authority = value.ca
        elif isinstance(value, x509.KeyUsage):
            signs = value.key_cert_sign if authority else value.digital_signature
        elif extension.critical:
            raise EndorsementRejected(
                f"{what} has the unknown critical extension {extension.oid.dotted_string}"
            )
    if is_authority is not authority:
        raise EndorsementRejected(f"{what} is {'not ' if authority else ''}a certificate authority")
    if not signs:
        raise EndorsementRejected(
            f"{what} has a key that may not sign {'certificates' if authority else 'data'}"
        )


def common_name(certificate: x509.Certificate) -> str:
    """Return the subject's common name, empty if there is not exactly one."""
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""
