"""What `generate` adds in place is taken out again, whoever added it, and nothing else is touched.

The right values come from outside: the inputs and outputs of the reference product's own code (docs/internals/releases.md),
and deployments that nobody here wrote.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.kube import nodes, workloads
from contrast_tasks.kube.documents import KubeError, parse_documents
from contrast_tasks.kube.edits import rewrite
from contrast_tasks.kube.pristine import pristine
from contrast_tasks.prepare.workload import prepare
from contrast_tasks.settings.model import Settings
from contrast_tasks.steps.write import with_annotations
from tests.fakes.sweeps import rest_swept
from tests.fakes.testdata import CORPUS, RELEASES

POLICY = "io.katacontainers.config.agent.policy"
ADDED = {
    "io.katacontainers.config.hypervisor.cc_init_data": "H4sIAAAAAAAA",
    "io.katacontainers.config.hypervisor.snp_id_block_Milan": "AAAA",
    "io.katacontainers.config.hypervisor.snp_guest_policy_Milan": "196608",
}
SETTINGS = Settings(
    root=Path("/project"),
    platform="metal-qemu-snp",
    sources=("deployment",),
    release_name="v1.21.0",
)
FEW = ("emojivoto", "gcp-boutique", "kex-guestbook", "sock-shop-logging")


def objects(text: str) -> dict[str, dict[str, Any]]:
    return {f"{each.kind}/{each.name}": each.obj for each in parse_documents(text, "app.yml")}


def annotated(text: str) -> str:
    """Return a file as `generate` annotates it, but for what it needs images for."""
    wanted = {}
    for document in parse_documents(text, "app.yml"):
        if workloads.is_workload(document.obj):
            handler = "contrast-cc-metal-qemu-snp-0123abcd"
            obj = prepare(document, settings=SETTINGS, runtime_class=handler).obj
            wanted[document.index] = with_annotations(obj, ADDED)
    return rewrite(text, wanted)


def released() -> Iterator[Any]:
    for output in sorted(RELEASES.glob("v*/**/*.app.out.yml")):
        # These two have other inputs than the rest.
        if not output.name.startswith(("gpu-", "namespaced")):
            name = output.relative_to(RELEASES).as_posix()
            yield pytest.param(output, id=name.removesuffix(".app.out.yml"))


@pytest.mark.parametrize(
    "output", rest_swept(released(), kept=lambda output: output.name.startswith("metal-qemu-snp."))
)
def test_what_a_release_of_the_reference_product_added_is_taken_out(output: Path) -> None:
    source = next(RELEASES / part for part in output.relative_to(RELEASES).parts[:1])
    before = objects((source / "app.in.yml").read_text())

    found = objects(pristine(output.read_text()))

    assert found.keys() <= before.keys()
    assert [name for name in found if not nodes.same(found[name], before[name])] == []


def test_the_annotations_of_its_coordinator_are_taken_out() -> None:
    folder = RELEASES / "v1.21.0"
    before = objects((folder / "coordinator.in.yml").read_text())
    [image] = workloads.images(before["StatefulSet/coordinator"])
    output = (folder / "metal-qemu-snp.coordinator.out.yml").read_text()
    [pinned] = workloads.images(objects(output)["StatefulSet/coordinator"])

    found = objects(pristine(output, "coordinator.yml", {pinned: image}))

    assert nodes.same(found, before)


def _files(names: tuple[str, ...]) -> Iterator[Path]:
    for name in names:
        yield from sorted((CORPUS / name).rglob("*.y*ml"))


def _check(path: Path) -> bool:
    """Check one file; return whether it has workloads."""
    text = path.read_bytes().decode()
    try:
        documents = parse_documents(text, path.name)
    except KubeError:
        return False
    if not any(workloads.is_workload(each.obj) for each in documents):
        return False
    once = annotated(text)

    found = pristine(once)

    assert _without_class(found) == _without_class(text), path
    assert annotated(found) == once, path
    assert pristine(found) == found, path
    return True


def _without_class(text: str) -> list[str]:
    # Where a user named no class, the general one stays: the pod is meant to be confidential.
    lines = text.splitlines(keepends=True)
    return [line for line in lines if line.strip() != "runtimeClassName: contrast-cc"]


def test_real_deployments_are_restored_byte_for_byte() -> None:
    assert sum(map(_check, _files(FEW))) >= 15


@pytest.mark.sweep
def test_every_real_deployment_is_restored_byte_for_byte() -> None:
    names = tuple(sorted(path.name for path in CORPUS.iterdir()))

    assert sum(map(_check, _files(names))) >= 60


APP = """\
# The shop.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web   # its name
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      annotations:
        contrast.edgeless.systems/servicemesh-ingress: ""   # mutual TLS
      labels: {app: web}
    spec:
      runtimeClassName: contrast-cc
      containers:
      - name: web
        image: registry.example/web:1   # the application
        resources: {limits: {memory: 64Mi}, requests: {memory: 64Mi}}
"""


def test_comments_and_formatting_stay() -> None:
    assert pristine(annotated(APP)) == APP


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("registry.example/web:1 ", "registry.example/web:2 ", id="image"),
        pytest.param(
            '        contrast.edgeless.systems/servicemesh-ingress: ""   # mutual TLS\n',
            "        example/other: a\n",
            id="no-mesh",
        ),
        pytest.param(
            "      labels: {app: web}\n",
            "        contrast.edgeless.systems/skip-initializer: 'true'\n      labels: {app: web}\n",
            id="no-initializer",
        ),
        pytest.param("name: web   # its name", "name: web   # renamed", id="comment"),
        pytest.param(
            "      - name: web\n",
            "      - name: web\n        env: [{name: A, value: b}]\n",
            id="variable",
        ),
        pytest.param(
            "      runtimeClassName: contrast-cc\n",
            "      runtimeClassName: contrast-cc-metal-qemu-snp-ffffffff\n",
            id="class-with-old-digits",
        ),
    ],
)
def test_after_an_edit_the_result_is_that_of_the_pristine_file_with_the_edit(
    old: str, new: str
) -> None:
    once = annotated(APP)
    place = (
        old if old in once else old.replace("contrast-cc", "contrast-cc-metal-qemu-snp-0123abcd")
    )
    assert place in once

    edited = once.replace(place, new)

    wanted = annotated(APP.replace(old, new))
    assert nodes.same(objects(annotated(pristine(edited))), objects(wanted))


def test_a_mesh_and_an_initializer_that_are_no_longer_wanted_go() -> None:
    once = annotated(APP)
    assert "contrast-service-mesh" in once

    skipped = once.replace('servicemesh-ingress: ""', 'skip-initializer: "true"')

    spec = workloads.pod_spec(objects(annotated(pristine(skipped)))["Deployment/web"])
    assert "initContainers" not in spec
    assert "volumes" not in spec
    assert "volumeMounts" not in spec["containers"][0]


# The way to do without the injection that the reference product documents.
BY_HAND = """\
apiVersion: v1
kind: Pod
metadata:
  annotations:
    contrast.edgeless.systems/skip-initializer: "true"
  name: own
spec:
  containers:
  - image: registry.example/own:1
    name: own
    volumeMounts:
    - mountPath: /contrast
      name: contrast-secrets
  initContainers:
  - env:
    - name: COORDINATOR_HOST
      value: coordinator-ready
    image: registry.example/contrast/initializer:latest
    name: contrast-initializer
    volumeMounts:
    - mountPath: /contrast
      name: contrast-secrets
  runtimeClassName: contrast-cc
  volumes:
  - emptyDir:
      medium: Memory
    name: contrast-secrets
"""


def test_an_initializer_written_by_hand_stays() -> None:
    assert pristine(BY_HAND) == BY_HAND
    assert pristine(annotated(BY_HAND)) == BY_HAND


@pytest.mark.parametrize(
    "volume",
    [
        pytest.param("- name: contrast-secrets\n        emptyDir: {}\n", id="other-order"),
        pytest.param("- emptyDir: {}\n        name: contrast-secrets # shared\n", id="comment"),
        pytest.param(
            "- emptyDir:\n          sizeLimit: 1Mi\n        name: contrast-secrets\n", id="limit"
        ),
    ],
)
def test_a_volume_of_the_users_own_stays_and_a_second_run_changes_nothing(volume: str) -> None:
    text = f"{APP}      volumes:\n      {volume}"
    once = annotated(pristine(text))

    found = pristine(once)

    assert "name: contrast-secrets" in found
    assert annotated(found) == once


@pytest.mark.parametrize(
    "text", ["", "a: [\n", "- 1\n", f"{POLICY}: [\n", "kind: ConfigMap\n", f"# {POLICY}\n"]
)
def test_text_that_is_no_deployment_is_left_alone(text: str) -> None:
    assert pristine(text) == text


def test_a_config_map_that_mentions_the_names_is_left_alone() -> None:
    text = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: notes\n  annotations:\n"
        f"    {POLICY}: a\ndata:\n  a: contrast-initializer contrast-cc-metal-qemu-snp\n"
    )

    assert pristine(text) == text


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_marks_stay(newline: str, end: str, mark: str) -> None:
    text = mark + APP.rstrip("\n").replace("\n", newline) + end.replace("\n", newline)

    assert pristine(annotated(text)) == text


def test_only_the_pins_that_are_known_are_taken_out() -> None:
    pinned = f"registry.example/web:1@sha256:{'a' * 64}"
    text = APP.replace("registry.example/web:1", pinned)

    assert pristine(text) == text
    assert pristine(text, "", {pinned: "registry.example/web:1"}) == APP
