"""Which level a platform stands at, what it lacks, and that dcap-qvl comes to the same verdict on synthetic evidence."""

import json
from copy import deepcopy
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from contrast_tasks.attestation.errors import TcbRejected
from contrast_tasks.attestation.tdx.tcb import TcbStatus
from contrast_tasks.errors import EvidenceRejected
from tests.attestation.tdx.test_negative import verify
from tests.fakes.intel import NOW, Body, Intel, PckValues, changed, pem, quoting_enclave

INTEL = Intel()
OLD, CURRENT = bytes((3, 1, 3)) + bytes(13), Body().tee_tcb_svn
BELOW = bytes((6, 1, 2)) + bytes(13)
UNNUMBERED = bytes((6, 0, 3)) + bytes(13)


def with_level(**tcb: Any) -> dict[str, Any]:
    """Return TCB info whose one level asks for something else than the synthetic platform has."""
    info = INTEL.tcb_info()
    level = info["tcbLevels"][0]
    level["tcb"].update(tcb)
    return info


def with_status(part: str, status: str) -> dict[str, dict[str, Any]]:
    """Return collateral in which one part's newest level has another status."""
    info, identity = INTEL.tcb_info(), INTEL.qe_identity()
    place = {"platform": info, "module": info["tdxModuleIdentities"][0], "enclave": identity}[part]
    place["tcbLevels"][0]["tcbStatus"] = status
    return {"tcb_info": info, "qe_identity": identity}


def unnumbered_level(**changes: Any) -> dict[str, Any]:
    info = INTEL.tcb_info(**changes)
    info["tcbLevels"][0]["tcb"]["tdxtcbcomponents"][1]["svn"] = 0
    return info


@pytest.mark.parametrize(
    "svn2",
    [pytest.param(BELOW, id="below every level"), pytest.param(OLD, id="an old module"),
     pytest.param(bytes((9, 9, 9)) + bytes(13), id="an unknown module")],
)  # fmt: skip
def test_the_levels_of_now_count_beside_those_of_the_launch(svn2: bytes) -> None:
    with pytest.raises(TcbRejected):
        verify(INTEL, INTEL.quote(version=5, svn2=svn2), allow_v5=True)
    body = changed(Body(), tee_tcb_svn=svn2)
    with pytest.raises(TcbRejected):
        verify(INTEL, INTEL.quote(body, version=5, svn2=CURRENT), allow_v5=True)


def test_a_module_updated_under_the_guest_is_accepted() -> None:
    newer = bytes((13, 1, 3)) + bytes(13)

    assert verify(INTEL, INTEL.quote(version=5, svn2=newer), allow_v5=True) is TcbStatus.UpToDate


def test_the_unnumbered_module_is_compared_with_the_one_of_the_tcb_info() -> None:
    body = changed(Body(), tee_tcb_svn=UNNUMBERED)
    bundle = INTEL.collateral(tcb_info=unnumbered_level())

    assert verify(INTEL, INTEL.quote(body), bundle) is TcbStatus.UpToDate
    for field, size in (("mr_signer_seam", 48), ("seam_attributes", 8)):
        with pytest.raises(TcbRejected, match=r"of module tdxModule|under mask"):
            verify(INTEL, INTEL.quote(changed(body, **{field: b"\1" + bytes(size - 1)})), bundle)


def test_both_svns_of_an_unnumbered_module_are_compared_with_the_platforms_level() -> None:
    info = with_level(tdxtcbcomponents=[{"svn": svn} for svn in bytes((7, 0, 3)) + bytes(13)])
    body = changed(Body(), tee_tcb_svn=UNNUMBERED)

    with pytest.raises(TcbRejected, match="no platform TCB level matches") as caught:
        verify(INTEL, INTEL.quote(body), INTEL.collateral(tcb_info=info))
    assert "TDX component 1 is 6, wanted 7" in caught.value.hint
    assert verify(INTEL, collateral=INTEL.collateral(tcb_info=info)) is TcbStatus.UpToDate


@pytest.mark.parametrize("index", range(2, 16))
def test_every_other_tdx_component_counts(index: int) -> None:
    wanted = [{"svn": svn} for svn in CURRENT]
    wanted[index]["svn"] += 1

    with pytest.raises(TcbRejected) as caught:
        verify(INTEL, collateral=INTEL.collateral(tcb_info=with_level(tdxtcbcomponents=wanted)))
    assert f"TDX component {index + 1} is " in caught.value.hint


def test_the_first_level_from_the_top_that_matches_decides() -> None:
    info = INTEL.tcb_info()
    better = deepcopy(info["tcbLevels"][0])
    better["tcb"]["pcesvn"] = 14
    info["tcbLevels"][0]["tcbStatus"] = "SWHardeningNeeded"
    info["tcbLevels"].insert(0, better)

    with pytest.raises(TcbRejected, match="platform SWHardeningNeeded") as caught:
        verify(INTEL, collateral=INTEL.collateral(tcb_info=info))
    assert caught.value.hint.startswith("too old: PCE SVN is 13, wanted 14; update ")


def test_what_an_old_platform_lacks_is_named_by_intels_words() -> None:
    info = INTEL.tcb_info()
    worse = deepcopy(info["tcbLevels"][0])
    worse["tcbStatus"] = "OutOfDate"
    best = info["tcbLevels"][0]["tcb"]
    best["sgxtcbcomponents"][7] = {"svn": 9, "category": "BIOS", "type": "SEAMLDR ACM"}
    best["tdxtcbcomponents"][2] = {"svn": 4, "type": "TDX Late Microcode Update"}
    info["tcbLevels"].append(worse)

    with pytest.raises(TcbRejected, match="TCB status is OutOfDate") as caught:
        verify(INTEL, collateral=INTEL.collateral(tcb_info=info))

    assert caught.value.hint == (
        "too old: SGX component 8 (SEAMLDR ACM) is 5, wanted 9; TDX component 3 (TDX Late Microcode Update) is 3, wanted 4; "
        "update the host's firmware and microcode (BIOS), TDX module or quoting enclave"
    )


def test_an_old_module_and_an_old_enclave_are_named_too() -> None:
    body = changed(Body(), tee_tcb_svn=OLD)
    quote = INTEL.quote(body, report=quoting_enclave(INTEL, svn=5))

    with pytest.raises(TcbRejected) as caught:
        verify(INTEL, quote)

    assert "SVN of the TDX module TDX_01 is 3, wanted 6" in caught.value.hint
    assert "SVN of the quoting enclave is 5, wanted 6" in caught.value.hint


def test_a_status_that_no_update_changes_says_so() -> None:
    bundle = INTEL.collateral(**with_status("platform", "ConfigurationNeeded"))

    with pytest.raises(TcbRejected) as caught:
        verify(INTEL, collateral=bundle)

    assert "the advisories say" in caught.value.hint


@pytest.mark.parametrize("place", ["tdxtcbcomponents", "sgxtcbcomponents"])
def test_a_components_name_is_for_people_and_decides_nothing(place: str) -> None:
    info = INTEL.tcb_info()
    info["tcbLevels"][0]["tcb"][place][0] |= {"type": ["SGX", 7], "category": None}

    assert verify(INTEL, collateral=INTEL.collateral(tcb_info=info)) is TcbStatus.UpToDate


def dcap_verdict(quote: bytes, collateral: bytes) -> str:
    """Return the status that dcap-qvl finds under the synthetic root, "rejected" if it finds none."""
    dcap_qvl = pytest.importorskip("dcap_qvl", reason="dcap-qvl has no wheel here")
    bundle = dcap_qvl.QuoteCollateralV3.from_json(json.dumps(json.loads(collateral)))
    root = INTEL.root.public_bytes(Encoding.DER)
    try:
        verified = dcap_qvl.verify_with_root_ca(quote, bundle, root, int(NOW.timestamp()))
    except ValueError:
        return "rejected"
    return "accepted" if verified.status == "UpToDate" else "rejected"


def our_verdict(quote: bytes, collateral: bytes) -> str:
    try:
        verify(INTEL, quote, collateral, allow_v5=True)
    except EvidenceRejected:
        return "rejected"
    return "accepted"


GOOD = INTEL.quote()
CASES: dict[str, tuple[bytes, bytes]] = {
    "good": (GOOD, INTEL.collateral()),
    "good, version 5": (INTEL.quote(version=5), INTEL.collateral()),
    "old levels of now": (INTEL.quote(version=5, svn2=BELOW), INTEL.collateral()),
    "trailing bytes": (INTEL.quote(trailing=b"x" * 500), INTEL.collateral()),
    "chain without NUL": (INTEL.quote(chain=pem(INTEL.pck, INTEL.ca, INTEL.root)), INTEL.collateral()),
    "old module": (INTEL.quote(changed(Body(), tee_tcb_svn=OLD)), INTEL.collateral()),
    "below every level": (INTEL.quote(changed(Body(), tee_tcb_svn=BELOW)), INTEL.collateral()),
    "unnumbered module": (INTEL.quote(changed(Body(), tee_tcb_svn=UNNUMBERED)), INTEL.collateral(tcb_info=unnumbered_level())),
    "module of a stranger": (INTEL.quote(changed(Body(), mr_signer_seam=b"\1" * 48)), INTEL.collateral()),
    "module attributes": (INTEL.quote(changed(Body(), seam_attributes=b"\1" * 8)), INTEL.collateral()),
    "debug": (INTEL.quote(changed(Body(), td_attributes=bytes.fromhex("0100001000000000"))), INTEL.collateral()),
    "without SEPT_VE_DISABLE": (INTEL.quote(changed(Body(), td_attributes=bytes(8))), INTEL.collateral()),
    "old quoting enclave": (INTEL.quote(report=quoting_enclave(INTEL, svn=5)), INTEL.collateral()),
    "quoting enclave in debug": (INTEL.quote(report=quoting_enclave(INTEL, attributes=b"\x13" + bytes(15))), INTEL.collateral()),
    "quoting enclave, masked bit": (INTEL.quote(report=quoting_enclave(INTEL, attributes=b"\x15" + bytes(15))), INTEL.collateral()),
    "old PCE": (INTEL.quote(chain=pem(INTEL.make_pck(PckValues(pce_svn=12)), INTEL.ca, INTEL.root)), INTEL.collateral()),
    "no platform id": (INTEL.quote(chain=pem(INTEL.make_pck(PckValues(piid=None, flags=None)), INTEL.ca, INTEL.root)), INTEL.collateral()),
    "other FMSPC": (INTEL.quote(chain=pem(INTEL.make_pck(PckValues(fmspc=bytes(6))), INTEL.ca, INTEL.root)), INTEL.collateral()),
    "other vendor": (INTEL.quote(vendor=bytes(16)), INTEL.collateral()),
    "other root": (Intel().quote(), INTEL.collateral()),
    "wrong signature": (GOOD[:700] + bytes([GOOD[700] ^ 1]) + GOOD[701:], INTEL.collateral()),
    **{
        f"{part} {status.name}": (GOOD, INTEL.collateral(**with_status(part, status.name)))
        for part in ("platform", "module", "enclave")
        for status in TcbStatus
    },
}  # fmt: skip
# Where dcap-qvl asks for less than we do.
LENIENT = {"enclave ConfigurationNeeded", "enclave OutOfDateConfigurationNeeded"}


@pytest.mark.parametrize("case", [one for one in CASES if one not in LENIENT])
def test_dcap_qvl_accepts_and_refuses_the_same_synthetic_evidence(case: str) -> None:
    quote, collateral = CASES[case]

    assert our_verdict(quote, collateral) == dcap_verdict(quote, collateral)


@pytest.mark.parametrize("case", sorted(LENIENT))
def test_a_status_that_dcap_qvl_overlooks_is_refused(case: str) -> None:
    assert our_verdict(*CASES[case]) == "rejected"
