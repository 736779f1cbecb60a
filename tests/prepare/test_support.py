"""What does not work on a platform is refused before anything is deployed, with place, reason and way out.

What works where: docs/internals/releases.md 4, docs/internals/policy.md 4.13 and 5, and the initializer's and the sidecar's own documents.
"""

from pathlib import Path

import pytest

from contrast_tasks.findings import Finding
from contrast_tasks.kube.documents import parse_documents
from contrast_tasks.kube.index import index_file
from contrast_tasks.platforms import PLATFORMS
from contrast_tasks.prepare.workload import check_sources, prepare
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.settings.model import Settings

THEIRS = ComponentSettings(
    initializer="theirs/initializer",
    service_mesh="theirs/mesh",
    coordinator="theirs/coordinator",
    are_declared_reference=True,
)
OURS = ComponentSettings()
MESH = "annotations: {contrast.edgeless.systems/servicemesh-ingress: ''}"
VOLUME = "annotations: {contrast.edgeless.systems/secure-pv: 'disk:data'}"
CDI = "annotations: {cdi.k8s.io/gpu: 'nvidia.com/pgpu=0'}"
POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
  %s
spec:
  runtimeClassName: %s
  containers:
  - name: a
    image: a
    resources: {limits: {memory: 700Mi%s}, requests: {memory: 700Mi}}
  volumes: [{name: disk, persistentVolumeClaim: {claimName: c}}]
"""


def project(platform: str, release: str, components: ComponentSettings) -> Settings:
    return Settings(
        root=Path(),
        platform=platform,
        sources=("d",),
        release_name=release,
        components=components,
        origins={"platform": "contrast.toml:1", "runtime.release": "contrast.toml:3"},
    )


def newest(platform: str) -> str:
    """Return the last release with a platform, as docs/internals/releases.md 4 lists them."""
    return "v1.12.0" if platform.startswith(("aks", "k3s", "rke2")) else "v1.21.0"


def of_pod(
    settings: Settings, metadata: str = "", limit: str = "", runtime_class: str = "contrast-cc"
) -> list[Finding]:
    text = POD % (metadata, runtime_class, limit)
    result = prepare(
        parse_documents(text, "web.yml")[0], settings=settings, runtime_class="contrast-cc"
    )
    return [each for each in result.findings if each.code == "G120"]


def of_project(
    settings: Settings, metadata: str = "", runtime_class: str = "contrast-cc"
) -> list[Finding]:
    index = index_file(POD % (metadata, runtime_class, ""), "web.yml")
    return [
        each for each in check_sources([index], settings) if each.code in ("G120", "G121", "G122")
    ]


@pytest.mark.parametrize("platform", ["metal-qemu-snp", "k3s-qemu-snp", "metal-qemu-tdx"])
@pytest.mark.parametrize("components", [OURS, THEIRS], ids=["ours", "theirs"])
def test_a_cluster_has_coordinator_initializer_mesh_and_encrypted_volumes(
    platform: str, components: ComponentSettings
) -> None:
    # docs/internals/service-mesh.md 4 to 6, docs/internals/runtime.md 7: the guest's rule is lifted, its volumes are opened.
    settings = project(platform, newest(platform), components)

    assert of_project(settings) == []
    assert of_pod(settings, MESH) == []
    assert of_pod(settings, VOLUME) == []


def test_an_encrypted_volume_on_this_machine_is_refused() -> None:
    (found,) = of_pod(project("local", "v1.21.0", OURS), VOLUME)

    assert str(found.where) == "web.yml:5"
    assert "device-mapper" in found.message
    assert "remove the annotation secure-pv" in found.hint


@pytest.mark.parametrize("platform", ["metal-qemu-snp", "metal-qemu-tdx", "k3s-qemu-snp"])
def test_an_encrypted_volume_is_opened_on_clusters(platform: str) -> None:
    assert of_pod(project(platform, newest(platform), OURS), VOLUME) == []


def test_the_local_platform_has_mesh_and_initializer_of_ours() -> None:
    settings = project("local", "v1.21.0", OURS)

    assert of_project(settings) == []
    assert of_pod(settings, MESH) == []


def test_the_local_platform_has_no_containers_of_the_reference_product() -> None:
    (found,) = of_project(project("local", "v1.21.0", THEIRS))

    assert "on this machine one is simulated" in found.message


@pytest.mark.parametrize("platform", [each.name for each in PLATFORMS])
def test_that_a_service_has_ended_is_said_once(platform: str) -> None:
    settings = project(platform, newest(platform), THEIRS)

    found = [each for each in check_sources([], settings) if each.code == "W103"]

    assert [str(each.where) for each in found] == (
        ["contrast.toml:1"] if platform == "aks-clh-snp" else []
    )
    assert all("ended in March 2026" in each.message for each in found)


@pytest.mark.parametrize(
    ("platform", "release", "is_refused"),
    [
        ("k3s-qemu-snp-gpu", "v1.12.0", True),
        ("metal-qemu-snp-gpu", "v1.9.0", True),
        ("metal-qemu-snp-gpu", "v1.13.0", True),
        ("metal-qemu-snp-gpu", "v1.15.0", False),
        ("metal-qemu-tdx-gpu", "v1.16.0", False),
        ("metal-qemu-snp", "v1.13.0", False),
    ],
)
def test_a_runtime_that_names_hooks_in_the_guest_is_refused(
    platform: str, release: str, *, is_refused: bool
) -> None:
    found = of_project(project(platform, release, THEIRS))

    assert ["hooks" in each.message for each in found] == [True] * is_refused


def test_a_gpu_is_refused_where_the_runtime_passes_none() -> None:
    (found,) = of_pod(project("metal-qemu-snp", "v1.21.0", THEIRS), limit=", nvidia.com/pgpu: 1")

    assert str(found.where) == "web.yml:11"
    assert "set platform to metal-qemu-snp-gpu or metal-qemu-tdx-gpu" in found.hint


def test_a_gpu_is_taken_where_the_runtime_passes_it() -> None:
    settings = project("metal-qemu-snp-gpu", "v1.21.0", THEIRS)

    assert of_pod(settings, limit=", nvidia.com/pgpu: 1") == []


def test_a_cdi_annotation_that_policies_deny_is_refused() -> None:
    (found,) = of_pod(project("metal-qemu-snp-gpu", "v1.21.0", THEIRS), CDI)

    assert str(found.where) == "web.yml:5"
    assert of_pod(project("metal-qemu-snp", "v1.21.0", THEIRS), CDI) == []


def test_a_patch_release_is_taken_with_a_warning_that_names_the_assumption() -> None:
    (found,) = of_project(project("k3s-qemu-snp", "v1.12.2", THEIRS))

    assert (found.code, str(found.where)) == ("G121", "contrast.toml:3")
    assert "runtime.release is v1.12.2" in found.message
    assert "v1.12.0, whose formats it is taken to have" in found.message


@pytest.mark.parametrize("name", ["v1.12.0", "1.12.0", "v1.12", "1.12"])
def test_a_release_with_a_row_of_its_own_is_taken_without_a_word(name: str) -> None:
    assert of_project(project("k3s-qemu-snp", name, THEIRS)) == []


def test_an_image_of_ours_is_not_taken_for_the_reference_products() -> None:
    components = THEIRS.replace(initializer=OURS.initializer)

    (found,) = of_project(project("metal-qemu-snp", "v1.21.0", components))

    assert f"components.initializer is {OURS.initializer}" in found.message
    assert found.hint == "set initializer under [components], with its digest"


def test_an_insecure_runtime_class_is_refused() -> None:
    settings = project("metal-qemu-snp", "v1.21.0", THEIRS)

    (found,) = of_project(settings, runtime_class="contrast-insecure-metal-qemu-0a1b2c3d")

    assert str(found.where) == "web.yml:1"
    assert "its pods run without a confidential guest" in found.message
