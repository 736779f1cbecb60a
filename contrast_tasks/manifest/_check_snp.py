"""Rules for the SEV-SNP entries of a manifest and for simulated ones, which have the same parts.

Source: docs/internals/manifest.md 1.2 (members, fixed values), 2.2 (M031 to M038); 3.5 (simulated).
"""

from typing import Any

from contrast_tasks.manifest._checks import Collector, Step, dotted, shown

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
MEASUREMENT_HINT = (
    "name a file with the measurements of your runtime in contrast.toml: [reference_values] file; "
    "'contrast-tasks measure' calculates them from firmware, kernel and initrd"
)
_PLACEHOLDER = 255
_SVN_MAX = 255
_UINT64_MAX = 2**64 - 1
_MEASUREMENT_BYTES = 48
_CHIP_ID_BYTES = 64
_ROOT_BYTES = 32

Path = tuple[Step, ...]


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
        check.add("M031", "product-name", (*path, "ProductName"), reason)
    name = product if product in PRODUCTS else "Milan"
    _check_guest(check, entry, path, setting=f"reference_values.snp.{name}.minimum_tcb")
    if "MinimumMitigationVector" in entry:
        _check_uint64(check, entry["MinimumMitigationVector"], (*path, "MinimumMitigationVector"))
    chips = (*path, "AllowedChipIDs")
    for index, chip in enumerate(check.elements(entry.get("AllowedChipIDs"), chips)):
        check.hex(chip, (*chips, index), _CHIP_ID_BYTES, code="M037", rule="chip-id", any_case=True)
    if "APEIP" in entry:
        check.hex(entry["APEIP"], (*path, "APEIP"), 4, code="M038", rule="apeip", any_case=True)
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
        check.hex(entry["RootSHA256"], root, _ROOT_BYTES, code="M061", rule="simulated-root")
    _check_guest(check, entry, path, setting="")


def _check_uint64(check: Collector, value: Any, path: Path) -> None:
    check.integer(value, path, _UINT64_MAX, code="M003", rule="wrong-type")


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
        check.missing("M032", "measurement", path, MEASUREMENT_HINT)
    elif check.hex(
        value, path, _MEASUREMENT_BYTES, code="M032", rule="measurement", any_case=True
    ) and not int(value, 16):
        check.add("M032", "measurement", path, "is all zero, expected a launch measurement")


def _check_tcb(check: Collector, value: Any, path: Path, setting: str) -> None:
    members = check.members({} if value is None else value, path, known=TCB_MEMBERS)
    if members is None:
        return
    hint = (
        "read the reported TCB of the host with 'snphost show tcb', "
        "or observe it with 'contrast-tasks probe -c HOST:PORT'"
    )
    if setting:
        hint += f", and set it in contrast.toml: {setting}"
    for name in TCB_MEMBERS:
        svn = members.get(name)
        place = (*path, name)
        if svn is None:
            check.missing("M033", "minimum-tcb", place, hint)
        elif not check.integer(svn, place, _SVN_MAX, code="M034", rule="svn-range"):
            continue
        elif svn == _PLACEHOLDER:
            reason = "is 255, the placeholder that no processor reaches, attestation will fail"
            check.warn("M035", "svn-placeholder", place, reason, hint)


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
            check.add("M036", "guest-policy", (*path, name), reason)


def names_of(entries: list[Any], path: Path) -> str:
    """Return the dotted names of a list's entries, for messages about the list as a whole."""
    return ", ".join(dotted((*path, index)) for index in range(len(entries)))
