"""Recordings of what a shim asked of the agent: cases, each with a pod, its objects, and the requests in order.

<configuration>/<case>/pod.json, objects.json   the pod, its ConfigMaps and Secrets
<configuration>/<case>/oci/<container>.json     specifications that containerd made of them; only the digests of images count
<configuration>/<case>/requests.json            [{"ep": name of the message, "input": the request}]
oci/<case>/image-<name>.json, oci/_images       beside the folder of configurations: what is in the images
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from contrast_tasks.agent_messages import Request
from contrast_tasks.errors import UsageError
from contrast_tasks.images.documents import parse_config
from contrast_tasks.kube.workloads import config_data
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.policy.derive import derive
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.model import ConfigKey, ImageFacts, LayerFacts, Profile
from contrast_tasks.policy.profiles import ALL_CAPS, KATA_QEMU, KATA_QEMU_BLOCK
from contrast_tasks.policy.text import render_policy
from contrast_tasks.prepare.policy_input import policy_input

_NO_DIGEST = "sha256:" + "0" * 64
_IMAGE_NAME = "io.kubernetes.cri.image-name"
# By the first word of the configuration's folder: what makes an emptyDir in the guest. Others are the product's own.
_PROFILES = {"stock": KATA_QEMU_BLOCK, "nydus": KATA_QEMU_BLOCK}


class Case(NamedTuple):
    """One case; path: its folder. pod: the document, with images by tag."""

    path: Path
    pod: Mapping[str, Any]
    objects: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        """Return `<configuration>/<case>`."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def profile(self) -> Profile:
        """Return the profile of the runtime that was recorded."""
        return _PROFILES.get(self.path.parent.name.partition("@")[0], KATA_QEMU)

    def requests(self) -> Iterator[Request]:
        """Yield what the policy is asked, in order; the agent answers CheckRequest without it."""
        for each in json.loads((self.path / "requests.json").read_text()):
            if each["ep"] != "CheckRequest":
                yield Request(kind=each["ep"], input=_on_any_machine(each["input"]))

    def expectations(self) -> PolicyData:
        """Return what our derivation expects of the pod. Raises FindingsError if it has an error."""
        pinned = _pinned(self.pod, self._digests())
        images = {each["image"]: self._image(each["image"]) for each in _containers(pinned)}
        configs: dict[ConfigKey, Mapping[str, str | bytes]] = {
            (
                each["kind"],
                each["metadata"].get("namespace"),
                each["metadata"]["name"],
            ): config_data(each)
            for each in self.objects
            if each["kind"] in {"ConfigMap", "Secret"}
        }
        return derive(policy_input(pinned, images=images, configs=configs), self.profile)

    def policy(self) -> bytes:
        """Return the policy of the pod. Raises FindingsError if the derivation has an error."""
        return render_policy(self.expectations())

    def _digests(self) -> dict[str, str]:
        """Return the digest of each container's image, which the recorder pinned before it asked containerd.

        A container of which containerd made no specification gets one that no image has.
        """
        found = {each["name"]: _NO_DIGEST for each in _containers(self.pod)}
        for file in (self.path / "oci").glob("*.json"):
            annotations = json.loads(file.read_text()).get("annotations", {})
            if _IMAGE_NAME in annotations:
                found[file.stem] = parse_reference(annotations[_IMAGE_NAME]).digest or ""
        return found

    def _image(self, reference: str) -> ImageFacts:
        parsed = parse_reference(reference)
        name = parsed.name.rpartition("/")[2]
        folder = self.path.parent.parent.parent / "oci"
        own = str(self.pod["metadata"]["name"]).removeprefix("case-")
        files = [folder / own / f"image-{name}.json", *sorted(folder.glob(f"*/image-{name}.json"))]
        files += [Path(__file__).parent / f"image-{name}.json"]
        content = next((each.read_bytes() for each in files if each.is_file()), None)
        if content is None:
            raise UsageError(f"{folder} has no configuration of the image {name}")
        config, diff_ids = parse_config(content, reference)
        users = {"passwd": "", "group": ""}
        if not name.endswith("bare"):
            users = {each: (folder / "_images" / each).read_text() for each in users}
        return ImageFacts(
            reference=reference,
            digest=parsed.digest or "",
            entrypoint=config.entrypoint,
            cmd=config.cmd,
            env=config.env,
            working_dir=config.working_dir,
            user=config.user,
            volumes=config.volumes,
            layers=tuple(LayerFacts(diff_id=each) for each in diff_ids),
            **users,
        )


def find_cases(folder: Path) -> list[Case]:
    """Return the cases of a folder at any depth, or the one that it is; raises UsageError if there is none."""
    cases = [_read(each.parent.resolve()) for each in sorted(folder.rglob("requests.json"))]
    if not cases:
        raise UsageError(
            f"{folder} has no case, expected folders with requests.json",
            hint="relative paths begin at the root of the checkout",
        )
    return cases


def _read(path: Path) -> Case:
    pod, objects = (json.loads((path / f"{name}.json").read_text()) for name in ("pod", "objects"))
    return Case(path, pod, tuple(objects))


def _containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def _on_any_machine(request: dict[str, Any]) -> dict[str, Any]:
    """Return a request with CAP_SYS_RESOURCE where all capabilities were meant; the recording machine lacked it."""
    capabilities = ((request.get("OCI") or {}).get("Process") or {}).get("Capabilities") or {}
    for names in capabilities.values():
        if len(names) == len(ALL_CAPS) - 1:
            names.append("CAP_SYS_RESOURCE")
    return request


def _pinned(pod: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(pod))
    for container in _containers(copy):
        parsed = parse_reference(container["image"])
        if parsed.digest is None:
            container["image"] = str(parsed.pinned(digests[container["name"]]))
    return copy
