"""Rules for the TDX entries of a manifest.

Source: docs/internals/manifest.md 1.3 (members), 2.2 (M040 to M048).
"""

from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.manifest._checks import Collector
from contrast_tasks.pointers import Path

TDX_MEMBERS = (
    "Platform",
    "MinTCBEvaluationDataNumber",
    "MrTd",
    "Rtmrs",
    "MinimumQeSvn",
    "MinimumPceSvn",
    "MinimumTeeTcbSvn",
    "MrSeam",
    "TdAttributes",
    "Xfam",
    "AllowedPIIDs",
    "MemoryIntegrity",
    "SMTDisabled",
    "StaticPlatform",
    "AllowQuoteV5",
    "CPUs",
)
ALIASES = {"Rtrms": "Rtmrs"}
_REGISTER_BYTES = 48
_RTMR_COUNT = 4
_SVN_BYTES = 16
_FEATURE_BYTES = 8
_PIID_BYTES = 16
_UINT16_MAX = 65535


def check_tdx(check: Collector, value: Any, path: Path) -> None:
    """Add the findings of one `tdx` entry."""
    entry = check.members(
        value,
        path,
        known=TDX_MEMBERS,
        required=("MrTd", "Rtmrs", "MrSeam", "Xfam"),
        aliases=ALIASES,
    )
    if entry is None:
        return
    check.optional(entry, path, "Platform", str)
    check.optional(entry, path, "MinTCBEvaluationDataNumber", int)
    _check_registers(check, entry, path)
    _check_seam(check, entry, path)
    for name in ("MinimumQeSvn", "MinimumPceSvn"):
        if name in entry:
            check.integer(entry[name], (*path, name), _UINT16_MAX, entry=catalogue.TDX_SVN)
    for name in ("TdAttributes", "Xfam"):
        if name in entry:
            check.hex(
                entry[name],
                (*path, name),
                _FEATURE_BYTES,
                entry=catalogue.TDX_FEATURES,
                any_case=True,
            )
    piids = (*path, "AllowedPIIDs")
    for index, piid in enumerate(check.elements(entry.get("AllowedPIIDs"), piids)):
        check.hex(piid, (*piids, index), _PIID_BYTES, entry=catalogue.PIID, any_case=True)
    for name in ("MemoryIntegrity", "SMTDisabled", "StaticPlatform", "AllowQuoteV5"):
        check.optional(entry, path, name, bool)
    check.optional(entry, path, "CPUs", int)


def _check_registers(check: Collector, entry: dict[str, Any], path: Path) -> None:
    place: Path = (*path, "MrTd")
    if entry.get("MrTd") == "":
        check.missing(catalogue.MISSING_MR_TD, place)
    elif "MrTd" in entry:
        check.hex(entry["MrTd"], place, _REGISTER_BYTES, entry=catalogue.MR_TD, any_case=True)
    place = (*path, "Rtmrs")
    if "Rtmrs" not in entry:
        return
    registers = entry["Rtmrs"]
    if not isinstance(registers, list) or len(registers) != _RTMR_COUNT:
        count = f"has {len(registers)} elements" if isinstance(registers, list) else "is no array"
        check.report(catalogue.RTMRS, place, f"{count}, expected {_RTMR_COUNT}")
        return
    for index, register in enumerate(registers):
        if register == "":
            check.missing(catalogue.MISSING_RTMR, (*place, index))
        else:
            check.hex(
                register, (*place, index), _REGISTER_BYTES, entry=catalogue.RTMRS, any_case=True
            )


def _check_seam(check: Collector, entry: dict[str, Any], path: Path) -> None:
    place: Path = (*path, "MrSeam")
    seam = entry.get("MrSeam")
    if seam == "":
        check.missing(catalogue.MISSING_MR_SEAM, place)
    elif "MrSeam" in entry:
        check.hex(seam, place, _REGISTER_BYTES, entry=catalogue.MR_SEAM, any_case=True)
    if seam == "0" * 2 * _REGISTER_BYTES:
        reason = "is all zero, the placeholder that no TDX module has, attestation will fail"
        check.report(catalogue.MR_SEAM_PLACEHOLDER, place, reason)
    place = (*path, "MinimumTeeTcbSvn")
    svn = entry.get("MinimumTeeTcbSvn")
    if svn == "":
        check.missing(catalogue.MISSING_TEE_TCB_SVN, place)
    elif "MinimumTeeTcbSvn" in entry:
        check.hex(svn, place, _SVN_BYTES, entry=catalogue.TEE_TCB_SVN, any_case=True)
    if str(svn).lower() == "f" * 2 * _SVN_BYTES:
        reason = "is all ff, the placeholder that no platform reaches, attestation will fail"
        check.report(catalogue.TEE_TCB_SVN_PLACEHOLDER, place, reason)
