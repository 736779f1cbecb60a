"""Manifests of one release in the hands of another, and changed ones: what is refused, and what is reported, with the line.

The files are those that each release's own code wrote and accepted. The whole of them is checked by dev/fixtures.
"""

import json
from pathlib import Path

import pytest

from contrast_tasks import catalogue
from contrast_tasks.findings import Severity
from contrast_tasks.manifest.codec import check_manifest, parse_manifest, render_manifest
from contrast_tasks.manifest.forms import members_of, ours, releases_with, spellings
from contrast_tasks.manifest.validate import only_missing
from contrast_tasks.records import Record
from contrast_tasks.releases.choose import row_of
from contrast_tasks.releases.table import RELEASES, V1_9, V1_13, V1_16, V1_20, V1_21, Release
from contrast_tasks.trusted_guests import GuestPolicy, PlatformInfo, SnpReference, TdxReference
from tests.fakes.testdata import RELEASES as FILES
from tests.manifest.samples import OWNER, OWNER_DIGEST

needs_files = pytest.mark.skipif(not FILES.is_dir(), reason="what releases wrote is not at hand")


def content_of(release: Release, platform: str = "metal-qemu-tdx") -> bytes:
    return (FILES / release.name / f"{platform}.json").read_bytes()


def changed(content: bytes, old: str, new: str) -> bytes:
    assert content.count(old.encode()) >= 1
    return content.replace(old.encode(), new.encode(), 1)


def reported(content: bytes, release: Release | None) -> list[tuple[str, str, int | None]]:
    findings = check_manifest(content, release=release)[1]
    return [(item.code, item.severity.value, item.where.line) for item in findings]


def line_of(content: bytes, text: str) -> int:
    lines = content.decode().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if text in line)


@pytest.mark.parametrize("record", [SnpReference, TdxReference, GuestPolicy, PlatformInfo])
@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_every_member_of_a_release_is_declared(release: Release, record: type[Record]) -> None:
    assert set(members_of(record, release.manifest)) <= set(spellings(record))


def test_members_of_no_release_are_ours() -> None:
    assert (ours(SnpReference), ours(TdxReference)) == (("AllowVLEK",), ("AllowQuoteV5",))


def test_the_releases_of_a_member_are_known() -> None:
    # Source: docs/internals/releases.md 2.1.
    assert releases_with(TdxReference)["Rtrms"][-1] == "v1.13.0"
    assert releases_with(TdxReference)["Rtmrs"][0] == "v1.15.0"
    assert releases_with(SnpReference)["CPUs"] == ("v1.20.0",)
    assert releases_with(SnpReference)["APEIP"] == ("v1.21.0",)
    assert releases_with(TdxReference)["MinimumTeeTcbSvn"] == ("v1.9.0", "v1.10.0", "v1.11.0")


@needs_files
@pytest.mark.parametrize(
    ("release", "old", "new"), [(V1_13, "Rtrms", "Rtmrs"), (V1_16, "Rtmrs", "Rtrms")], ids=str
)
def test_another_releases_spelling_is_refused_and_its_line_reported(
    release: Release, old: str, new: str
) -> None:
    content = changed(content_of(release), old, new)

    entry = line_of(content, '"MrTd"') - 1
    assert reported(content, release) == [
        ("M005", "warning", line_of(content, new)),
        ("M004", "error", entry),
    ]
    assert reported(content, None) == []


@needs_files
@pytest.mark.parametrize(
    ("release", "member"),
    [
        (V1_9, '"AllowedPIIDs": null'),
        (V1_13, '"MinimumTeeTcbSvn": "04010700000000000000000000000000"'),
        (V1_16, '"TdAttributes": "0000001000000000"'),
        (V1_16, '"SMTDisabled": true'),
        (V1_21, '"MinimumQeSvn": 0'),
    ],
    ids=str,
)
def test_a_member_of_another_release_is_reported_with_its_line(
    release: Release, member: str
) -> None:
    content = changed(content_of(release), '"Xfam"', f'{member},\n        "Xfam"')

    assert reported(content, release) == [("M005", "warning", line_of(content, member))]
    assert reported(content, None) == []


@needs_files
def test_a_member_of_no_release_is_refused_with_its_line() -> None:
    content = changed(content_of(V1_21), '"Xfam"', '"CPUs": 1,\n        "Xfam"')

    assert reported(content, V1_21) == [("M002", "error", line_of(content, "CPUs"))]
    assert reported(content, None) == [("M002", "error", line_of(content, "CPUs"))]


@needs_files
@pytest.mark.parametrize(
    ("writer", "reader"), [(V1_16, V1_20), (V1_20, V1_16), (V1_21, V1_9)], ids=str
)
def test_another_releases_owner_list_makes_the_manifest_immutable(
    writer: Release, reader: Release
) -> None:
    content = content_of(writer, "metal-qemu-snp")

    found = reported(content, reader)

    owners = line_of(content, '"WorkloadOwner')
    assert ("M005", "warning", owners) in found
    assert "M051" in {code for code, _, _ in found}
    assert reported(content, writer) == []


@needs_files
@pytest.mark.parametrize("member", ["TdAttributes", "MinimumQeSvn", "MinimumPceSvn"])
def test_a_member_that_the_release_needs_may_not_be_absent(member: str) -> None:
    document = json.loads(content_of(V1_9))
    del document["ReferenceValues"]["tdx"][0][member]
    content = json.dumps(document).encode()

    (found,) = check_manifest(content, release=V1_9)[1]

    assert (found.code, found.severity, found.message) == (
        "M004",
        Severity.ERROR,
        f"ReferenceValues.tdx[0]: has no '{member}'",
    )
    assert reported(content, None) == []


@needs_files
def test_the_patch_levels_of_the_tdx_module_are_missing_where_they_are_absent() -> None:
    document = json.loads(content_of(V1_9))
    del document["ReferenceValues"]["tdx"][0]["MinimumTeeTcbSvn"]

    findings = check_manifest(json.dumps(document).encode(), release=V1_9)[1]

    assert [item.code for item in findings] == ["M042"]
    assert only_missing(findings)


@needs_files
@pytest.mark.parametrize(
    ("release", "severity"), [(V1_16, "error"), (V1_20, None), (V1_21, None)], ids=str
)
def test_the_guest_policy_is_fixed_up_to_1_16(release: Release, severity: str | None) -> None:
    content = changed(content_of(release, "metal-qemu-snp"), '"SMT": true', '"SMT": false')

    expected = [] if severity is None else [("M036", severity, line_of(content, '"SMT": false'))]
    assert reported(content, release) == expected
    assert reported(content, None) == expected


@needs_files
def test_both_spellings_and_lists_are_one_manifest() -> None:
    manifest = parse_manifest((FILES / "superset-tdx.json").read_bytes())

    assert manifest.workload_owner_key_digests == (OWNER_DIGEST,)
    assert manifest.workload_owner_pub_keys == (OWNER,)
    assert manifest.workload_owner_digests == (OWNER_DIGEST,)


@needs_files
def test_different_values_in_both_spellings_are_refused_with_the_line() -> None:
    content = (FILES / "superset-tdx.json").read_bytes()
    content = changed(content, '"Rtrms": [\n          "fd', '"Rtrms": [\n          "fe')

    (found,) = check_manifest(content)[1]

    assert (found.rule, found.where.line) == ("two-spellings", line_of(content, '"Rtrms"'))


# No release accepts the platform without attestation.
WRITTEN = [path for path in sorted(FILES.glob("v1.*/*.json")) if "insecure" not in path.name]


@needs_files
@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: f"{path.parent.name}/{path.name}")
@pytest.mark.first(12)
def test_a_manifest_of_one_release_can_be_written_as_that_of_each_other(path: Path) -> None:
    content = path.read_bytes()
    manifest = parse_manifest(content, tolerated=catalogue.MISSING_VALUES)

    for row in RELEASES:
        document = json.loads(render_manifest(manifest, row.manifest))
        for kind, names in (("snp", row.manifest.snp), ("tdx", row.manifest.tdx)):
            entries = document["ReferenceValues"].get(kind, [])
            assert all(tuple(entry) == names for entry in entries)
        assert row.manifest.owners in document
    own = row_of(path.parent.name)
    assert isinstance(own, Release)
    assert render_manifest(manifest, own.manifest) == content
