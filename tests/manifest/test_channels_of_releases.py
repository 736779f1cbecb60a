"""The documents and annotations of policies that the reference product's releases wrote."""

from pathlib import Path

import pytest
import yaml

from contrast_tasks.manifest.policy_document import document_in, make_document, parse_document
from contrast_tasks.releases.table import Channel
from tests.fakes.testdata import RELEASES

if not RELEASES.is_dir():
    pytest.skip("what releases wrote is not at hand", allow_module_level=True)

# One platform of each release whose channel differs from the release before, with the channel of docs/internals/releases.md 1.1.
RECORDED: list[tuple[str, str, Channel]] = [
    ("v1.9.0", "metal-qemu-snp", "plain"),
    ("v1.11.0", "metal-qemu-tdx", "plain"),
    ("v1.12.0", "aks-clh-snp", "plain"),
    ("v1.12.0", "rke2-qemu-tdx", "gzip"),
    ("v1.13.0", "metal-qemu-snp-gpu", "gzip"),
    ("v1.16.0", "metal-qemu-tdx-gpu", "initdata"),
    ("v1.20.0", "metal-qemu-snp", "initdata"),
    ("v1.21.0", "metal-qemu-snp", "initdata"),
]


def recorded_files(release: str, platform: str) -> list[Path]:
    return sorted((RELEASES / release / "channel" / platform).iterdir())


def recorded_digests(release: str, platform: str) -> dict[str, str]:
    """Return the SHA-256 of each workload's document as the fixtures list them."""
    lines = (RELEASES / release / f"channel-{platform}.txt").read_text().splitlines()
    return {line.split()[0]: line.split()[-1] for line in lines}


def recorded_annotations(release: str, platform: str) -> dict[str, dict[str, str]]:
    text = (RELEASES / release / f"{platform}.app.out.yml").read_text()
    objects = [each for each in yaml.safe_load_all(text) if each]
    found = {}
    for each in objects:
        if each["kind"] == "Service":
            continue
        spec = each.get("spec", {})
        template = each if each["kind"] == "Pod" else spec.get("template", {})
        found[each["metadata"]["name"]] = template.get("metadata", {}).get("annotations", {})
    return found


@pytest.mark.parametrize(("release", "platform", "channel"), RECORDED)
def test_documents_of_each_release_have_the_recorded_hash(
    release: str, platform: str, channel: Channel
) -> None:
    digests = recorded_digests(release, platform)

    found = {
        path.name.partition(".")[0]: path.read_bytes() for path in recorded_files(release, platform)
    }
    read = {name: parse_document(content) for name, content in found.items()}

    assert {name: document.key_hex for name, document in read.items()} == digests
    assert {document.channel for document in read.values()} == {channel}
    assert all(document.policy.startswith(b"package agent_policy\n") for document in read.values())


@pytest.mark.parametrize(("release", "platform", "channel"), RECORDED)
def test_annotations_of_each_release_hold_its_documents(
    release: str, platform: str, channel: Channel
) -> None:
    annotations = recorded_annotations(release, platform)

    for path in recorded_files(release, platform):
        document = document_in(annotations[path.name.partition(".")[0]])

        assert document is not None
        assert document.content == path.read_bytes()
        assert document.channel == channel


@pytest.mark.parametrize(
    ("release", "platform"), [(row[0], row[1]) for row in RECORDED if row[2] == "initdata"]
)
def test_initdata_made_of_a_recorded_policy_is_the_recorded_document(
    release: str, platform: str
) -> None:
    for path in recorded_files(release, platform):
        content = path.read_bytes()

        assert make_document(parse_document(content).policy, "initdata") == content
