"""What an honest runtime would ask for a pod, under the names that requests at hand have for it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from contrast_tasks.agent_messages import Request
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.simulate import synthesise_lifecycle

CRI = "io.kubernetes.cri."
PULL = "image_guest_pull"
"""The driver of a storage for which the guest pulls an image, and the beginning of its option."""
_CREATE, _SANDBOX = "CreateContainerRequest", "CreateSandboxRequest"


class PodNames(NamedTuple):
    """What a runtime calls a pod: name, namespace and uid of Kubernetes, and the id of the sandbox."""

    name: str
    namespace: str
    uid: str
    sandbox: str


class HonestPod:
    """The requests of an honest runtime for one pod; names: of the pod, "" where a sample will do."""

    def __init__(self, data: PolicyData, names: PodNames) -> None:
        pod = data.pod.replace(
            name_sample=names.name or data.pod.name_sample,
            namespace=names.namespace or data.pod.namespace,
        )
        life = synthesise_lifecycle(data.replace(pod=pod))
        creates = [each.input for each in life if each.kind == _CREATE]
        drawn = names_in(next(each for each in creates if not container_name(each)))
        self._changes = [
            (old, new)
            for old, new in ((drawn.uid, names.uid), (drawn.sandbox, names.sandbox))
            if new
        ]
        self._sandbox = next(each.input for each in life if each.kind == _SANDBOX)
        self._creates = {container_name(each): each for each in creates}
        self._after = {each.name: each.after for each in data.containers}

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
