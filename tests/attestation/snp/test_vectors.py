"""Evidence of real hardware, judged as the index of the test data says."""

import json
from datetime import datetime
from typing import Any

import pytest

from contrast_tasks.attestation.errors import EndorsementRejected, HardwareRejected
from contrast_tasks.attestation.snp.document import SnpDocument, parse_document, render_document
from contrast_tasks.attestation.snp.endorsement import parse_endorsement, verify_chain
from contrast_tasks.attestation.snp.expectation import SnpExpectation
from contrast_tasks.attestation.snp.lines import amd_anchor, line_of_model
from contrast_tasks.attestation.snp.report import parse_report
from contrast_tasks.attestation.snp.tcb import Tcb
from contrast_tasks.attestation.snp.verify import SnpValidator, Trust, verify_genuine
from tests.fakes.testdata import ATTESTATION

pytestmark = pytest.mark.skipif(
    not ATTESTATION.exists(), reason="attestation test data is not at hand"
)
NOTHING = Tcb(bootloader=0, tee=0, snp=0, microcode=0)


def checks(kind: str) -> list[Any]:
    if not ATTESTATION.exists():
        return []
    every = json.loads((ATTESTATION / "vectors.json").read_text())["vectors"]
    return [
        pytest.param(vector, check, id=f"{vector['id']} {check['at']} {check['result']}")
        for vector in every
        if vector["tee"] == "snp"
        for check in vector.get("checks", ())
        if check["check"] == kind
    ]


def read(vector: dict[str, Any]) -> tuple[SnpDocument, str]:
    name = next(name for name in vector["files"] if name.endswith(".attestation.pb"))
    document = parse_document((ATTESTATION / name).read_bytes())
    report = document.report
    endorsement = parse_endorsement(document.vcek_der or document.vlek_der)
    line = line_of_model(report.cpuid_family, report.cpuid_model)
    return document, line if report.has_cpuid else endorsement.line


def outcome(judge: Any) -> str:
    try:
        judge()
    except HardwareRejected:
        return "reject"
    return "accept"


@pytest.mark.parametrize(("vector", "check"), checks("genuine"))
def test_genuineness_is_judged_as_the_index_says(
    vector: dict[str, Any], check: dict[str, Any]
) -> None:
    document, line = read(vector)
    trust = Trust(
        anchor=amd_anchor(line),
        allow_vlek=check["options"].get("allow_vlek", False),
        check_revocation=False,
    )
    now = datetime.fromisoformat(check["at"])

    if check["result"] == "accept":
        assert verify_genuine(document, trust, now).report == document.report
    else:
        with pytest.raises(HardwareRejected) as caught:
            verify_genuine(document, trust, now)
        assert caught.value.reason == check["reason"]


@pytest.mark.parametrize(("vector", "check"), checks("default-policy"))
def test_the_strictest_defaults_judge_as_the_index_says(
    vector: dict[str, Any], check: dict[str, Any]
) -> None:
    document, line = read(vector)
    validator = SnpValidator(
        name="default",
        expectation=SnpExpectation(
            measurement=document.report.measurement,
            minimum_tcb=NOTHING,
            guest_policy=0x30000,
            platform_info=1,
        ),
        trust=Trust(
            anchor=amd_anchor(line),
            allow_vlek=check["options"].get("allow_vlek", False),
            check_revocation=False,
        ),
    )
    now = datetime.fromisoformat(check["at"])

    found = outcome(
        lambda: validator.verify(render_document(document), document.report.report_data, now)
    )

    assert found == check["result"]


@pytest.mark.parametrize(("vector", "check"), checks("chain"))
def test_certificates_alone_are_judged_as_the_index_says(
    vector: dict[str, Any], check: dict[str, Any]
) -> None:
    endorsement = parse_endorsement((ATTESTATION / vector["files"][0]).read_bytes())
    now = datetime.fromisoformat(check["at"])

    found = outcome(
        lambda: verify_chain(
            endorsement, amd_anchor(endorsement.line), ica_der=b"", ark_der=b"", now=now
        )
    )

    assert found == check["result"]


@pytest.mark.parametrize(("vector", "check"), checks("genuine"))
def test_every_real_vector_fails_closed_without_a_revocation_list(
    vector: dict[str, Any], check: dict[str, Any]
) -> None:
    document, line = read(vector)
    trust = Trust(anchor=amd_anchor(line), allow_vlek=True)

    with pytest.raises(HardwareRejected) as caught:
        verify_genuine(document, trust, datetime.fromisoformat(check["at"]))

    assert caught.value.reason in {"collateral-unavailable", "certificate-expired"}


def test_a_chips_certificate_does_not_fit_another_chips_report() -> None:
    b, _ = read({"files": ["snp/milan-v2-b.attestation.pb"]})
    other = (ATTESTATION / "snp" / "milan-v2-provisional.vcek.der").read_bytes()
    document = SnpDocument(report=b.report, vcek_der=other)
    trust = Trust(anchor=amd_anchor("Milan"), check_revocation=False)

    with pytest.raises(HardwareRejected, match="not signed by the endorsement key"):
        verify_genuine(document, trust, datetime.fromisoformat("2025-01-01T00:00:00Z"))


def test_a_real_chain_is_refused_under_another_line() -> None:
    genoa, _ = read({"files": ["snp/genoa-v5-siena.attestation.pb"]})

    with pytest.raises(EndorsementRejected, match="line Genoa, wanted Milan"):
        verify_genuine(
            genoa,
            Trust(anchor=amd_anchor("Milan"), check_revocation=False),
            datetime.fromisoformat("2026-03-20T00:00:00Z"),
        )


def test_the_report_inside_an_azure_container_is_the_one_beside_it() -> None:
    blob = (ATTESTATION / "snp" / "azure-hcl-report.bin").read_bytes()

    report = parse_report(blob[0x20 : 0x20 + 0x4A0])

    assert report.raw == (ATTESTATION / "snp" / "milan-v3-azure.report.bin").read_bytes()
