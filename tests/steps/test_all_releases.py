"""`generate` on every release and platform, and what it refuses (docs/internals/releases.md 1.1, 2.1, 4; reference/platforms.md).

The expectations are written out from those pages; nothing here is read from the table of releases.
"""

import base64
import gzip
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from contrast_tasks.files import sha256_hex
from dev.checkout import ROOT
from tests.fakes.commands import Terminal
from tests.fakes.sweeps import rest_swept
from tests.fakes.workloads import FakeProject

POLICY = "io.katacontainers.config.agent.policy"
INITDATA = "io.katacontainers.config.hypervisor.cc_init_data"
CLUSTERS = (
    "aks-clh-snp",
    "k3s-qemu-snp",
    "k3s-qemu-snp-gpu",
    "k3s-qemu-tdx",
    "rke2-qemu-tdx",
)
METAL = ("metal-qemu-snp", "metal-qemu-snp-gpu", "metal-qemu-tdx")
EARLY_SNP = ["MinimumTCB", "ProductName", "TrustedMeasurement", "GuestPolicy", "PlatformInfo"]
EARLY_TDX = ["MrTd", "Rtrms", "MinimumQeSvn", "MinimumPceSvn", "MinimumTeeTcbSvn", "MrSeam", "TdAttributes", "Xfam"]  # fmt: skip
SNP_16 = ["ProductName", "TrustedMeasurement", "MinimumTCB", "GuestPolicy", "PlatformInfo", "AllowedChipIDs"]  # fmt: skip
TDX_20 = ["Platform", "MinTCBEvaluationDataNumber", "MrTd", "MrSeam", "Rtmrs", "Xfam", "AllowedPIIDs", "MemoryIntegrity", "SMTDisabled", "StaticPlatform"]  # fmt: skip
FORMS = {
    9: (EARLY_SNP, EARLY_TDX, "WorkloadOwnerKeyDigests"),
    10: (EARLY_SNP, EARLY_TDX, "WorkloadOwnerKeyDigests"),
    11: (EARLY_SNP, EARLY_TDX, "WorkloadOwnerKeyDigests"),
    12: (EARLY_SNP, ["MrTd", "Rtrms", "MrSeam", "TdAttributes", "Xfam"], "WorkloadOwnerKeyDigests"),
    13: (EARLY_SNP, ["MrTd", "Rtrms", "MrSeam", "TdAttributes", "Xfam"], "WorkloadOwnerKeyDigests"),
    15: (EARLY_SNP, ["MrTd", "Rtmrs", "MrSeam", "TdAttributes", "Xfam"], "WorkloadOwnerKeyDigests"),
    16: (SNP_16, ["MrTd", "MrSeam", "Rtmrs", "Xfam", "AllowedPIIDs"], "WorkloadOwnerKeyDigests"),
    20: (
        ["Platform", "ProductName", "TrustedMeasurement", "MinimumTCB", "GuestPolicy", "PlatformInfo", "MinimumMitigationVector", "AllowedChipIDs", "CPUs"],
        TDX_20,
        "WorkloadOwnerPubKeys",
    ),
    21: (
        ["Platform", "ProductName", "TrustedMeasurement", "APEIP", "MinimumTCB", "GuestPolicy", "PlatformInfo", "MinimumMitigationVector", "AllowedChipIDs"],
        TDX_20,
        "WorkloadOwnerPubKeys",
    ),
}  # fmt: skip


def pairs() -> Iterator[Any]:
    """Yield every release with each platform that it has."""
    for minor in FORMS:
        early = CLUSTERS if minor <= 12 else ()
        late = ("metal-qemu-tdx-gpu",) if minor >= 16 else ()
        for platform in (*early, *METAL, *late):
            yield pytest.param(minor, platform, id=f"v1.{minor} {platform}")


def refused(minor: int, platform: str) -> str:
    """Return why no pod works there, also with the reference product's containers; "" where they do."""
    if platform.endswith("-gpu") and minor <= 13:
        return "names a folder of hooks in the guest"
    return ""


def values(minor: int, platform: str) -> dict[str, Any]:
    """Return a file of reference values in the release's form."""
    if "tdx" in platform:
        registers = "Rtrms" if minor <= 13 else "Rtmrs"
        entry = {"MrTd": "1a" * 48, registers: ["2b" * 48] * 3 + ["00" * 48], "MrSeam": "1c" * 48}
        return {"tdx": [entry | ({"MinimumTeeTcbSvn": "04" * 16} if minor <= 11 else {})]}
    levels = ("BootloaderVersion", "TEEVersion", "SNPVersion", "MicrocodeVersion")
    more = {20: {"CPUs": 1}, 21: {"APEIP": "0080b004"}}.get(minor, {})
    return {
        "snp": [
            {
                "ProductName": product,
                "TrustedMeasurement": "3d" * 48,
                "MinimumTCB": dict.fromkeys(levels, 9),
                **more,
            }
            for product in ("Milan", "Genoa")
        ]
    }


def configure(project: FakeProject, minor: int, platform: str) -> None:
    (project.root / "values.json").write_text(json.dumps(values(minor, platform)))
    project.settings(**{"platform": f'"{platform}"', "runtime.release": f'"v1.{minor}.0"'})
    text = project.read("contrast.toml").partition("[reference_values.")[0]
    text = text.replace('reference_values.products = ["Milan"]', 'reference_values.file = "values.json"')  # fmt: skip
    (project.root / "contrast.toml").write_text(text)
    if platform == "aks-clh-snp":
        # Policies name the root hash of each layer there, which `lock` finds.
        lock = json.loads(project.read("contrast.lock"))
        for layer in (layer for image in lock["images"] for layer in image["layers"]):
            layer["root"] = "7c" * 32
        (project.root / "contrast.lock").write_text(json.dumps(lock))


def annotations_of_till(project: FakeProject) -> dict[str, str]:
    (document, *_) = yaml.safe_load_all(project.read("build/deployment/till/till.yaml"))
    return dict(document["spec"]["template"]["metadata"]["annotations"])


def check_channel(project: FakeProject, minor: int, platform: str) -> str:
    """Check that a pod's policy comes as the release expects it; return its hash."""
    annotations = annotations_of_till(project)
    channel = INITDATA if minor >= 15 else POLICY
    assert {POLICY, INITDATA} & annotations.keys() == {channel}
    content = base64.b64decode(annotations[channel], validate=True)
    if minor >= 15:
        content = gzip.decompress(content)
    assert (content[:2] == b"\x1f\x8b") is (minor in (12, 13) and platform != "aks-clh-snp")
    return sha256_hex(content)


# In the unit suite each release once, each platform once, and one that is refused.
FEW = {
    *((9, "k3s-qemu-snp"), (10, "aks-clh-snp"), (11, "k3s-qemu-tdx"), (12, "rke2-qemu-tdx")),
    *((13, "metal-qemu-snp-gpu"), (15, "metal-qemu-tdx"), (16, "metal-qemu-tdx-gpu")),
    *((20, "metal-qemu-snp-gpu"), (21, "metal-qemu-snp"), (9, "k3s-qemu-snp-gpu")),
}


@pytest.mark.first(3)
@pytest.mark.parametrize(("minor", "platform"), rest_swept(pairs(), kept=lambda *pair: pair in FEW))
def test_a_release_gets_its_manifest_and_channel_or_the_reason(
    terminal: Terminal, project: FakeProject, minor: int, platform: str
) -> None:
    configure(project, minor, platform)
    reason = refused(minor, platform)

    shown = terminal.run("generate")

    if reason:
        assert (shown.code, "error[G120 unsupported]" in shown.err) == (12, True), shown.err
        assert f"on platform {platform} with release v1.{minor}.0" in shown.err
        assert reason in shown.err
        assert not (project.root / "manifest.json").exists()
        return
    assert shown.code == 0, shown.err
    manifest = json.loads(project.read("manifest.json"))
    snp, tdx, owners = FORMS[minor]
    ((kind, entries),) = ((k, v) for k, v in manifest["ReferenceValues"].items() if v)
    assert kind == ("tdx" if "tdx" in platform else "snp")
    assert [list(entry) for entry in entries] == [tdx if kind == "tdx" else snp] * len(entries)
    assert list(manifest) == ["Policies", "ReferenceValues", owners, "SeedshareOwnerPubKeys"]
    assert check_channel(project, minor, platform) in manifest["Policies"]
    has_blocks = any(".snp_id_block_" in key for key in annotations_of_till(project))
    assert has_blocks is (minor >= 20 and kind == "snp")


@pytest.mark.parametrize("minor", rest_swept([10, 12], kept=lambda minor: minor == 10))
def test_pods_on_aks_are_let_live_by_their_policies(
    terminal: Terminal, project: FakeProject, minor: int
) -> None:
    """The model of the shim of AKS asks, as the release's generation does (docs/internals/aks.md 1)."""
    configure(project, minor, "aks-clh-snp")
    assert terminal.run("generate").code == 0

    shown = terminal.run("simulate")

    assert shown.code == 0, shown.err
    lines = [line.split() for line in shown.out.splitlines()]
    assert lines
    assert all(allowed == asked for _, allowed, _, asked, *_ in lines)


@pytest.mark.parametrize("minor", rest_swept(FORMS, kept=lambda minor: minor in {9, 21}))
def test_this_machine_has_every_release(
    terminal: Terminal, project: FakeProject, minor: int
) -> None:
    configure(project, minor, "local")
    lines = project.read("contrast.toml").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(("components", "reference_values"))]
    (project.root / "contrast.toml").write_text("".join(kept))

    shown = terminal.run("generate")

    assert shown.code == 0, shown.err
    manifest = json.loads(project.read("manifest.json"))
    assert list(manifest["ReferenceValues"]) == ["simulated"]
    # No release reads a simulated processor's values, so none ignores a part of them.
    assert "ignored-member" not in shown.err
    assert check_channel(project, minor, "local") in manifest["Policies"]


def test_the_page_of_platforms_says_the_same() -> None:
    page = (ROOT / "docs/reference/platforms.md").read_text()
    works = {}
    for platform, first, last, theirs in re.findall(
        r"^\| `(\S+)` \| v1\.(\d+)\.0(?: to v1\.(\d+)\.0)?(?: \(default [v.\d]+\))? \| .* \| (no|yes)[^|]*\|$",
        page,
        re.MULTILINE,
    ):
        for minor in FORMS:
            if int(first) <= minor <= int(last or first):
                works[minor, platform] = theirs == "yes"

    expected = {pair: not refused(*pair) for pair in (each.values for each in pairs())}
    assert {pair: works[pair] for pair in expected} == expected
    assert {platform for _, platform in works.keys() - expected.keys()} == {"local"}
