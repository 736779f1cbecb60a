"""The SGX extension of a PCK certificate: identity and patch level of its platform.

Source: Intel SGX PCK Certificate and CRL profile, 1.5.
"""

from dataclasses import dataclass

from cryptography import x509

from contrast_tasks.attestation.errors import EndorsementRejected, MalformedEvidence
from contrast_tasks.attestation.pki import der

SGX_EXTENSION = x509.ObjectIdentifier("1.2.840.113741.1.13.1")
# The same in DER; the identifier of each member has one more arc below 128, so one more byte.
_PREFIX = bytes.fromhex("2a864886f84d010d01")
_COMPONENTS = 16
_ENUMERATED = 0x0A
_PIID, _FLAGS = 6, 7
_MULTI_BYTE = 0x80  # larger arcs take more than one byte


@dataclass(frozen=True, slots=True, kw_only=True)
class PckFacts:
    """The platform of a PCK certificate.

    ppid 16, cpu_svn 16, pce_id 2, fmspc 6 bytes; components: 16 SVNs; sgx_type: 0 standard, 1 scalable, 2 scalable with
    integrity. platform_instance_id (16 bytes) and the three flags are None unless the Platform CA issued the certificate.
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


def parse_pck_facts(leaf: x509.Certificate) -> PckFacts:
    """Read the SGX extension of a certificate; raises EndorsementRejected without one, MalformedEvidence."""
    try:
        extension = leaf.extensions.get_extension_for_oid(SGX_EXTENSION).value
    except x509.ExtensionNotFound as err:
        raise EndorsementRejected("PCK certificate has no SGX extension") from err
    if not isinstance(extension, x509.UnrecognizedExtension):
        raise EndorsementRejected("PCK certificate's SGX extension does not parse")
    return parse_sgx_extension(extension.value)


def parse_sgx_extension(content: bytes) -> PckFacts:
    """Read the content of the extension, a SEQUENCE of (OID, value) pairs; raises MalformedEvidence."""
    values = _pairs(der.only(content, der.SEQUENCE), _PREFIX)
    tcb = _pairs(_member(values, 2), _PREFIX + b"\2")
    flags = _pairs(values[_FLAGS], _PREFIX + b"\7") if _FLAGS in values else {}
    return PckFacts(
        ppid=_octets(values, 1, 16),
        components=tuple(_svn(tcb, number, 0xFF) for number in range(1, _COMPONENTS + 1)),
        pce_svn=_svn(tcb, 17, 0xFFFF),
        cpu_svn=_octets(tcb, 18, 16),
        pce_id=_octets(values, 3, 2),
        fmspc=_octets(values, 4, 6),
        sgx_type=_sgx_type(_member(values, 5)),
        platform_instance_id=_octets(values, _PIID, 16) if _PIID in values else None,
        dynamic_platform=_flag(flags, 1),
        cached_keys=_flag(flags, 2),
        smt_enabled=_flag(flags, 3),
    )


_Members = dict[int, der.Element]


def _pairs(sequence: der.Element, prefix: bytes) -> _Members:
    """Return the values of a SEQUENCE of (OID, value) pairs by the last arc of their distinct OIDs below `prefix`."""
    found: _Members = {}
    for pair in der.elements(der.expect(sequence, der.SEQUENCE).content):
        parts = list(der.elements(der.expect(pair, der.SEQUENCE).content))
        name = der.expect(parts[0], der.OID).content if parts else b""
        arc = name[-1] if name[:-1] == prefix else _MULTI_BYTE
        if len(parts) != 2 or arc >= _MULTI_BYTE or arc in found:  # noqa: PLR2004  # OID and value
            raise MalformedEvidence(
                "PCK certificate's SGX extension is not a list of distinct (OID, value) pairs"
            )
        found[arc] = parts[1]
    return found


def _member(values: _Members, arc: int) -> der.Element:
    if arc not in values:
        raise MalformedEvidence(f"PCK certificate's SGX extension lacks member {arc}")
    return values[arc]


def _octets(values: _Members, arc: int, size: int) -> bytes:
    value = der.expect(_member(values, arc), der.OCTET_STRING).content
    if len(value) != size:
        raise MalformedEvidence(
            f"PCK certificate's SGX extension: member {arc} has {len(value)} bytes, wanted {size}"
        )
    return value


def _svn(values: _Members, arc: int, most: int) -> int:
    value = der.unsigned(_member(values, arc))
    if value > most:
        raise MalformedEvidence(
            f"PCK certificate's SGX extension: member {arc} is {value}, at most {most}"
        )
    return value


def _sgx_type(element: der.Element) -> int:
    content = der.expect(element, _ENUMERATED).content
    if len(content) != 1 or content[0] > 2:  # noqa: PLR2004  # scalable with integrity
        raise MalformedEvidence(f"PCK certificate's SGX type is {content.hex()}, wanted 00 to 02")
    return content[0]


def _flag(flags: _Members, arc: int) -> bool | None:
    return der.boolean(flags[arc]) if arc in flags else None
