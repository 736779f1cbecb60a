"""Images that only a layout on this machine has are told before anything is applied."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.deploy.apply import run_deploy
from contrast_tasks.deploy.cluster import Kubectl
from contrast_tasks.deploy.pullable import refuse_unpushed
from contrast_tasks.errors import ClusterError
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.pack import PackedImage, pack_image, write_layout
from contrast_tasks.images.push import Pusher
from contrast_tasks.images.registry import Registry
from contrast_tasks.kube.annotated import load_annotated
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from tests.deploy.test_cluster import FakeKubectl
from tests.fakes.commands import Terminal
from tests.fakes.deployment import Project
from tests.fakes.registry import FakeRegistry
from tests.fakes.workloads import COORDINATOR, FakeProject, locked


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> SimulatedProcessor:
    return SimulatedProcessor.load_or_create(tmp_path_factory.mktemp("pullable") / "processor")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def packed(registry: FakeRegistry) -> PackedImage:
    return pack_image(f"{registry.host}/shop/cart:v1", ImageConfig(), [()])


@pytest.fixture
def settings(tmp_path: Path, simulated: SimulatedProcessor, packed: PackedImage) -> Settings:
    """Return those of a project for a cluster, one of whose workloads has an image of the packed layout."""
    project = Project(tmp_path, simulated)
    write_layout(project.root / "build" / "images", [packed])
    file = project.root / "build" / "deployment" / "web.yml"
    pinned = f"{packed.reference}@{packed.descriptor.digest}"
    file.write_text(file.read_text().replace(f"web@sha256:{'00' * 32}", pinned))
    return load_settings(project.root, environ={}, flags={"platform": "k3s-qemu-snp"})


def client(stack: ExitStack) -> Registry:
    return stack.enter_context(
        Registry(find_credential=lambda *_: None, sleep=lambda _seconds: None)
    )


def look(settings: Settings, said: list[str]) -> None:
    refuse_unpushed(settings, load_annotated(settings), say=said.append, registry=client)


def test_an_image_that_its_registry_lacks_is_refused_until_it_is_pushed(
    settings: Settings, packed: PackedImage, registry: FakeRegistry
) -> None:
    with pytest.raises(ClusterError, match="nodes cannot pull images of this deployment") as caught:
        look(settings, [])
    assert f"Deployment/web: {packed.reference}" in str(caught.value)
    assert f"is in build/images, and {registry.host} lacks it" in str(caught.value)
    assert "skopeo copy" in caught.value.hint

    with Pusher(find_credential=lambda *_: None) as pusher:
        pusher.push(packed)
    said: list[str] = []
    look(settings, said)

    assert said == [f"asking {registry.host} whether it has what is in build/images"]


def test_it_is_refused_before_anything_is_applied(settings: Settings) -> None:
    kubectl = FakeKubectl()

    with pytest.raises(ClusterError, match="nodes cannot pull"):
        run_deploy(settings, say=lambda _: None, cluster=Kubectl(run=kubectl))

    assert kubectl.asked == []


def test_a_registry_that_cannot_be_asked_is_told_once(
    settings: Settings, registry: FakeRegistry
) -> None:
    registry.mischief.fail_with = (503, b"")
    said: list[str] = []

    look(settings, said)

    asking, line = said
    assert asking == f"asking {registry.host} whether it has what is in build/images"
    assert line.startswith(
        f"warning: whether {registry.host} has what is in build/images was not looked up: "
    )


def test_no_registry_is_asked_for_a_default_name_of_ours(settings: Settings) -> None:
    name = ComponentSettings.defaults["coordinator"]
    packed = pack_image(name, ImageConfig(), [()])
    write_layout(settings.root / "build" / "images", [packed])
    file = settings.root / "build" / "deployment" / "web.yml"
    text = re.sub(r"image: \S+", f"image: {name}@{packed.descriptor.digest}", file.read_text())
    file.write_text(text)

    with pytest.raises(
        ClusterError, match="its name is a default of ours, of no registry"
    ) as caught:
        refuse_unpushed(settings, load_annotated(settings), say=print)

    assert "'contrast-tasks images build --registry HOST/PATH'" in caught.value.hint


def test_lint_warns_of_what_was_packed_for_this_machine(
    project: FakeProject, terminal: Terminal
) -> None:
    packed = pack_image(COORDINATOR, ImageConfig(), [()])
    write_layout(project.root / "build" / "images", [packed])
    assert "image-not-pushed" not in terminal.run("lint").err
    project.lock(locked(COORDINATOR).replace(digest=packed.descriptor.digest))

    shown = terminal.run("lint")

    [line] = [line for line in shown.err.splitlines() if "image-not-pushed" in line]
    assert line == (
        f"contrast.lock: warning[G010 image-not-pushed]: image {COORDINATOR} is locked as build/images has it, which was packed "
        "for platform local; docker.io has it only if it was pushed"
    )
