from cryptography import x509

from contrast_tasks.attestation.claims import claims_extensions, claims_of, tdx_claims_extensions
from contrast_tasks.attestation.pki import der
from contrast_tasks.attestation.snp.expectation import ReportTcbs
from contrast_tasks.attestation.snp.report import SnpReport
from contrast_tasks.attestation.snp.tcb import Tcb
from contrast_tasks.attestation.tdx.collateral import parse_collateral
from contrast_tasks.attestation.tdx.document import render_document
from contrast_tasks.attestation.tdx.expectation import TdxExpectation
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.attestation.tdx.verify import TdxValidator
from tests.fakes.attestation import (
    CHIP_ID,
    HOST_DATA,
    MEASUREMENT,
    NOW,
    REPORT_DATA,
    FakeAmd,
)
from tests.fakes.intel import Body, Intel

PREFIX = "1.3.9901.2.1."


def extensions_of(report: SnpReport, line: str = "Milan") -> list[tuple[str, bytes]]:
    return claims_extensions(report, ReportTcbs.of(report, line))


def claims() -> dict[int, bytes]:
    report = FakeAmd().report(policy=0x30000 | 1 << 20 | 0x1F, signer_info=0b10)
    return {int(oid.removeprefix(PREFIX)): value for oid, value in extensions_of(report)}


def test_there_are_46_claims_in_ascending_order() -> None:
    oids = [oid for oid, _ in extensions_of(FakeAmd().report())]

    assert oids == [f"{PREFIX}{number}" for number in range(1, 47)]


def test_numbers_are_integers() -> None:
    found = claims()

    assert found[1] == b"\x02\x01\x05"
    assert found[2] == b"\x02\x01\x02"
    assert found[3] == b"\x02\x01\x00"
    assert found[4] == b"\x02\x01\x1f"
    assert found[11] == b"\x02\x01\x00"
    assert found[20] == b"\x02\x01\x00"
    assert [found[number] for number in range(37, 43)] == [
        b"\x02\x01\x1d",
        b"\x02\x01\x37",
        b"\x02\x01\x01",
    ] * 2


def test_tcb_components_are_boot_loader_snp_tee_microcode() -> None:
    found = claims()
    wanted = [b"\x02\x01\x04", b"\x02\x01\x18", b"\x02\x01\x01", b"\x02\x02\x00\xdb"]

    for first in (12, 28, 33, 43):
        assert [found[first + step] for step in range(4)] == wanted


def test_levels_of_a_turin_report_of_version_2_are_read_in_the_layout_of_its_certificate() -> None:
    word = Tcb(fmc=9, bootloader=4, tee=1, snp=24, microcode=219).to_word(turin=True)
    report = FakeAmd().report(
        version=2, cpuid_family=0, cpuid_model=0, cpuid_stepping=0, launch_mit_vector=0, current_mit_vector=0,
        **dict.fromkeys(("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"), word),
    )  # fmt: skip
    found = dict(extensions_of(report, "Turin"))

    assert [found[f"{PREFIX}{number}"][-1] for number in range(12, 16)] == [4, 24, 1, 219]


def test_flags_are_booleans() -> None:
    found = claims()
    flags = {number: der.boolean(der.only(found[number], der.BOOLEAN)) for number in (5, 6, 7, 8, 16, 17, 18, 19)}  # fmt: skip

    assert flags == {
        5: False,
        6: False,
        7: True,
        8: True,
        16: True,
        17: False,
        18: False,
        19: True,
    }


def test_bytes_are_octet_strings() -> None:
    found = claims()

    assert found[21] == b"\x04\x40" + REPORT_DATA
    assert found[22] == b"\x04\x30" + MEASUREMENT
    assert found[23] == b"\x04\x20" + HOST_DATA
    assert found[32] == b"\x04\x40" + CHIP_ID
    assert found[9][:2] == b"\x04\x10"
    assert found[27] == b"\x04\x20" + b"\xff" * 32


def test_each_claim_is_a_valid_extension() -> None:
    for oid, value in extensions_of(FakeAmd().report()):
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)

        assert extension.public_bytes() == value


def test_evidence_of_either_kind_has_its_own_claims() -> None:
    amd, intel, body = FakeAmd(), Intel(), Body()
    bundle = parse_collateral(intel.collateral())
    expectation = TdxExpectation(
        mr_td=body.mr_td, mr_seam=body.mr_seam, rtmrs=body.rtmrs, xfam=body.xfam
    )
    tdx = TdxValidator(
        name="tdx-0",
        expectation=expectation,
        root_spki=intel.root_spki,
        collateral=lambda *_: bundle,
    )

    snp_evidence = amd.validator().verify(amd.document(), REPORT_DATA, NOW)
    tdx_evidence = tdx.verify(render_document(parse_quote(intel.quote())), body.report_data, NOW)

    assert claims_of(snp_evidence) == extensions_of(snp_evidence.report)
    assert claims_of(tdx_evidence) == tdx_claims_extensions(parse_quote(intel.quote()).body)


def test_tdx_claims_are_the_guests_own_as_octet_strings() -> None:
    claims = tdx_claims_extensions(parse_quote(Intel().quote()).body)

    assert [oid for oid, _ in claims] == [f"1.3.9901.2.2.{number}" for number in range(8, 23)]
    found = {int(oid.rpartition(".")[2]): value for oid, value in claims}
    assert found[8] == b"\x04\x10" + Body().tee_tcb_svn
    assert found[9] == b"\x04\x30" + Body().mr_seam
    assert found[14] == b"\x04\x30" + Body().mr_td
    assert found[15] == b"\x04\x30" + Body().mr_config_id
    assert [found[number][2:] for number in range(18, 22)] == list(Body().rtmrs)
    assert found[22] == b"\x04\x40" + Body().report_data
