"""Describe evidence and the certificates of AMD and Intel, field by field and bit by bit. Nothing is verified."""

from typing import Any

from cryptography import x509

from contrast_tasks.attestation.carriers import (
    HCL_CONTAINER,
    PEM_BEGIN,
    RAW_REPORT,
    open_carrier,
)
from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.flags import Flags, named_bits
from contrast_tasks.attestation.pki.certificate import parse_certificate
from contrast_tasks.attestation.pki.der import elements
from contrast_tasks.attestation.pki.forms import (
    issuer_text,
    load_certificate,
    pem_to_der,
    utc_text,
)
from contrast_tasks.attestation.snp.document import SnpDocument
from contrast_tasks.attestation.snp.document import parse_document as parse_snp_document
from contrast_tasks.attestation.snp.endorsement import LINE_TURIN, parse_endorsement
from contrast_tasks.attestation.snp.flags import (
    ABI_VERSION,
    GUEST_POLICY,
    PLATFORM_INFO,
    SIGNER_INFO,
)
from contrast_tasks.attestation.snp.lines import line_of_report
from contrast_tasks.attestation.snp.report import SnpReport
from contrast_tasks.attestation.snp.tcb import Tcb, parse_tcb
from contrast_tasks.attestation.tdx.document import parse_document as parse_tdx_document
from contrast_tasks.attestation.tdx.flags import ENCLAVE_ATTRIBUTES, TD_ATTRIBUTES, XFAM
from contrast_tasks.attestation.tdx.pck import load_chain
from contrast_tasks.attestation.tdx.quote import TdxQuote
from contrast_tasks.attestation.tdx.sgx_extension import SGX_EXTENSION, parse_pck_facts
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.evidence_documents import OID_SNP, OID_TDX

Description = dict[str, Any]

_SIGNING_KEYS = {0: "VCEK", 1: "VLEK", 7: "none"}


def describe(content: bytes) -> Description:
    """Return the kind of `content` and all its fields; byte strings as hex, times in UTC.

    Raises MalformedEvidence if the format is unknown, with the reason of each parser.
    """
    if content.startswith(PEM_BEGIN):
        return {"kind": "certificate", **_pem(content)}
    if _is_der(content):
        return _der(content)
    carried = open_carrier(content)
    if isinstance(carried.evidence, TdxQuote):
        members = describe_tdx_quote(carried.evidence)
    elif carried.carrier == RAW_REPORT:
        members = describe_snp_report(carried.evidence.report)
    elif carried.carrier == HCL_CONTAINER:
        members = {"report": describe_snp_report(carried.evidence.report)}
    else:
        members = _snp_document(carried.evidence)
    return {"kind": carried.carrier, **members}


def describe_snp_report(report: SnpReport) -> Description:
    """Return all fields of a report, with TCB versions split in the product's layout."""
    line = line_of_report(report)
    return {
        "version": report.version,
        "product": line or "unknown",
        "guest_svn": report.guest_svn,
        "policy": {
            "word": f"{report.policy:#x}",
            "abi_major": report.policy >> 8 & 0xFF,
            "abi_minor": report.policy & 0xFF,
            **named_bits(report.policy & ~ABI_VERSION, GUEST_POLICY),
        },
        **_hexed(report, "family_id", "image_id"),
        "vmpl": report.vmpl,
        "signature_algorithm": report.signature_algo,
        "platform_info": flag_word(report.platform_info, PLATFORM_INFO),
        "signer_info": {
            "word": f"{report.signer_info:#x}",
            **named_bits(report.signer_info & 0b11, SIGNER_INFO),
            "SIGNING_KEY": _SIGNING_KEYS.get(report.signing_key, f"reserved {report.signing_key}"),
        },
        **{
            name: _tcb(getattr(report, name), turin=line == LINE_TURIN)
            for name in ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb")
        },
        "current_version": firmware_version(report.current_version),
        "committed_version": firmware_version(report.committed_version),
        "cpuid": {
            "family": report.cpuid_family,
            "model": report.cpuid_model,
            "stepping": report.cpuid_stepping,
        },
        **_hexed(
            report, "report_data", "measurement", "host_data", "id_key_digest", "author_key_digest",
            "report_id", "report_id_ma", "chip_id",
        ),
        "launch_mitigations": f"{report.launch_mit_vector:#x}",
        "current_mitigations": f"{report.current_mit_vector:#x}",
    }  # fmt: skip


def flag_word(word: int, flags: Flags) -> Description:
    """Return a word of flags in hex, and bit by bit."""
    return {"word": f"{word:#x}", **named_bits(word, flags)}


def flag_bytes(field: bytes, flags: Flags) -> Description:
    """Return a little-endian field of flags as hex of its bytes, and bit by bit."""
    return {"raw": field.hex(), **named_bits(int.from_bytes(field, "little"), flags)}


def firmware_version(version: tuple[int, int, int]) -> str:
    """Return a firmware version as text, `1.55 build 29`."""
    return "{}.{} build {}".format(*version)


def _hexed(structure: object, *names: str) -> Description:
    return {name: getattr(structure, name).hex() for name in names}


def _tcb(word: int, *, turin: bool) -> Description:
    members: Description = {"word": f"{word:#018x}"}
    try:
        members |= _levels(parse_tcb(word, turin=turin))
    except MalformedEvidence as err:
        return {**members, "problem": str(err)}
    if not turin:
        del members["fmc"]
    return members


def _levels(tcb: Tcb) -> Description:
    return {name: getattr(tcb, name) for name in ("fmc", "bootloader", "tee", "snp", "microcode")}


def describe_tdx_quote(quote: TdxQuote) -> Description:
    """Return header, TD report, quoting enclave and PCK certificate of a quote."""
    header, body, report = quote.header, quote.body, quote.qe_report
    members: Description = {
        "version": header.version,
        "attestation_key_type": header.attestation_key_type,
        "tee_type": f"{header.tee_type:#x}",
        **_hexed(header, "qe_svn", "pce_svn", "qe_vendor_id", "user_data"),
        "tee_tcb_svn": {
            "raw": body.tee_tcb_svn.hex(),
            "module_svn": body.tee_tcb_svn[0],
            "module_version": body.tee_tcb_svn[1],
        },
        "td_attributes": flag_bytes(body.td_attributes, TD_ATTRIBUTES),
        "xfam": flag_bytes(body.xfam, XFAM),
        **_hexed(
            body, "mr_seam", "mr_signer_seam", "seam_attributes", "mr_td", "mr_config_id", "mr_owner",
            "mr_owner_config", "report_data",
        ),
        **{f"rtmr{index}": rtmr.hex() for index, rtmr in enumerate(body.rtmrs)},
        "host_data": quote.host_data.hex(),
        "attestation_key": quote.attestation_key.hex(),
        "quoting_enclave": {
            **_hexed(report, "mr_enclave", "mr_signer"),
            "isv_prod_id": report.isv_prod_id,
            "isv_svn": report.isv_svn,
            "attributes": {
                **flag_bytes(report.attributes[:8], ENCLAVE_ATTRIBUTES),
                "raw": report.attributes.hex(),
                "xfrm": report.attributes[8:].hex(),
            },
            "authentication_data": quote.qe_auth_data.hex(),
            "misc_select": f"{report.misc_select:#010x}",
            "cpu_svn": report.cpu_svn.hex(),
        },
        "trailing_bytes": len(quote.trailing),
    }  # fmt: skip
    if body.mr_service_td:
        members |= _hexed(body, "mr_service_td", "tee_tcb_svn2")
    chain = load_chain(quote.pck_chain_pem, "PCK chain")
    if chain:
        members["pck_certificate"] = _pck(chain[0])
    return members


def _pck(certificate: x509.Certificate) -> Description:
    facts = parse_pck_facts(certificate)
    piid = facts.platform_instance_id
    return {
        **_certificate(certificate),
        **_hexed(facts, "fmspc", "pce_id"),
        "pce_svn": facts.pce_svn,
        "sgx_components": list(facts.components),
        "cpu_svn": facts.cpu_svn.hex(),
        "sgx_type": facts.sgx_type,
        "platform_instance_id": piid.hex() if piid else None,
        "dynamic_platform": facts.dynamic_platform,
        "cached_keys": facts.cached_keys,
        "smt_enabled": facts.smt_enabled,
    }


def _certificate(certificate: x509.Certificate) -> Description:
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": issuer_text(certificate),
        "not_before": utc_text(certificate.not_valid_before_utc),
        "not_after": utc_text(certificate.not_valid_after_utc),
    }


def _endorsement(content: bytes) -> Description:
    endorsement = parse_endorsement(content)
    certificate = endorsement.certificate
    return {
        "endorsement_key": endorsement.kind.upper(),
        "product": endorsement.product,
        "issuer": certificate.issuer_cn,
        "not_before": utc_text(certificate.not_before),
        "not_after": utc_text(certificate.not_after),
        "tcb": _levels(endorsement.tcb),
        "hwid": endorsement.hwid.hex(),
        "csp_id": endorsement.csp_id,
    }


def _snp_document(document: SnpDocument) -> Description:
    members: Description = {
        "report": describe_snp_report(document.report),
        "product_claimed": document.product,
        "certificates": [
            name for name in ("vcek", "vlek", "ask", "ark") if getattr(document, f"{name}_der")
        ],
        "extras": {key: len(value) for key, value in sorted(document.extras.items())},
    }
    key = document.vcek_der or document.vlek_der
    if key:
        members["endorsement"] = _endorsement(key)
    return members


def _pem(content: bytes) -> Description:
    certificates = pem_to_der(content)
    if not certificates:
        raise MalformedEvidence("no certificate in it")
    for number, certificate in enumerate(certificates, start=1):
        if not _is_der(certificate):
            raise MalformedEvidence(f"certificate {number} of {len(certificates)} is not DER")
    each = [_der(certificate) for certificate in certificates]
    return each[0] if len(each) == 1 else {"kind": "certificates", "certificates": each}


def _der(content: bytes) -> Description:
    """Describe a certificate with the first parser that accepts it."""
    troubles: list[str] = []
    for kind, parse in (
        ("AMD endorsement certificate", _endorsement),
        ("certificate", _amd_authority if _is_of_amd(content) else _other_certificate),
    ):
        try:
            return {"kind": kind, **parse(content)}
        except EvidenceRejected as err:
            troubles.append(f"not a {kind}: {err}")
    raise MalformedEvidence("; ".join(troubles))


def _is_of_amd(content: bytes) -> bool:
    """Return whether a certificate needs our own parser: the library will soon refuse serial number 0."""
    try:
        return parse_certificate(content).serial == 0
    except MalformedEvidence:
        return False


def _amd_authority(content: bytes) -> Description:
    certificate = parse_certificate(content)
    return {
        "subject": certificate.subject_cn,
        "issuer": certificate.issuer_cn,
        "not_before": utc_text(certificate.not_before),
        "not_after": utc_text(certificate.not_after),
        "extensions": list(certificate.extensions),
    }


def _other_certificate(content: bytes) -> Description:
    certificate = load_certificate(content, "it")
    members = _certificate(certificate)
    for extension in certificate.extensions:
        value, oid = extension.value, extension.oid.dotted_string
        if not isinstance(value, x509.UnrecognizedExtension):
            continue
        if extension.oid == SGX_EXTENSION:
            members |= _pck(certificate)
        elif oid == OID_SNP:
            members["snp_document"] = _snp_document(parse_snp_document(value.value))
        elif oid == OID_TDX:
            members["tdx_document"] = describe_tdx_quote(parse_tdx_document(value.value))
    return members


def _is_der(content: bytes) -> bool:
    if content[:1] != b"\x30":
        return False
    try:
        return len(list(elements(content))) == 1
    except MalformedEvidence:
        return False
