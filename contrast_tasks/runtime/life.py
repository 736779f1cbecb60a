"""The life of a pod, from its document to all requests to the agent in its guest.

Kubelet and containerd are modelled by `specifications`, Kata's shim by `shim`; here is what they do one after the other.
Source: docs/internals/policy.md 2; Kubernetes, pkg/kubelet/kuberuntime.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from contrast_tasks.agent_messages import Request
from contrast_tasks.decode import Json
from contrast_tasks.runtime.drawing import identifier
from contrast_tasks.runtime.kubelet.admission import admitted
from contrast_tasks.runtime.kubelet.expansion import expand
from contrast_tasks.runtime.kubelet.quantities import is_sidecar
from contrast_tasks.runtime.kubelet.volume_files import Written, volume_tree
from contrast_tasks.runtime.kubelet.volumes import volume_paths
from contrast_tasks.runtime.node import Drawn, Image, Node, Surroundings
from contrast_tasks.runtime.node_files import host_files
from contrast_tasks.runtime.objects import Namespace, child, entries, flag, text, texts
from contrast_tasks.runtime.refusals import ContainerRefused
from contrast_tasks.runtime.shim.layers import snapshot_mount
from contrast_tasks.runtime.shim.network import Network
from contrast_tasks.runtime.shim.service import Host, ShimService
from contrast_tasks.runtime.shim_versions import Shim
from contrast_tasks.runtime.specifications import PodSpecifications, Spec, specify

_TERM, _KILL = 15, 9
_PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")
_LATER: Final = "..2026_11_30_00_10_00.987654321"


class Cluster(NamedTuple):
    """Where a pod lives: the node, the shim on it, the pod's network, and the objects of the cluster."""

    node: Node
    shim: Shim
    network: Network = Network()
    objects: Sequence[Mapping[str, Any]] = ()


class PodLife(NamedTuple):
    """The requests in order, and who of the node refuses to make which container, "" for the sandbox."""

    requests: tuple[Request, ...]
    refused: Mapping[str, ContainerRefused]


def live(
    pod: Mapping[str, Any], images: Mapping[str, Image], cluster: Cluster, drawn: Drawn
) -> PodLife:
    """Return the life of a pod with a name; images: by reference as the pod writes it.

    All containers run once; volumes of the kubelet change; a main container is restarted where the pod wants that; then the
    pod ends. Raises DecodeError for a member of another type than Kubernetes has.
    """
    node = cluster.node
    specs = specify(pod, images, node, drawn, cluster.objects)
    if isinstance(specs.sandbox, ContainerRefused):
        return PodLife((), {"": specs.sandbox})
    place = Json(pod)
    namespace = Namespace(cluster.objects, text(child(place, "metadata"), "namespace", "default"))
    around = Surroundings(namespace, node, drawn)
    written = Written(admitted(place, namespace, drawn), around)
    found = _Pod(written, specs, specs.sandbox, cluster, images)
    requests = tuple(found.live())
    return PodLife(requests, found.refused)


class _Pod:
    def __init__(
        self,
        written: Written,
        specs: PodSpecifications,
        sandbox: Spec,
        cluster: Cluster,
        images: Mapping[str, Image],
    ) -> None:
        self._written = written
        self._drawn = written.around.drawn
        self._specs = specs
        self._sandbox = sandbox
        files = host_files(written, sandbox.get("hostname", ""), specs.resolv_conf)
        self._shim = ShimService(
            cluster.shim,
            Host(files=files, network=cluster.network, resolv_conf=specs.resolv_conf),
        )
        self._cluster = cluster
        self._images = images
        self._ids = dict(self._drawn.container_ids)
        self.refused: dict[str, ContainerRefused] = {}

    def live(self) -> Iterator[Request]:
        spec = child(self._written.pod, "spec")
        sandbox = self._drawn.sandbox_id
        pause = self._root_of(self._cluster.node.pause)
        yield from self._shim.create(sandbox, self._sandbox, pause)
        yield from self._shim.start(sandbox)
        running: list[Json] = []
        for each in entries(spec, "initContainers"):
            yield from self._start(each)
            if self.refused:
                break
            if is_sidecar(each):
                running.append(each)
            else:
                yield from self._shim.exit(self._id(each))
        for each in () if self.refused else entries(spec, "containers"):
            yield from self._start(each)
            if text(each, "name") not in self.refused:
                running.append(each)
        yield from self._work(running)
        yield from self._end(running)
        yield from self._shim.kill(sandbox, _KILL)

    def _work(self, running: Sequence[Json]) -> Iterator[Request]:
        """Probe, measure, change volumes, restart."""
        for each in running:
            for probe in _PROBES[1:]:
                yield from self._execute(each, probe, _probe(each, probe))
            yield from self._shim.stats(self._id(each))
        yield from self._change_volumes()
        restarts = text(child(self._written.pod, "spec"), "restartPolicy", "Always") == "Always"
        if running and restarts:
            last = running[-1]
            yield from self._shim.exit(self._id(last))
            self._ids[text(last, "name")] = identifier(f"again {self._id(last)}")
            yield from self._start(last)

    def _end(self, running: Sequence[Json]) -> Iterator[Request]:
        """Stop the containers, sidecars last; those of a pod that runs to its end have ended by themselves."""
        mains = [each for each in running if not is_sidecar(each)]
        sidecars = [each for each in running if is_sidecar(each)]
        for each in (*mains, *reversed(sidecars)):
            yield from self._execute(each, "preStop", _hook(each, "preStop"))
            yield from self._shim.kill(self._id(each), _TERM)

    def _start(self, container: Json) -> Iterator[Request]:
        name = text(container, "name")
        made = self._specs.containers[name]
        if isinstance(made, ContainerRefused):
            self.refused[name] = made
            return
        spec = _renamed(made, self._drawn.container_ids[name], self._ids[name])
        root = self._root_of(self._images[text(container, "image")])
        yield from self._shim.create(self._id(container), spec, root)
        yield from self._shim.start(self._id(container), tty=flag(container, "tty"))
        yield from self._execute(container, "postStart", _hook(container, "postStart"))
        yield from self._execute(container, _PROBES[0], _probe(container, _PROBES[0]))

    def _execute(self, container: Json, key: str, command: Sequence[str]) -> Iterator[Request]:
        """Run a command to its end; there may be none."""
        made = self._specs.containers[text(container, "name")]
        if not command or isinstance(made, ContainerRefused):
            return
        process = {**made["process"], "args": list(command), "terminal": False}
        yield from self._shim.execute(self._id(container), key, process)
        yield from self._shim.exit(self._id(container), key)

    def _change_volumes(self) -> Iterator[Request]:
        """Let the kubelet write its volumes anew: objects change, and tokens expire."""
        around = self._written.around
        later = self._written._replace(
            around=around._replace(drawn=self._drawn.replace(stamp=_LATER))
        )
        for path, volume in volume_paths(self._written.pod, self._drawn).items():
            old, new = volume_tree(volume, self._written), volume_tree(volume, later)
            if old != new:
                yield from self._shim.changed(path, new)

    def _root_of(self, image: Image) -> list[Mapping[str, Any]]:
        """Return the mounts of a root file system; a guest that pulls the image itself ignores them."""
        if not self._cluster.shim.attaches_layers:
            return []
        return [snapshot_mount(image.layers, self._cluster.node.snapshots)]

    def _id(self, container: Json) -> str:
        return self._ids[text(container, "name")]


def _probe(container: Json, name: str) -> tuple[str, ...]:
    """Return the command of a probe; its variables have the values that are written in `env`, unexpanded."""
    written = {text(each, "name"): text(each, "value") for each in entries(container, "env")}
    command = texts(child(container, name, "exec"), "command")
    return tuple(expand(word, written.get) for word in command)


def _hook(container: Json, name: str) -> tuple[str, ...]:
    """Return the command of a hook, whose variables stay as they are."""
    return texts(child(container, "lifecycle", name, "exec"), "command")


def _renamed(spec: Spec, old: str, new: str) -> Spec:
    """Return a specification as containerd makes it for a container of another identifier."""
    if old == new:
        return spec
    found: Spec = json.loads(json.dumps(spec).replace(old, new))
    return found
