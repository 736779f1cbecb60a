"""Files that are as `generate` wrote them, and those that were changed since, as `set` reads them.

The YAML is the reference product's, and the right policies are those of its manifest.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from contrast_tasks.client.before_set import read_deployed
from contrast_tasks.errors import UsageError
from tests.client.test_policies_of_releases import inside, outputs
from tests.fakes.testdata import RELEASES

PLATFORM, RELEASE = "metal-qemu-snp", "v1.21.0"
APP, COORDINATOR = "build/deployment/app.yml", "build/deployment/coordinator.yml"

if not RELEASES.is_dir():
    pytest.skip("what releases wrote is not at hand", allow_module_level=True)

NAMED = set(json.loads((RELEASES / RELEASE / f"{PLATFORM}.json").read_text())["Policies"])
INITDATA = re.compile(r"cc_init_data: (\S+)")
POLICY = "io.katacontainers.config.agent.policy"
BLOCK = "io.katacontainers.config.hypervisor.snp_id_block_"

Written = list[dict[str, str]]


def put(root: Path, name: str, content: bytes) -> tuple[str, str]:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)
    return name, hashlib.sha256(content).hexdigest()


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Return what would be recorded of the two files, whose pods are called 0, 1, ..."""
    recorded: Written = []
    for name, source in zip((APP, COORDINATOR), outputs(RELEASE, PLATFORM), strict=True):
        content = source.read_bytes()
        documents = [
            gzip.decompress(base64.b64decode(each)) for each in INITDATA.findall(content.decode())
        ]
        pods = [f"{Path(name).stem}-{number}" for number in range(len(documents))]
        of_file = dict([put(tmp_path, name, content)])
        of_file |= dict(put(tmp_path, f"build/workloads/{pod}.json", b"{}") for pod in pods)
        of_file |= dict(put(tmp_path, f"build/policies/{pod}.rego", b"") for pod in pods)
        of_file |= dict(
            put(tmp_path, f"build/policies/{pod}.initdata.toml", document)
            for pod, document in zip(pods, documents, strict=True)
        )
        recorded.append(of_file)
    return recorded


def test_of_files_as_they_were_written_only_that_of_the_coordinator_is_parsed(
    tmp_path: Path, written: Written
) -> None:
    settings = inside(tmp_path, RELEASE, PLATFORM)

    found = read_deployed(settings, (), print, written)

    assert found.policies.keys() == NAMED
    assert {hashlib.sha256(each).hexdigest() for each in found.policies.values()} == NAMED
    assert {item.where.file for item in found.objects} == {COORDINATOR}
    assert found.policies == read_deployed(settings, (), print).policies


def edit(old: str, new: str) -> Callable[[Path, Written], None]:
    def change(root: Path, _written: Written) -> None:
        text = (root / APP).read_text()
        assert old in text
        (root / APP).write_text(text.replace(old, new, 1))

    return change


def edit_unseen(old: str, new: str) -> Callable[[Path, Written], None]:
    """Change a file, and what is recorded of it."""

    def change(root: Path, written: Written) -> None:
        edit(old, new)(root, written)
        written[0][APP] = hashlib.sha256((root / APP).read_bytes()).hexdigest()

    return change


def replace_document(root: Path, _written: Written) -> None:
    (root / "build/policies/app-0.initdata.toml").write_bytes(b"another")


def remove_document(root: Path, _written: Written) -> None:
    (root / "build/policies/app-0.initdata.toml").unlink()


def forget_a_pod(_root: Path, written: Written) -> None:
    for name in [name for name in written[0] if "/app-0." in name]:
        del written[0][name]


def forget_all(_root: Path, written: Written) -> None:
    written.clear()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(edit("memory: 128Mi", "memory: 129Mi"), id="yaml edited"),
        pytest.param(replace_document, id="document replaced"),
        pytest.param(remove_document, id="document gone"),
        pytest.param(forget_a_pod, id="a pod not recorded"),
        pytest.param(forget_all, id="nothing recorded"),
        pytest.param(
            edit_unseen("  name: web", f"  name: web # {POLICY}"), id="another annotation"
        ),
        pytest.param(
            edit_unseen("  name: web", f"  name: web # {BLOCK}Milan {BLOCK}Genoa"),
            id="another block",
        ),
    ],
)
def test_a_file_in_doubt_is_parsed(
    tmp_path: Path, written: Written, change: Callable[[Path, Written], None]
) -> None:
    settings = inside(tmp_path, RELEASE, PLATFORM)
    change(tmp_path, written)

    found = read_deployed(settings, (), print, written)

    assert found.policies.keys() == NAMED
    assert APP in {item.where.file for item in found.objects}


@pytest.mark.parametrize(
    ("release", "platform", "message"),
    [
        pytest.param("v1.13.0", PLATFORM, "expects the policy in gzip", id="another channel"),
        pytest.param("v1.16.0", PLATFORM, "of the runtime refuses", id="a runtime with its own"),
        pytest.param(RELEASE, "metal-qemu-tdx", "of the runtime refuses", id="no such processor"),
    ],
)
def test_what_another_release_refuses_is_told_of_files_as_they_were_written(
    tmp_path: Path, written: Written, release: str, platform: str, message: str
) -> None:
    settings = inside(tmp_path, release, platform)

    with pytest.raises(UsageError, match=message) as caught:
        read_deployed(settings, (), print, written)

    assert caught.value.where is not None
    assert caught.value.where.file == APP


def test_a_pod_without_block_is_told_whatever_is_recorded(tmp_path: Path, written: Written) -> None:
    settings = inside(tmp_path, RELEASE, PLATFORM)
    text = re.sub(f" *{BLOCK}.*\n", "", (tmp_path / APP).read_text(), count=2)
    written[0] |= dict([put(tmp_path, APP, text.encode())])

    with pytest.raises(UsageError, match="Deployment/web has no annotations with an ID block"):
        read_deployed(settings, (), print, written)
