"""Rules for the TDX entries of a manifest.

Source: docs/internals/manifest.md 1.3 (members), 2.2 (M040 to M048).
"""

from typing import Any

from contrast_tasks.manifest._check_snp import MEASUREMENT_HINT
from contrast_tasks.manifest._checks import Collector, Step

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
_SEAM_HINT = (
    "take the SHA-384 of the TDX module, 'sha384sum /boot/efi/EFI/TDX/TDX-SEAM.so' on the host, "
    "or observe it with 'contrast-tasks probe -c HOST:PORT', and set it in contrast.toml: reference_values.tdx.mr_seam"
)
_SVN_HINT = (
    "observe TEE_TCB_SVN of the host with 'contrast-tasks probe -c HOST:PORT', or read it from a quote "
    "with 'contrast-tasks evidence show', and set it in contrast.toml: "
    "reference_values.tdx.minimum_tee_tcb_svn"
)

Path = tuple[Step, ...]


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
            check.integer(entry[name], (*path, name), _UINT16_MAX, code="M045", rule="tdx-svn")
    for name in ("TdAttributes", "Xfam"):
        if name in entry:
            check.hex(
                entry[name],
                (*path, name),
                _FEATURE_BYTES,
                code="M044",
                rule="tdx-features",
                any_case=True,
            )
    piids = (*path, "AllowedPIIDs")
    for index, piid in enumerate(check.elements(entry.get("AllowedPIIDs"), piids)):
        check.hex(piid, (*piids, index), _PIID_BYTES, code="M046", rule="piid", any_case=True)
    for name in ("MemoryIntegrity", "SMTDisabled", "StaticPlatform", "AllowQuoteV5"):
        check.optional(entry, path, name, bool)
    check.optional(entry, path, "CPUs", int)


def _check_registers(check: Collector, entry: dict[str, Any], path: Path) -> None:
    place: Path = (*path, "MrTd")
    if entry.get("MrTd") == "":
        check.missing("M040", "measurement", place, MEASUREMENT_HINT)
    elif "MrTd" in entry:
        check.hex(entry["MrTd"], place, _REGISTER_BYTES, code="M040", rule="mr-td", any_case=True)
    place = (*path, "Rtmrs")
    if "Rtmrs" not in entry:
        return
    registers = entry["Rtmrs"]
    if not isinstance(registers, list) or len(registers) != _RTMR_COUNT:
        count = f"has {len(registers)} elements" if isinstance(registers, list) else "is no array"
        check.add("M043", "rtmrs", place, f"{count}, expected {_RTMR_COUNT}")
        return
    for index, register in enumerate(registers):
        if register == "":
            check.missing("M043", "measurement", (*place, index), MEASUREMENT_HINT)
        else:
            check.hex(
                register, (*place, index), _REGISTER_BYTES, code="M043", rule="rtmrs", any_case=True
            )


def _check_seam(check: Collector, entry: dict[str, Any], path: Path) -> None:
    place: Path = (*path, "MrSeam")
    seam = entry.get("MrSeam")
    if seam == "":
        check.missing("M041", "mr-seam", place, _SEAM_HINT)
    elif "MrSeam" in entry:
        check.hex(seam, place, _REGISTER_BYTES, code="M041", rule="mr-seam", any_case=True)
    if seam == "0" * 2 * _REGISTER_BYTES:
        reason = "is all zero, the placeholder that no TDX module has, attestation will fail"
        check.warn("M047", "mr-seam-placeholder", place, reason, _SEAM_HINT)
    place = (*path, "MinimumTeeTcbSvn")
    svn = entry.get("MinimumTeeTcbSvn")
    if svn == "":
        check.missing("M042", "tee-tcb-svn", place, _SVN_HINT)
    elif "MinimumTeeTcbSvn" in entry:
        check.hex(svn, place, _SVN_BYTES, code="M042", rule="tee-tcb-svn", any_case=True)
    if str(svn).lower() == "f" * 2 * _SVN_BYTES:
        reason = "is all ff, the placeholder that no platform reaches, attestation will fail"
        check.warn("M048", "tee-tcb-svn-placeholder", place, reason, _SVN_HINT)
