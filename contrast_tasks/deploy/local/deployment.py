"""The whole deployment as a plan for the local node: names, addresses, services, unpacked images."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from contrast_tasks.deploy.local.container import config_values
from contrast_tasks.deploy.local.images import unpacker
from contrast_tasks.deploy.local.pod import (
    ROLE_COORDINATOR,
    SERVICE_MESH,
    PodBuilder,
    Surroundings,
    all_ports,
    is_meshed,
    pod_template,
)
from contrast_tasks.errors import ClusterError
from contrast_tasks.kube.annotated import Annotated, load_records, refuse_without_policy
from contrast_tasks.local.client import install_root
from contrast_tasks.local.messages import Endpoint, Plan
from contrast_tasks.local.network import DEFAULT_NET
from contrast_tasks.local.paths import LocalPaths
from contrast_tasks.settings.load import Settings

# Kinds whose pods would not run right after `kubectl apply`.
NOT_STARTED = frozenset({"CronJob"})
_CLUSTER_DOMAIN = "svc.cluster.local"


def pod_names(objects: Sequence[Annotated]) -> list[tuple[Annotated, str]]:
    """Return every pod of the deployment with its name, Coordinator first; one per replica.

    A name is the workload's; the kind or the namespace is put before it where two would be equal.
    """
    workloads = [item for item in objects if item.is_workload and item.kind not in NOT_STARTED]
    plain = [item.name for item in workloads]
    found: list[tuple[Annotated, str]] = []
    for item in sorted(workloads, key=lambda item: (item.role != ROLE_COORDINATOR, item.key)):
        name = item.name
        if plain.count(name) > 1:
            name = item.key.replace("/", "-").lower()
        replicas = _replicas(item)
        if replicas == 1:
            found.append((item, name))
        else:
            found += [(item, f"{name}-{number}") for number in range(replicas)]
    return found


def _replicas(item: Annotated) -> int:
    if item.role == ROLE_COORDINATOR:
        # One state folder, one Coordinator.
        return 1
    spec = item.obj.get("spec") or {}
    wanted = spec.get("replicas") if item.kind not in {"Pod", "Job", "DaemonSet"} else 1
    return 1 if wanted is None else int(wanted)


def service_table(
    objects: Iterable[Annotated],
    pods: Sequence[tuple[Annotated, str]],
    addresses: Mapping[str, str],
) -> dict[str, dict[str, tuple[Endpoint, ...]]]:
    """Return name -> port -> endpoints for every Service, under its short and its long names."""
    table: dict[str, dict[str, tuple[Endpoint, ...]]] = {}
    for service in objects:
        if service.kind != "Service":
            continue
        spec = service.obj.get("spec") or {}
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
    labels = (pod_template(item).get("metadata") or {}).get("labels") or {}
    return all(labels.get(key) == value for key, value in selector.items())


def _target(item: Annotated, port: Mapping[str, Any]) -> int:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    ports = all_ports(pod_template(item)["spec"])
    if target not in ports:
        raise ClusterError(
            f"a Service leads to port {target!r} of {item.key}, which has no port of that name",
            where=item.where,
        )
    return ports[target]


def egress_places(
    pods: Sequence[tuple[Annotated, str]], addresses: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return pod -> annotated egress listen address -> the address used on this machine.

    In a cluster each pod has a loopback interface of its own. Here the first pod of the project on the default net
    gets the address as annotated; others get 127.(net+1).<entry>.<host>, which no pod and no application has.
    """
    from contrast_tasks.mesh.annotations import parse_egress

    places: dict[str, dict[str, str]] = {}
    taken: set[str] = set()
    for item, name in pods:
        spec = pod_template(item)["spec"]
        if not is_meshed(spec):
            continue
        sidecar = next(entry for entry in spec["initContainers"] if entry["name"] == SERVICE_MESH)
        env = {entry["name"]: str(entry.get("value") or "") for entry in sidecar.get("env") or ()}
        _, net, _, host = addresses[name].split(".")
        for number, entry in enumerate(
            parse_egress(env.get("CONTRAST_EGRESS_PROXY_CONFIG", "")), start=1
        ):
            place = entry.listen
            if place in taken or int(net) != DEFAULT_NET:
                place = f"127.{int(net) + 1}.{number}.{host}:{entry.listen_port}"
            taken.add(place)
            places.setdefault(name, {})[entry.listen] = place
    return places


def check_records(objects: Sequence[Annotated], settings: Settings) -> None:
    """Raise ClusterError if a pod's policy is not the one that was generated for it."""
    from contrast_tasks.files import sha256_hex

    records = load_records(settings)
    for item in objects:
        if not item.policy_b64:
            continue
        record = records.get(item.key)
        found = sha256_hex(item.policy())
        if record is None or record.policy_sha256 != found:
            wanted = record.policy_sha256 if record else "none: the workload was not generated here"
            raise ClusterError(
                f"{item.key}: its policy annotation has hash {found}, wanted {wanted}",
                where=item.where,
                hint="the file was edited after generate; run generate again",
            )


def build_plan(
    objects: Sequence[Annotated],
    *,
    settings: Settings,
    paths: LocalPaths,
    addresses_of: Callable[[Sequence[str]], Mapping[str, str]],
    environ: Mapping[str, str],
    say: Callable[[str], None],
    with_mesh: bool = True,
) -> Plan:
    """Return the plan of all pods.

    addresses_of: asks the node for the pods' addresses; the Coordinator's is under the empty name. say: told of images
    that had to be unpacked again, and of what is not started.
    Raises UsageError, ClusterError or ImageError for what cannot be run, before anything is started.
    """
    refuse_without_policy(objects)
    check_records(objects, settings)
    for item in objects:
        if item.kind in NOT_STARTED:
            say(f"{item.key} is not started: platform local keeps no schedule")
    pods = pod_names(objects)
    found = addresses_of([name for item, name in pods if item.role != ROLE_COORDINATOR])
    addresses = {
        name: found[""] if item.role == ROLE_COORDINATOR else found[name] for item, name in pods
    }
    hosts = service_table(objects, pods, addresses)
    around = Surroundings(
        paths=paths,
        unpack=unpacker(settings, paths, say),
        hosts=hosts,
        egress=egress_places(pods, addresses),
        configs={
            (item.kind, item.namespace, item.name): config_values(item.obj)
            for item in objects
            if item.kind in {"ConfigMap", "Secret"}
        },
        environ=environ,
        python_path=str(shim_folder()),
        with_mesh=with_mesh,
    )
    plans = tuple(PodBuilder(item, name, addresses[name], around).build() for item, name in pods)
    plan = Plan(pods=plans, hosts=hosts)
    _check_schema(plan)
    return plan


def _check_schema(plan: Plan) -> None:
    """Raise ClusterError for what the node could not carry out, such as a name that is no name in Kubernetes."""
    from contrast_tasks.schema import validate

    problems = validate(plan.to_json(), "local-plan")
    if problems:
        pointer, message = problems[0]
        raise ClusterError(f"the deployment cannot run here: {pointer}: {message}")


def shim_folder() -> Path:
    """Return the folder whose sitecustomize resolves cluster names."""
    return Path(os.path.normpath(install_root() / "contrast_tasks" / "local" / "shim"))
