"""The deployment as a plan for the local node: names, addresses, services, unpacked images."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.deploy.local.environment import Configs
from contrast_tasks.deploy.local.images import unpacker
from contrast_tasks.deploy.local.pod_plan import Shared, all_ports, build_pod
from contrast_tasks.deploy.local.sidecar import Hosts, egress_places
from contrast_tasks.errors import ClusterError
from contrast_tasks.kube import workloads
from contrast_tasks.kube.annotated import Annotated, load_records, refuse_unfit
from contrast_tasks.kube.workloads import config_data
from contrast_tasks.local.messages import Endpoint, Plan, PodPlan
from contrast_tasks.local.paths import LocalPaths
from contrast_tasks.pods.workload_kinds import WORKLOAD_KINDS
from contrast_tasks.settings.model import Settings

# Kinds whose pods do not start right after `kubectl apply`.
_NOT_STARTED = frozenset({"CronJob"})
_CLUSTER_DOMAIN = "svc.cluster.local"

_NamedPod = tuple[Annotated, str, int]


def build_plan(
    objects: Sequence[Annotated],
    *,
    settings: Settings,
    paths: LocalPaths,
    addresses_of: Callable[[Sequence[str]], Mapping[str, str]],
    environ: Mapping[str, str],
    say: Callable[[str], None],
    with_mesh: bool = True,
    isolated: bool = False,
) -> Plan:
    """Return the plan of all pods; isolated: for a node of namespaces.

    addresses_of: returns the pods' addresses; the Coordinator's is under the empty name. say: receives lines about images
    that are unpacked again and workloads that are not started.
    Raises UsageError, ClusterError or ImageError for pods that cannot run here.
    """
    refuse_unfit(objects, settings)
    _check_records(objects, settings)
    for item in objects:
        if item.kind in _NOT_STARTED:
            say(f"{item.key} is not started: platform local keeps no schedule")
    pods = _named_pods(objects)
    assigned = addresses_of([name for item, name, _ in pods if item.role != ROLE_COORDINATOR])
    addresses = {
        name: assigned["" if item.role == ROLE_COORDINATOR else name] for item, name, _ in pods
    }
    hosts = _service_table(objects, [(item, name) for item, name, _ in pods], addresses)
    if isolated:
        services = tuple(dict(item.obj) for item in objects if item.kind == "Service")
        plans = _isolated_pods(
            objects, pods, addresses, settings, paths, with_mesh=with_mesh, say=say
        )
        return Plan(pods=plans, hosts=hosts, services=services)
    specs = [(name, workloads.pod_spec(item.obj)) for item, name, _ in pods]
    shared = Shared(
        paths=paths,
        unpack=unpacker(settings, paths, say),
        hosts=hosts,
        egress=egress_places(specs, addresses),
        configs=_configs(objects, settings),
        environ=environ,
        with_mesh=with_mesh,
    )
    return Plan(
        pods=tuple(build_pod(item, name, addresses[name], shared) for item, name, _ in pods),
        hosts=hosts,
    )


def _isolated_pods(
    objects: Sequence[Annotated],
    pods: Sequence[_NamedPod],
    addresses: Mapping[str, str],
    settings: Settings,
    paths: LocalPaths,
    *,
    with_mesh: bool,
    say: Callable[[str], None],
) -> tuple[PodPlan, ...]:
    from contrast_tasks.deploy.local.isolated_pod import (
        IsolatedShared,
        build_isolated_pod,
        image_finder,
    )
    from contrast_tasks.steps.locked import read_lock

    shared = IsolatedShared(
        settings=settings,
        paths=paths,
        objects=objects,
        find_image=image_finder(settings, read_lock(settings), paths.pulled, say),
        with_mesh=with_mesh,
    )
    return tuple(
        build_isolated_pod(item, name, index, addresses[name], shared) for item, name, index in pods
    )


def _check_records(objects: Sequence[Annotated], settings: Settings) -> None:
    """Raise ClusterError if a pod's policy is not the one that was generated for it."""
    records = load_records(settings)
    for item in objects:
        if item.policy is None:
            continue
        record = records.get(item.key)
        found = item.policy.key_hex
        if record is None or record.policy_sha256 != found:
            wanted = record.policy_sha256 if record else "none: the workload was not generated here"
            raise ClusterError(
                f"{item.key}: its policy annotation has hash {found}, wanted {wanted}",
                where=item.place_of_policy,
                hint="the file was edited after generate; run generate again",
            )


# In the place of what an API server would draw; there is one such pod.
_SUFFIX = "local"


def _named_pods(objects: Sequence[Annotated]) -> list[_NamedPod]:
    """Return every pod with its name and its place among the replicas, the Coordinator first.

    The name is that of the workload, or is made of its whole key if other workloads have the same name.
    """
    items = [item for item in objects if item.is_workload and item.kind not in _NOT_STARTED]
    plain = [item.name for item in items]
    pods: list[_NamedPod] = []
    for item in sorted(items, key=lambda item: (item.role != ROLE_COORDINATOR, item.key)):
        unique = plain.count(item.name) == 1
        name = item.name if unique else item.key.replace("/", "-").lower()
        if item.has_generated_name:
            name += _SUFFIX
        replicas = _replicas(item)
        names = [name] if replicas == 1 else [f"{name}-{number}" for number in range(replicas)]
        pods += [(item, name, index) for index, name in enumerate(names)]
    return pods


def _replicas(item: Annotated) -> int:
    # All replicas of a Coordinator would share one state folder.
    if item.role == ROLE_COORDINATOR or not WORKLOAD_KINDS[item.kind].has_replicas:
        return 1
    wanted = workloads.mapping_at(item.obj, "spec").get("replicas")
    return 1 if wanted is None else int(wanted)


def _service_table(
    objects: Iterable[Annotated],
    pods: Sequence[tuple[Annotated, str]],
    addresses: Mapping[str, str],
) -> Hosts:
    """Return name -> port -> endpoints for all short and long names of every Service."""
    table: dict[str, dict[str, tuple[Endpoint, ...]]] = {}
    for service in objects:
        if service.kind != "Service":
            continue
        spec = workloads.mapping_at(service.obj, "spec")
        selector = spec.get("selector") or {}
        behind = [
            (item, name)
            for item, name in pods
            if selector and item.namespace == service.namespace and _selected(item, selector)
        ]
        ports = {
            str(port["port"]): tuple(
                (addresses[name], _target(item, port)) for item, name in behind
            )
            for port in spec.get("ports") or ()
            if port.get("protocol", "TCP") == "TCP"
        }
        full = f"{service.name}.{service.namespace}"
        for name in (service.name, full, f"{full}.svc", f"{full}.{_CLUSTER_DOMAIN}"):
            table.setdefault(name, ports)
    return table


def _selected(item: Annotated, selector: Mapping[str, str]) -> bool:
    labels = workloads.mapping_at(workloads.pod_metadata(item.obj), "labels")
    return all(labels.get(key) == value for key, value in selector.items())


def _target(item: Annotated, port: Mapping[str, Any]) -> int:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    ports = all_ports(workloads.pod_spec(item.obj))
    if target not in ports:
        raise ClusterError(
            f"a Service leads to port {target!r} of {item.key}, which has no port of that name",
            where=item.where,
        )
    return ports[target]


def _configs(objects: Sequence[Annotated], settings: Settings) -> Configs:
    """Return the values of ConfigMaps and Secrets: those of the sources, and what contrast.toml tells of others."""
    elsewhere = {
        (use.kind, item.namespace, use.name): {
            key: value.encode() for key, value in made.values.items()
        }
        for item in objects
        if item.is_workload
        for use in workloads.config_references(item.obj)
        if (made := settings.config(use.kind, item.namespace, use.name)) is not None
    }
    return elsewhere | {
        (item.kind, item.namespace, item.name): {
            key: value.encode() if isinstance(value, str) else value
            for key, value in config_data(item.obj).items()
        }
        for item in objects
        if item.kind in {"ConfigMap", "Secret"}
    }
