"""Whether the memory of a guest can hold its images and what runs in it."""

from pathlib import Path

import pytest

from contrast_tasks.images.lock import Lock, LockedImage
from contrast_tasks.kube.documents import parse_documents
from contrast_tasks.platforms import platform
from contrast_tasks.prepare.memory import (
    NOT_IN_GUEST,
    ImageMemory,
    check_memory_bound,
    image_memory,
)
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.settings.model import Settings
from tests.fakes.commands import Terminal
from tests.fakes.workloads import COORDINATOR, FakeProject, locked

MIB = 1 << 20
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  initContainers:
%s  containers:
  - name: web
    image: a:1
    resources:
      limits: {memory: %s}
  - {name: b, image: b:1, resources: {limits: {memory: 100Mi}}}
"""
INIT = "  - {name: %s, image: b:1%s}\n"


def image(
    reference: str, unpacked: int, *, stored: int = 1, layer: str = "", more: tuple[int, ...] = ()
) -> LockedImage:
    """Return an image of one layer and more ones; layer: what makes two layers the same."""
    made = locked(reference)
    layers = tuple(
        made.layers[0].replace(
            diff_id=f"sha256:{ord((layer or reference)[0]) + number:064x}",
            size_bytes=stored * MIB,
            unpacked_bytes=size * MIB,
        )
        for number, size in enumerate((unpacked, *more))
    )
    return made.replace(layers=layers)


def found(text: str, *images: LockedImage, name: str = "k3s-qemu-snp") -> list[str]:
    document = parse_documents(text, "web.yml")[0]
    given = {each.reference: each for each in images}
    return [
        f"{finding.where.line} {finding.code} {finding.rule} {finding.severity.value}: {finding.message}"
        for finding in check_memory_bound(document, document.obj, given, platform(name))
    ]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param("664Mi", [], id="enough"),
        pytest.param("663Mi", ["memory-bound warning"], id="one-less"),
        pytest.param("500Mi", ["memory-bound warning"], id="images-fit"),
        pytest.param("499Mi", ["memory-images error"], id="images-do-not-fit"),
    ],
)
def test_images_and_processes_fit_into_the_limits_of_the_main_containers(
    limit: str, expected: list[str]
) -> None:
    text = POD % (INIT % ("i", ""), limit)

    # 300 + 300 unpacked, 100 while the largest layer is pulled, 64 for some process; 100 has the other container.
    result = found(text, image("a:1", 300), image("b:1", 300, stored=100))

    assert [line.split(":")[0].removeprefix("11 G032 ") for line in result] == expected


@pytest.mark.parametrize(("limit", "has_room"), [("764Mi", True), ("763Mi", False)])
def test_a_limit_of_the_whole_pod_counts_instead_of_those_of_containers(
    limit: str, has_room: bool
) -> None:
    """Kubernetes 1.34: the sandbox gets the pod's limit, whatever its containers have."""
    text = POD % (INIT % ("i", ""), "5Gi") + f"  resources: {{limits: {{memory: {limit}}}}}\n"

    result = found(text, image("a:1", 300), image("b:1", 300, stored=100))

    assert (result == []) is has_room
    if not has_room:
        assert result[0].startswith(
            "13 G032 memory-bound warning: Pod/web: the memory limit of the pod as a whole is 763Mi, expected at least 764Mi"
        )


def test_a_layer_of_two_images_counts_once() -> None:
    text = POD % (INIT % ("i", ""), "266Mi")

    assert found(text, image("a:1", 300, layer="x"), image("b:1", 300, layer="x")) == []


def test_the_figure_to_set_is_named() -> None:
    text = POD % (INIT % ("i", ""), "64Mi")
    document = parse_documents(text, "web.yml")[0]
    images = {"a:1": image("a:1", 600, stored=200)}

    (finding,) = check_memory_bound(document, document.obj, images, platform("metal-qemu-tdx"))

    assert finding.message == (
        "Pod/web: the memory limits of the main containers are 164Mi in all, expected at least 864Mi:"
        " its images take 600Mi of the guest's memory when they are unpacked"
    )
    assert finding.hint.endswith("by 700Mi, or set fit_memory = true in contrast.toml")


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        pytest.param(", resources: {limits: {memory: 200Mi}}", 0, id="as-much"),
        pytest.param(", resources: {limits: {memory: 201Mi}}", 1, id="limit"),
        pytest.param(", resources: {requests: {memory: 201Mi}}", 1, id="request"),
        pytest.param(", resources: {limits: {memory: a lot}}", 0, id="no-quantity"),
        pytest.param("", 0, id="nothing-declared"),
    ],
)
def test_an_init_container_fits_where_images_take_no_memory(init: str, expected: int) -> None:
    text = POD % (INIT % ("i", init), "100Mi")

    result = found(text, image("a:1", 5000), name="aks-clh-snp")

    assert [line.split(":")[0] for line in result] == ["11 G032 memory-bound warning"] * expected


def test_sidecars_run_at_the_same_time_and_init_containers_one_after_the_other() -> None:
    sidecar = ", restartPolicy: Always, resources: {requests: {memory: 101Mi}}"
    step = ", resources: {requests: {memory: 101Mi}}"
    both = (INIT % ("i", sidecar)) + (INIT % ("j", sidecar))

    assert len(found(POD % (both, "100Mi"), name="aks-clh-snp")) == 1
    assert found(POD % (both.replace(sidecar, step), "100Mi"), name="aks-clh-snp") == []


def test_the_proxy_counts_though_it_declares_nothing() -> None:
    mesh = INIT % ("contrast-service-mesh", ", restartPolicy: Always")

    assert found(POD % (mesh, "31Mi"), image("a:1", 0, stored=0)) == []
    assert len(found(POD % (mesh, "29Mi"), image("a:1", 0, stored=0))) == 1


def test_absent_limits_are_left_to_the_check_that_names_them() -> None:
    text = (POD % (INIT % ("i", ""), "1Mi")).replace("limits: {memory: 1Mi}", "limits: {}")

    assert found(text, image("a:1", 5000)) == []


def test_the_reference_products_coordinator_has_the_memory_of_its_release(
    terminal: Terminal, project: FakeProject
) -> None:
    project.lock(image(COORDINATOR, 30, stored=10))

    shown = terminal.run("generate")

    assert shown.code == 0, shown.err
    assert project.read("build/deployment/coordinator.yml").count("memory: 200Mi\n") == 2


def test_memory_for_our_own_images_is_what_they_take_unpacked_and_while_they_are() -> None:
    ours = ComponentSettings(initializer="a:1", service_mesh="b:1")
    settings = Settings(
        root=Path(),
        platform="metal-qemu-snp",
        release_name="v1.21.0",
        sources=(),
        components=ours,
    )
    lock = Lock([image("a:1", 300, stored=100), image("b:1", 50, stored=7)])

    assert image_memory(settings, lock) == ImageMemory(400, 57)
    assert image_memory(settings.replace(platform="local"), lock) == NOT_IN_GUEST
    of_reference = settings.replace(components=ours.replace(are_declared_reference=True))
    assert image_memory(of_reference, lock) == NOT_IN_GUEST
    assert image_memory(settings, Lock()) == NOT_IN_GUEST


def test_images_in_a_store_take_no_memory_but_that_of_what_holds_it() -> None:
    holder = ", restartPolicy: Always"
    store = INIT % ("pvc-holder", holder)

    assert found(POD % (store, "1Mi"), image("a:1", 5000)) == []


def test_images_that_do_not_fit_stop_everything(terminal: Terminal, project: FakeProject) -> None:
    project.lock(image("shop/app:v1", 3000))

    shown = terminal.run("generate")

    assert shown.code == 12
    assert "deployment/shop.yml:16: error[G032 memory-images]: Deployment/cart" in shown.err
    assert not (project.root / "manifest.json").exists()
