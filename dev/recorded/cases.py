"""A folder of recordings: cases, each with a pod, its images and what versions of containerd made of them.

<case>/pod.yaml                    the pod, then ConfigMaps and Secrets; a comment names handler and configuration
<case>/image-<name>.json           the configurations of the images
<case>/cri/<container>.json        what the recorder asked containerd for
<case>/recorded/<version>/         config.json of sandbox and containers, errors, resolv.conf
_images/                           /etc/passwd and /etc/group of all images but the bare ones
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from contrast_tasks.errors import UsageError
from contrast_tasks.images.documents import parse_config
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.runtime.node import Image

_SETTING = re.compile(r"# runtime handler: (\w+); containerd configuration: (\w+)")
_ADDRESS = "_SERVICE_HOST"


class Case(NamedTuple):
    """One case; handler and configuration: their names, `kata` or `runc`, `default` or `strict`."""

    path: Path
    handler: str
    configuration: str
    pod: Mapping[str, Any]
    objects: tuple[Mapping[str, Any], ...]

    @property
    def versions(self) -> list[Path]:
        """Return the folders of the versions whose work was recorded."""
        return sorted((self.path / "recorded").iterdir())

    def asked(self, container: str) -> Mapping[str, Any]:
        """Return what the recorder asked for by CRI."""
        found: Mapping[str, Any] = json.loads((self.path / "cri" / f"{container}.json").read_text())
        return found

    def containers(self) -> list[Mapping[str, Any]]:
        """Return the containers in the order of their start."""
        spec = self.pod["spec"]
        return [*spec.get("initContainers", ()), *spec["containers"]]

    def images(self) -> dict[str, Image]:
        """Return the images of the containers by reference; `bare` ones have neither /etc/passwd nor /etc/group."""
        files = self.path.parent / "_images"
        users = {name: (files / name).read_text() for name in ("passwd", "group")}
        found = {}
        for reference in {each["image"] for each in self.containers()}:
            name = parse_reference(reference).name.rpartition("/")[2]
            content = (self.path / f"image-{name}.json").read_bytes()
            config, _ = parse_config(content, reference)
            image = Image(
                entrypoint=config.entrypoint,
                cmd=config.cmd,
                env=config.env,
                working_dir=config.working_dir,
                user=config.user,
                volumes=config.volumes,
            )
            found[reference] = image if name.endswith("bare") else image.replace(**users)
        return found

    def services(self) -> Iterator[Mapping[str, Any]]:
        """Yield the Services of the namespace, which only the variables asked for tell."""
        found = {}
        for container in self.containers():
            own = {each["name"] for each in container.get("env", ())}
            given = {each["key"]: each["value"] for each in self.asked(container["name"])["envs"]}
            for name, address in given.items():
                prefix = name.removesuffix(_ADDRESS)
                if name.endswith(_ADDRESS) and name not in own and prefix != "KUBERNETES":
                    found[prefix] = (address, int(given[f"{prefix}_SERVICE_PORT"]))
        for prefix, (address, port) in found.items():
            yield {
                "kind": "Service",
                "metadata": {"name": prefix.lower().replace("_", "-")},
                "spec": {"clusterIP": address, "ports": [{"port": port}]},
            }


def find_cases(folder: Path) -> list[Case]:
    """Return the cases of a folder, or the one case that the folder is; raises UsageError if there is none."""
    found = [folder] if (folder / "pod.yaml").is_file() else sorted(folder.glob("*/"))
    cases = [_read(each.resolve()) for each in found if (each / "pod.yaml").is_file()]
    if not cases:
        raise UsageError(
            f"{folder} has no case, expected folders with pod.yaml",
            hint="relative paths begin at the root of the checkout",
        )
    return cases


def _read(path: Path) -> Case:
    content = (path / "pod.yaml").read_text()
    setting = _SETTING.search(content)
    if setting is None:
        raise UsageError(f"{path}/pod.yaml: no comment names handler and configuration")
    pod, *objects = yaml.safe_load_all(content)
    return Case(path, setting[1], setting[2], pod, tuple(objects))
