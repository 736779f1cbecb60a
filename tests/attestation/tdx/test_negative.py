"""Rows 52 to 73 of the list of evidence that a verifier must reject, against a synthetic Intel."""

import hashlib
import json
import struct
from datetime import timedelta
from typing import Any

import pytest

from contrast_tasks.attestation.errors import (
    ClaimsRejected,
    CollateralRejected,
    CollateralUnavailable,
    EndorsementRejected,
    MalformedEvidence,
    SignatureRejected,
    TcbRejected,
)
from contrast_tasks.attestation.tdx.collateral import parse_collateral
from contrast_tasks.attestation.tdx.expectation import TdxExpectation, claim_checks
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.attestation.tdx.tcb import TcbStatus
from contrast_tasks.attestation.tdx.verify import require_up_to_date, tcb_of, verify_genuine
from contrast_tasks.attestation.verdict import require_all
from contrast_tasks.errors import EvidenceRejected
from tests.fakes.intel import (
    AUTH,
    NOW,
    Body,
    Intel,
    PckValues,
    certificate,
    changed,
    crl,
    new_key,
    pem,
    qe_report,
    raw_public,
)

REPORT_DATA = Body().report_data


@pytest.fixture(scope="module")
def intel() -> Intel:
    return Intel()


def expectation(**changes: Any) -> TdxExpectation:
    body = Body()
    values: dict[str, Any] = {
        "mr_td": body.mr_td,
        "mr_seam": body.mr_seam,
        "rtmrs": body.rtmrs,
        "xfam": body.xfam,
    }
    return TdxExpectation(**{**values, **changes})


def verify(
    intel: Intel,
    quote: bytes | None = None,
    collateral: bytes | None = None,
    *,
    expected: TdxExpectation | None = None,
    report_data: bytes = REPORT_DATA,
    now: Any = NOW,
    allow_v5: bool = False,
) -> TcbStatus:
    parsed = parse_quote(intel.quote() if quote is None else quote)
    chain = verify_genuine(parsed, root_spki=intel.root_spki, now=now, allow_v5=allow_v5)
    bundle = parse_collateral(intel.collateral() if collateral is None else collateral)
    level, verified = tcb_of(parsed, chain, bundle, root_spki=intel.root_spki, now=now)
    require_up_to_date(level)
    require_all(
        claim_checks(
            parsed,
            chain.facts,
            expected or expectation(),
            report_data=report_data,
            evaluation_number=verified.evaluation_number,
        )
    )
    return level.status


def test_genuine_evidence_in_the_demanded_state_is_accepted(intel: Intel) -> None:
    assert verify(intel) is TcbStatus.UpToDate


def test_version_5_is_accepted_where_it_is_switched_on(intel: Intel) -> None:
    assert verify(intel, intel.quote(version=5), allow_v5=True) is TcbStatus.UpToDate


@pytest.mark.parametrize("offset", [0, 2, 4, 12, 28, 48, 100, 300, 631])
def test_52_a_flipped_bit_in_header_or_body_is_rejected(intel: Intel, offset: int) -> None:
    quote = bytearray(intel.quote())
    quote[offset] ^= 1

    with pytest.raises(EvidenceRejected):
        verify(intel, bytes(quote))


def part_offsets(quote: bytes) -> dict[str, int]:
    data = 48 + 584 + 4
    chain = quote.index(b"-----BEGIN")
    return {
        "quote signature": data + 5,
        "attestation key": data + 64 + 5,
        "QE report": data + 134 + 10,
        "QE report data": data + 134 + 0x140 + 3,
        "QE report signature": data + 134 + 384 + 7,
        "QE authentication data": data + 134 + 384 + 64 + 2 + 1,
        "PCK certificate": chain + 400,
        "PCK intermediate": quote.index(b"-----BEGIN", chain + 10) + 400,
        "Intel root": quote.rindex(b"-----BEGIN") + 400,
    }


@pytest.mark.parametrize(
    "part",
    [
        "quote signature",
        "attestation key",
        "QE report",
        "QE report data",
        "QE report signature",
        "QE authentication data",
        "PCK certificate",
        "PCK intermediate",
        "Intel root",
    ],
)
def test_52_a_flipped_bit_in_any_signed_part_is_rejected(intel: Intel, part: str) -> None:
    quote = bytearray(intel.quote())
    quote[part_offsets(bytes(quote))[part]] ^= 2

    with pytest.raises(EvidenceRejected):
        verify(intel, bytes(quote))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"version": 3}, "version is 3", id="version 3"),
        pytest.param({"version": 5}, "not enabled", id="version 5"),
        pytest.param({"key_type": 3}, "key type is 3", id="key type 3"),
        pytest.param({"tee_type": 0}, "TEE type is 0x0", id="SGX quote"),
    ],
)
def test_53_another_kind_of_quote_is_rejected(
    intel: Intel, changes: dict[str, int], message: str
) -> None:
    with pytest.raises(MalformedEvidence, match=message):
        verify(intel, intel.quote(**changes))


@pytest.mark.parametrize("outer", [1, 2, 3, 4, 5, 7])
def test_54_other_certification_data_is_rejected(intel: Intel, outer: int) -> None:
    with pytest.raises(MalformedEvidence, match=f"type {outer}, wanted 6"):
        verify(intel, intel.quote(outer_type=outer))


def test_54_another_inner_type_is_rejected(intel: Intel) -> None:
    with pytest.raises(MalformedEvidence, match="type 4, wanted 5"):
        verify(intel, intel.quote(inner_type=4))


@pytest.mark.parametrize(
    ("at", "layout"),
    [
        pytest.param(632, "<I", id="signature data"),
        pytest.param(636 + 130, "<I", id="certification data"),
        pytest.param(636 + 134 + 448, "<H", id="QE authentication data"),
        pytest.param(636 + 134 + 450 + len(AUTH) + 2, "<I", id="PCK chain"),
    ],
)
@pytest.mark.parametrize("change", [-1, 1, 0xFFFF, None])
def test_54_lengths_that_do_not_nest_are_rejected(
    intel: Intel, at: int, layout: str, change: int | None
) -> None:
    quote = bytearray(intel.quote())
    (size,) = struct.unpack_from(layout, quote, at)
    most = 0xFFFF if layout == "<H" else 0xFFFFFFFF
    struct.pack_into(layout, quote, at, most if change is None else min(size + change, most))

    with pytest.raises(MalformedEvidence):
        verify(intel, bytes(quote))


def test_55_a_debug_guest_is_rejected_by_name(intel: Intel) -> None:
    body = changed(Body(), td_attributes=bytes.fromhex("0100001000000000"))

    with pytest.raises(ClaimsRejected, match=r"TDATTRIBUTES\.DEBUG is 1, but 0"):
        verify(intel, intel.quote(body))


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param("0000000000000000", id="without SEPT_VE_DISABLE"),
        pytest.param("0000001000000080", id="with PERFMON"),
        pytest.param("0000001001000000", id="reserved bit 32"),
    ],
)
def test_56_other_attributes_are_rejected(intel: Intel, attributes: str) -> None:
    body = changed(Body(), td_attributes=bytes.fromhex(attributes))

    with pytest.raises(ClaimsRejected, match="TDATTRIBUTES"):
        verify(intel, intel.quote(body))


@pytest.mark.parametrize(
    "xfam",
    [
        pytest.param("e602060000000000", id="without bit 0"),
        pytest.param("e502060000000000", id="without bit 1"),
        pytest.param("e702068000000000", id="reserved bit"),
        pytest.param("e700060000000000", id="unlike the reference"),
    ],
)
def test_57_other_extended_features_are_rejected(intel: Intel, xfam: str) -> None:
    body = changed(Body(), xfam=bytes.fromhex(xfam))

    with pytest.raises(ClaimsRejected, match="XFAM"):
        verify(intel, intel.quote(body))


def test_57_shadow_stacks_alone_make_no_difference(intel: Intel) -> None:
    body = changed(Body(), xfam=bytes.fromhex("e71a060000000000"))

    assert verify(intel, intel.quote(body)) is TcbStatus.UpToDate


@pytest.mark.parametrize("field", ["mr_td", "mr_seam"])
def test_58_another_measurement_is_rejected_with_both_values(intel: Intel, field: str) -> None:
    body = changed(Body(), **{field: b"\xee" * 48})

    with pytest.raises(ClaimsRejected) as caught:
        verify(intel, intel.quote(body))

    (mismatch,) = caught.value.failed
    assert mismatch.field == field.replace("_", "").upper()
    assert mismatch.found == "ee" * 48
    assert mismatch.wanted == getattr(Body(), field).hex()


@pytest.mark.parametrize("index", range(4))
def test_58_another_runtime_measurement_is_rejected(intel: Intel, index: int) -> None:
    rtmrs = list(Body().rtmrs)
    rtmrs[index] = b"\xee" * 48

    with pytest.raises(ClaimsRejected, match=f"RTMR{index}"):
        verify(intel, intel.quote(changed(Body(), rtmrs=tuple(rtmrs))))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("mr_config_id", b"\xc0" * 32 + bytes(15) + b"\1", "MRCONFIGID bytes 32 to 47"),
        ("mr_owner", bytes(47) + b"\1", "MROWNER"),
        ("mr_owner_config", b"\1" + bytes(47), "MROWNERCONFIG"),
    ],
)
def test_59_owner_fields_must_be_zero(intel: Intel, field: str, value: bytes, message: str) -> None:
    with pytest.raises(ClaimsRejected, match=message):
        verify(intel, intel.quote(changed(Body(), **{field: value})))


def test_60_one_svn_component_below_the_minimum_is_rejected(intel: Intel) -> None:
    minimum = bytes((6, 1, 3, 1)) + bytes(12)

    with pytest.raises(ClaimsRejected, match=r"TEE_TCB_SVN is .*, but at least 06010301"):
        verify(intel, expected=expectation(minimum_tee_tcb_svn=minimum))


def test_61_another_vendors_quoting_enclave_is_rejected(intel: Intel) -> None:
    with pytest.raises(SignatureRejected, match="QE vendor id"):
        verify(intel, intel.quote(vendor=bytes(16)))


def test_62_a_root_of_ones_own_is_rejected(intel: Intel) -> None:
    forger = Intel()

    with pytest.raises(EndorsementRejected, match="pinned Intel SGX Root CA") as caught:
        verify(intel, forger.quote())

    for spki in (forger.root_spki, intel.root_spki):
        assert hashlib.sha256(spki).hexdigest() in str(caught.value)


def test_63_chains_of_another_shape_are_rejected(intel: Intel) -> None:
    leaf, authority, root = pem(intel.pck), pem(intel.ca), pem(intel.root)

    for chain in (
        leaf + root,
        leaf + authority + root + root,
        root + authority + leaf,
        leaf + b"text\n" + authority + root,
        leaf + authority + root + b"tail",
        b"",
    ):
        with pytest.raises(EvidenceRejected):
            verify(intel, intel.quote(chain=chain))


def test_64_a_revoked_platform_certificate_is_rejected(intel: Intel) -> None:
    revoked = crl(intel.ca_name, intel.ca_key, [intel.pck.serial_number]).hex()

    with pytest.raises(CollateralRejected, match=r"PCK certificate .* revoked") as caught:
        verify(intel, collateral=intel.collateral(pck_crl=revoked))

    assert caught.value.reason == "revoked"


@pytest.mark.parametrize("which", ["ca", "signer"])
def test_64_a_revoked_intermediate_or_signer_is_rejected(intel: Intel, which: str) -> None:
    serial = getattr(intel, which).serial_number
    revoked = crl("Intel SGX Root CA", intel.root_key, [serial]).hex()

    with pytest.raises(CollateralRejected, match="revoked"):
        verify(intel, collateral=intel.collateral(root_ca_crl=revoked))


@pytest.mark.parametrize(
    ("issuer", "own_key", "dates"),
    [
        pytest.param(None, True, (-60, -30), id="expired"),
        pytest.param(None, True, (1, 30), id="from the future"),
        pytest.param("Somebody else", True, (-1, 29), id="other issuer"),
        pytest.param(None, False, (-1, 29), id="other key"),
    ],
)
@pytest.mark.parametrize("which", ["pck_crl", "root_ca_crl"])
def test_64_a_revocation_list_that_is_not_good_now_is_rejected(
    intel: Intel, which: str, issuer: str | None, own_key: bool, dates: tuple[int, int]
) -> None:
    genuine, key = (
        (intel.ca_name, intel.ca_key)
        if which == "pck_crl"
        else ("Intel SGX Root CA", intel.root_key)
    )
    lists = crl(
        issuer or genuine,
        key if own_key else new_key(),
        since=NOW + timedelta(days=dates[0]),
        until=NOW + timedelta(days=dates[1]),
    )

    with pytest.raises(CollateralRejected):
        verify(intel, collateral=intel.collateral(**{which: lists.hex()}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"nextUpdate": "2026-05-31T00:00:00Z"}, "expired", id="expired"),
        pytest.param({"issueDate": "2026-06-02T00:00:00Z"}, "is valid from", id="from the future"),
        pytest.param({"fmspc": "00606A000000"}, "FMSPC", id="other FMSPC"),
        pytest.param({"pceId": "0001"}, "PCE-ID", id="other PCE-ID"),
        pytest.param({"id": "SGX"}, "id: found 'SGX', wanted 'TDX'", id="SGX"),
        pytest.param({"version": 2}, "version: found 2, wanted 3", id="version 2"),
        pytest.param({"tcbLevels": []}, "no TCB levels", id="no levels"),
        pytest.param({"fmspc": "zz"}, "not hex", id="no hex"),
        pytest.param({"issueDate": "yesterday"}, "not a UTC time", id="no time"),
        pytest.param(
            {"tdxModule": None}, "tdxModule: found null, wanted an object", id="no module"
        ),
    ],
)
def test_65_tcb_info_about_something_else_is_rejected(
    intel: Intel, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CollateralRejected, match=message):
        verify(intel, collateral=intel.collateral(tcb_info=intel.tcb_info(**changes)))


def test_65_a_signature_over_json_written_again_is_rejected(intel: Intel) -> None:
    bundle = json.loads(intel.collateral())
    bundle["tcb_info"] = json.dumps(json.loads(bundle["tcb_info"]), indent=1)

    with pytest.raises(CollateralRejected, match="over the text as received"):
        verify(intel, collateral=json.dumps(bundle).encode())


def test_65_collateral_signed_by_another_key_is_rejected(intel: Intel) -> None:
    with pytest.raises(CollateralRejected, match="signature does not verify"):
        verify(intel, collateral=intel.collateral(signer_key=new_key()))


def test_65_a_signer_with_another_name_is_rejected(intel: Intel) -> None:
    other = certificate(
        "Intel SGX PCK Processor CA", intel.signer_key, "Intel SGX Root CA", intel.root_key,
        authority=True,
    )  # fmt: skip

    with pytest.raises(EvidenceRejected, match="wanted Intel SGX TCB Signing"):
        verify(
            intel,
            collateral=intel.collateral(tcb_info_issuer_chain=pem(other, intel.root).decode()),
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"id": "QE"}, "id: found 'QE', wanted 'TD_QE'", id="SGX quoting enclave"),
        pytest.param({"nextUpdate": "2026-05-31T00:00:00Z"}, "expired", id="expired"),
    ],
)
def test_66_an_identity_of_something_else_is_rejected(
    intel: Intel, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CollateralRejected, match=message):
        verify(intel, collateral=intel.collateral(qe_identity=intel.qe_identity(**changes)))


@pytest.mark.parametrize(
    ("report", "message"),
    [
        pytest.param({"mr_signer": b"\xdd" * 32}, "MRSIGNER", id="signer"),
        pytest.param({"prod_id": 1}, "ISVPRODID", id="product"),
        pytest.param({"misc_select": 1}, "MISCSELECT", id="misc select"),
        pytest.param(
            {"attributes": bytes.fromhex("13" + "00" * 15)}, "ATTRIBUTES", id="attributes"
        ),
        pytest.param({"svn": 3}, "no TCB level", id="below all levels"),
    ],
)
def test_66_another_quoting_enclave_is_rejected(
    intel: Intel, report: dict[str, Any], message: str
) -> None:
    bound = hashlib.sha256(raw_public(intel.attestation_key) + AUTH).digest()

    with pytest.raises(TcbRejected, match=message):
        verify(intel, intel.quote(report=qe_report(bound, **report)))


@pytest.mark.parametrize(
    "index", [pytest.param(index, id=f"component {index}") for index in (0, 5, 7)]
)
def test_67_a_platform_below_every_level_is_rejected_although_the_module_is_current(
    intel: Intel, index: int
) -> None:
    components = list(PckValues().components)
    components[index] -= 1
    older = intel.make_pck(PckValues(components=tuple(components)))

    with pytest.raises(TcbRejected, match="no platform TCB level matches") as caught:
        verify(intel, intel.quote(chain=pem(older, intel.ca, intel.root)))

    assert caught.value.reason == "no-matching-level"


def test_67_an_older_pce_is_rejected(intel: Intel) -> None:
    older = intel.make_pck(PckValues(pce_svn=12))

    with pytest.raises(TcbRejected, match="PCE SVN 12"):
        verify(intel, intel.quote(chain=pem(older, intel.ca, intel.root)))


@pytest.mark.parametrize(
    "status", [status.name for status in TcbStatus if status is not TcbStatus.UpToDate]
)
def test_68_any_status_but_up_to_date_is_rejected(intel: Intel, status: str) -> None:
    info = intel.tcb_info()
    info["tcbLevels"][0]["tcbStatus"] = status

    with pytest.raises(TcbRejected, match=f"TCB status is {status}"):
        verify(intel, collateral=intel.collateral(tcb_info=info))


def test_68_a_status_nobody_knows_is_rejected(intel: Intel) -> None:
    info = intel.tcb_info()
    info["tcbLevels"][0]["tcbStatus"] = "Fine"

    with pytest.raises(CollateralRejected, match="unknown TCB status 'Fine'"):
        verify(intel, collateral=intel.collateral(tcb_info=info))


@pytest.mark.parametrize("part", ["module", "quoting enclave"])
def test_68_the_worst_of_the_three_decides(intel: Intel, part: str) -> None:
    bound = hashlib.sha256(raw_public(intel.attestation_key) + AUTH).digest()
    if part == "module":
        info = intel.tcb_info()
        info["tcbLevels"][0]["tcb"]["tdxtcbcomponents"][0]["svn"] = 0
        quote = intel.quote(changed(Body(), tee_tcb_svn=bytes((3, 1, 3)) + bytes(13)))
    else:
        info = intel.tcb_info()
        quote = intel.quote(report=qe_report(bound, svn=5))

    with pytest.raises(TcbRejected, match="TCB status is OutOfDate"):
        verify(intel, quote, intel.collateral(tcb_info=info))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"tee_tcb_svn": bytes((6, 2, 3)) + bytes(13)},
            "does not list the TDX module identity TDX_02",
            id="module 2",
        ),
        pytest.param({"mr_signer_seam": b"\1" + bytes(47)}, "MRSIGNERSEAM", id="signer"),
        pytest.param({"seam_attributes": bytes(7) + b"\1"}, "SEAMATTRIBUTES", id="attributes"),
        pytest.param(
            {"tee_tcb_svn": bytes((1, 1, 3)) + bytes(13)},
            "no TCB level matches TDX module",
            id="too old",
        ),
    ],
)
def test_69_another_module_is_rejected(
    intel: Intel, changes: dict[str, bytes], message: str
) -> None:
    with pytest.raises(TcbRejected, match=message):
        verify(intel, intel.quote(changed(Body(), **changes)))


def test_70_a_platform_that_is_not_listed_is_rejected(intel: Intel) -> None:
    with pytest.raises(ClaimsRejected, match="PIID is 000102"):
        verify(intel, expected=expectation(piids=frozenset({bytes(16)})))


def test_70_a_platform_without_an_id_is_rejected_where_a_list_is_set(intel: Intel) -> None:
    anonymous = intel.make_pck(PckValues(piid=None, flags=None))

    with pytest.raises(ClaimsRejected, match="PIID is none"):
        verify(
            intel,
            intel.quote(chain=pem(anonymous, intel.ca, intel.root)),
            expected=expectation(piids=frozenset({bytes(16)})),
        )


@pytest.mark.parametrize(
    ("values", "demand", "message"),
    [
        (PckValues(sgx_type=0), "memory_integrity", "SGX type is 0"),
        (PckValues(sgx_type=1), "memory_integrity", "SGX type is 1"),
        (PckValues(), "smt_disabled", "SMT enabled is True"),
        (PckValues(), "static_platform", "dynamic platform is True"),
        (PckValues(flags=None), "smt_disabled", "SMT enabled is None"),
    ],
)
def test_71_a_platform_configured_otherwise_is_rejected(
    intel: Intel, values: PckValues, demand: str, message: str
) -> None:
    chain = pem(intel.make_pck(values), intel.ca, intel.root)

    with pytest.raises(ClaimsRejected, match=message):
        verify(intel, intel.quote(chain=chain), expected=expectation(**{demand: True}))


def test_72_collateral_older_than_demanded_is_rejected(intel: Intel) -> None:
    with pytest.raises(ClaimsRejected, match="tcbEvaluationDataNumber is 18, but at least 19"):
        verify(intel, expected=expectation(minimum_evaluation_number=19))


def test_73_trailing_bytes_are_ignored_up_to_a_limit(intel: Intel) -> None:
    assert verify(intel, intel.quote(trailing=b'{"Collateral": null}')) is TcbStatus.UpToDate

    with pytest.raises(MalformedEvidence, match="wanted 1020 to 65536"):
        verify(intel, intel.quote(trailing=bytes(64 * 1024)))


def test_77_clocks_far_off_are_rejected(intel: Intel) -> None:
    for years in (-10, 40):
        with pytest.raises(EndorsementRejected):
            verify(intel, now=NOW + timedelta(days=365 * years))


def test_report_data_for_another_key_or_nonce_is_rejected(intel: Intel) -> None:
    with pytest.raises(ClaimsRejected, match="REPORTDATA"):
        verify(intel, report_data=bytes(64))


def test_without_collateral_it_fails_closed(intel: Intel) -> None:
    quote = parse_quote(intel.quote())
    chain = verify_genuine(quote, root_spki=intel.root_spki, now=NOW)

    with pytest.raises(CollateralUnavailable, match="collateral not available"):
        tcb_of(quote, chain, None, root_spki=intel.root_spki, now=NOW)


@pytest.mark.parametrize("member", ["pck_crl", "tcb_info", "qe_identity_signature"])
@pytest.mark.parametrize("value", [None, "", 1, "zz"])
def test_a_bundle_with_a_broken_member_is_rejected(intel: Intel, member: str, value: Any) -> None:
    bundle = json.loads(intel.collateral())
    bundle[member] = value

    with pytest.raises(CollateralRejected):
        verify(intel, collateral=json.dumps(bundle).encode())
