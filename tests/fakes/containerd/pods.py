"""Pods for a real containerd: their images as an archive, and the job that starts them."""

import dataclasses
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from contrast_tasks.images.documents import parse_config
from contrast_tasks.runtime.node import Device, Drawn, Image, Node
from contrast_tasks.runtime.refusals import ContainerRefused
from contrast_tasks.runtime.specifications import ask
from dev.recorded.cases import Case
from dev.recorded.machine import DEVICES, SECCOMP_PROFILES, asked_devices
from tests.fakes.containerd.messages import container_members, sandbox_members
from tests.fakes.images import MadeImage, file, make_image, tar, write_images
from tests.fakes.runtime import UID, pod_of

PAUSE = "registry.test/pause:3.6"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PAUSE_PROCESS = {"Entrypoint": ["/pause"], "User": "65535:65535", "WorkingDir": "/", "Env": [PATH]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Real:
    """A pod to start, what the node knows of it, and the documents of its images."""

    pod: Mapping[str, Any]
    images: Mapping[str, Image]
    processes: Mapping[str, Mapping[str, Any]]
    objects: tuple[Mapping[str, Any], ...] = ()
    handler: str = "kata"
    strict: bool = False
    stored: str = ""
    devices: Mapping[str, list[tuple[str, Device]]] = dataclasses.field(default_factory=dict)

    def names(self) -> list[str]:
        spec = self.pod["spec"]
        return [each["name"] for each in (*spec.get("initContainers", ()), *spec["containers"])]

    def drawn(self, **known: Any) -> Drawn:
        devices = {name: tuple(d for _, d in given) for name, given in self.devices.items()}
        unknown = {"sandbox_id": "<ID>", "container_ids": dict.fromkeys(self.names(), "<ID>")}
        return Drawn(**{"uid": UID, "devices": devices, **unknown, **known})


def recorded_pod(case: Case) -> Real:
    """Return a pod that was recorded elsewhere; here it is a pod like others."""
    names = {
        each["image"]: case.path / f"image-{_short(each['image'])}.json"
        for each in case.containers()
    }
    return Real(
        pod=case.pod,
        images=case.images(),
        processes={ref: json.loads(path.read_text())["config"] for ref, path in names.items()},
        objects=(*case.objects, *case.services()),
        handler=case.handler,
        strict=case.configuration == "strict",
        devices={each["name"]: asked_devices(case, each["name"]) for each in case.containers()},
    )


def _short(reference: str) -> str:
    return reference.rpartition("/")[2].partition(":")[0]


def one(
    name: str,
    container: Mapping[str, Any] | None = None,
    *,
    process: Mapping[str, Any] | None = None,
    passwd: str | None = "root:x:0:0:root:/root:/bin/sh\n",
    group: str | None = "root:x:0:\nwheel:x:10:root\n",
    spec: Mapping[str, Any] | None = None,
    reference: str = "",
    **more: Any,
) -> Real:
    """Return a pod of one container with an image of its own; reference: its name, stored: where that is a short one."""
    reference = reference or f"registry.test/own-{name}:v1"
    described = {"Entrypoint": ["/bin/app"], **(process or {})}
    document = {
        "os": "linux",
        "architecture": "amd64",
        "config": described,
        "rootfs": {"diff_ids": []},
    }
    config, _ = parse_config(json.dumps(document).encode(), reference)
    image = Image(
        entrypoint=config.entrypoint,
        cmd=config.cmd,
        env=config.env,
        working_dir=config.working_dir,
        user=config.user,
        volumes=config.volumes,
        passwd=passwd,
        group=group,
    )
    pod = pod_of({**(container or {}), "image": reference}, spec=spec, name=f"own-{name}")
    return Real(pod=pod, images={reference: image}, processes={reference: described}, **more)


def _made(real: Real) -> dict[str, MadeImage]:
    found = {}
    for reference, process in real.processes.items():
        image = real.images[reference]
        files = {"etc/passwd": image.passwd, "etc/group": image.group}
        members = [
            file(name, content.encode()) for name, content in files.items() if content is not None
        ]
        # A name of its own, or images that differ in their names alone were one.
        marked = file("image-name", reference.encode())
        found[real.stored or reference] = make_image([tar(*members, marked)], process=process)
    return found


def _archive(folder: Path, images: Mapping[str, MadeImage]) -> None:
    """Write the layout as an archive, in which containerd finds names under an annotation of its own."""
    layout = write_images(folder / "layout", images)
    index = json.loads((layout / "index.json").read_text())
    for entry, name in zip(index["manifests"], images, strict=True):
        entry["annotations"]["io.containerd.image.name"] = name
    (layout / "index.json").write_text(json.dumps(index))
    with tarfile.open(folder / "images.tar", "w") as archive:
        archive.add(layout, arcname=".")


def _config_digest(image: MadeImage) -> str:
    digest: str = json.loads(image.manifest)["config"]["digest"]
    return digest


def _pod_job(real: Real, node: Node, images: Mapping[str, MadeImage]) -> dict[str, Any]:
    asked = ask(real.pod, real.images, node, real.drawn(), real.objects)
    containers = {}
    for name, config in asked.containers.items():
        assert not isinstance(config, ContainerRefused), config
        devices = tuple(real.devices.get(name, ()))
        image = images[real.stored or config.image]
        containers[name] = container_members(config, _config_digest(image), devices)
    return {
        "name": real.pod["metadata"]["name"],
        "handler": real.handler,
        "strict": real.strict,
        "sandbox": sandbox_members(asked.sandbox),
        "containers": containers,
    }


def write_job(
    folder: Path, pods: Iterable[Real], node: Node, *, program: str, version: str
) -> None:
    """Write what `tests.fakes.containerd.node` needs to start the pods."""
    pods = list(pods)
    images = {PAUSE: make_image([tar(file("image-name", b"pause"))], process=PAUSE_PROCESS)}
    for real in pods:
        images |= _made(real)
    _archive(folder, images)
    job = {
        "containerd": program,
        "version": version,
        "pause": PAUSE,
        "images": len(images),
        "profiles": SECCOMP_PROFILES,
        "devices": {place: known for place, known in DEVICES.items() if place != "/dev/null"},
        "pods": [_pod_job(real, node, images) for real in pods],
    }
    (folder / "job.json").write_text(json.dumps(job))
