"""Reference values that the release would ignore. Which members a release has is in docs/internals/releases.md 2.1."""

import json
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.errors import Location, SettingsError
from contrast_tasks.findings import Finding
from contrast_tasks.manifest.codec import render_manifest
from contrast_tasks.manifest.model import Manifest
from contrast_tasks.manifest.reference_values import (
    ProvidedValues,
    defaults_for,
    parse_reference_values,
)
from contrast_tasks.manifest.unread import unread_values
from contrast_tasks.platforms import platform
from contrast_tasks.releases.choose import row_of
from contrast_tasks.releases.table import (
    V1_9,
    V1_11,
    V1_12,
    V1_13,
    V1_16,
    V1_20,
    V1_21,
    Release,
)
from contrast_tasks.settings.model import ReferenceOverrides
from tests.fakes.testdata import RELEASES

LINES = {"reference_values.tdx.minimum_tee_tcb_svn": 7}


def where(key: str) -> Location:
    return Location(file="contrast.toml", line=LINES.get(key))


def found(
    name: str,
    release: Release,
    overrides: ReferenceOverrides | None = None,
    provided: ProvidedValues | None = None,
    *,
    is_reference: bool = False,
) -> list[Finding]:
    return unread_values(
        platform(name),
        release,
        overrides or ReferenceOverrides(),
        provided,
        where=where,
        is_reference=is_reference,
    )


def test_a_setting_that_the_release_ignores_is_an_error_with_its_line_and_the_way_out() -> None:
    overrides = ReferenceOverrides(tdx={"minimum_tee_tcb_svn": "0d" * 16})

    (finding,) = found("metal-qemu-tdx", V1_12, overrides)

    assert str(finding) == (
        "contrast.toml:7: error[M006 ignored-value]: reference_values.tdx.minimum_tee_tcb_svn is set, which release "
        "v1.12.0 does not read; releases that do: v1.9.0, v1.10.0, v1.11.0\n"
        "  hint: remove it, or choose a release that reads it: runtime.release in contrast.toml"
    )
    assert found("metal-qemu-tdx", V1_11, overrides) == []


@pytest.mark.parametrize(
    ("name", "values", "ignores", "reads"),
    [
        ("metal-qemu-tdx", {"tdx": {"td_attributes": "0000001000000000"}}, V1_16, V1_13),
        ("metal-qemu-tdx", {"tdx": {"allowed_piids": ("ab" * 16,)}}, V1_13, V1_16),
        ("metal-qemu-tdx", {"tdx": {"memory_integrity": True}}, V1_16, V1_20),
        ("metal-qemu-tdx", {"tdx": {"smt_disabled": True}}, V1_16, V1_20),
        ("metal-qemu-tdx", {"tdx": {"minimum_qe_svn": 3}}, V1_12, V1_11),
        ("metal-qemu-snp", {"snp": {"Milan": {"allowed_chip_ids": ("ab" * 64,)}}}, V1_13, V1_16),
        ("metal-qemu-snp", {"snp": {"Genoa": {"minimum_mitigation_vector": 1}}}, V1_16, V1_20),
        (
            "metal-qemu-snp",
            {"snp": {"Milan": {"platform_info": {"tio_enabled": True}}}},
            V1_9,
            V1_12,
        ),
    ],
)
def test_each_member_of_other_releases_is_found(
    name: str, values: dict[str, Any], ignores: Release, reads: Release
) -> None:
    overrides = ReferenceOverrides(**values)

    assert [item.code for item in found(name, ignores, overrides)] == ["M006"]
    assert found(name, reads, overrides) == []


def test_values_of_another_kind_of_platform_are_not_looked_at() -> None:
    overrides = ReferenceOverrides(tdx={"minimum_tee_tcb_svn": "0d" * 16})

    assert found("metal-qemu-snp", V1_21, overrides) == []


@pytest.mark.parametrize(
    ("name", "values", "shown"),
    [
        ("metal-qemu-snp", {"snp": {"Milan": {"allow_vlek": True}}}, "snp.Milan.allow_vlek"),
        ("metal-qemu-tdx", {"tdx": {"allow_quote_v5": True}}, "tdx.allow_quote_v5"),
    ],
)
def test_what_only_we_honour_is_a_note_and_an_error_for_their_coordinator(
    name: str, values: dict[str, Any], shown: str
) -> None:
    overrides = ReferenceOverrides(**values)

    (note,) = found(name, V1_21, overrides)
    (error,) = found(name, V1_21, overrides, is_reference=True)

    assert (note.code, note.severity.value, error.severity.value) == ("M007", "note", "error")
    assert note.message.startswith(f"reference_values.{shown} is honoured by our Coordinator only")


def provided(text: str, name: str, release: Release) -> ProvidedValues:
    return parse_reference_values(text.encode(), file="rv.json", platform=name, release=release)


def test_a_value_of_the_file_that_the_release_ignores_is_an_error_with_line_and_pointer() -> None:
    text = (
        '{"metal-qemu-snp": {"snp": [\n  {"productName": "Milan",\n   "cpus": 1,\n'
        '   "platformInfo": {\n     "tioEnabled": true}}]}}'
    )

    cpus, tio = found("metal-qemu-snp", V1_9, provided=provided(text, "metal-qemu-snp", V1_9))

    assert [str(item.where) for item in (cpus, tio)] == ["rv.json:5", "rv.json:3"]
    assert cpus.where.pointer == "/metal-qemu-snp/snp/0/PlatformInfo/TIOEnabled"
    assert tio.where.pointer == "/metal-qemu-snp/snp/0/CPUs"
    assert "releases that do: v1.20.0" in tio.message


def test_blank_values_of_the_file_are_not_set() -> None:
    text = '{"tdx": [{"mrTd": "", "rtmrs": ["", "", "", ""], "minimumTeeTcbSvn": ""}]}'

    file = provided(text, "metal-qemu-tdx", V1_21)

    assert found("metal-qemu-tdx", V1_21, provided=file) == []


def test_a_handler_of_a_platform_that_the_release_lacks_is_refused() -> None:
    text = (
        '{"contrast-cc-metal-qemu-snp-7173acb5": {"snp": [{"ProductName": "Milan"}]},\n'
        ' "contrast-cc-k3s-qemu-snp-7173acb5": {"snp": [{"ProductName": "Milan"}]}}'
    )

    with pytest.raises(SettingsError) as caught:
        provided(text, "metal-qemu-snp", V1_13)

    assert str(caught.value) == (
        "'contrast-cc-k3s-qemu-snp-7173acb5' is a runtime handler of platform 'k3s-qemu-snp', "
        "which release v1.13.0 does not have"
    )
    assert str(caught.value.where) == "rv.json:2"
    assert "v1.12.0" in caught.value.hint
    assert provided(text, "metal-qemu-snp", V1_12).snp


# The platform without attestation is refused by its own generate.
WRITTEN = [
    path for path in sorted(RELEASES.glob("v1.*/*.default.json")) if "insecure" not in path.name
]


@pytest.mark.skipif(not RELEASES.is_dir(), reason="what releases wrote is not at hand")
@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_defaults_are_the_entries_that_the_releases_own_generate_wrote(path: Path) -> None:
    """Measurements come from a file, as in the reference product; all else is known."""
    release = row_of(path.parent.name)
    assert isinstance(release, Release)
    name = path.name.removesuffix(".default.json")
    theirs = json.loads(path.read_bytes())["ReferenceValues"]
    measured = {"ProductName", "TrustedMeasurement", "APEIP", "CPUs", "MrTd", "Rtmrs", "Rtrms"}
    file = {
        kind: [{key: entry[key] for key in entry if key in measured} for entry in entries]
        for kind, entries in theirs.items()
    }

    values = defaults_for(name, release=release, provided=provided(json.dumps(file), name, release))

    ours = render_manifest(Manifest(policies={}, reference_values=values), release.manifest)
    assert json.loads(ours)["ReferenceValues"] == theirs
    assert found(name, release, provided=provided(json.dumps(file), name, release)) == []
