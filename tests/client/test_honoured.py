"""What `set` finds before it sends a manifest to the reference product's Coordinator of some release.

Files are those that the releases wrote; what each release reads is in docs/internals/releases.md 2.1, 8.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from contrast_tasks.api.errors import CoordinatorFailed
from contrast_tasks.client.honoured import (
    refuse_ignored_approvals,
    refuse_lost_owners,
    refuse_unhonoured,
)
from contrast_tasks.client.input_files import ManifestFile
from contrast_tasks.errors import MismatchError
from contrast_tasks.kube.annotated import Annotated, load_annotated
from contrast_tasks.manifest.codec import parse_manifest
from contrast_tasks.manifest.keys import generate_workload_owner, workload_owner_hex
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from tests.fakes.testdata import RELEASES
from tests.manifest.samples import OWNER_DIGEST

if not RELEASES.is_dir():
    pytest.skip("what releases wrote is not at hand", allow_module_level=True)

Document = dict[str, Any]
OTHER_OWNER = workload_owner_hex(generate_workload_owner())


def settings_of(root: Path, more: str = "") -> Settings:
    (root / "contrast.toml").write_text(
        f'platform = "metal-qemu-tdx"\nsources = ["deployment"]\n{more}'
    )
    return load_settings(root, environ={})


def deployed(root: Path, image: str) -> tuple[Annotated, ...]:
    """Return the Coordinator of v1.16.0 with another image."""
    text = (RELEASES / "v1.16.0/metal-qemu-tdx.coordinator.out.yml").read_text()
    old = next(line for line in text.splitlines() if "/coordinator:v1.16.0@" in line)
    path = root / "coordinator.yml"
    path.write_text(text.replace(old, f"      - image: {image}"))
    return load_annotated(settings_of(root), [path])


def manifest_of(release: str, change: Callable[[Document], None] = lambda _: None) -> ManifestFile:
    document = json.loads((RELEASES / release / "metal-qemu-tdx.json").read_bytes())
    change(document)
    content = json.dumps(document, indent=2).encode()
    return ManifestFile(content, parse_manifest(content), "manifest.json")


def attempt(root: Path, image: str, given: ManifestFile, more: str = "") -> list[str]:
    """Return the lines of the refusal, none if there is none."""
    said: list[str] = []
    objects = deployed(root, image)
    try:
        refuse_unhonoured(given, settings_of(root, more), objects, said.append)
    except MismatchError as err:
        return [*str(err).splitlines(), err.hint]
    return said


def theirs(release: str) -> str:
    return f"registry.example/contrast/coordinator:{release}@sha256:{'bf' * 32}"


@pytest.mark.parametrize("release", ["v1.9.0", "v1.13.0", "v1.16.0", "v1.20.0", "v1.21.0"])
def test_the_manifest_of_its_own_release_is_honoured(tmp_path: Path, release: str) -> None:
    assert attempt(tmp_path, theirs(release), manifest_of(release)) == []


@pytest.mark.parametrize(
    ("coordinator", "manifest", "line"),
    [
        (
            "v1.16.0",
            "v1.20.0",
            "it reads WorkloadOwnerKeyDigests only, which lacks 1 of the owners",
        ),
        ("v1.20.0", "v1.16.0", "it reads WorkloadOwnerPubKeys only, which lacks 1 of the owners"),
    ],
)
def test_owners_that_the_coordinator_does_not_read_would_lose_updates(
    tmp_path: Path, coordinator: str, manifest: str, line: str
) -> None:
    found = attempt(tmp_path, theirs(coordinator), manifest_of(manifest))

    assert found == [
        (
            f"{theirs(coordinator)}, which is release {coordinator} of the reference product, "
            "cannot honour manifest.json"
        ),
        f"  {line}: updates would be lost",
        (
            f'set runtime.release = "{coordinator}" in contrast.toml and generate again, '
            "or deploy the Coordinator of the release that the manifest is for"
        ),
    ]


def test_a_manifest_that_the_coordinator_would_refuse_is_refused_here_with_the_line(
    tmp_path: Path,
) -> None:
    found = attempt(tmp_path, theirs("v1.13.0"), manifest_of("v1.16.0"))

    # In cross-read.txt: TdAttributes and Rtrms are missing. The entry begins in line 49, its registers in line 52.
    places = [line.split(": ")[0].strip() for line in found[1:-1]]
    assert places == ["manifest.json:52", "manifest.json:49", "manifest.json:49"]
    assert "ReferenceValues.tdx[0]: has no 'Rtrms'" in "\n".join(found)
    assert "ReferenceValues.tdx[0]: has no 'TdAttributes'" in "\n".join(found)


def test_a_bound_that_the_coordinator_would_ignore_is_an_error(tmp_path: Path) -> None:
    def pin(document: Document) -> None:
        document["ReferenceValues"]["tdx"][0]["AllowedPIIDs"] = ["ab" * 16]
        document["ReferenceValues"]["tdx"][0]["TdAttributes"] = "0000001000000000"

    found = attempt(tmp_path, theirs("v1.15.0"), manifest_of("v1.16.0", pin))

    assert found[1].endswith(
        "ReferenceValues.tdx[0].AllowedPIIDs: release v1.15.0 does not read it, "
        "releases that do: v1.16.0, v1.20.0, v1.21.0"
    )
    assert len(found) == 3


def test_what_only_we_honour_is_an_error_for_their_coordinator(tmp_path: Path) -> None:
    def allow(document: Document) -> None:
        document["ReferenceValues"]["tdx"][0]["AllowQuoteV5"] = True

    found = attempt(tmp_path, theirs("v1.16.0"), manifest_of("v1.16.0", allow))

    assert found[1:-1] == ["  AllowQuoteV5 is honoured by our Coordinator only"]


def test_approvals_that_the_coordinator_ignores_are_an_error(tmp_path: Path) -> None:
    def two(document: Document) -> None:
        document["WorkloadOwnerPubKeys"] += [OTHER_OWNER]
        document["WorkloadOwnerApprovals"] = 2

    found = attempt(tmp_path, theirs("v1.21.0"), manifest_of("v1.21.0", two))

    assert found[1:-1] == ["  WorkloadOwnerApprovals is honoured by our Coordinator only"]


def test_approvals_are_not_set_at_a_coordinator_without_our_extension() -> None:
    def answer(*, is_unknown: bool) -> Any:
        error = CoordinatorFailed("coordinator refused status: unimplemented")
        error.is_unknown = is_unknown
        return Mock(get_status=Mock(side_effect=error))

    manifest = manifest_of("v1.21.0").manifest
    two = manifest.replace(workload_owner_approvals=2)

    refuse_ignored_approvals(answer(is_unknown=True), manifest, "manifest.json", "a:1")
    refuse_ignored_approvals(Mock(), two, "manifest.json", "a:1")
    with pytest.raises(CoordinatorFailed):
        refuse_ignored_approvals(answer(is_unknown=False), two, "manifest.json", "a:1")
    with pytest.raises(MismatchError, match="would let each owner alone replace the manifest"):
        refuse_ignored_approvals(answer(is_unknown=True), two, "manifest.json", "a:1")


def test_a_list_that_lacks_one_of_two_owners_is_an_error(tmp_path: Path) -> None:
    def other(document: Document) -> None:
        document["WorkloadOwnerKeyDigests"] = ["d4" * 32]

    found = attempt(tmp_path, theirs("v1.20.0"), manifest_of("v1.20.0", other))

    assert "lacks 1 of the owners: updates would be lost" in found[1]


@pytest.mark.parametrize(
    "image",
    [
        "contrast-tasks/coordinator:v1.16.0",
        "registry.example/mirror/contrast-tasks/coordinator:v1.16.0",
        "registry.example/other:v1.16.0",
        "registry.example/coordinator:main",
    ],
)
def test_our_coordinator_honours_everything_whatever_its_tag(tmp_path: Path, image: str) -> None:
    assert attempt(tmp_path, image, manifest_of("v1.20.0")) == []


def test_settings_say_whose_image_has_a_name_without_release(tmp_path: Path) -> None:
    image = "registry.example/mirror/coordinator"
    more = f'components.coordinator = "{image}"\ncomponents.reference = true\n'

    found = attempt(tmp_path, image, manifest_of("v1.20.0"), f'{more}runtime.release = "v1.16.0"\n')

    assert "updates would be lost" in "\n".join(found)


def test_a_release_of_unknown_formats_is_told(tmp_path: Path) -> None:
    (line,) = attempt(tmp_path, theirs("v1.18.0"), manifest_of("v1.20.0"))

    assert line.startswith("warning: whether registry.example/contrast/coordinator:v1.18.0@")


def test_the_manifest_for_all_releases_may_be_set_where_its_owners_are_read(tmp_path: Path) -> None:
    content = (RELEASES / "superset-tdx.json").read_bytes()
    manifest = parse_manifest(content)

    refuse_lost_owners(manifest, "manifest.json", "coordinator 127.0.0.1:1313")
    assert manifest.workload_owner_digests == (OWNER_DIGEST,)


def test_a_coordinator_without_latest_transition_reads_owners_by_digest_only() -> None:
    manifest = manifest_of("v1.20.0").manifest

    with pytest.raises(MismatchError, match="which reads WorkloadOwnerKeyDigests only: updates"):
        refuse_lost_owners(manifest, "manifest.json", "coordinator 127.0.0.1:1313")
