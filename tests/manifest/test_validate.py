from typing import Any

import pytest

from contrast_tasks.declare.documents import to_record
from contrast_tasks.findings import Finding, FindingsError, Severity
from contrast_tasks.manifest.forms import manifest_document
from contrast_tasks.manifest.model import Manifest
from contrast_tasks.manifest.validate import (
    ManifestError,
    is_missing,
    only_missing,
    validate_manifest,
)
from contrast_tasks.releases.table import V1_13, V1_15, V1_20, Release
from contrast_tasks.schema import validate
from tests.manifest.samples import (
    ABSENT,
    COORDINATOR,
    OWNER,
    OWNER_DIGEST,
    RSA_KEY,
    SIMULATED,
    SNP,
    TDX,
    WEB,
    changed,
    document,
)

SNP0 = ("ReferenceValues", "snp", 0)
TDX0 = ("ReferenceValues", "tdx", 0)
SIM0 = ("ReferenceValues", "simulated", 0)
SMALL_RSA_KEY = "30818902818100" + "80" + "00" * 126 + "01" + "0203010001"


def brief(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(item.code, item.severity.value, item.where.pointer) for item in findings]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"snp": [SNP]}, id="snp"),
        pytest.param({"tdx": [TDX]}, id="tdx"),
        pytest.param({"snp": [SNP], "tdx": [TDX]}, id="snp-and-tdx"),
        pytest.param({"simulated": [SIMULATED]}, id="simulated"),
    ],
)
def test_a_complete_manifest_has_no_findings(values: dict[str, Any]) -> None:
    manifest = document(**values)

    assert validate_manifest(manifest) == []
    assert validate(manifest, "manifest") == []
    assert validate(manifest, "manifest.input") == []


# Path, new value, code, pointer of the finding.
ERRORS: list[tuple[tuple[str | int, ...], Any, str, str]] = [
    (("Policies",), {}, "M010", "/Policies"),
    (("Policies",), None, "M010", "/Policies"),
    (("Policies",), [], "M003", "/Policies"),
    (("Policies", "xy" * 32), {"SANs": []}, "M011", "/Policies/" + "xy" * 32),
    (("Policies", ""), {"SANs": []}, "M012", "/Policies/"),
    (("Policies", "ab" * 31), {"SANs": []}, "M012", "/Policies/" + "ab" * 31),
    (("Policies", "AB" * 32), {"SANs": []}, "M013", "/Policies/" + "AB" * 32),
    (("Policies", WEB), None, "M003", f"/Policies/{WEB}"),
    (("Policies", WEB, "Role"), "worker", "M014", f"/Policies/{WEB}/Role"),
    (("Policies", WEB, "Role"), ["coordinator"], "M014", f"/Policies/{WEB}/Role"),
    (("Policies", WEB, "WorkloadSecretID"), 7, "M003", f"/Policies/{WEB}/WorkloadSecretID"),
    (("Policies", WEB, "SANs"), ABSENT, "M004", f"/Policies/{WEB}"),
    (("Policies", WEB, "SANs"), "web", "M003", f"/Policies/{WEB}/SANs"),
    (("Policies", WEB, "SANs", 0), "", "M015", f"/Policies/{WEB}/SANs/0"),
    (("Policies", WEB, "SANs", 1), "a b", "M015", f"/Policies/{WEB}/SANs/1"),
    (("Policies", WEB, "SANs", 2), "300.0.0.1", "M015", f"/Policies/{WEB}/SANs/2"),
    (("Policies", WEB, "SANs", 0), "web\n", "M015", f"/Policies/{WEB}/SANs/0"),
    (("Policies", WEB, "SANs", 0), 5, "M015", f"/Policies/{WEB}/SANs/0"),
    (
        ("Policies", WEB, "WorkloadSecretID"),
        "0_apps/v1/StatefulSet/default/coordinator",
        "M022",
        f"/Policies/{WEB}/WorkloadSecretID",
    ),
    (("Policies", COORDINATOR, "Role"), "", "M020", "/Policies"),
    (("Policies", WEB, "Role"), "coordinator", "M021", "/Policies"),
    (("ReferenceValues",), {}, "M030", "/ReferenceValues"),
    (("ReferenceValues",), None, "M030", "/ReferenceValues"),
    (("ReferenceValues",), [], "M003", "/ReferenceValues"),
    (("ReferenceValues", "snp"), [], "M030", "/ReferenceValues"),
    (("ReferenceValues", "snp"), {}, "M003", "/ReferenceValues/snp"),
    (("ReferenceValues", "SNP"), [SNP], "M002", "/ReferenceValues/SNP"),
    (SNP0, "Milan", "M003", "/ReferenceValues/snp/0"),
    ((*SNP0, "ProductName"), "Turin", "M031", "/ReferenceValues/snp/0/ProductName"),
    ((*SNP0, "ProductName"), "milan", "M031", "/ReferenceValues/snp/0/ProductName"),
    ((*SNP0, "ProductName"), None, "M031", "/ReferenceValues/snp/0/ProductName"),
    ((*SNP0, "ProductName"), ABSENT, "M004", "/ReferenceValues/snp/0"),
    ((*SNP0, "TrustedMeasurement"), "6c" * 47, "M032", "/ReferenceValues/snp/0/TrustedMeasurement"),
    ((*SNP0, "TrustedMeasurement"), "6c" * 49, "M032", "/ReferenceValues/snp/0/TrustedMeasurement"),
    ((*SNP0, "TrustedMeasurement"), "6x" * 48, "M032", "/ReferenceValues/snp/0/TrustedMeasurement"),
    ((*SNP0, "TrustedMeasurement"), "00" * 48, "M032", "/ReferenceValues/snp/0/TrustedMeasurement"),
    ((*SNP0, "TrustedMeasurement"), None, "M032", "/ReferenceValues/snp/0/TrustedMeasurement"),
    ((*SNP0, "TrustedMeasurement"), ABSENT, "M004", "/ReferenceValues/snp/0"),
    (
        (*SNP0, "MinimumTCB", "TEEVersion"),
        -1,
        "M034",
        "/ReferenceValues/snp/0/MinimumTCB/TEEVersion",
    ),
    (
        (*SNP0, "MinimumTCB", "TEEVersion"),
        256,
        "M034",
        "/ReferenceValues/snp/0/MinimumTCB/TEEVersion",
    ),
    (
        (*SNP0, "MinimumTCB", "TEEVersion"),
        3.7,
        "M034",
        "/ReferenceValues/snp/0/MinimumTCB/TEEVersion",
    ),
    (
        (*SNP0, "MinimumTCB", "TEEVersion"),
        3.0,
        "M034",
        "/ReferenceValues/snp/0/MinimumTCB/TEEVersion",
    ),
    (
        (*SNP0, "MinimumTCB", "TEEVersion"),
        "3",
        "M034",
        "/ReferenceValues/snp/0/MinimumTCB/TEEVersion",
    ),
    (
        (*SNP0, "MinimumTCB", "TEEVersion"),
        True,
        "M034",
        "/ReferenceValues/snp/0/MinimumTCB/TEEVersion",
    ),
    ((*SNP0, "MinimumTCB"), 3, "M003", "/ReferenceValues/snp/0/MinimumTCB"),
    (
        (*SNP0, "MinimumTCB", "FMCVersion"),
        1,
        "M002",
        "/ReferenceValues/snp/0/MinimumTCB/FMCVersion",
    ),
    ((*SNP0, "GuestPolicy"), ABSENT, "M004", "/ReferenceValues/snp/0"),
    ((*SNP0, "GuestPolicy"), None, "M003", "/ReferenceValues/snp/0/GuestPolicy"),
    ((*SNP0, "GuestPolicy", "ABIMinor"), 1, "M036", "/ReferenceValues/snp/0/GuestPolicy/ABIMinor"),
    ((*SNP0, "GuestPolicy", "ABIMajor"), 1, "M036", "/ReferenceValues/snp/0/GuestPolicy/ABIMajor"),
    (
        (*SNP0, "GuestPolicy", "ABIMajor"),
        False,
        "M036",
        "/ReferenceValues/snp/0/GuestPolicy/ABIMajor",
    ),
    ((*SNP0, "GuestPolicy", "SMT"), False, "M036", "/ReferenceValues/snp/0/GuestPolicy/SMT"),
    ((*SNP0, "GuestPolicy", "SMT"), 1, "M036", "/ReferenceValues/snp/0/GuestPolicy/SMT"),
    ((*SNP0, "GuestPolicy", "SMT"), ABSENT, "M004", "/ReferenceValues/snp/0/GuestPolicy"),
    (
        (*SNP0, "GuestPolicy", "MigrateMA"),
        True,
        "M036",
        "/ReferenceValues/snp/0/GuestPolicy/MigrateMA",
    ),
    ((*SNP0, "GuestPolicy", "Debug"), True, "M036", "/ReferenceValues/snp/0/GuestPolicy/Debug"),
    (
        (*SNP0, "GuestPolicy", "SingleSocket"),
        True,
        "M036",
        "/ReferenceValues/snp/0/GuestPolicy/SingleSocket",
    ),
    (
        (*SNP0, "GuestPolicy", "CXLAllowed"),
        True,
        "M036",
        "/ReferenceValues/snp/0/GuestPolicy/CXLAllowed",
    ),
    (
        (*SNP0, "GuestPolicy", "MemAES256XTS"),
        True,
        "M036",
        "/ReferenceValues/snp/0/GuestPolicy/MemAES256XTS",
    ),
    ((*SNP0, "GuestPolicy", "RAPLDis"), True, "M036", "/ReferenceValues/snp/0/GuestPolicy/RAPLDis"),
    (
        (*SNP0, "GuestPolicy", "CipherTextHidingDRAM"),
        True,
        "M036",
        "/ReferenceValues/snp/0/GuestPolicy/CipherTextHidingDRAM",
    ),
    (
        (*SNP0, "GuestPolicy", "PageSwapDisable"),
        True,
        "M036",
        "/ReferenceValues/snp/0/GuestPolicy/PageSwapDisable",
    ),
    (
        (*SNP0, "GuestPolicy", "PageSwapDisable"),
        None,
        "M036",
        "/ReferenceValues/snp/0/GuestPolicy/PageSwapDisable",
    ),
    (
        (*SNP0, "PlatformInfo", "TSMEEnabled"),
        1,
        "M003",
        "/ReferenceValues/snp/0/PlatformInfo/TSMEEnabled",
    ),
    ((*SNP0, "PlatformInfo", "TSME"), True, "M002", "/ReferenceValues/snp/0/PlatformInfo/TSME"),
    ((*SNP0, "AllowedChipIDs"), ["ab" * 63], "M037", "/ReferenceValues/snp/0/AllowedChipIDs/0"),
    ((*SNP0, "AllowedChipIDs"), ["zz" * 64], "M037", "/ReferenceValues/snp/0/AllowedChipIDs/0"),
    ((*SNP0, "AllowedChipIDs"), [None], "M037", "/ReferenceValues/snp/0/AllowedChipIDs/0"),
    ((*SNP0, "AllowedChipIDs"), "ab" * 64, "M003", "/ReferenceValues/snp/0/AllowedChipIDs"),
    ((*SNP0, "APEIP"), "ab" * 3, "M038", "/ReferenceValues/snp/0/APEIP"),
    ((*SNP0, "APEIP"), "0", "M038", "/ReferenceValues/snp/0/APEIP"),
    ((*SNP0, "CPUs"), -1, "M003", "/ReferenceValues/snp/0/CPUs"),
    ((*SNP0, "CPUs"), True, "M003", "/ReferenceValues/snp/0/CPUs"),
    (
        (*SNP0, "MinimumMitigationVector"),
        2**64,
        "M003",
        "/ReferenceValues/snp/0/MinimumMitigationVector",
    ),
    (
        (*SNP0, "MinimumMitigationVector"),
        None,
        "M003",
        "/ReferenceValues/snp/0/MinimumMitigationVector",
    ),
    ((*SNP0, "Platform"), 5, "M003", "/ReferenceValues/snp/0/Platform"),
    (("WorkloadOwnerKeyDigests",), ABSENT, "M004", ""),
    (("WorkloadOwnerKeyDigests",), "d4" * 32, "M003", "/WorkloadOwnerKeyDigests"),
    (("WorkloadOwnerKeyDigests", 0), "d4" * 31, "M050", "/WorkloadOwnerKeyDigests/0"),
    (("WorkloadOwnerKeyDigests", 0), "xx" * 32, "M050", "/WorkloadOwnerKeyDigests/0"),
    (("WorkloadOwnerKeyDigests", 0), "D4" * 32, "M050", "/WorkloadOwnerKeyDigests/0"),
    (("WorkloadOwnerKeyDigests",), ["d4" * 32] * 2, "M050", "/WorkloadOwnerKeyDigests/1"),
    (("SeedshareOwnerPubKeys",), ABSENT, "M004", ""),
    (("SeedshareOwnerPubKeys", 0), "xyz", "M052", "/SeedshareOwnerPubKeys/0"),
    (("SeedshareOwnerPubKeys", 0), None, "M052", "/SeedshareOwnerPubKeys/0"),
    (("SeedshareOwnerPubKeys", 0), "ab" * 256, "M052", "/SeedshareOwnerPubKeys/0"),
    (("SeedshareOwnerPubKeys", 0), RSA_KEY.upper(), "M052", "/SeedshareOwnerPubKeys/0"),
    (("SeedshareOwnerPubKeys", 0), RSA_KEY + "00", "M052", "/SeedshareOwnerPubKeys/0"),
    (("SeedshareOwnerPubKeys", 0), SMALL_RSA_KEY, "M052", "/SeedshareOwnerPubKeys/0"),
    (("SeedshareOwnerPubKeys",), [RSA_KEY] * 2, "M052", "/SeedshareOwnerPubKeys/1"),
    (("Version",), 1, "M002", "/Version"),
    (("policies",), {}, "M002", "/policies"),
    (("SeedshareOwnerKeys",), None, "M002", "/SeedshareOwnerKeys"),
]
TDX_ERRORS: list[tuple[tuple[str | int, ...], Any, str, str]] = [
    ((*TDX0, "MrTd"), "1a" * 47, "M040", "/ReferenceValues/tdx/0/MrTd"),
    ((*TDX0, "MrTd"), "1x" * 48, "M040", "/ReferenceValues/tdx/0/MrTd"),
    ((*TDX0, "MrTd"), ABSENT, "M004", "/ReferenceValues/tdx/0"),
    ((*TDX0, "MrSeam"), "5e" * 47, "M041", "/ReferenceValues/tdx/0/MrSeam"),
    ((*TDX0, "MrSeam"), "5x" * 48, "M041", "/ReferenceValues/tdx/0/MrSeam"),
    ((*TDX0, "MrSeam"), None, "M041", "/ReferenceValues/tdx/0/MrSeam"),
    ((*TDX0, "MinimumTeeTcbSvn"), "0d" * 15, "M042", "/ReferenceValues/tdx/0/MinimumTeeTcbSvn"),
    ((*TDX0, "MinimumTeeTcbSvn"), None, "M042", "/ReferenceValues/tdx/0/MinimumTeeTcbSvn"),
    ((*TDX0, "Rtmrs"), [], "M043", "/ReferenceValues/tdx/0/Rtmrs"),
    ((*TDX0, "Rtmrs"), ["2b" * 48] * 3, "M043", "/ReferenceValues/tdx/0/Rtmrs"),
    ((*TDX0, "Rtmrs"), ["2b" * 48] * 5, "M043", "/ReferenceValues/tdx/0/Rtmrs"),
    ((*TDX0, "Rtmrs"), None, "M043", "/ReferenceValues/tdx/0/Rtmrs"),
    ((*TDX0, "Rtmrs", 2), "2b" * 47, "M043", "/ReferenceValues/tdx/0/Rtmrs/2"),
    ((*TDX0, "Xfam"), "", "M044", "/ReferenceValues/tdx/0/Xfam"),
    ((*TDX0, "Xfam"), "e7", "M044", "/ReferenceValues/tdx/0/Xfam"),
    ((*TDX0, "TdAttributes"), "", "M044", "/ReferenceValues/tdx/0/TdAttributes"),
    ((*TDX0, "MinimumQeSvn"), None, "M045", "/ReferenceValues/tdx/0/MinimumQeSvn"),
    ((*TDX0, "MinimumQeSvn"), 65536, "M045", "/ReferenceValues/tdx/0/MinimumQeSvn"),
    ((*TDX0, "MinimumPceSvn"), None, "M045", "/ReferenceValues/tdx/0/MinimumPceSvn"),
    ((*TDX0, "MinimumPceSvn"), 1.5, "M045", "/ReferenceValues/tdx/0/MinimumPceSvn"),
    ((*TDX0, "AllowedPIIDs"), ["ab" * 15], "M046", "/ReferenceValues/tdx/0/AllowedPIIDs/0"),
    ((*TDX0, "MemoryIntegrity"), "no", "M003", "/ReferenceValues/tdx/0/MemoryIntegrity"),
    ((*TDX0, "rtmrs"), [], "M002", "/ReferenceValues/tdx/0/rtmrs"),
    ((*TDX0, "Rtrms"), [], "M002", "/ReferenceValues/tdx/0/Rtrms"),
]


def ids(case: tuple[tuple[str | int, ...], Any, str, str]) -> str:
    path, value, code, _ = case
    return f"{code}-{path[-1]}-{str(value)[:12]}"


def errors_of(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    findings = validate_manifest(manifest)
    return [(item.code, item.where.pointer) for item in findings if item.severity is Severity.ERROR]


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("snp", ("TrustedMeasurement",), "6C" * 48),
        ("snp", ("AllowedChipIDs",), ["AB" * 64]),
        ("snp", ("APEIP",), "0080B004"),
        ("tdx", ("MrTd",), "AB" * 48),
        ("tdx", ("MrSeam",), "AB" * 48),
        ("tdx", ("Rtmrs", 2), "AB" * 48),
        ("tdx", ("Xfam",), "E702060000000000"),
        ("tdx", ("TdAttributes",), "0000001000000000"),
        ("tdx", ("MinimumTeeTcbSvn",), "0A" * 16),
        ("tdx", ("AllowedPIIDs",), ["AB" * 16]),
    ],
)
def test_what_is_compared_as_bytes_may_have_upper_case_hex(
    kind: str, path: tuple[str | int, ...], value: Any
) -> None:
    entries = {"snp": [SNP]} if kind == "snp" else {"tdx": [TDX]}
    manifest = changed(document(**entries), ("ReferenceValues", kind, 0, *path), value)

    assert errors_of(manifest) == []


@pytest.mark.parametrize("case", ERRORS, ids=ids)
@pytest.mark.first(20)
def test_a_mutation_is_an_error_at_its_place(
    case: tuple[tuple[str | int, ...], Any, str, str],
) -> None:
    path, value, code, pointer = case
    manifest = changed(document(), path, value)

    assert (code, pointer) in errors_of(manifest)
    assert not only_missing(validate_manifest(manifest))


@pytest.mark.parametrize("case", TDX_ERRORS, ids=ids)
def test_a_mutation_of_a_tdx_entry_is_an_error_at_its_place(
    case: tuple[tuple[str | int, ...], Any, str, str],
) -> None:
    path, value, code, pointer = case
    manifest = changed(document(tdx=[TDX]), path, value)

    assert (code, pointer) in errors_of(manifest)
    assert not only_missing(validate_manifest(manifest))


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ((*SIM0, "RootSHA256"), "c3" * 31, "M061"),
        ((*SIM0, "RootSHA256"), "C3" * 32, "M061"),
        ((*SIM0, "RootSHA256"), "", "M061"),
        ((*SIM0, "RootSHA256"), ABSENT, "M004"),
        ((*SIM0, "TrustedMeasurement"), "00" * 48, "M032"),
        ((*SIM0, "MinimumTCB", "SNPVersion"), 300, "M034"),
        ((*SIM0, "GuestPolicy", "Debug"), True, "M036"),
        ((*SIM0, "PlatformInfo", "SMTEnabled"), "yes", "M003"),
        ((*SIM0, "ProductName"), "Milan", "M002"),
        ((*SIM0, "AllowedChipIDs"), None, "M002"),
        (("ReferenceValues", "snp"), [SNP], "M060"),
        (("ReferenceValues", "tdx"), [TDX], "M060"),
    ],
)
def test_a_simulated_entry_keeps_the_rules_of_real_ones(
    path: tuple[str | int, ...], value: Any, code: str
) -> None:
    manifest = changed(document(simulated=[SIMULATED]), path, value)

    assert [found for found, _ in errors_of(manifest)] == [code]


# Judged by the schema too, but for what a schema cannot say.
SCHEMA_IS_SILENT = {"M015", "M020", "M021", "M022", "M052"}


@pytest.mark.parametrize(
    "case", [case for case in ERRORS if case[2] not in SCHEMA_IS_SILENT], ids=ids
)
@pytest.mark.first(16)
def test_the_schema_refuses_what_the_rules_refuse(
    case: tuple[tuple[str | int, ...], Any, str, str],
) -> None:
    path, value, _, _ = case

    assert validate(changed(document(), path, value), "manifest")


@pytest.mark.parametrize("case", TDX_ERRORS, ids=ids)
def test_the_schema_refuses_what_the_rules_for_tdx_refuse(
    case: tuple[tuple[str | int, ...], Any, str, str],
) -> None:
    path, value, _, _ = case

    assert validate(changed(document(tdx=[TDX]), path, value), "manifest")


@pytest.mark.parametrize("value", [None, ABSENT])
@pytest.mark.parametrize(
    "member", ["BootloaderVersion", "TEEVersion", "SNPVersion", "MicrocodeVersion"]
)
def test_a_tcb_member_that_is_null_or_absent_is_missing(member: str, value: object) -> None:
    manifest = changed(document(), (*SNP0, "MinimumTCB", member), value)

    findings = validate_manifest(manifest)

    assert brief(findings) == [("M033", "error", f"/ReferenceValues/snp/0/MinimumTCB/{member}")]
    assert is_missing(findings[0])
    assert only_missing(findings)
    assert validate(manifest, "manifest")
    assert validate(manifest, "manifest.input") == []


@pytest.mark.parametrize("value", [None, ABSENT, {}])
def test_a_tcb_that_is_not_there_is_four_missing_values(value: object) -> None:
    findings = validate_manifest(changed(document(), (*SNP0, "MinimumTCB"), value))

    assert [item.code for item in findings] == ["M033"] * 4


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (("MrSeam",), "M041"),
        (("MinimumTeeTcbSvn",), "M042"),
        (("MrTd",), "M040"),
        (("Rtmrs", 0), "M043"),
    ],
)
def test_an_empty_tdx_value_that_only_the_user_can_know_is_missing(
    path: tuple[str | int, ...], code: str
) -> None:
    manifest = changed(document(tdx=[TDX]), (*TDX0, *path), "")

    findings = validate_manifest(manifest)

    assert [item.code for item in findings] == [code]
    assert only_missing(findings)
    assert validate(manifest, "manifest.input") == []


def test_a_malformed_value_beside_missing_ones_is_not_only_missing() -> None:
    manifest = changed(document(), (*SNP0, "MinimumTCB", "SNPVersion"), None)
    manifest = changed(manifest, (*SNP0, "ProductName"), "Turin")

    assert not only_missing(validate_manifest(manifest))


def test_no_findings_are_not_only_missing() -> None:
    assert not only_missing([])


@pytest.mark.parametrize(
    ("path", "value", "code", "pointer"),
    [
        (("Policies", WEB, "SANs"), ["web", "web"], "M016", f"/Policies/{WEB}/SANs"),
        (("Policies", WEB, "SANs"), ["http://h:x/"], "M015", f"/Policies/{WEB}/SANs/0"),
        (
            ("Policies", WEB, "WorkloadSecretID"),
            "apps/v1/StatefulSet/default/coordinator",
            "M017",
            f"/Policies/{WEB}/WorkloadSecretID",
        ),
        (
            (*SNP0, "MinimumTCB", "SNPVersion"),
            255,
            "M035",
            "/ReferenceValues/snp/0/MinimumTCB/SNPVersion",
        ),
        (("WorkloadOwnerKeyDigests",), [], "M051", "/WorkloadOwnerKeyDigests"),
        (("WorkloadOwnerKeyDigests",), None, "M051", "/WorkloadOwnerKeyDigests"),
        (("SeedshareOwnerPubKeys",), [], "M053", "/SeedshareOwnerPubKeys"),
        (("SeedshareOwnerPubKeys",), None, "M053", "/SeedshareOwnerPubKeys"),
    ],
)
def test_what_is_legal_but_suspicious_is_a_warning(
    path: tuple[str | int, ...], value: Any, code: str, pointer: str
) -> None:
    manifest = changed(document(), path, value)

    assert brief(validate_manifest(manifest)) == [(code, "warning", pointer)]


@pytest.mark.parametrize(
    ("member", "value", "code"),
    [("MrSeam", "00" * 48, "M047"), ("MinimumTeeTcbSvn", "ff" * 16, "M048")],
)
def test_a_tdx_placeholder_is_a_warning(member: str, value: str, code: str) -> None:
    manifest = changed(document(tdx=[TDX]), (*TDX0, member), value)

    findings = validate_manifest(manifest)

    assert brief(findings) == [(code, "warning", f"/ReferenceValues/tdx/0/{member}")]


def test_the_seedshare_list_may_carry_its_old_name_with_a_warning() -> None:
    manifest = document()
    manifest["SeedshareOwnerKeys"] = manifest.pop("SeedshareOwnerPubKeys")

    assert brief(validate_manifest(manifest)) == [("M002", "warning", "/SeedshareOwnerKeys")]


@pytest.mark.parametrize("names", [("Rtrms",), ("Rtmrs", "Rtrms"), ("Rtrms", "Rtmrs")])
def test_registers_may_be_spelt_as_in_any_release_or_in_both_ways(names: tuple[str, ...]) -> None:
    manifest = document(tdx=[TDX])
    entry = manifest["ReferenceValues"]["tdx"][0]
    registers = entry.pop("Rtmrs")
    entry |= dict.fromkeys(names, registers)

    assert validate_manifest(manifest) == []
    assert validate(manifest, "manifest") == []


@pytest.mark.parametrize("release", [None, V1_13, V1_15], ids=str)
def test_two_spellings_with_different_values_are_an_error(release: Release | None) -> None:
    manifest = document(tdx=[TDX])
    entry = manifest["ReferenceValues"]["tdx"][0]
    entry["Rtrms"] = ["ff" * 48] * 4

    findings = validate_manifest(manifest, release=release)

    (found,) = [item for item in findings if item.rule == "two-spellings"]
    assert found.severity is Severity.ERROR
    assert "which is another spelling of it" in found.message


def test_owners_may_be_listed_by_digest_and_by_key() -> None:
    assert validate_manifest(document() | {"WorkloadOwnerPubKeys": [OWNER]}) == []


@pytest.mark.parametrize(
    "key",
    [
        OWNER.upper(),
        OWNER[:-2],
        OWNER[:-2] + "00",
        OWNER + "00",
        RSA_KEY,
        OWNER_DIGEST,
        "xy",
        None,
        # The generator's multiple of P-256 that begins a compressed point, which the reference product does not read.
        "3039301306072a8648ce3d020106082a8648ce3d030107032200036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
    ],
)
def test_a_workload_owner_that_is_no_ecdsa_key_is_refused(key: str | None) -> None:
    manifest = document() | {"WorkloadOwnerPubKeys": [key]}

    assert errors_of(manifest) == [("M050", "/WorkloadOwnerPubKeys/0")]


def test_without_an_owner_in_either_list_the_manifest_is_immutable() -> None:
    manifest = document() | {"WorkloadOwnerKeyDigests": [], "WorkloadOwnerPubKeys": None}

    assert brief(validate_manifest(manifest)) == [("M051", "warning", "/WorkloadOwnerKeyDigests")]


@pytest.mark.parametrize(("part", "value"), [("SMT", False), ("ABIMinor", 5)])
def test_the_guest_policy_is_free_where_owners_are_listed_by_key(part: str, value: Any) -> None:
    manifest = document()
    manifest["WorkloadOwnerPubKeys"] = [OWNER]
    del manifest["WorkloadOwnerKeyDigests"]
    manifest = changed(manifest, (*SNP0, "GuestPolicy", part), value)

    assert validate_manifest(manifest) == []
    assert validate_manifest(manifest, release=V1_20) == []
    assert validate(manifest, "manifest") == []


@pytest.mark.parametrize("part", ["Debug", "MigrateMA"])
def test_a_free_guest_policy_that_opens_the_memory_is_a_warning(part: str) -> None:
    manifest = document() | {"WorkloadOwnerPubKeys": [OWNER]}
    manifest["ReferenceValues"]["snp"][0]["GuestPolicy"][part] = True

    pointer = f"/ReferenceValues/snp/0/GuestPolicy/{part}"
    assert brief(validate_manifest(manifest)) == [("M036", "warning", pointer)]


def test_unknown_members_are_warnings_when_lenient() -> None:
    findings = validate_manifest(document() | {"Version": 1}, lenient=True)

    assert brief(findings) == [("M002", "warning", "/Version")]


def test_wrong_capitals_are_warnings_when_lenient() -> None:
    findings = validate_manifest(document() | {"policies": {}}, lenient=True)

    assert brief(findings) == [("M002", "warning", "/policies")]


def test_a_near_miss_is_named_in_the_hint() -> None:
    findings = validate_manifest(document() | {"Polices": {}})

    assert findings[0].hint == "did you mean 'Policies'?"


def test_everything_is_reported_at_once() -> None:
    manifest = changed(document(), ("Policies", COORDINATOR), {"SANs": [""]})
    manifest = changed(manifest, (*SNP0, "ProductName"), "Turin")
    manifest = changed(manifest, ("WorkloadOwnerKeyDigests",), ["x"])

    assert [code for code, _ in errors_of(manifest)] == ["M015", "M020", "M031", "M050"]


@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_anything_but_an_object_is_no_manifest(value: Any) -> None:
    assert brief(validate_manifest(value)) == [("M001", "error", "")]


def test_a_message_names_the_place_the_found_and_the_wanted_value() -> None:
    manifest = changed(document(), (*SNP0, "ProductName"), "Turin")

    (finding,) = validate_manifest(manifest)

    assert finding.message == (
        "ReferenceValues.snp[0].ProductName: is 'Turin', expected Milan or Genoa"
    )


def test_a_long_or_unprintable_value_is_cut_and_escaped() -> None:
    manifest = changed(document(), (*SNP0, "ProductName"), "\x1b[31m" + "x" * 500)

    (finding,) = validate_manifest(manifest)

    assert "(505 characters)" in finding.message
    assert finding.message.isprintable()


def test_the_error_exits_with_12_and_with_13_if_values_are_only_missing() -> None:
    missing = validate_manifest(changed(document(), (*SNP0, "MinimumTCB", "SNPVersion"), None))
    wrong = validate_manifest(changed(document(), (*SNP0, "ProductName"), "Turin"))

    assert ManifestError(missing).exit_code == 13
    assert ManifestError(wrong).exit_code == 12
    assert ManifestError([*missing, *wrong]).exit_code == 12
    assert isinstance(ManifestError(wrong), FindingsError)


def test_the_error_leads_with_the_first_error_and_counts_the_others() -> None:
    manifest = changed(document(), (*SNP0, "ProductName"), "Turin")
    manifest = changed(manifest, ("WorkloadOwnerKeyDigests",), ["x"])

    error = ManifestError(validate_manifest(manifest))

    assert "ProductName: is 'Turin'" in str(error)
    assert str(error).endswith("(and 1 more)")


# The second is the base point of P-384. Source: SEC 2 2.5.1.
OWNERS = [
    OWNER,
    (
        "3076301006072a8648ce3d020106052b8104002203620004"
        "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7"
        "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f"
    ),
]


@pytest.mark.parametrize(
    ("approvals", "owners", "found"),
    [
        (1, [], []),
        (1, OWNERS, []),
        (2, OWNERS, []),
        (3, OWNERS, [("M054", "error", "/WorkloadOwnerApprovals")]),
        (2, OWNERS[:1], [("M054", "error", "/WorkloadOwnerApprovals")]),
        (2, None, [("M054", "error", "/WorkloadOwnerApprovals")]),
        (0, OWNERS, [("M054", "error", "/WorkloadOwnerApprovals")]),
        (-1, OWNERS, [("M054", "error", "/WorkloadOwnerApprovals")]),
        (101, OWNERS, [("M054", "error", "/WorkloadOwnerApprovals")]),
        (True, OWNERS, [("M054", "error", "/WorkloadOwnerApprovals")]),
        (2.0, OWNERS, [("M054", "error", "/WorkloadOwnerApprovals")]),
        ("2", OWNERS, [("M054", "error", "/WorkloadOwnerApprovals")]),
        (None, OWNERS, [("M054", "error", "/WorkloadOwnerApprovals")]),
    ],
)
def test_no_more_owners_have_to_approve_than_can(
    approvals: Any, owners: list[str] | None, found: list[tuple[str, str, str]]
) -> None:
    manifest = document() | {"WorkloadOwnerPubKeys": owners, "WorkloadOwnerApprovals": approvals}

    assert brief(validate_manifest(manifest)) == found


def test_where_digests_stand_for_owners_the_release_with_keys_is_named() -> None:
    found = validate_manifest(document() | {"WorkloadOwnerApprovals": 2})

    assert "release under [runtime] to v1.20.0 or later" in found[0].hint


def test_approvals_are_written_only_if_several_are_wanted() -> None:
    known = document() | {"WorkloadOwnerPubKeys": OWNERS}
    del known["WorkloadOwnerKeyDigests"]
    one = to_record(Manifest, known)

    written = [
        manifest_document(each, V1_20.manifest)
        for each in (one, one.replace(workload_owner_approvals=2))
    ]

    assert "WorkloadOwnerApprovals" not in written[0]
    assert list(written[1].items())[-1] == ("WorkloadOwnerApprovals", 2)
