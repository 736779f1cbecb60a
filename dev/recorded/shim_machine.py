"""The machine on which the shim was recorded: its network, its files, and the commands that change them."""

from collections.abc import Mapping, Sequence
from typing import Any

from contrast_tasks.decode import Json
from contrast_tasks.runtime.containerd.mounts import sandbox_folder
from contrast_tasks.runtime.host_files import HostFiles, one_file
from contrast_tasks.runtime.kubelet.admission import admitted
from contrast_tasks.runtime.kubelet.volume_files import Written
from contrast_tasks.runtime.kubelet.volumes import hosts_path, volume_path
from contrast_tasks.runtime.node import Drawn, Node, Surroundings
from contrast_tasks.runtime.node_files import host_files
from contrast_tasks.runtime.objects import Namespace
from contrast_tasks.runtime.shim.network import Network, Route
from contrast_tasks.runtime.shim.service import Host
from dev.recorded.shim_cases import PLAN, ShimCase

_HOSTS_BYTES, _CA_BYTES, _TOKEN_BYTES = 33, 5, 7
# Each ConfigMap of the recorder had this file besides those of the case.
_MORE = {"nginx.conf": "x\n"}
_NETWORK_NAMESPACE = "cni-00000000-0000-0000-0000-00000000c011"
_STICKY_FOLDER, _FOLDER = 0o1777, 0o755


def host_of(
    case: ShimCase, sandbox: Mapping[str, Any], requests: Sequence[Mapping[str, Any]]
) -> Host:
    """Return what the shim found; requests: the recorded ones, which alone tell the addresses of the machine."""
    resolv_conf = (case.path / "resolv.conf").read_text()
    return Host(
        files=_files(case, sandbox, resolv_conf),
        network=_network(requests),
        resolv_conf=resolv_conf,
    )


def with_placeholders(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a specification of the sandbox with the name of the network namespace as the records spell it."""
    for each in spec["linux"]["namespaces"]:
        if each["type"] == "network" and each.get("path", "").startswith("/var/run/netns/"):
            each["path"] = f"/var/run/netns/{_NETWORK_NAMESPACE}"
    return spec


def _files(case: ShimCase, sandbox: Mapping[str, Any], resolv_conf: str) -> HostFiles:
    """Return the files; the recorder gave the pod's group to all volumes but that of the token."""
    pod, drawn = case.read("pod.json"), _drawn(case, sandbox)
    hostname = sandbox.get("hostname", "")
    token = volume_path("projected", drawn.token_volume, drawn)
    plain = host_files(_written(case, _without_group(pod), drawn), hostname, resolv_conf)
    found = host_files(_written(case, pod, drawn), hostname, resolv_conf)
    hosts = one_file(_HOSTS_BYTES)
    own = {hosts_path(drawn): hosts, f"{sandbox_folder(drawn)}/hosts": hosts}
    if token in plain.trees:
        own[token] = plain.trees[token]
    return found.replace(trees={**found.trees, **own})


def _drawn(case: ShimCase, sandbox: Mapping[str, Any]) -> Drawn:
    annotations, names = sandbox["annotations"], case.identifiers()
    labels = {each["id"]: each["label"] for each in case.read(PLAN) if "id" in each}
    spec = case.read("pod.json")["spec"]
    containers = (*spec.get("initContainers", ()), *spec["containers"])
    never_made = {each["name"]: "" for each in containers}
    return Drawn(
        uid=annotations["io.kubernetes.cri.sandbox-uid"],
        sandbox_id=annotations["io.kubernetes.cri.sandbox-id"],
        container_ids=never_made | {labels[each]: name for each, name in names.items()},
        token_bytes=_TOKEN_BYTES,
    )


def _written(case: ShimCase, pod: Mapping[str, Any], drawn: Drawn) -> Written:
    has_group = pod["spec"].get("securityContext", {}).get("fsGroup") is not None
    node = Node(root_ca_bytes=_CA_BYTES, volume_mode=_STICKY_FOLDER if has_group else _FOLDER)
    namespace = Namespace(
        [_with_more(each) for each in case.read("objects.json")],
        pod["metadata"].get("namespace", "default"),
    )
    return Written(admitted(Json(pod), namespace, drawn), Surroundings(namespace, node, drawn))


def _without_group(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    security = {**pod["spec"].get("securityContext", {}), "fsGroup": None}
    return {**pod, "spec": {**pod["spec"], "securityContext": security}}


def _with_more(document: dict[str, Any]) -> dict[str, Any]:
    if document["kind"] != "ConfigMap":
        return document
    return {**document, "data": {**_MORE, **document.get("data", {})}}


def _network(requests: Sequence[Mapping[str, Any]]) -> Network:
    first = {each["ep"]: each["input"] for each in reversed(requests)}
    interface = first["UpdateInterfaceRequest"]["interface"]
    neighbours = first.get("AddARPNeighborsRequest", {"neighbors": {"ARPNeighbors": ()}})
    return Network(
        device=interface["name"],
        mac=interface["hwAddr"],
        mtu=interface["mtu"],
        addresses=tuple(f"{each['address']}/{each['mask']}" for each in interface["IPAddresses"]),
        routes=tuple(
            Route(each["dest"], each["gateway"], each["source"], each["scope"])
            for each in first["UpdateRoutesRequest"]["routes"]["Routes"]
        ),
        neighbours=tuple(
            (each["toIPAddress"]["address"], each["lladdr"])
            for each in neighbours["neighbors"]["ARPNeighbors"]
        ),
    )
