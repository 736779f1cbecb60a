"""Quotes of real hardware with their verdicts, and dcap-qvl as a second opinion on each."""

import json
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509

from contrast_tasks.attestation.tdx.collateral import Collateral, parse_collateral
from contrast_tasks.attestation.tdx.expectation import hardening_checks
from contrast_tasks.attestation.tdx.pck import load_chain, spki_der
from contrast_tasks.attestation.tdx.quote import BODIES, HEADER, QE_REPORT, parse_quote
from contrast_tasks.attestation.tdx.sgx_extension import parse_pck_facts
from contrast_tasks.attestation.tdx.verify import (
    require_up_to_date,
    tcb_of,
    verify_genuine,
)
from contrast_tasks.attestation.verdict import require_all
from contrast_tasks.errors import EvidenceRejected
from tests.fakes.testdata import ATTESTATION

pytestmark = pytest.mark.skipif(
    not ATTESTATION.is_dir(), reason="test data of real hardware is not at hand"
)


def vectors() -> list[dict[str, Any]]:
    if not ATTESTATION.is_dir():
        return []
    every = json.loads((ATTESTATION / "vectors.json").read_text())["vectors"]
    return [vector for vector in every if vector["tee"] == "tdx"]


def checks() -> list[Any]:
    return [
        pytest.param(
            vector, check, id=f"{vector['id']}-{check['check']}-{check['at']}-{check['options']}"
        )
        for vector in vectors()
        for check in vector["checks"]
    ]


def root_spki() -> bytes:
    der = (ATTESTATION / "roots" / "intel_sgx_root_ca.der").read_bytes()
    return spki_der(x509.load_der_x509_certificate(der))


def files_of(vector: dict[str, Any]) -> tuple[bytes, Collateral | None]:
    quote = next(name for name in vector["files"] if name.endswith(".quote.bin"))
    bundle = [name for name in vector["files"] if name.endswith(".collateral.json")]
    collateral = parse_collateral((ATTESTATION / bundle[0]).read_bytes()) if bundle else None
    return (ATTESTATION / quote).read_bytes(), collateral


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["id"])
def test_lengths_and_bytes_are_kept(vector: dict[str, Any]) -> None:
    raw, _ = files_of(vector)

    quote = parse_quote(raw)

    assert quote.signed_data_bytes == vector["signed_data_len"]
    assert len(quote.trailing) == vector["trailing_bytes"]
    assert HEADER.render(quote.header) == raw[:48]
    assert quote.signed.endswith(BODIES[3 if quote.body.tee_tcb_svn2 else 2].render(quote.body))
    assert QE_REPORT.render(quote.qe_report) == quote.qe_report_raw


@pytest.mark.parametrize(("vector", "check"), checks())
def test_the_verdict_is_the_expected_one(vector: dict[str, Any], check: dict[str, Any]) -> None:
    raw, collateral = files_of(vector)
    at = datetime.fromisoformat(check["at"])
    result, reason = "accept", None

    try:
        quote = parse_quote(raw)
        chain = verify_genuine(
            quote,
            root_spki=root_spki(),
            now=at,
            allow_v5=check["options"].get("allow_quote_v5", False),
        )
        if check["check"] == "default-policy":
            require_all(hardening_checks(quote.body))
        if check["check"] != "genuine":
            require_up_to_date(tcb_of(quote, chain, collateral, root_spki=root_spki(), now=at)[0])
    except EvidenceRejected as err:
        result, reason = "reject", getattr(err, "reason", None)

    assert result == check["result"]
    assert reason == check.get("reason")


def tcb_checks() -> list[Any]:
    return [
        pytest.param(vector, check["at"], id=f"{vector['id']}-{check['at']}")
        for vector in vectors()
        for check in vector["checks"]
        if check["check"] == "tcb" and any("collateral" in name for name in vector["files"])
    ]


@pytest.mark.parametrize(("vector", "moment"), tcb_checks())
def test_dcap_qvl_comes_to_the_same_levels(vector: dict[str, Any], moment: str) -> None:
    dcap_qvl = pytest.importorskip("dcap_qvl", reason="dcap-qvl has no wheel here")
    raw, collateral = files_of(vector)
    assert collateral is not None
    at = datetime.fromisoformat(moment)
    theirs = dcap_qvl.QuoteCollateralV3.from_json(json.dumps(collateral.to_json()))
    try:
        their_status = dcap_qvl.verify(raw, theirs, int(at.timestamp())).status
    except ValueError as err:
        their_status = f"rejected: {err}"

    quote = parse_quote(raw)
    try:
        chain = verify_genuine(quote, root_spki=root_spki(), now=at, allow_v5=True)
        level, _ = tcb_of(quote, chain, collateral, root_spki=root_spki(), now=at)
        require_all(hardening_checks(quote.body))
        our_status = level.status.name
    except EvidenceRejected as err:
        our_status = f"rejected: {err}"

    assert our_status.startswith("rejected") == their_status.startswith("rejected"), their_status
    if not our_status.startswith("rejected"):
        assert our_status == their_status


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["id"])
def test_dcap_qvl_reads_the_same_fields(vector: dict[str, Any]) -> None:
    dcap_qvl = pytest.importorskip("dcap_qvl", reason="dcap-qvl has no wheel here")
    raw, _ = files_of(vector)
    theirs = dcap_qvl.Quote.parse(raw)

    body = parse_quote(raw).body
    leaf = load_chain(parse_quote(raw).pck_chain_pem, "PCK chain")[0]

    fields = {name: getattr(body, name) for name in TD_FIELDS}
    fields |= {f"rt_mr{index}": rtmr for index, rtmr in enumerate(body.rtmrs)}
    if body.mr_service_td:
        fields |= {"tee_tcb_svn2": body.tee_tcb_svn2, "mr_service_td": body.mr_service_td}
    assert {name: getattr(theirs.report, name) for name in fields} == fields
    assert theirs.fmspc().lower() == parse_pck_facts(leaf).fmspc.hex()


TD_FIELDS = (
    "tee_tcb_svn", "mr_seam", "mr_signer_seam", "seam_attributes", "td_attributes", "xfam", "mr_td", "mr_config_id",
    "mr_owner", "mr_owner_config", "report_data",
)  # fmt: skip
