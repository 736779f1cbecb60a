"""Intel's certificate chains: the PCK chain of a quote, the signers of collateral, and the SGX extension of a PCK certificate.

Trust comes from one pinned root key; the root a peer sends must be it. Validity is judged at an instant the caller gives.

Source: Intel SGX PCK Certificate and CRL profile, 1.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contrast_tasks.attestation.tdx_errors import ChainRejected, MalformedEvidence

ROOT_NAME = "Intel SGX Root CA"
LEAF_NAME = "Intel SGX PCK Certificate"
CA_NAMES = ("Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA")
TCB_SIGNER_NAME = "Intel SGX TCB Signing"

SGX_EXTENSION = x509.ObjectIdentifier("1.2.840.113741.1.13.1")
_PREFIX = SGX_EXTENSION.dotted_string
_LEAF_EXTENSIONS = 6
_CHAIN_CERTIFICATES = 3
_COMPONENTS = 16
_PEM_BEGIN = b"-----BEGIN CERTIFICATE-----"
_PEM_END = b"-----END CERTIFICATE-----"

_INTEGER, _OCTET_STRING, _OID, _ENUMERATED, _BOOLEAN, _SEQUENCE = 0x02, 0x04, 0x06, 0x0A, 0x01, 0x30


@dataclass(frozen=True, slots=True, kw_only=True)
class PckFacts:
    """What a PCK certificate says of its platform.

    ppid 16, cpu_svn 16, pce_id 2, fmspc 6 bytes; components: 16 SVNs; sgx_type: 0 standard, 1 scalable, 2 scalable with
    integrity. platform_instance_id (16 bytes) and the three flags exist only under the Platform CA, else None.
    """

    ppid: bytes
    components: tuple[int, ...]
    pce_svn: int
    cpu_svn: bytes
    pce_id: bytes
    fmspc: bytes
    sgx_type: int
    platform_instance_id: bytes | None
    dynamic_platform: bool | None
    cached_keys: bool | None
    smt_enabled: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PckChain:
    """Leaf, intermediate and root of a quote, verified against each other; see `verify_pck_chain`."""

    leaf: x509.Certificate
    intermediate: x509.Certificate
    root: x509.Certificate
    facts: PckFacts


def spki_der(certificate: x509.Certificate) -> bytes:
    """Return the DER SubjectPublicKeyInfo."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def p256_key(certificate: x509.Certificate, what: str) -> ec.EllipticCurvePublicKey:
    """Return the certificate's key, which must be on P-256."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ChainRejected(f"{what} has no P-256 key")
    return key


def load_chain(pem: bytes, what: str) -> list[x509.Certificate]:
    """Load concatenated PEM certificates; nothing but line ends may stand between or around them."""
    certificates: list[x509.Certificate] = []
    rest = pem.strip(b"\r\n")
    while rest:
        end = rest.find(_PEM_END)
        if not rest.startswith(_PEM_BEGIN) or end < 0 or len(certificates) == _CHAIN_CERTIFICATES:
            raise MalformedEvidence(f"{what} is not a chain of at most 3 PEM certificates")
        end += len(_PEM_END)
        try:
            certificates.append(x509.load_pem_x509_certificate(rest[:end]))
        except ValueError as err:
            raise MalformedEvidence(f"{what} holds a certificate that does not parse") from err
        rest = rest[end:].lstrip(b"\r\n")
    return certificates


def verify_pck_chain(pem: bytes, *, root_spki: bytes, now: datetime) -> PckChain:
    """Verify leaf, intermediate, root as sent by a quote; revocation is the collateral's business.

    root_spki: DER SubjectPublicKeyInfo of the pinned root. Raises ChainRejected or MalformedEvidence.
    """
    chain = _linked_chain(pem, root_spki)
    for certificate, what in (
        (chain.leaf, "PCK certificate"),
        (chain.intermediate, "PCK intermediate"),
        (chain.root, "Intel root"),
    ):
        require_valid_at(certificate, what, now)
    return chain


def require_valid_at(certificate: x509.Certificate, what: str, now: datetime) -> None:
    """Raise ChainRejected unless `now` lies in the certificate's validity."""
    if now < certificate.not_valid_before_utc:
        raise ChainRejected(
            f"{what} is valid from {certificate.not_valid_before_utc:%Y-%m-%d}, now is {now:%Y-%m-%d}",
            reason="certificate-not-yet-valid",
        )
    if now > certificate.not_valid_after_utc:
        raise ChainRejected(
            f"{what} expired on {certificate.not_valid_after_utc:%Y-%m-%d}, now is {now:%Y-%m-%d}",
            reason="certificate-expired",
        )


@lru_cache(maxsize=256)
def _linked_chain(pem: bytes, root_spki: bytes) -> PckChain:
    """Verify all of a chain that does not depend on the clock; one platform sends the same bytes every time."""
    certificates = load_chain(pem, "PCK chain")
    if len(certificates) != _CHAIN_CERTIFICATES:
        raise ChainRejected(f"PCK chain has {len(certificates)} certificates, wanted 3")
    leaf, intermediate, root = certificates
    _require_root(root, root_spki)
    _require_link(intermediate, root, "PCK intermediate", CA_NAMES, authority=True)
    _require_link(leaf, intermediate, "PCK certificate", (LEAF_NAME,), authority=False)
    p256_key(leaf, "PCK certificate")
    if len(_extensions(leaf, "PCK certificate")) != _LEAF_EXTENSIONS:
        raise ChainRejected(
            f"PCK certificate has {len(leaf.extensions)} extensions, wanted {_LEAF_EXTENSIONS}"
        )
    return PckChain(leaf=leaf, intermediate=intermediate, root=root, facts=parse_pck_facts(leaf))


@lru_cache(maxsize=64)
def verified_signer(pem: bytes, root_spki: bytes) -> tuple[x509.Certificate, x509.Certificate]:
    """Return signer and root of a collateral issuer chain; validity is left to the caller, who has the clock."""
    certificates = load_chain(pem, "collateral issuer chain")
    if len(certificates) != 2:  # noqa: PLR2004  # signer and root
        raise ChainRejected(
            f"collateral issuer chain has {len(certificates)} certificates, wanted 2"
        )
    signer, root = certificates
    _require_root(root, root_spki)
    _require_link(signer, root, "collateral signer", (TCB_SIGNER_NAME,), authority=False)
    p256_key(signer, "collateral signer")
    return signer, root


@lru_cache(maxsize=64)
def verified_ca(pem: bytes, root_spki: bytes) -> tuple[x509.Certificate, x509.Certificate]:
    """Return the PCK intermediate and root of a CRL issuer chain."""
    certificates = load_chain(pem, "PCK CRL issuer chain")
    if len(certificates) != 2:  # noqa: PLR2004  # intermediate and root
        raise ChainRejected(f"PCK CRL issuer chain has {len(certificates)} certificates, wanted 2")
    authority, root = certificates
    _require_root(root, root_spki)
    _require_link(authority, root, "PCK intermediate", CA_NAMES, authority=True)
    return authority, root


def _require_root(root: x509.Certificate, root_spki: bytes) -> None:
    if spki_der(root) != root_spki or common_name(root) != ROOT_NAME:
        raise ChainRejected("the chain does not end at the pinned Intel SGX Root CA")
    _require_link(root, root, "Intel root", (ROOT_NAME,), authority=True)


def _require_link(
    child: x509.Certificate,
    parent: x509.Certificate,
    what: str,
    names: Sequence[str],
    *,
    authority: bool,
) -> None:
    if child.version is not x509.Version.v3:
        raise ChainRejected(f"{what} is not an X.509 version 3 certificate")
    if common_name(child) not in names:
        raise ChainRejected(f"{what} is named {common_name(child)!r}, wanted {' or '.join(names)}")
    if not isinstance(child.signature_hash_algorithm, SHA256):
        raise ChainRejected(f"{what} is not signed with SHA-256")
    try:
        constraints = _extensions(child, what).get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = x509.BasicConstraints(ca=False, path_length=None)
    if constraints.ca is not authority:
        raise ChainRejected(f"{what} is {'not ' if authority else ''}a certificate authority")
    try:
        child.verify_directly_issued_by(parent)
    except (ValueError, TypeError, InvalidSignature) as err:
        raise ChainRejected(f"{what} was not issued by {common_name(parent)!r}") from err


def _extensions(certificate: x509.Certificate, what: str) -> x509.Extensions:
    try:
        return certificate.extensions
    except (ValueError, x509.DuplicateExtension) as err:
        raise ChainRejected(f"{what} has extensions that do not parse") from err


def common_name(certificate: x509.Certificate) -> str:
    """Return the subject's common name, empty if there is not exactly one."""
    try:
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    except ValueError as err:
        raise ChainRejected("a certificate's subject does not parse") from err
    return str(names[0].value) if len(names) == 1 else ""


def parse_pck_facts(leaf: x509.Certificate) -> PckFacts:
    """Read the SGX extension 1.2.840.113741.1.13.1, a SEQUENCE of (OID, value) pairs."""
    try:
        extension = leaf.extensions.get_extension_for_oid(SGX_EXTENSION).value
    except x509.ExtensionNotFound as err:
        raise ChainRejected("PCK certificate has no SGX extension") from err
    if not isinstance(extension, x509.UnrecognizedExtension):
        raise ChainRejected("PCK certificate's SGX extension does not parse")
    values = _pairs(_only(extension.value, _SEQUENCE), _PREFIX)
    tcb = _pairs(_typed(values, "2", _SEQUENCE), f"{_PREFIX}.2")
    flags = _pairs(_typed(values, "7", _SEQUENCE), f"{_PREFIX}.7") if "7" in values else {}
    return PckFacts(
        ppid=_octets(values, "1", 16),
        components=tuple(_integer(tcb, str(n), 0xFF) for n in range(1, _COMPONENTS + 1)),
        pce_svn=_integer(tcb, "17", 0xFFFF),
        cpu_svn=_octets(tcb, "18", 16),
        pce_id=_octets(values, "3", 2),
        fmspc=_octets(values, "4", 6),
        sgx_type=_small(_typed(values, "5", _ENUMERATED), 2, "SGX type"),
        platform_instance_id=_octets(values, "6", 16) if "6" in values else None,
        dynamic_platform=_flag(flags, "1"),
        cached_keys=_flag(flags, "2"),
        smt_enabled=_flag(flags, "3"),
    )


def _tlv(content: bytes, at: int) -> tuple[int, bytes, int]:
    """Return tag, value and end of the DER element at `at`; lengths up to 65,535 in their shortest form."""
    if at + 2 > len(content):
        raise MalformedEvidence("PCK certificate's SGX extension is cut short")
    tag, size, start = content[at], content[at + 1], at + 2
    if size > 0x7F:  # noqa: PLR2004  # long form
        width = size & 0x7F
        size = int.from_bytes(content[start : start + width], "big")
        start += width
        shortest = 1 if size <= 0xFF else 2  # noqa: PLR2004  # one byte
        if size <= 0x7F or width != shortest:  # noqa: PLR2004  # short form
            raise MalformedEvidence("PCK certificate's SGX extension has a length that is not DER")
    if start + size > len(content):
        raise MalformedEvidence("PCK certificate's SGX extension is cut short")
    return tag, content[start : start + size], start + size


def _only(content: bytes, tag: int) -> bytes:
    found, value, end = _tlv(content, 0)
    if found != tag or end != len(content):
        raise MalformedEvidence(
            f"PCK certificate's SGX extension: wanted one element of tag {tag:#x}"
        )
    return value


def _pairs(content: bytes, prefix: str) -> dict[str, tuple[int, bytes]]:
    """Return last arc -> (tag, value) of a SEQUENCE's content made of (OID, value) pairs; duplicates are refused."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while at < len(content):
        tag, pair, at = _tlv(content, at)
        oid_tag, oid, middle = _tlv(pair, 0)
        value_tag, value, end = _tlv(pair, middle)
        name = _oid_text(oid) if oid_tag == _OID else ""
        parent, _, arc = name.rpartition(".")
        if tag != _SEQUENCE or end != len(pair) or parent != prefix or arc in found:
            raise MalformedEvidence(
                "PCK certificate's SGX extension is not a list of distinct (OID, value) pairs"
            )
        found[arc] = (value_tag, value)
    return found


def _oid_text(raw: bytes) -> str:
    numbers: list[int] = []
    current = 0
    for byte in raw:
        current = current << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(current)
            current = 0
    if not numbers or current:
        raise MalformedEvidence(
            "PCK certificate's SGX extension holds an object identifier that does not parse"
        )
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def _typed(values: dict[str, tuple[int, bytes]], arc: str, tag: int) -> bytes:
    found, value = values.get(arc, (None, b""))
    if found != tag:
        raise MalformedEvidence(
            f"PCK certificate's SGX extension: member {arc} is missing or of another type"
        )
    return value


def _octets(values: dict[str, tuple[int, bytes]], arc: str, size: int) -> bytes:
    value = _typed(values, arc, _OCTET_STRING)
    if len(value) != size:
        raise MalformedEvidence(
            f"PCK certificate's SGX extension: member {arc} has {len(value)} bytes, wanted {size}"
        )
    return value


def _integer(values: dict[str, tuple[int, bytes]], arc: str, most: int) -> int:
    return _small(_typed(values, arc, _INTEGER), most, f"member {arc}")


def _small(value: bytes, most: int, what: str) -> int:
    number = int.from_bytes(value, "big", signed=True)
    if not value or not 0 <= number <= most:
        raise MalformedEvidence(f"PCK certificate's SGX extension: {what} is not 0 to {most}")
    return number


def _flag(flags: dict[str, tuple[int, bytes]], arc: str) -> bool | None:
    if arc not in flags:
        return None
    value = _typed(flags, arc, _BOOLEAN)
    if value not in (b"\x00", b"\xff"):
        raise MalformedEvidence("PCK certificate's SGX extension holds a boolean that is not DER")
    return value == b"\xff"
