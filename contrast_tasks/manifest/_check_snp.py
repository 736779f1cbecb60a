"""Rules for the SEV-SNP entries of a manifest and for simulated ones, which have the same parts.

Source: docs/internals/manifest.md 1.2 (members, fixed values), 2.2 (M031 to M038); 3.5 (simulated).
"""

from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.manifest._checks import Collector, dotted, shown
from contrast_tasks.pointers import Path

PRODUCTS = ("Milan", "Genoa")
TCB_MEMBERS = ("BootloaderVersion", "TEEVersion", "SNPVersion", "MicrocodeVersion")
PLATFORM_INFO_MEMBERS = (
    "SMTEnabled",
    "TSMEEnabled",
    "ECCEnabled",
    "RAPLDisabled",
    "CiphertextHidingDRAMEnabled",
    "AliasCheckComplete",
    "TIOEnabled",
)
# Member, permitted values; an absent member counts as 0 or false. ABI minor 31 is AKS's.
GUEST_POLICY: dict[str, tuple[int | bool, ...]] = {
    "ABIMinor": (0, 31),
    "ABIMajor": (0,),
    "SMT": (True,),
    "MigrateMA": (False,),
    "Debug": (False,),
    "SingleSocket": (False,),
    "CXLAllowed": (False,),
    "MemAES256XTS": (False,),
    "RAPLDis": (False,),
    "CipherTextHidingDRAM": (False,),
    "PageSwapDisable": (False,),
}
SNP_MEMBERS = (
    "Platform",
    "ProductName",
    "TrustedMeasurement",
    "MinimumTCB",
    "GuestPolicy",
    "PlatformInfo",
    "MinimumMitigationVector",
    "AllowedChipIDs",
    "APEIP",
    "AllowVLEK",
    "CPUs",
)
SIMULATED_MEMBERS = (
    "RootSHA256",
    "TrustedMeasurement",
    "MinimumTCB",
    "GuestPolicy",
    "PlatformInfo",
)
_PLACEHOLDER = 255
_SVN_MAX = 255
_UINT64_MAX = 2**64 - 1
_MEASUREMENT_BYTES = 48
_CHIP_ID_BYTES = 64
_ROOT_BYTES = 32


def check_snp(check: Collector, value: Any, path: Path) -> None:
    """Add the findings of one `snp` entry."""
    entry = check.members(
        value,
        path,
        known=SNP_MEMBERS,
        required=("ProductName", "TrustedMeasurement", "GuestPolicy"),
    )
    if entry is None:
        return
    check.optional(entry, path, "Platform", str)
    product = entry.get("ProductName")
    if "ProductName" in entry and product not in PRODUCTS:
        reason = f"is {shown(product)}, expected {' or '.join(PRODUCTS)}"
        check.report(catalogue.PRODUCT_NAME, (*path, "ProductName"), reason)
    name = product if product in PRODUCTS else "Milan"
    _check_guest(check, entry, path, setting=f"reference_values.snp.{name}.minimum_tcb")
    if "MinimumMitigationVector" in entry:
        _check_uint64(check, entry["MinimumMitigationVector"], (*path, "MinimumMitigationVector"))
    chips = (*path, "AllowedChipIDs")
    for index, chip in enumerate(check.elements(entry.get("AllowedChipIDs"), chips)):
        check.hex(chip, (*chips, index), _CHIP_ID_BYTES, entry=catalogue.CHIP_ID, any_case=True)
    if "APEIP" in entry:
        check.hex(entry["APEIP"], (*path, "APEIP"), 4, entry=catalogue.APEIP, any_case=True)
    check.optional(entry, path, "AllowVLEK", bool)
    check.optional(entry, path, "CPUs", int)


def check_simulated(check: Collector, value: Any, path: Path) -> None:
    """Add the findings of one `simulated` entry."""
    entry = check.members(
        value,
        path,
        known=SIMULATED_MEMBERS,
        required=("RootSHA256", "TrustedMeasurement", "GuestPolicy"),
    )
    if entry is None:
        return
    if "RootSHA256" in entry:
        root = (*path, "RootSHA256")
        check.hex(entry["RootSHA256"], root, _ROOT_BYTES, entry=catalogue.SIMULATED_ROOT)
    _check_guest(check, entry, path, setting="")


def _check_uint64(check: Collector, value: Any, path: Path) -> None:
    check.integer(value, path, _UINT64_MAX, entry=catalogue.MEMBER_TYPE)


def _check_guest(check: Collector, entry: dict[str, Any], path: Path, *, setting: str) -> None:
    if "TrustedMeasurement" in entry:
        _check_measurement(check, entry["TrustedMeasurement"], (*path, "TrustedMeasurement"))
    _check_tcb(check, entry.get("MinimumTCB"), (*path, "MinimumTCB"), setting)
    if "GuestPolicy" in entry:
        _check_guest_policy(check, entry["GuestPolicy"], (*path, "GuestPolicy"))
    info = entry.get("PlatformInfo")
    if info is not None:
        place = (*path, "PlatformInfo")
        members = check.members(info, place, known=PLATFORM_INFO_MEMBERS) or {}
        for name in members:
            check.optional(members, place, name, bool)


def _check_measurement(check: Collector, value: Any, path: Path) -> None:
    if value == "":
        check.missing(catalogue.MISSING_MEASUREMENT, path)
    elif check.hex(
        value, path, _MEASUREMENT_BYTES, entry=catalogue.MEASUREMENT, any_case=True
    ) and not int(value, 16):
        check.report(catalogue.MEASUREMENT, path, "is all zero, expected a launch measurement")


def _check_tcb(check: Collector, value: Any, path: Path, setting: str) -> None:
    members = check.members({} if value is None else value, path, known=TCB_MEMBERS)
    if members is None:
        return
    hint = catalogue.MISSING_MINIMUM_TCB.hint
    if setting:
        hint += f", and set it in contrast.toml: {setting}"
    for name in TCB_MEMBERS:
        svn = members.get(name)
        place = (*path, name)
        if svn is None:
            check.missing(catalogue.MISSING_MINIMUM_TCB, place, hint)
        elif not check.integer(svn, place, _SVN_MAX, entry=catalogue.SVN_RANGE):
            continue
        elif svn == _PLACEHOLDER:
            reason = "is 255, the placeholder that no processor reaches, attestation will fail"
            check.report(catalogue.SVN_PLACEHOLDER, place, reason, hint)


def _check_guest_policy(check: Collector, value: Any, path: Path) -> None:
    members = check.members(value, path, known=tuple(GUEST_POLICY), required=("SMT",))
    if members is None:
        return
    for name, permitted in GUEST_POLICY.items():
        found = members.get(name, permitted[0])
        # JSON's true and 1 are different values, Python's are equal.
        if type(found) is not type(permitted[0]) or found not in permitted:
            wanted = " or ".join(map(shown, permitted))
            reason = f"is {shown(found)}, expected {wanted}"
            check.report(catalogue.GUEST_POLICY, (*path, name), reason)


def names_of(entries: list[Any], path: Path) -> str:
    """Return the dotted names of a list's entries, for messages about the list as a whole."""
    return ", ".join(dotted((*path, index)) for index in range(len(entries)))
