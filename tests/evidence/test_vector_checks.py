"""An index of vectors that nobody has at hand: synthetic evidence of every kind, each file told by its name or its bytes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from contrast_tasks.attestation.issuers.simulated_chain import (
    amd_name,
    ca_certificate,
    vcek_extensions,
)
from contrast_tasks.attestation.pki import der
from contrast_tasks.attestation.pki.forms import der_to_pem
from contrast_tasks.attestation.snp.tcb import Tcb
from contrast_tasks.attestation.tdx.document import render_document
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.attestation.trust_roots import TrustRoots
from contrast_tasks.evidence.vector_checks import CheckResult, run_checks
from tests.fakes.attestation import CHIP_ID, NOW, TCB, FakeAmd
from tests.fakes.intel import Body, Intel, PckValues, changed, crl, pem

AMD, FORGER, GENOA = FakeAmd(), FakeAmd(owner="forger"), FakeAmd(line="Genoa")
TURIN = FakeAmd(
    line="Turin",
    tcb=Tcb(fmc=1, bootloader=4, tee=1, snp=24, microcode=219),
    hwid=CHIP_ID[:8],
    extensions={"3.9": der.encode(der.INTEGER, b"\1"), "3.4": None},
)
TURIN_WORD = TURIN.tcb.to_word(turin=True)
TURIN_REPORT = TURIN.report(
    cpuid_family=0x1A,
    cpuid_model=0x11,
    chip_id=CHIP_ID[:8] + bytes(56),
    **dict.fromkeys(("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"), TURIN_WORD),
)
ASVK = ca_certificate(
    amd_name("SEV-VLEK-Milan"), AMD.ask_key, amd_name("ARK-Milan"), AMD.ark_key, serial=0x10101, not_before=NOW,
)  # fmt: skip
VLEK_EXTENSIONS = {
    **{key: value for key, value in vcek_extensions("Milan", TCB, CHIP_ID).items() if key != "4"},
    "5": der.encode(der.IA5_STRING, b"CN=cloud.example"),
}
VLEK = AMD.vcek(
    extensions=VLEK_EXTENSIONS, common_name="SEV-VLEK", issuer=amd_name("SEV-VLEK-Milan")
)
INTEL, PROCESSOR = Intel(), Intel(ca_name="Intel SGX PCK Processor CA")
ROOTS = TrustRoots(
    amd={
        "Milan": replace(AMD.pinned, asvk_der=ASVK),
        "Genoa": GENOA.pinned,
        "Turin": TURIN.pinned,
    },
    intel_spki=INTEL.root_spki,
)
AT = NOW.isoformat()
REPORT, VCEK = AMD.report().raw, AMD.chain.vcek_der
CONTAINER = b"HCLA".ljust(0x20, b"\0") + REPORT + bytes(300)
QUOTE, V5 = INTEL.quote(), INTEL.quote(version=5)
COLLATERAL = INTEL.collateral()
DER = [one.public_bytes(Encoding.DER) for one in (INTEL.pck, INTEL.ca, INTEL.root)]


def in_pem(*certificates: bytes) -> bytes:
    return b"".join(map(der_to_pem, certificates))


def run(
    tee: str, check: str, files: Mapping[str, bytes], roots: TrustRoots = ROOTS, **options: Any
) -> CheckResult:
    entry = {"check": check, "at": AT, "options": options, "result": "accept"}
    vector = {"id": "v", "tee": tee, "files": list(files), "checks": [entry]}
    (result,) = run_checks({"schema": 2, "vectors": [vector]}, files.__getitem__, roots)
    return result


ACCEPTED: list[Any] = [
    pytest.param("snp", "genuine", {"a.report.bin": REPORT, "a.vcek.der": VCEK}, {}, id="report and vcek"),
    pytest.param("snp", "genuine", {"a.bin": REPORT, "a": VCEK}, {}, id="told by bytes"),
    pytest.param("snp", "genuine", {"a.report.bin": REPORT, "a.vcek.pem": in_pem(VCEK)}, {}, id="pem"),
    pytest.param("snp", "genuine", {"r.bin": REPORT, "chain.pem": in_pem(AMD.chain.ask_der, VCEK)}, {}, id="vcek behind the ask"),
    pytest.param("snp", "genuine", {"ark.der": AMD.chain.ark_der, "a.report.bin": REPORT, "a.der": VCEK}, {}, id="root beside"),
    pytest.param("snp", "genuine", {"hcl-report.bin": CONTAINER, "a.vcek.der": VCEK}, {}, id="container"),
    pytest.param("snp", "genuine", {"a.attestation.pb": AMD.document()}, {}, id="document alone"),
    pytest.param("snp", "genuine", {"a.report.bin": TURIN_REPORT.raw, "a.vcek.der": TURIN.chain.vcek_der}, {}, id="turin"),
    pytest.param("snp", "genuine", {"a.report.bin": GENOA.report(cpuid_model=0xA0).raw, "a.vcek.der": GENOA.chain.vcek_der}, {}, id="bergamo"),
    pytest.param("snp", "genuine", {"a.report.bin": AMD.report(signer_info=4).raw, "a.vlek.der": VLEK}, {"allow_vlek": True}, id="vlek"),
    pytest.param("snp", "genuine", {"a.report.bin": REPORT, "a.attestation.pb": AMD.document()}, {}, id="vcek out of a document"),
    pytest.param("snp", "genuine", {"hcl.report.bin": CONTAINER, "a.vcek.der": VCEK}, {}, id="container named a report"),
    pytest.param("snp", "genuine", {"a.report.bin": REPORT, "a.pem": b"Bag Attributes\r\n" + in_pem(VCEK)}, {}, id="text before pem"),
    pytest.param("snp", "genuine", {"a.attestation.pb": AMD.document(vcek_der=b""), "a.vcek.der": VCEK}, {}, id="vcek beside a document"),
    pytest.param("snp", "default-policy", {"a.report.bin": REPORT, "a.vcek.der": VCEK}, {}, id="default policy"),
    pytest.param("snp", "chain", {"a.vcek.der": VCEK}, {}, id="vcek chain"),
    pytest.param("snp", "chain", {"a.vlek.der": VLEK}, {}, id="vlek chain"),
    pytest.param("snp", "chain", {"a.attestation.pb": AMD.document()}, {}, id="chain of a document"),
    pytest.param("tdx", "genuine", {"a.quote.bin": QUOTE}, {}, id="quote"),
    pytest.param("tdx", "genuine", {"a.dat": QUOTE}, {}, id="quote told by bytes"),
    pytest.param("tdx", "genuine", {"a.quotev4.pb": render_document(parse_quote(QUOTE))}, {}, id="quote document"),
    pytest.param("tdx", "genuine", {"a.quote.bin": V5}, {"allow_quote_v5": True}, id="version 5"),
    pytest.param("tdx", "genuine", {"a.quote.bin": INTEL.quote(trailing=b"\xff" * 3065)}, {}, id="trailing bytes"),
    pytest.param("tdx", "chain", {"a.quote.bin": QUOTE}, {}, id="pck chain of a quote"),
    pytest.param("tdx", "chain", {"pck.pem": pem(INTEL.pck, INTEL.ca, INTEL.root)}, {}, id="pck chain"),
    pytest.param("tdx", "chain", {"leaf.der": DER[0], "ca.der": DER[1], "root.der": DER[2]}, {}, id="pck chain in der"),
    pytest.param("tdx", "chain", {"a.quote.bin": QUOTE, "root.der": DER[2]}, {}, id="root beside a quote"),
    pytest.param("tdx", "tcb", {"a.quote.bin": QUOTE, "a.collateral.json": COLLATERAL}, {}, id="tcb"),
    pytest.param("tdx", "tcb", {"collateral/a": COLLATERAL, "a.bin": QUOTE}, {}, id="collateral told by bytes"),
    pytest.param("tdx", "tcb", {"a.quote.bin": V5, "a.collateral.json": COLLATERAL}, {"allow_quote_v5": True}, id="tcb of version 5"),
    pytest.param("tdx", "default-policy", {"a.quote.bin": QUOTE, "a.collateral.json": COLLATERAL}, {}, id="default policy of tdx"),
]  # fmt: skip


@pytest.mark.parametrize(("tee", "check", "files", "options"), ACCEPTED)
def test_good_evidence_is_accepted_in_whatever_files_it_comes(
    tee: str, check: str, files: dict[str, bytes], options: dict[str, bool]
) -> None:
    result = run(tee, check, files, **options)

    assert (result.found, result.detail) == ("accept", "")
    assert result.passed


BODY = Body()
REJECTED: list[Any] = [
    pytest.param("snp", "genuine", {"a.report.bin": REPORT}, {}, "chain-incomplete", id="no certificate"),
    pytest.param("snp", "genuine", {"a.vcek.der": VCEK}, {}, "malformed", id="no report"),
    pytest.param("snp", "genuine", {}, {}, "malformed", id="no file"),
    pytest.param("snp", "genuine", {"a.report.bin": REPORT[:-1], "a.vcek.der": VCEK}, {}, "report-length", id="short report"),
    pytest.param("snp", "genuine", {"a.report.bin": b"", "a.vcek.der": VCEK}, {}, "report-length", id="empty report"),
    pytest.param("snp", "genuine", {"a.report.bin": REPORT, "a.vcek.der": AMD.chain.ask_der}, {}, "endorsement-form", id="ask for a vcek"),
    pytest.param("snp", "genuine", {"a.report.bin": REPORT, "a.vcek.pem": b"-----BEGIN CERTIFICATE-----"}, {}, "malformed", id="broken pem"),
    pytest.param("snp", "genuine", {"a.report.bin": REPORT, "a.vcek.der": VCEK, "a.pb": FORGER.document()}, {}, "signature", id="forged document beside a report"),
    pytest.param("snp", "default-policy", {"a.report.bin": REPORT, "a.vcek.der": VCEK, "a.pb": AMD.document(AMD.report(vmpl=1))}, {}, "vmpl", id="other document beside a report"),
    pytest.param("snp", "genuine", {"a.report.bin": b"", "a.pb": AMD.document()}, {}, "report-length", id="empty report beside a document"),
    pytest.param("snp", "genuine", {"a.report.bin": REPORT, "a.vcek.der": FORGER.chain.vcek_der}, {}, "signature", id="forged"),
    pytest.param("snp", "genuine", {"a.report.bin": REPORT, "a.vcek.der": FakeAmd(hwid=bytes(64)).chain.vcek_der}, {}, "chip-id", id="other chip"),
    pytest.param("snp", "genuine", {"a.report.bin": REPORT, "a.vcek.der": GENOA.chain.vcek_der}, {}, "chain", id="other line"),
    pytest.param("snp", "genuine", {"a.report.bin": AMD.report(signer_info=4).raw, "a.vlek.der": VLEK}, {}, "vlek-not-allowed", id="vlek by default"),
    pytest.param("snp", "genuine", {"a.report.bin": AMD.report(cpuid_model=0x77).raw, "a.vcek.der": VCEK}, {}, "product", id="unknown model"),
    pytest.param("snp", "default-policy", {"a.report.bin": AMD.report(vmpl=2).raw, "a.vcek.der": VCEK}, {}, "vmpl", id="privilege level"),
    pytest.param("snp", "default-policy", {"a.report.bin": AMD.report(id_key_digest=bytes(48)).raw, "a.vcek.der": VCEK}, {}, "id-key-digest", id="no id block"),
    pytest.param("snp", "chain", {"a.vcek.der": FORGER.chain.vcek_der}, {}, "signature", id="forged chain"),
    pytest.param("snp", "chain", {"a.vcek.der": AMD.vcek(issuer=amd_name("SEV-Rome"))}, {}, "product", id="chain of an unknown line"),
    pytest.param("tdx", "genuine", {"a.quote.bin": V5}, {}, "quote-version", id="version 5 by default"),
    pytest.param("tdx", "genuine", {"a.quote.bin": INTEL.quote(version=3)}, {}, "malformed", id="version 3"),
    pytest.param("tdx", "genuine", {"a.quote.bin": INTEL.quote(tee_type=0)}, {}, "malformed", id="sgx"),
    pytest.param("tdx", "genuine", {"a.quote.bin": PROCESSOR.quote()}, {}, "root", id="forged root"),
    pytest.param("tdx", "chain", {"pck.pem": pem(INTEL.pck, INTEL.root)}, {}, "chain", id="chain of two"),
    pytest.param("tdx", "genuine", {"a.quote.bin": QUOTE, "a.pb": render_document(parse_quote(PROCESSOR.quote()))}, {}, "root", id="forged document beside a quote"),
    pytest.param("tdx", "chain", {"a.quote.bin": QUOTE, "b.quote.bin": PROCESSOR.quote()}, {}, "root", id="second quote below a forged root"),
    pytest.param("tdx", "tcb", {"a.quote.bin": QUOTE}, {}, "collateral-unavailable", id="no collateral"),
    pytest.param("tdx", "tcb", {"a.quote.bin": QUOTE, "a.collateral.json": b"{}"}, {}, "collateral", id="empty collateral"),
    pytest.param("tdx", "tcb", {"a.quote.bin": QUOTE, "a.collateral.json": PROCESSOR.collateral()}, {}, "root", id="forged collateral"),
    pytest.param("tdx", "default-policy", {"a.quote.bin": INTEL.quote(changed(BODY, rtmrs=(*BODY.rtmrs[:3], b"\1" * 48))), "a.collateral.json": COLLATERAL}, {}, "rtmr3", id="rtmr3 in use"),
    pytest.param("tdx", "default-policy", {"a.quote.bin": QUOTE}, {}, "collateral-unavailable", id="default policy without collateral"),
]  # fmt: skip


@pytest.mark.parametrize(("tee", "check", "files", "options", "reason"), REJECTED)
def test_other_evidence_is_rejected_with_a_reason(
    tee: str, check: str, files: dict[str, bytes], options: dict[str, bool], reason: str
) -> None:
    result = run(tee, check, files, **options)

    assert (result.found, result.found_reason) == ("reject", reason), result.detail
    assert not result.passed


def test_a_platform_below_the_processor_authority_is_judged_by_its_own_list() -> None:
    values = PckValues(sgx_type=0, piid=None, flags=None)
    chain = pem(PROCESSOR.make_pck(values), PROCESSOR.ca, PROCESSOR.root)
    files = {"a.quote.bin": PROCESSOR.quote(chain=chain), "a.json": PROCESSOR.collateral()}
    roots = TrustRoots(intel_spki=PROCESSOR.root_spki)

    for check in ("genuine", "chain", "tcb", "default-policy"):
        assert run("tdx", check, files, roots).passed

    # The list of the other authority says nothing about this platform.
    other = Intel(root_key=PROCESSOR.root_key)
    crossed = PROCESSOR.collateral(
        pck_crl_issuer_chain=pem(other.ca, PROCESSOR.root).decode(),
        pck_crl=crl(other.ca_name, other.ca_key).hex(),
    )
    result = run("tdx", "tcb", {**files, "a.json": crossed}, roots)
    assert result.found_reason == "collateral"
    assert "PCK CRL is from 'Intel SGX PCK Platform CA'" in result.detail


def test_an_entry_without_checks_asks_for_no_file() -> None:
    index = {"vectors": [{"id": "a", "tee": "snp", "files": ["gone.bin"]}]}

    assert list(run_checks(index, {}.__getitem__, ROOTS)) == []


@pytest.mark.parametrize(
    "name", ["a.collateral.json", "a.json", "tdx/Collateral-2025.bin", "b.collateral"]
)
def test_collateral_that_is_not_there_leaves_the_tcb_unknown_and_the_rest_as_it_is(
    name: str,
) -> None:
    checks = [
        {"check": check, "at": AT, "result": result}
        for check, result in (
            ("genuine", "accept"),
            ("tcb", "reject"),
            ("default-policy", "reject"),
        )
    ]
    vector = {"id": "v", "tee": "tdx", "files": [name, "a.quote.bin"], "checks": checks}

    results = list(run_checks({"vectors": [vector]}, {"a.quote.bin": QUOTE}.get, ROOTS))

    assert [one.passed for one in results] == [True, True, True]
    assert [one.found_reason for one in results] == ["", *["collateral-unavailable"] * 2]
    assert {one.notes for one in results} == {(f"{name}: no such file, so there is no collateral",)}


@pytest.mark.parametrize("name", ["a.vcek.der", "b.report.bin", "b.pb", "b"])
def test_any_other_file_that_is_not_there_stops_the_checks_of_its_vector(name: str) -> None:
    entry = {"check": "genuine", "at": AT, "result": "reject"}
    vector = {"id": "v", "tee": "snp", "files": ["a.report.bin", name], "checks": [entry]}

    (result,) = run_checks({"vectors": [vector]}, {"a.report.bin": REPORT}.get, ROOTS)

    assert (result.found, result.passed) == ("error", False)
    assert result.detail == f"{name}: cannot be read: no such file or directory"


def test_roots_that_an_index_names_for_a_vector_are_not_trusted() -> None:
    files = {"a.report.bin": REPORT, "a.vcek.der": VCEK, "root.pem": in_pem(AMD.chain.ark_der)}
    entry = {"check": "genuine", "at": AT, "result": "accept"}
    vector = {
        "id": "v",
        "tee": "snp",
        "files": list(files)[:2],
        "roots": "root.pem",
        "checks": [entry],
    }

    (result,) = run_checks(
        {"vectors": [vector]}, files.get, TrustRoots(amd={"Milan": FORGER.pinned})
    )

    assert result.found == "reject"
