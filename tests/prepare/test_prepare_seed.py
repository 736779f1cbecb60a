"""The user document's own example: its diffs apply to our vanilla file, and `prepare` changes the same lines."""

import difflib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from contrast_tasks.errors import Location
from contrast_tasks.findings import Severity
from contrast_tasks.kube.documents import parse_documents
from contrast_tasks.kube.edits import rewrite
from contrast_tasks.prepare.workload import prepare
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.workloads import PodSettings, WorkloadSettings

GOLDEN = Path(__file__).parents[1] / "golden" / "seed"
VANILLA = (GOLDEN / "emojivoto-demo.yml").read_text()
DIFFS = ("1-runtime-class.diff", "2-resources.diff", "3-annotations.diff")
WHERE = Location(file="contrast.toml", line=1)
COMPONENTS = ComponentSettings(
    initializer="contrast-tasks/initializer:0.1.0@sha256:" + "1" * 64,
    service_mesh="contrast-tasks/service-mesh:0.1.0@sha256:" + "2" * 64,
    are_declared_reference=True,
)
SETTINGS = Settings(
    components=COMPONENTS,
    root=Path(),
    platform="k3s-qemu-snp",
    release_name="v1.12.0",
    sources=("deployment",),
    for_all=PodSettings(memory="700Mi"),
    workloads={
        "Deployment/emoji": WorkloadSettings(where=WHERE, ingress=""),
        "Deployment/voting": WorkloadSettings(where=WHERE, ingress=""),
        "Deployment/web": WorkloadSettings(
            where=WHERE,
            ingress="web#8080#false",
            egress="emoji#127.137.0.1:8081#emoji-svc:8080##voting#127.137.0.2:8081#voting-svc:8080",
        ),
    },
)


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the vanilla file with the page's three diffs applied by `patch -F0`."""
    folder = tmp_path_factory.mktemp("seed")
    shutil.copy(GOLDEN / "emojivoto-demo.yml", folder)
    for name in DIFFS:
        with (GOLDEN / name).open("rb") as diff:
            result = subprocess.run(
                ["patch", "-F0", "emojivoto-demo.yml"],
                stdin=diff,
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
        assert result.returncode == 0, result.stdout
        assert "offset" not in result.stdout
        assert "fuzz" not in result.stdout
    return (folder / "emojivoto-demo.yml").read_text()


@pytest.fixture(scope="module")
def confidential() -> str:
    """Return what prepare and rewrite make of the vanilla file."""
    wanted = {
        document.index: prepare(document, settings=SETTINGS, runtime_class="contrast-cc").obj
        for document in parse_documents(VANILLA, "emojivoto-demo.yml")
    }
    return rewrite(VANILLA, wanted, "emojivoto-demo.yml")


def changed(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[:1] in "+-"]


def without_injection(text: str) -> str:
    objects = {
        document.index: document.obj for document in parse_documents(text, "emojivoto-demo.yml")
    }
    for obj in objects.values():
        if obj["kind"] == "Deployment":
            spec = obj["spec"]["template"]["spec"]
            del spec["initContainers"], spec["volumes"]
            for container in spec["containers"]:
                del container["volumeMounts"]
    return rewrite(text, objects, "emojivoto-demo.yml")


def test_the_vanilla_file_has_the_published_layout() -> None:
    documents = parse_documents(VANILLA, "emojivoto-demo.yml")

    assert [(document.line, document.kind, document.name) for document in documents] == [
        (1, "Deployment", "emoji"),
        (41, "Service", "emoji-svc"),
        (56, "ServiceAccount", "emoji"),
        (61, "Deployment", "vote-bot"),
        (90, "Deployment", "voting"),
        (130, "Service", "voting-svc"),
        (145, "ServiceAccount", "voting"),
        (150, "Deployment", "web"),
        (193, "Service", "web-svc"),
        (208, "ServiceAccount", "web"),
    ]


def test_the_diffs_are_the_pages_own() -> None:
    headers = [
        re.findall(r"^@@ -(\d+),", (GOLDEN / name).read_text(), re.MULTILINE) for name in DIFFS
    ]

    assert headers == [
        ["36", "86", "125", "188"],
        ["36", "87", "127", "191"],
        ["1", "102", "168"],
    ]


def test_the_pages_diffs_apply_exactly_where_they_say(patched: str) -> None:
    assert patched.count("\n") == 242
    assert patched.count("runtimeClassName: contrast-cc") == 4


def test_without_the_injected_parts_the_result_is_the_pages(
    patched: str, confidential: str
) -> None:
    assert without_injection(confidential) == patched


def test_nothing_is_removed_and_nothing_is_moved(confidential: str) -> None:
    lines = changed(VANILLA, confidential)

    assert [line for line in lines if line.startswith("-")] == []


def test_the_result_is_the_golden_one(
    confidential: str, golden: Callable[[str, bytes], bytes]
) -> None:
    diff = difflib.unified_diff(
        VANILLA.splitlines(keepends=True),
        confidential.splitlines(keepends=True),
        "a/emojivoto-demo.yml",
        "b/emojivoto-demo.yml",
    )

    found = "".join(diff).encode()

    assert found == golden("seed/prepared.diff", found)


def test_the_example_has_no_errors_and_no_warnings() -> None:
    found = [
        finding
        for document in parse_documents(VANILLA, "emojivoto-demo.yml")
        for finding in prepare(document, settings=SETTINGS, runtime_class="contrast-cc").findings
    ]

    # The page keeps TCP probes behind the mesh; they say little there, and that is all there is to say.
    assert {(finding.severity, finding.rule) for finding in found} == {
        (Severity.NOTE, "mesh-probe")
    }


def test_a_changed_environment_changes_only_the_values(confidential: str) -> None:
    service_names = VANILLA.replace("127.137.0.1:8081", "emoji-svc:8080").replace(
        "127.137.0.2:8081", "voting-svc:8080"
    )
    web = SETTINGS.workloads["Deployment/web"]
    env = {"EMOJISVC_HOST": "127.137.0.1:8081", "VOTINGSVC_HOST": "127.137.0.2:8081"}
    declared = WorkloadSettings(where=WHERE, ingress=web.ingress, egress=web.egress, env=env)
    settings = SETTINGS.replace(workloads={**SETTINGS.workloads, "Deployment/web": declared})
    document = parse_documents(service_names, "emojivoto-demo.yml")[7]
    obj = prepare(document, settings=settings, runtime_class="contrast-cc").obj

    removed = [
        line[2:].strip()
        for line in changed(service_names, rewrite(service_names, {7: obj}))
        if line.startswith("-")
    ]

    assert removed == ["value: emoji-svc:8080", "value: voting-svc:8080"]
