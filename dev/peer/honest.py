"""What an honest runtime would ask for a pod, under the names that requests at hand have for it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from contrast_tasks.agent_messages import Request
from contrast_tasks.runtime.containerd_versions import containerd_version
from contrast_tasks.runtime.controllers import pod_of
from contrast_tasks.runtime.drawing import drawn_for
from contrast_tasks.runtime.life import Cluster, live
from contrast_tasks.runtime.node import Image, Node
from contrast_tasks.runtime.shim_versions import shim_version

CRI = "io.kubernetes.cri."
PULL = "image_guest_pull"
"""The driver of a storage for which the guest pulls an image, and the beginning of its option."""
# The suite is of the time of both: disks for emptyDirs, and one mount at /dev/shm.
_NODE, _SHIM = Node(containerd=containerd_version("1.7")), shim_version("stock-4.1.0")
_CREATE, _SANDBOX = "CreateContainerRequest", "CreateSandboxRequest"


class PodNames(NamedTuple):
    """What a runtime calls a pod: name, namespace and uid of Kubernetes, and the id of the sandbox."""

    name: str
    namespace: str
    uid: str
    sandbox: str


class Lived(NamedTuple):
    """A pod that lives: the object that has it, its images by reference, and the objects beside it.

    after: the containers that each one waits for.
    """

    workload: Mapping[str, Any]
    images: Mapping[str, Image]
    objects: Sequence[Mapping[str, Any]]
    after: Mapping[str, Sequence[str]]


class HonestPod:
    """The requests of an honest runtime for one pod; names: of the pod, "" where a sample will do."""

    def __init__(self, lived: Lived, names: PodNames) -> None:
        pod = pod_of(lived.workload)
        metadata = pod["metadata"]
        metadata["name"] = names.name or metadata["name"]
        metadata["namespace"] = names.namespace or metadata["namespace"]
        objects = [_moved(each, metadata["namespace"]) for each in lived.objects]
        cluster = Cluster(node=_NODE, shim=_SHIM, objects=objects)
        life = live(pod, lived.images, cluster, drawn_for(pod)).requests
        # A container that is restarted is created twice.
        creates = [each.input for each in reversed(life) if each.kind == _CREATE]
        drawn = names_in(next(each for each in creates if not container_name(each)))
        self._changes = [
            (old, new)
            for old, new in ((drawn.uid, names.uid), (drawn.sandbox, names.sandbox))
            if new
        ]
        self._sandbox = next(each.input for each in life if each.kind == _SANDBOX)
        self._creates = {container_name(each): each for each in creates}
        self._after = lived.after

    def has(self, container: str) -> bool:
        """Return whether the pod has a container of that name; the pause container has the name ""."""
        return container in self._creates

    def sandbox(self) -> dict[str, Any]:
        """Return the CreateSandboxRequest."""
        return _renamed(self._sandbox, self._changes)

    def create(self, container: str, identifier: str = "") -> dict[str, Any]:
        """Return the CreateContainerRequest of a container; identifier: its id, "" where a sample will do."""
        request = self._creates[container]
        own = [(request["container_id"], identifier)] if identifier else []
        found = _renamed(request, [*own, *self._changes])
        for storage in found["storages"]:
            # An image's pull may repeat the annotations, which may then not be changed any more.
            storage["driver_options"] = [
                each for each in storage["driver_options"] if not each.startswith(PULL)
            ]
        return found

    def before(self, container: str) -> Iterator[Request]:
        """Yield the requests that precede the creation of a container: the sandbox, and all that it waits for."""
        yield Request(kind=_SANDBOX, input=self.sandbox())
        for name in self._predecessors(container):
            yield from self.run(name)

    def run(self, container: str, identifier: str = "") -> Iterator[Request]:
        """Yield the requests that create and start a container."""
        created = self.create(container, identifier)
        yield Request(kind=_CREATE, input=created)
        started = {"container_id": created["container_id"]}
        yield Request(kind="StartContainerRequest", input=started)

    def _predecessors(self, container: str) -> list[str]:
        found: list[str] = []
        for name in self._after[container]:
            found += [each for each in (*self._predecessors(name), name) if each not in found]
        return found


def _moved(document: Mapping[str, Any], namespace: str) -> Mapping[str, Any]:
    return {**document, "metadata": {**document["metadata"], "namespace": namespace}}


def annotations_of(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the annotations of a request that creates a container, {} if it has none."""
    oci = request.get("OCI")
    found = oci.get("Annotations") if isinstance(oci, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def container_name(request: Mapping[str, Any]) -> str:
    """Return the name of the container to be created, "" for the pause container."""
    return str(annotations_of(request).get(f"{CRI}container-name", ""))


def names_in(request: Mapping[str, Any]) -> PodNames:
    """Return the names in a request that creates a container, "" for those it lacks; the log folder has a uid, too."""
    found = annotations_of(request)
    log = str(found.get(f"{CRI}sandbox-log-directory", ""))
    keys = ("name", "namespace", "uid", "id")
    names = PodNames(*(str(found.get(f"{CRI}sandbox-{key}", "")) for key in keys))
    return names if names.uid else names._replace(uid=log.rpartition("_")[2])


def _renamed(request: Mapping[str, Any], changes: list[tuple[str, str]]) -> dict[str, Any]:
    # Ids are too long to occur by chance; options of storages repeat them inside of JSON texts.
    text = json.dumps(request)
    for old, new in changes:
        text = text.replace(old, new)
    found: dict[str, Any] = json.loads(text)
    return found
