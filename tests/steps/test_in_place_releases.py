"""In place on hardware platforms, with the reference product's images, without a settings file.

Inputs, and what the product's own `generate` made of them, are those of docs/internals/releases.md.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from contrast_tasks.images.lock import Lock, render_lock
from contrast_tasks.kube import nodes
from contrast_tasks.kube.pristine import pristine
from tests.fakes.commands import Terminal, quiet_environment
from tests.fakes.sweeps import rest_swept
from tests.fakes.testdata import RELEASES
from tests.fakes.workloads import locked

REGISTRY = "registry.example/contrast"
COMPONENTS = {
    "initializer": "initializer",
    "service_mesh": "service-mesh-proxy",
    "coordinator": "coordinator",
}


@pytest.fixture
def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    quiet_environment(monkeypatch, tmp_path / "cache")
    monkeypatch.setenv("CONTRAST_OUTPUT_IN_PLACE", "true")
    monkeypatch.setenv("CONTRAST_COMPONENTS_REFERENCE", "true")
    root = tmp_path / "project"
    (root / "deployment").mkdir(parents=True)
    return Terminal(root, capsys, monkeypatch)


def use(shell: Terminal, release: str) -> None:
    """Name a release and its images, and lock them."""
    shell.patch.setenv("CONTRAST_RUNTIME_RELEASE", release)
    names = {key: f"{REGISTRY}/{name}:{release}" for key, name in COMPONENTS.items()}
    for key, name in names.items():
        shell.patch.setenv(f"CONTRAST_COMPONENTS_{key.upper()}", name)
    text = "".join(path.read_text() for path in (shell.root / "deployment").iterdir())
    used = {name.strip('"') for name in re.findall(r"image: (\S+)", text)}
    images = {name: locked(name) for name in {*used, *names.values()}}
    for name, image in images.items():
        if pinned := re.search("sha256:.{64}", name):
            images[name] = image.replace(digest=pinned[0])
    (shell.root / "contrast.lock").write_bytes(render_lock(Lock(images.values())))


def copy(shell: Terminal, release: str) -> None:
    """Copy the release's inputs; its Coordinator has the release's tag, as the published file has."""
    for name in ("app", "coordinator"):
        target = shell.root / f"deployment/{name}.yml"
        text = (RELEASES / release / f"{name}.in.yml").read_text()
        # Releases before v1.13 have no such value, which is refused with the line.
        if int(release.split(".")[1]) < 13:
            text = text.replace('"DISABLED"', '""')
        target.write_text(text.replace("coordinator:latest", f"coordinator:{release}"))


def read(shell: Terminal) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((shell.root / "deployment").iterdir())}


def generate(shell: Terminal, platform: str) -> str:
    shell.patch.setenv("CONTRAST_RUNTIME_CLASS", f"contrast-cc-{platform}-0a1b2c3d")
    shown = shell.run("generate", "--reference-values", platform, "deployment/")
    # Values of the reader's own machines are missing, and everything is written.
    assert shown.code == 13, shown.err
    return shown.err


def injected(text: str) -> dict[str, Any]:
    """Return the init containers of each pod without their images, whose digests the fixtures replace."""
    found = {}
    for document in yaml.safe_load_all(text):
        if document["kind"] in ("Deployment", "StatefulSet"):
            pod = document["spec"]["template"]["spec"]
            containers = pod.get("initContainers", [])
            found[document["metadata"]["name"]] = [{**each, "image": ""} for each in containers]
    return found


@pytest.mark.parametrize(
    ("release", "platform"),
    rest_swept(
        [
            ("v1.12.0", "k3s-qemu-snp"),
            ("v1.13.0", "metal-qemu-tdx"),
            ("v1.21.0", "metal-qemu-snp"),
        ],
        kept=lambda release, _platform: release == "v1.21.0",
    ),
)
def test_the_files_get_what_the_release_adds_and_are_restored(
    shell: Terminal, release: str, platform: str
) -> None:
    copy(shell, release)
    use(shell, release)
    before = read(shell)

    generate(shell, platform)

    once = read(shell)
    theirs = injected((RELEASES / release / f"{platform}.app.out.yml").read_text())
    ours = injected(once["app.yml"])
    same = [name for name in theirs if name != "egressonly" or release != "v1.12.0"]
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    pins = {
        f"{name}@{locked(name).digest}": name for name in (f"{REGISTRY}/coordinator:{release}",)
    }
    for name, text in before.items():
        restored = list(yaml.safe_load_all(pristine(once[name], name, pins)))
        assert nodes.same(restored, list(yaml.safe_load_all(text))), name
    generate(shell, platform)
    assert read(shell) == once


@pytest.mark.sweep
def test_another_release_gives_what_it_gives_for_pristine_files(shell: Terminal) -> None:
    copy(shell, "v1.13.0")
    app = shell.root / "deployment/app.yml"
    (shell.root / "deployment/coordinator.yml").write_text(
        (RELEASES / "v1.21.0/coordinator.in.yml").read_text().replace(":latest", ":v1.21.0")
    )
    pristine_files = read(shell)
    use(shell, "v1.21.0")
    generate(shell, "metal-qemu-snp")
    wanted = read(shell)
    shutil.rmtree(shell.root)
    (shell.root / "deployment").mkdir(parents=True)
    for name, text in pristine_files.items():
        (shell.root / "deployment" / name).write_text(
            text.replace("coordinator:v1.21.0", "coordinator:v1.13.0")
        )
    use(shell, "v1.13.0")
    generate(shell, "metal-qemu-tdx")
    assert "contrast-cc-metal-qemu-tdx" in app.read_text()
    coordinator = shell.root / "deployment/coordinator.yml"
    # The user takes the new release's file, as the release notes say.
    coordinator.write_text(pristine_files["coordinator.yml"])
    lock = shell.root / "contrast.lock"
    before = lock.read_bytes()
    use(shell, "v1.21.0")
    assert lock.read_bytes() != before

    generate(shell, "metal-qemu-snp")

    assert read(shell) == wanted
