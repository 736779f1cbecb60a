import json
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.errors import SettingsError
from contrast_tasks.manifest.codec import render_manifest
from contrast_tasks.manifest.model import Manifest
from contrast_tasks.manifest.reference_values import (
    ProvidedValues,
    defaults_for,
    parse_reference_values,
)
from contrast_tasks.manifest.validate import is_missing, validate_manifest
from contrast_tasks.platforms import SIMULATED_MEASUREMENT
from contrast_tasks.releases.table import RELEASES as RELEASE_ROWS
from contrast_tasks.releases.table import V1_11, V1_12, V1_20, V1_21, Release
from contrast_tasks.settings.model import ReferenceOverrides
from contrast_tasks.trusted_guests import GuestPolicy, PlatformInfo, SnpTcb
from tests.fakes.testdata import RELEASES

MEASUREMENT = "6c" * 48
TDX_FILE = {
    "mrTd": "1a" * 48,
    "rtmrs": ["2b" * 48, "3c" * 48, "4d" * 48, "00" * 48],
}


def missing(values: Any) -> list[str]:
    manifest = Manifest(policies={}, reference_values=values)
    findings = [
        item
        for item in validate_manifest(manifest)
        if "/snp/" in item.where.pointer or "/tdx/" in item.where.pointer
    ]
    assert all(map(is_missing, findings)), findings
    return [item.where.pointer.removeprefix("/ReferenceValues/") for item in findings]


TCB = ["BootloaderVersion", "TEEVersion", "SNPVersion", "MicrocodeVersion"]
SNP_MISSING = [
    f"snp/{index}/{member}"
    for index in (0, 1)
    for member in ["TrustedMeasurement", *(f"MinimumTCB/{name}" for name in TCB)]
]
TDX_MISSING = ["tdx/0/MrTd", "tdx/0/Rtmrs/0", "tdx/0/Rtmrs/1", "tdx/0/Rtmrs/2", "tdx/0/MrSeam"]


@pytest.mark.parametrize(
    ("platform", "release", "wanted"),
    [
        ("aks-clh-snp", V1_12, ["snp/0/TrustedMeasurement"]),
        ("k3s-qemu-snp", V1_12, SNP_MISSING),
        ("metal-qemu-snp-gpu", V1_21, SNP_MISSING),
        ("k3s-qemu-tdx", V1_11, [*TDX_MISSING, "tdx/0/MinimumTeeTcbSvn"]),
        ("k3s-qemu-tdx", V1_12, TDX_MISSING),
        ("metal-qemu-tdx-gpu", V1_21, TDX_MISSING),
    ],
    ids=str,
)
def test_without_file_and_settings_what_nobody_knows_is_missing(
    platform: str, release: Release, wanted: list[str]
) -> None:
    assert sorted(missing(defaults_for(platform, release=release))) == sorted(wanted)


def test_aks_has_the_published_tcb_and_guest_policy() -> None:
    (entry,) = defaults_for("aks-clh-snp").snp

    assert entry.product_name == "Milan"
    assert entry.minimum_tcb == SnpTcb(bootloader=3, tee=0, snp=8, microcode=115)
    assert entry.guest_policy.to_word() == 0x3001F
    assert entry.platform_info == PlatformInfo()


def test_a_file_wins_over_the_levels_of_aks() -> None:
    content = b'{"snp": [{"ProductName": "Milan", "MinimumTCB": {"SNPVersion": 24}}]}'
    provided = parse_reference_values(content, file="own.json", platform="aks-clh-snp")

    (entry,) = defaults_for("aks-clh-snp", provided=provided).snp

    assert entry.minimum_tcb == SnpTcb(bootloader=3, tee=0, snp=24, microcode=115)


def test_bare_metal_snp_has_one_entry_per_product() -> None:
    milan, genoa = defaults_for("metal-qemu-snp").snp

    assert (milan.product_name, genoa.product_name) == ("Milan", "Genoa")
    assert milan.guest_policy == GuestPolicy()
    assert milan.allowed_chip_ids is None


def test_tdx_has_the_published_constants() -> None:
    (entry,) = defaults_for("k3s-qemu-tdx", release=V1_11).tdx

    assert entry.td_attributes_hex == "0000001000000000"
    assert entry.xfam_hex == "e702060000000000"
    assert (entry.minimum_qe_svn, entry.minimum_pce_svn) == (0, 0)
    assert entry.memory_integrity is None
    assert entry.allow_quote_v5 is None
    assert entry.rtmrs_hex[3] == "00" * 48


def test_the_local_platform_trusts_the_given_root_and_is_complete() -> None:
    values = defaults_for("local", local_root_sha256_hex="c3" * 32)
    manifest = Manifest(policies={}, reference_values=values)

    (entry,) = values.simulated
    assert entry.root_sha256_hex == "c3" * 32
    assert entry.trusted_measurement_hex == SIMULATED_MEASUREMENT
    assert {item.code for item in validate_manifest(manifest)} == {"M010", "M020", "M051", "M053"}
    assert b'"simulated"' in render_manifest(manifest, V1_21.manifest)


def test_the_local_platform_needs_a_root() -> None:
    with pytest.raises(ValueError, match="root"):
        defaults_for("local")


def provided(document: Any, platform: str = "k3s-qemu-snp") -> ProvidedValues:
    return parse_reference_values(json.dumps(document).encode(), file="rv.json", platform=platform)


@pytest.mark.parametrize(
    "key",
    [
        "k3s-qemu-snp",
        "K3s-QEMU-SNP",
        "contrast-cc-k3s-qemu-snp",
        "contrast-cc-k3s-qemu-snp-7173acb5",
        "metal-qemu-snp",
        "contrast-cc-metal-qemu-snp-7173acb5",
    ],
)
def test_values_are_found_by_platform_handler_and_relative(key: str) -> None:
    values = {"snp": [{"ProductName": "Milan", "TrustedMeasurement": MEASUREMENT}]}

    found = provided({key: values, "aks-clh-snp": {"snp": [{"ProductName": "Milan"}]}})

    assert found.snp == ({"ProductName": "Milan", "TrustedMeasurement": MEASUREMENT},)


def test_the_insecure_runtimes_of_a_release_are_passed_over() -> None:
    entry = {"snp": [{"ProductName": "Milan", "TrustedMeasurement": "ab" * 48}]}
    document = {
        "contrast-insecure-metal-qemu-0a1b2c3d": {"snp": [{}]},
        "contrast-cc-metal-qemu-snp-0a1b2c3d": entry,
    }

    provided = parse_reference_values(
        json.dumps(document).encode(), file="values.json", platform="metal-qemu-snp"
    )

    assert provided.snp == tuple(entry["snp"])


def test_the_exact_platform_wins_over_its_relatives() -> None:
    found = provided(
        {
            "metal-qemu-snp": {"snp": [{"ProductName": "Genoa"}]},
            "k3s-qemu-snp": {"snp": [{"ProductName": "Milan"}]},
        }
    )

    assert [entry["ProductName"] for entry in found.snp] == ["Milan"]


def test_values_may_be_given_for_every_platform_in_any_capitals() -> None:
    found = provided({"snp": [{"productname": "Milan", "minimumTCB": {"snpversion": 8}}]})

    assert found.snp == ({"ProductName": "Milan", "MinimumTCB": {"SNPVersion": 8}},)


def test_the_file_fills_measurements_and_chooses_the_products() -> None:
    file = provided({"snp": [{"productName": "Genoa", "trustedMeasurement": MEASUREMENT}]})

    (entry,) = defaults_for("k3s-qemu-snp", provided=file).snp

    assert (entry.product_name, entry.trusted_measurement_hex) == ("Genoa", MEASUREMENT)
    assert entry.guest_policy == GuestPolicy()


def test_several_entries_of_one_product_are_kept() -> None:
    entries = [
        {"ProductName": "Milan", "TrustedMeasurement": MEASUREMENT, "CPUs": 1},
        {"ProductName": "Milan", "TrustedMeasurement": "7d" * 48, "CPUs": 2},
    ]

    file = provided({"snp": entries})
    values = defaults_for("metal-qemu-snp", release=V1_20, provided=file)

    assert [entry.cpus for entry in values.snp] == [1, 2]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=f"{path.parent.name} {path.stem}")
        for path in sorted(RELEASES.glob("v1.*.0/*-qemu-*.json"))
        if ".default" not in path.name
    ],
)
def test_the_values_of_a_release_give_the_entries_of_its_manifest(path: Path) -> None:
    """A release's own file names a handler and has every member of an entry (docs/internals/manifest.md 3)."""
    theirs = json.loads(path.read_text())["ReferenceValues"]
    handler = f"contrast-cc-{path.stem}-0a1b2c3d"
    release = next(row for row in RELEASE_ROWS if row.name == path.parent.name)
    content = json.dumps({handler: theirs}).encode()

    file = parse_reference_values(content, file="rv.json", platform=path.stem, release=release)
    values = defaults_for(path.stem, release=release, provided=file)

    manifest = Manifest(policies={}, reference_values=values)
    assert json.loads(render_manifest(manifest, release.manifest))["ReferenceValues"] == theirs


def test_settings_and_file_may_demand_another_guest_policy() -> None:
    """From v1.20 it is the user's (docs/internals/releases.md 2.2); values of bits: docs/internals/manifest.md 1.2.2."""
    file = provided({"snp": [{"productName": "Milan", "guestPolicy": {"abiMinor": 31}}]})
    overrides = ReferenceOverrides(snp={"Milan": {"guest_policy": {"single_socket": True}}})

    (entry,) = defaults_for("metal-qemu-snp", release=V1_21, overrides=overrides, provided=file).snp

    assert entry.guest_policy.to_word() == 31 | 1 << 16 | 1 << 17 | 1 << 20


def test_an_entry_for_another_platform_is_refused_with_its_line() -> None:
    content = b'{"snp": [{"ProductName": "Milan",\n"Platform": "Metal-QEMU-SNP-GPU"}]}'

    with pytest.raises(SettingsError, match="expected 'Metal-QEMU-SNP'") as caught:
        parse_reference_values(content, file="rv.json", platform="metal-qemu-snp")

    assert caught.value.where is not None
    assert caught.value.where.line == 2


def test_settings_win_over_the_file() -> None:
    file = provided(
        {
            "snp": [
                {
                    "ProductName": "Milan",
                    "TrustedMeasurement": MEASUREMENT,
                    "MinimumTCB": {"SNPVersion": 1, "TEEVersion": 0},
                }
            ]
        }
    )
    overrides = ReferenceOverrides(
        snp={
            "Milan": {
                "minimum_tcb": {"bootloader": 9, "snp": 23},
                "platform_info": {"tsme_enabled": True},
                "allowed_chip_ids": ("ab" * 64,),
                "allow_vlek": True,
            }
        }
    )

    (entry,) = defaults_for("metal-qemu-snp", release=V1_21, overrides=overrides, provided=file).snp

    assert entry.minimum_tcb == SnpTcb(bootloader=9, tee=0, snp=23)
    assert entry.platform_info == PlatformInfo(tsme_enabled=True)
    assert entry.allowed_chip_ids == ("ab" * 64,)
    assert entry.allow_vlek is True
    assert entry.trusted_measurement_hex == MEASUREMENT


def test_products_in_settings_prune_the_others() -> None:
    overrides = ReferenceOverrides(products=("Genoa",))

    (entry,) = defaults_for("k3s-qemu-snp", overrides=overrides).snp

    assert entry.product_name == "Genoa"


def test_a_product_the_platform_does_not_have_is_refused() -> None:
    with pytest.raises(SettingsError, match="has Genoa, but platform 'aks-clh-snp' knows Milan"):
        defaults_for("aks-clh-snp", overrides=ReferenceOverrides(products=("Genoa",)))


def test_a_tdx_entry_is_complete_with_file_and_settings() -> None:
    overrides = ReferenceOverrides(tdx={"mr_seam": "5e" * 48, "minimum_tee_tcb_svn": "0d" * 16})
    file = provided({"tdx": [TDX_FILE]}, "k3s-qemu-tdx")

    values = defaults_for("k3s-qemu-tdx", overrides=overrides, provided=file)

    assert missing(values) == []
    assert values.tdx[0].mr_td_hex == "1a" * 48


@pytest.mark.parametrize(
    ("content", "message", "line"),
    [
        (b"[]", "is not a JSON object", 1),
        (b"{", "not valid JSON", 1),
        (b"{}", "is empty, expected snp or tdx", 1),
        (b'{\n"k3s-qemu-snq": {"snp": [{"ProductName": "Milan"}]}}', "neither a platform nor", 2),
        (b'{"aks-clh-snp": {"snp": [{"ProductName": "Milan"}]}}', "no values for platform", 1),
        (b'{"snp": [{\n"ProductName": "Turin"}]}', '"Turin", expected Milan or Genoa', 2),
        (b'{"snp": [{\n"TrustedMeasurement": ""}]}', "snp[0] has no 'ProductName'", 1),
        (
            b'{"snp": [{"ProductName": "Milan",\n"TrustedMeasurement": "6c"}]}',
            "expected 96 lower-case hex digits",
            2,
        ),
        (
            b'{"snp": [{"ProductName": "Milan",\n"Debug": true}]}',
            "unknown key 'Debug' in [snp[0]]",
            2,
        ),
        (b'{"snp": [{"ProductName": "Milan",\n"productName": "Milan"}]}', "two spellings", 2),
        (b'{"snp": [{"ProductName": "Milan",\n"ProductName": "Milan"}]}', "occurs twice", 2),
        (
            (
                b'{"metal-qemu-snp": {"snp": [{"ProductName": "Milan"}]},\n'
                b'"contrast-cc-metal-qemu-snp": {"snp": [{"ProductName": "Genoa"}]}}'
            ),
            "different values for platform",
            2,
        ),
    ],
)
def test_a_bad_file_is_refused_with_its_line(content: bytes, message: str, line: int) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_reference_values(content, file="rv.json", platform="k3s-qemu-snp")

    assert message in str(caught.value)
    assert caught.value.where is not None
    assert (caught.value.where.file, caught.value.where.line) == ("rv.json", line)
