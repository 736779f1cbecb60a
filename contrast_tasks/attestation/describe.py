"""What a piece of evidence says, field by field and bit by bit, for people and for JSON.

Recognises, by their bytes: a raw SEV-SNP report, a raw TDX quote, either document of attested TLS, AMD and Intel certificates, and
a certificate of attested TLS with a document inside. Describing verifies nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509

from contrast_tasks.attestation.carriers import HCL_MAGIC, is_raw_quote, report_in_container
from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.pki.certificate import parse_certificate
from contrast_tasks.attestation.pki.der import elements
from contrast_tasks.attestation.pki.forms import issuer_text, load_certificate, pem_to_der
from contrast_tasks.attestation.snp import document as snp_document
from contrast_tasks.attestation.snp.endorsement import LINE_TURIN, parse_endorsement
from contrast_tasks.attestation.snp.lines import line_of_report
from contrast_tasks.attestation.snp.report import REPORT_BYTES, SnpReport, parse_report
from contrast_tasks.attestation.snp.tcb import parse_tcb
from contrast_tasks.attestation.tdx import document as tdx_document
from contrast_tasks.attestation.tdx.pck import SGX_EXTENSION, load_chain, parse_pck_facts
from contrast_tasks.attestation.tdx.quote import TdxQuote, parse_quote
from contrast_tasks.errors import EvidenceRejected

Description = dict[str, Any]

GUEST_POLICY_BITS: Mapping[int, str] = {
    16: "SMT",
    17: "reserved, must be one",
    18: "MIGRATE_MA",
    19: "DEBUG",
    20: "SINGLE_SOCKET",
    21: "CXL_ALLOW",
    22: "MEM_AES_256_XTS",
    23: "RAPL_DIS",
    24: "CIPHERTEXT_HIDING_DRAM",
    25: "PAGE_SWAP_DISABLE",
}
PLATFORM_INFO_BITS: Mapping[int, str] = {
    0: "SMT_EN",
    1: "TSME_EN",
    2: "ECC_EN",
    3: "RAPL_DIS",
    4: "CIPHERTEXT_HIDING_DRAM_EN",
    5: "ALIAS_CHECK_COMPLETE",
    7: "TIO_EN",
}
SIGNER_INFO_BITS: Mapping[int, str] = {0: "AUTHOR_KEY_EN", 1: "MASK_CHIP_KEY"}
SIGNING_KEYS: Mapping[int, str] = {0: "VCEK", 1: "VLEK", 7: "none"}
TD_ATTRIBUTE_BITS: Mapping[int, str] = {
    0: "DEBUG",
    28: "SEPT_VE_DISABLE",
    29: "MIGRATABLE",
    30: "PKS",
    31: "KL",
    63: "PERFMON",
}
# Intel SDM volume 3D, "ATTRIBUTES" of an enclave.
ENCLAVE_ATTRIBUTE_BITS: Mapping[int, str] = {
    0: "INIT",
    1: "DEBUG",
    2: "MODE64BIT",
    4: "PROVISIONKEY",
    5: "EINITTOKEN_KEY",
    6: "CET",
    7: "KSS",
}
XFAM_BITS: Mapping[int, str] = {
    0: "x87",
    1: "SSE",
    2: "AVX",
    5: "AVX-512 opmask",
    6: "AVX-512 ZMM high 256",
    7: "AVX-512 high 16 ZMM",
    8: "PT",
    9: "PKRU",
    11: "CET user",
    12: "CET supervisor",
    14: "UINTR",
    15: "LBR",
    17: "AMX tile configuration",
    18: "AMX tile data",
}


def describe(content: bytes) -> Description:
    """Return what `content` is (`kind`) and all it says; byte strings as hex, times in UTC.

    Raises MalformedEvidence if it is nothing we know, with what each reading ran into.
    """
    troubles: list[str] = []
    for name, fits, reader in _READERS:
        if not fits(content):
            continue
        try:
            return {"kind": name, **reader(content)}
        except EvidenceRejected as err:
            troubles.append(f"not a {name}: {err}")
    raise MalformedEvidence(
        "; ".join(troubles) or f"{len(content)} bytes that are no evidence we know"
    )


def flags(word: int, names: Mapping[int, str]) -> Description:
    """Return every named bit with its value, and every other bit that is set as `bit N`."""
    said: Description = {name: bool(word >> bit & 1) for bit, name in names.items()}
    for bit in range(word.bit_length()):
        if word >> bit & 1 and bit not in names:
            said[f"bit {bit}"] = True
    return said


def describe_snp_report(report: SnpReport) -> Description:
    """Return all fields of a report; TCB versions are split by the product's layout."""
    line = line_of_report(report)
    policy = report.policy
    return {
        "version": report.version,
        "product": line or "unknown",
        "guest_svn": report.guest_svn,
        "policy": {
            "word": f"{policy:#x}",
            "abi_major": policy >> 8 & 0xFF,
            "abi_minor": policy & 0xFF,
            **flags(policy >> 16 << 16, GUEST_POLICY_BITS),
        },
        "family_id": report.family_id.hex(),
        "image_id": report.image_id.hex(),
        "vmpl": report.vmpl,
        "signature_algorithm": report.signature_algo,
        "platform_info": {
            "word": f"{report.platform_info:#x}",
            **flags(report.platform_info, PLATFORM_INFO_BITS),
        },
        "signer_info": {
            "word": f"{report.signer_info:#x}",
            **flags(report.signer_info & 0b11, SIGNER_INFO_BITS),
            "SIGNING_KEY": SIGNING_KEYS.get(report.signing_key, f"reserved {report.signing_key}"),
        },
        **{
            name: _tcb(getattr(report, name), turin=line == LINE_TURIN)
            for name in ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb")
        },
        "current_version": "{}.{} build {}".format(*report.current_version),
        "committed_version": "{}.{} build {}".format(*report.committed_version),
        "cpuid": {
            "family": report.cpuid_family,
            "model": report.cpuid_model,
            "stepping": report.cpuid_stepping,
        },
        **{
            name: getattr(report, name).hex()
            for name in (
                "report_data",
                "measurement",
                "host_data",
                "id_key_digest",
                "author_key_digest",
                "report_id",
                "report_id_ma",
                "chip_id",
            )
        },
        "launch_mitigations": f"{report.launch_mit_vector:#x}",
        "current_mitigations": f"{report.current_mit_vector:#x}",
    }


def _tcb(word: int, *, turin: bool) -> Description:
    said: Description = {"word": f"{word:#018x}"}
    try:
        tcb = parse_tcb(word, turin=turin)
    except MalformedEvidence as err:
        return {**said, "problem": str(err)}
    levels = ("fmc", "bootloader", "tee", "snp", "microcode")
    return {**said, **{name: getattr(tcb, name) for name in levels[0 if turin else 1 :]}}


def describe_tdx_quote(quote: TdxQuote) -> Description:
    """Return header, TD report, quoting enclave and PCK certificate of a quote."""
    body, report = quote.body, quote.qe_report
    attributes = int.from_bytes(body.td_attributes, "little")
    xfam = int.from_bytes(body.xfam, "little")
    said: Description = {
        "version": quote.header.version,
        "attestation_key_type": quote.header.attestation_key_type,
        "tee_type": f"{quote.header.tee_type:#x}",
        "qe_svn": quote.header.qe_svn.hex(),
        "pce_svn": quote.header.pce_svn.hex(),
        "qe_vendor_id": quote.header.qe_vendor_id.hex(),
        "user_data": quote.header.user_data.hex(),
        "tee_tcb_svn": {
            "raw": body.tee_tcb_svn.hex(),
            "module_svn": body.tee_tcb_svn[0],
            "module_version": body.tee_tcb_svn[1],
        },
        "td_attributes": {"raw": body.td_attributes.hex(), **flags(attributes, TD_ATTRIBUTE_BITS)},
        "xfam": {"raw": body.xfam.hex(), **flags(xfam, XFAM_BITS)},
        **{
            name: getattr(body, name).hex()
            for name in (
                "mr_seam",
                "mr_signer_seam",
                "seam_attributes",
                "mr_td",
                "mr_config_id",
                "mr_owner",
                "mr_owner_config",
                "report_data",
            )
        },
        **{f"rtmr{index}": rtmr.hex() for index, rtmr in enumerate(body.rtmrs)},
        "host_data": body.mr_config_id[:32].hex(),
        "attestation_key": quote.attestation_key.hex(),
        "quoting_enclave": {
            "mr_enclave": report.mr_enclave.hex(),
            "mr_signer": report.mr_signer.hex(),
            "isv_prod_id": report.isv_prod_id,
            "isv_svn": report.isv_svn,
            "attributes": {
                "raw": report.attributes.hex(),
                **flags(int.from_bytes(report.attributes[:8], "little"), ENCLAVE_ATTRIBUTE_BITS),
                "xfrm": report.attributes[8:].hex(),
            },
            "authentication_data": quote.qe_auth_data.hex(),
            "misc_select": f"{report.misc_select:#010x}",
            "cpu_svn": report.cpu_svn.hex(),
        },
        "trailing_bytes": len(quote.trailing),
    }
    if body.mr_service_td:
        said["mr_service_td"] = body.mr_service_td.hex()
        said["tee_tcb_svn2"] = body.tee_tcb_svn2.hex()
    chain = load_chain(quote.pck_chain_pem, "PCK chain")
    if chain:
        said["pck_certificate"] = _pck(chain[0])
    return said


def _pck(certificate: x509.Certificate) -> Description:
    facts = parse_pck_facts(certificate)
    return {
        **_certificate(certificate),
        "fmspc": facts.fmspc.hex(),
        "pce_id": facts.pce_id.hex(),
        "pce_svn": facts.pce_svn,
        "sgx_components": list(facts.components),
        "cpu_svn": facts.cpu_svn.hex(),
        "sgx_type": facts.sgx_type,
        "platform_instance_id": facts.platform_instance_id.hex()
        if facts.platform_instance_id
        else None,
        "dynamic_platform": facts.dynamic_platform,
        "cached_keys": facts.cached_keys,
        "smt_enabled": facts.smt_enabled,
    }


def _certificate(certificate: x509.Certificate) -> Description:
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": issuer_text(certificate),
        "not_before": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
    }


def _endorsement(content: bytes) -> Description:
    endorsement = parse_endorsement(content)
    certificate = endorsement.certificate
    tcb = endorsement.tcb
    return {
        "endorsement_key": endorsement.kind,
        "product": endorsement.product,
        "issuer": certificate.issuer_cn,
        "not_before": f"{certificate.not_before:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "tcb": {
            name: getattr(tcb, name) for name in ("fmc", "bootloader", "tee", "snp", "microcode")
        },
        "hwid": endorsement.hwid.hex(),
        "csp_id": endorsement.csp_id,
    }


def _snp_document(content: bytes) -> Description:
    parsed = snp_document.parse_document(content)
    said: Description = {
        "report": describe_snp_report(parsed.report),
        "product_claimed": parsed.product,
        "certificates": [
            name for name in ("vcek", "vlek", "ask", "ark") if getattr(parsed, f"{name}_der")
        ],
        "extras": {key: len(value) for key, value in sorted(parsed.extras.items())},
    }
    key = parsed.vcek_der or parsed.vlek_der
    if key:
        said["endorsement"] = _endorsement(key)
    return said


def _pem(content: bytes) -> Description:
    """Describe one certificate as in DER, of several each with its kind."""
    found = pem_to_der(content)
    if not found:
        raise MalformedEvidence("no certificate in it")
    for number, one in enumerate(found, start=1):
        if not _is_der(one):
            raise MalformedEvidence(f"certificate {number} of {len(found)} is not DER")
    said = [describe(one) for one in found]
    return said[0] if len(said) == 1 else {"kind": "certificates", "certificates": said}


def _unnumbered(content: bytes) -> Description:
    """Describe a certificate with the serial number 0, which AMD uses and the library is about to refuse."""
    certificate = parse_certificate(content)
    return {
        "subject": certificate.subject_cn,
        "issuer": certificate.issuer_cn,
        "not_before": f"{certificate.not_before:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "extensions": [extension.oid for extension in certificate.extensions],
    }


def _other_certificate(content: bytes) -> Description:
    certificate = load_certificate(content, "it")
    said = _certificate(certificate)
    for extension in certificate.extensions:
        value = extension.value
        if not isinstance(value, x509.UnrecognizedExtension):
            continue
        if extension.oid == SGX_EXTENSION:
            said |= _pck(certificate)
        elif extension.oid.dotted_string == snp_document.OID_SNP_DOCUMENT:
            said["snp_document"] = _snp_document(value.value)
        elif extension.oid.dotted_string == tdx_document.TDX_OID:
            said["tdx_document"] = describe_tdx_quote(tdx_document.parse_document(value.value))
    return said


def _is_der(content: bytes) -> bool:
    if content[:1] != b"\x30":
        return False
    try:
        return len(list(elements(content))) == 1
    except MalformedEvidence:
        return False


def _is_unnumbered(content: bytes) -> bool:
    try:
        return parse_certificate(content).serial == 0
    except MalformedEvidence:
        return False


def _is_pem(content: bytes) -> bool:
    return content.startswith(b"-----BEGIN CERTIFICATE")


def _container(content: bytes) -> Description:
    return {"report": describe_snp_report(parse_report(report_in_container(content)))}


_READERS: tuple[tuple[str, Callable[[bytes], bool], Callable[[bytes], Description]], ...] = (
    ("TDX quote", is_raw_quote, lambda content: describe_tdx_quote(parse_quote(content))),
    (
        "SEV-SNP report",
        lambda content: len(content) == REPORT_BYTES,
        lambda content: describe_snp_report(parse_report(content)),
    ),
    (
        "HCL container of a SEV-SNP report",
        lambda content: content.startswith(HCL_MAGIC),
        _container,
    ),
    ("AMD endorsement certificate", _is_der, _endorsement),
    ("certificate", _is_unnumbered, _unnumbered),
    ("certificate", _is_der, _other_certificate),
    ("certificate", _is_pem, _pem),
    ("SEV-SNP document", lambda content: content[:1] == b"\x0a", _snp_document),
    (
        "TDX document",
        lambda content: content[:1] == b"\x0a",
        lambda content: describe_tdx_quote(tdx_document.parse_document(content)),
    ),
)
