"""The peer's reading of a pod, where it differs from ours, put into words that our derivation understands.

- An image without a digest, or a user that only the image knows, is no error.
- A path that an image declares as VOLUME is a directory that the runtime copies or shares.
- The propagation of an emptyDir's mount is ignored.
- An emptyDir on disk is a block device that the guest encrypts.
- Any name may be copied to the shared folder.
"""

import copy
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from contrast_tasks.kube.workloads import config_data, pod_spec
from contrast_tasks.policy.derive import expect
from contrast_tasks.policy.expectations import Container, Mount, PolicyData
from contrast_tasks.policy.model import ConfigKey, ImageFacts, PolicyInput
from contrast_tasks.policy.profiles import KATA_QEMU_BLOCK
from contrast_tasks.prepare.policy_input import policy_input
from contrast_tasks.runtime.node import Image
from dev.peer.honest import Lived
from dev.peer.suite import PeerPod

_COPY = "CopyFileRequest"
# The name of a volume or file, behind the id of its container and 16 characters.
_COPIED = re.compile(r"/[0-9a-z]+-[0-9a-z]+-([^/]+)")


def given(pod: PeerPod, images: Mapping[str, Mapping[str, Any]]) -> PolicyInput:
    """Return the input of our derivation; images: as `read_images` returns them, those of the pod must be among them."""
    changed = copy.deepcopy(dict(pod.pod))
    _drop_propagation(pod_spec(changed))
    configs = dict(
        _config(each) for each in pod.objects if each.get("kind") in {"ConfigMap", "Secret"}
    )
    facts = {reference: _facts(reference, image) for reference, image in images.items()}
    return policy_input(changed, images=facts, configs=configs)


def expected(pod: PeerPod, images: Mapping[str, Mapping[str, Any]]) -> PolicyData:
    """Return what our rules are to expect of the pod; images: as in `given`."""
    read = given(pod, images)
    data = expect(read, KATA_QEMU_BLOCK)
    paths = [str(case.request.get("path")) for case in pod.cases if case.kind == _COPY]
    names = {found[1] for path in paths if (found := _COPIED.search(path))}
    return data.replace(
        containers=tuple(_as_peer(each, read) for each in data.containers),
        copy_names=tuple(sorted({*data.copy_names, *names})),
    )


def lived(pod: PeerPod, images: Mapping[str, Mapping[str, Any]], data: PolicyData) -> Lived:
    """Return the pod as a runtime gets it; data: what our rules expect of it."""
    changed = copy.deepcopy(dict(pod.pod))
    _drop_propagation(pod_spec(changed))
    # Kubernetes takes nothing but text here.
    for each in (pod_spec(changed).get("securityContext") or {}).get("sysctls", ()):
        each["value"] = str(each["value"])
    return Lived(
        changed,
        {reference: _image(_facts(reference, image)) for reference, image in images.items()},
        pod.objects,
        {each.name: each.after for each in data.containers},
    )


def _image(facts: ImageFacts) -> Image:
    return Image(
        entrypoint=facts.entrypoint,
        cmd=facts.cmd,
        env=facts.env,
        working_dir=facts.working_dir,
        user=facts.user,
        volumes=facts.volumes,
        passwd=facts.passwd,
        group=facts.group,
    )


def _as_peer(container: Container, read: PolicyInput) -> Container:
    spec = read.pod_spec
    places = (*spec.get("initContainers", ()), *spec.get("containers", ()))
    images = {each.get("name"): each.get("image") for each in places}
    image = read.images.get(images.get(container.name, ""))
    mounted = {each.destination for each in container.mounts}
    own = tuple(
        Mount(path, "bind", ("file", posixpath.basename(path)), (("rbind", "rprivate", "rw"),))
        for path in (image.volumes if image else ())
        if path not in mounted
    )
    # The peer knows only the groups of a host that sees the files of the image.
    user = container.process.user.replace(unseen=None)
    process = container.process.replace(user=user)
    return container.replace(mounts=(*container.mounts, *own), process=process)


def _facts(reference: str, image: Mapping[str, Any]) -> ImageFacts:
    config = image["config"]
    return ImageFacts(
        reference=reference,
        entrypoint=tuple(config.get("Entrypoint") or ()),
        cmd=tuple(config.get("Cmd") or ()),
        env=tuple(config.get("Env") or ()),
        working_dir=config.get("WorkingDir") or "",
        user=config.get("User") or "",
        volumes=tuple(config.get("Volumes") or ()),
        passwd=image.get("passwd") or "",
        group=image.get("group") or "",
    )


def _config(obj: Mapping[str, Any]) -> tuple[ConfigKey, Mapping[str, str | bytes]]:
    metadata = obj.get("metadata", {})
    key = (str(obj.get("kind")), metadata.get("namespace"), str(metadata.get("name")))
    return key, config_data(obj)


def _drop_propagation(spec: Mapping[str, Any]) -> None:
    made = {each.get("name") for each in spec.get("volumes", ()) if "emptyDir" in each}
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        for mount in container.get("volumeMounts", ()):
            if mount.get("name") in made:
                mount.pop("mountPropagation", None)
