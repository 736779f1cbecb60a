"""Compare a genuine quote with one reference value; all comparisons are made, and each gives a Check.

Source: docs/internals/attestation.md 3.7.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from contrast_tasks.attestation.checks import HINT_DEBUG, HINT_REPORT_DATA, HINT_RUNTIME, Check
from contrast_tasks.attestation.flags import mask_of
from contrast_tasks.attestation.tdx.flags import XFAM
from contrast_tasks.attestation.tdx.quote import MEASUREMENT_BYTES, TdReport, TdxQuote
from contrast_tasks.attestation.tdx.sgx_extension import PckFacts

# SEPT_VE_DISABLE: the host cannot cause exceptions on the guest's private pages.
TD_ATTRIBUTES = mask_of({28}).to_bytes(8, "little")
_TD_DEBUG = mask_of({0})
# DEBUG, SEPT_VE_DISABLE, PKS and PERFMON; other bits are reserved or unknown.
_TD_ATTRIBUTES_KNOWN = mask_of({0, 28, 30, 63})
_XFAM_ALWAYS = mask_of({0, 1})
_XFAM_KNOWN = mask_of(XFAM)
# Shadow stacks (CET) depend on the host and weaken nothing: ignored on both sides.
_XFAM_CET = mask_of({11, 12})
_SCALABLE_WITH_INTEGRITY = 2

_HINTS = {
    "REPORTDATA": HINT_REPORT_DATA,
    "TDATTRIBUTES.DEBUG": HINT_DEBUG,
    "MRTD": HINT_RUNTIME,
    "RTMR0": HINT_RUNTIME,
    "RTMR1": HINT_RUNTIME,
    "RTMR2": HINT_RUNTIME,
    "RTMR3": "something in the guest extended a register that the runtime does not use",
    "MRSEAM": "the host runs another TDX module than the manifest trusts: MrSeam is the module's SHA-384",
    "TEE_TCB_SVN": "too old: update the host's TDX module, or lower MinimumTeeTcbSvn",
    "PIID": "add the platform to AllowedPIIDs if the machine is yours",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxExpectation:
    """A reference value as bytes; None, False, 0 or an empty set means that a value is not checked.

    Lengths: mr_td, mr_seam and each of the four rtmrs 48; xfam, td_attributes 8; minimum_tee_tcb_svn, each of piids 16 bytes.
    minimum_qe_svn, minimum_pce_svn: for two words of the header that are zero in practice.
    """

    mr_td: bytes
    mr_seam: bytes
    rtmrs: tuple[bytes, ...]
    xfam: bytes
    td_attributes: bytes = TD_ATTRIBUTES
    minimum_tee_tcb_svn: bytes | None = None
    piids: frozenset[bytes] = frozenset()
    memory_integrity: bool = False
    smt_disabled: bool = False
    static_platform: bool = False
    minimum_evaluation_number: int = 0
    minimum_qe_svn: int = 0
    minimum_pce_svn: int = 0


def claim_checks(
    quote: TdxQuote,
    facts: PckFacts,
    expected: TdxExpectation,
    *,
    report_data: bytes,
    evaluation_number: int | None,
) -> Iterator[Check]:
    """Yield the checks against the reference value.

    facts: of the quote's PCK certificate. report_data: the expected 64 bytes.
    evaluation_number: the lowest in the collateral, None without collateral.
    """
    body = quote.body
    yield _equal("REPORTDATA", body.report_data, report_data)
    yield from hardening_checks(body)
    yield _equal("MRTD", body.mr_td, expected.mr_td)
    for index, (found, wanted) in enumerate(zip(body.rtmrs, expected.rtmrs, strict=True)):
        yield _equal(f"RTMR{index}", found, wanted)
    yield _equal("MRSEAM", body.mr_seam, expected.mr_seam)
    yield _equal("TDATTRIBUTES", body.td_attributes, expected.td_attributes)
    yield _check(
        "XFAM",
        _word(body.xfam) & ~_XFAM_CET == _word(expected.xfam) & ~_XFAM_CET,
        body.xfam.hex(),
        expected.xfam.hex(),
    )
    nothing = bytes(MEASUREMENT_BYTES)
    yield _equal("MROWNER", body.mr_owner, nothing)
    yield _equal("MROWNERCONFIG", body.mr_owner_config, nothing)
    yield _equal("MRCONFIGID bytes 32 to 47", body.mr_config_id[32:], bytes(16))
    if body.mr_service_td:
        yield _equal("MRSERVICETD", body.mr_service_td, nothing)
    yield _at_least("QE SVN of the header", _word(quote.header.qe_svn), expected.minimum_qe_svn)
    yield _at_least("PCE SVN of the header", _word(quote.header.pce_svn), expected.minimum_pce_svn)
    lowest = expected.minimum_tee_tcb_svn
    if lowest is not None:
        yield _check(
            "TEE_TCB_SVN",
            all(found >= least for found, least in zip(body.tee_tcb_svn, lowest, strict=True)),
            body.tee_tcb_svn.hex(),
            f"at least {lowest.hex()} in every component",
        )
    yield from _platform_checks(facts, expected)
    if expected.minimum_evaluation_number:
        yield _check(
            "tcbEvaluationDataNumber",
            (evaluation_number or 0) >= expected.minimum_evaluation_number,
            str(evaluation_number),
            f"at least {expected.minimum_evaluation_number}",
        )


def hardening_checks(body: TdReport) -> Iterator[Check]:
    """Yield the checks that do not depend on the manifest: no DEBUG, no reserved bit of attributes or XFAM."""
    attributes, xfam = _word(body.td_attributes), _word(body.xfam)
    debug = attributes & _TD_DEBUG
    yield _check("TDATTRIBUTES.DEBUG", not debug, str(debug), "0", reason="debug")
    yield _check(
        "TDATTRIBUTES",
        not attributes & ~_TD_ATTRIBUTES_KNOWN,
        body.td_attributes.hex(),
        "no bit but 0, 28, 30 and 63",
    )
    yield _check(
        "XFAM",
        xfam & _XFAM_ALWAYS == _XFAM_ALWAYS and not xfam & ~_XFAM_KNOWN,
        body.xfam.hex(),
        f"bits 0 and 1, and none outside {_XFAM_KNOWN:#x}",
    )


def _platform_checks(facts: PckFacts, expected: TdxExpectation) -> Iterator[Check]:
    piid = facts.platform_instance_id
    if expected.piids:
        found = "none" if piid is None else piid.hex()
        yield _check("PIID", piid in expected.piids, found, "one of AllowedPIIDs")
    if expected.memory_integrity:
        has_integrity = facts.sgx_type == _SCALABLE_WITH_INTEGRITY
        wanted = f"{_SCALABLE_WITH_INTEGRITY} (scalable with integrity)"
        yield _check("SGX type", has_integrity, str(facts.sgx_type), wanted)
    if expected.smt_disabled:
        smt = facts.smt_enabled
        yield _check("SMT enabled", smt is False, str(smt), "False")
    if expected.static_platform:
        dynamic = facts.dynamic_platform
        yield _check("dynamic platform", dynamic is False, str(dynamic), "False")


def _equal(field: str, found: bytes, wanted: bytes) -> Check:
    # Not through `_check`, for speed: an accepted quote takes a dozen of these.
    passed, text = found == wanted, found.hex()
    wanted_text = text if passed else wanted.hex()
    return Check(_reason(field), passed, text, wanted_text, _HINTS.get(field, ""), field)


def _at_least(field: str, found: int, least: int) -> Check:
    return _check(field, found >= least, str(found), f"at least {least}")


def _check(field: str, passed: bool, found: str, wanted: str, *, reason: str = "") -> Check:
    return Check(reason or _reason(field), passed, found, wanted, _HINTS.get(field, ""), field)


@cache
def _reason(field: str) -> str:
    return field.partition(" ")[0].lower()


def _word(field: bytes) -> int:
    return int.from_bytes(field, "little")
