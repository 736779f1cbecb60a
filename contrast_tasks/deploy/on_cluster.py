"""Deploy, restart and stop on a cluster.

What cannot work is found before anything is applied: the API server is asked to try everything first, without storing it. Only
namespaces and definitions of kinds have to be there before what lies in them, so they are applied before the rest is tried.
"""

from collections.abc import Callable, Collection, Sequence
from itertools import product
from typing import Any, NamedTuple

from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.decode import Json
from contrast_tasks.deploy.classes import refuse_absent_classes
from contrast_tasks.deploy.cluster import ROLLED_OUT, Id, Kubectl, id_of
from contrast_tasks.deploy.drift import drift
from contrast_tasks.deploy.inventory import KEPT_KINDS, Inventory
from contrast_tasks.deploy.pullable import refuse_unpushed
from contrast_tasks.deploy.select import id_in
from contrast_tasks.errors import ClusterError
from contrast_tasks.kube import workloads
from contrast_tasks.kube.annotated import Annotated
from contrast_tasks.kubectl import KubectlFailed
from contrast_tasks.progress import Watch, unseen
from contrast_tasks.settings.model import Settings

Say = Callable[[str], None]

# Needed by what lies in them, or is of them.
_DEFINITION = "CustomResourceDefinition"
_FIRST = ("Namespace", _DEFINITION)
# Of a Deployment's controller.
_REVISION = "deployment.kubernetes.io/revision"


class Applied(NamedTuple):
    """What a deploy did, by key: created, changed, left as it was; gone: not deployed any more; removed: of these."""

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def deploy(
    settings: Settings,
    objects: Sequence[Annotated],
    cluster: Kubectl,
    *,
    say: Say,
    take_over: bool = False,
    prune: bool = False,
    watch: Watch = unseen,
) -> Applied:
    """Make the cluster's objects those of the deployment. take_over: fields that others set too; prune: remove what is gone.

    watch: is told of the objects. Raises ClusterError; what was and what was not applied is told then.
    """
    place = cluster.target()
    say(f"to {place.told}")
    unknown = refuse_absent_classes(settings, objects, cluster)
    if unknown:
        say(f"the runtime classes of the cluster were not looked up: {unknown}")
    refuse_unpushed(settings, objects, say=say)
    inventory = Inventory(cluster, settings.cluster.inventory, place.namespace)
    before = inventory.read()
    named = {id_in(item, place): item for item in objects if not item.has_generated_name}
    bodies = {each: inventory.mark(item.obj) for each, item in named.items()}
    first = [each for each in named if each.kind in _FIRST]
    rest = sorted((each for each in named if each.kind not in _FIRST), key=_order)
    new_places = _absent_places(cluster, first)
    live = cluster.get(first)
    ready = [each for each in rest if not _lies_in(each, named[each], new_places)]
    steps = _Steps(cluster, bodies, take_over=take_over, watch=watch)
    steps.attempt([*first, *ready])
    steps.apply(first)
    new_kinds = [each.name for each in first if each.kind == _DEFINITION and each not in live]
    cluster.await_kinds(new_kinds)
    noted = frozenset({*before, *named})
    if noted != before:
        # Before they exist, so that `stop` finds them however this ends.
        inventory.write(noted)
    if late := [each for each in rest if each not in ready]:
        steps.attempt(late)
    live |= cluster.get(rest)
    steps.apply(rest)
    created = [item.key for item in objects if item.has_generated_name]
    cluster.create([inventory.mark(item.obj) for item in objects if item.has_generated_name])
    after = cluster.get([*first, *rest])
    if take_over and (added := _without_additions(named, after)):
        cluster.replace(added)
        after = cluster.get([*first, *rest])
    gone = sorted(cluster.get(sorted(before - set(named))))
    if prune:
        cluster.delete([each for each in gone if each.kind not in KEPT_KINDS])
    kept = [each for each in gone if not prune or each.kind in KEPT_KINDS]
    if noted != {*named, *kept}:
        inventory.write({*named, *kept})
    changes = {each: _change(live.get(each), after.get(each)) for each in named}
    return Applied(
        created=(*_keys(changes, "created"), *created),
        changed=_keys(changes, "changed"),
        unchanged=_keys(changes, "unchanged"),
        gone=tuple(each.key for each in kept),
        removed=tuple(each.key for each in gone if each not in kept),
    )


class _Steps:
    """Applies objects, and tells after an error which are applied and which are not. applied: so far."""

    def __init__(
        self, cluster: Kubectl, bodies: dict[Id, dict[str, Any]], *, take_over: bool, watch: Watch
    ) -> None:
        self._cluster = cluster
        self._bodies = bodies
        self._take_over = take_over
        self._watch = watch
        self.applied: list[Id] = []

    def attempt(self, wanted: Sequence[Id]) -> None:
        """Let the API server try objects without storing them. Raises ClusterError."""
        try:
            self._run(wanted, is_trial=True)
        except KubectlFailed as err:
            raise ClusterError(f"{err}\napplied: {self._told()}", hint=err.hint) from err

    def _run(self, wanted: Sequence[Id], *, is_trial: bool) -> None:
        bodies = [self._bodies[each] for each in wanted]
        self._cluster.apply(bodies, take_over=self._take_over, is_trial=is_trial, watch=self._watch)

    def _told(self) -> str:
        return ", ".join(each.key for each in self.applied) or "nothing"

    def apply(self, wanted: Sequence[Id]) -> None:
        """Apply objects in their order. Raises ClusterError."""
        try:
            self._run(wanted, is_trial=False)
        except KubectlFailed as err:
            done = {line.split()[0].lower() for line in err.text.splitlines() if line.strip()}
            self.applied += [each for each in wanted if _kubectl_name(each) in done]
            rest = [each.key for each in self._bodies if each not in self.applied]
            raise ClusterError(
                f"{err}\napplied: {self._told()}\nnot applied: {', '.join(rest)}",
                hint=err.hint
                or "deploy again once the cause is gone; what is applied already stays as it is",
            ) from err
        self.applied += wanted


def restart(
    chosen: Sequence[Annotated],
    cluster: Kubectl,
    *,
    say: Say,
    wait_s: float,
    watch: Watch = unseen,
) -> tuple[str, ...]:
    """Restart workloads by new rollouts, and return their names; raises ClusterError before any if one cannot be.

    watch: is told of those that are waited for.
    """
    place = cluster.target()
    ids = [id_in(item, place) for item in chosen]
    for item in chosen:
        if item.kind not in ROLLED_OUT:
            raise ClusterError(
                f"{item.key} cannot be restarted in place", hint="delete it, then deploy again"
            )
    say(f"in {place.told}")
    cluster.restart(ids)
    for each in ids:
        say(f"restarted {each.name}")
    if wait_s:
        cluster.wait(ids, timeout_s=wait_s, watch=watch)
    return tuple(each.name for each in ids)


def stop(settings: Settings, cluster: Kubectl, *, say: Say, everything: bool) -> bool:
    """Remove what deploy made; return whether there was anything. everything: the Coordinator and its history too.

    Without the Coordinator's StatefulSet its history would be removed, so it is only set to no replicas.
    """
    place = cluster.target()
    say(f"from {place.told}")
    inventory = Inventory(cluster, settings.cluster.inventory, place.namespace)
    deployed = inventory.read()
    live = cluster.get(sorted(deployed))
    coordinators = [each for each, item in live.items() if not everything and _is_coordinator(item)]
    kept = {each for each in live if each.kind in KEPT_KINDS or each in coordinators}
    kept |= {each for each in live if coordinators and _serves_coordinator(each)}
    running = [each for each in coordinators if live[each].value["spec"].get("replicas") != 0]
    for each in running:
        # By the same manager as deploy, whose next apply would meet a conflict otherwise.
        cluster.apply([_without_pods(live[each])], take_over=True)
        say(f"{each.key} has no replicas now; its history stays, 'stop --all' removes it")
    places = {place.namespace, *(each.namespace for each in live if each.namespace)}
    gone = sorted({*live, *_with_generated_names(inventory, cluster, places, say)} - kept)
    cluster.delete(gone)
    for each in gone:
        say(f"removed {each.key}")
    for each in sorted(each for each in kept if each.kind in KEPT_KINDS):
        say(f"left {each.key}: remove it yourself if nobody else uses it")
    left = {each for each in kept if each.kind not in KEPT_KINDS}
    if left:
        inventory.write(left)
    else:
        inventory.remove()
    return bool(gone or running)


def _with_generated_names(
    inventory: Inventory, cluster: Kubectl, namespaces: Collection[str], say: Say
) -> list[Id]:
    """Return the objects that were created, not applied: the inventory does not know their names."""
    found = []
    for kind, namespace in product(("Job", "Pod"), sorted(namespaces)):
        try:
            items = cluster.all_of(kind, namespace)
        except KubectlFailed as err:
            say(f"{kind}s with generated names were not looked for in {namespace}: {err}")
            continue
        # Who copies such an object gives it a name, and keeps the label.
        found += [
            id_of(item)
            for item in items
            if inventory.marks(item.value) and item.value["metadata"].get("generateName")
        ]
    return found


def _order(each: Id) -> tuple[bool, bool]:
    """Return the place in the order: workloads last, of them the Coordinator first."""
    is_workload = each.kind in ROLLED_OUT or each.kind in {"Pod", "Job", "CronJob", "ReplicaSet"}
    return is_workload, each.name != ROLE_COORDINATOR


def _absent_places(cluster: Kubectl, first: Sequence[Id]) -> frozenset[str]:
    """Return the names of namespaces, and the kinds, that the deployment brings and the cluster does not have yet."""
    live = cluster.get(first)
    return frozenset(each.name for each in first if each not in live)


def _lies_in(each: Id, item: Annotated, places: Collection[str]) -> bool:
    """Return whether an object needs one of these namespaces or kinds."""
    group = str(item.obj["apiVersion"]).rpartition("/")[0]
    return each.namespace in places or any(name.endswith(f".{group}") for name in places if group)


def _without_additions(named: dict[Id, Annotated], live: dict[Id, Json]) -> list[dict[str, Any]]:
    """Return the workloads that still differ after an apply, which removes nothing that others added, with our pod templates."""
    return [
        {
            **item.value,
            "spec": {**item.value["spec"], "template": workloads.pod_template(named[each].obj)},
        }
        for each, item in live.items()
        if each.kind in ROLLED_OUT and drift(named[each].obj, item.value)
    ]


def _kubectl_name(each: Id) -> str:
    group = each.api_version.rpartition("/")[0]
    return f"{each.kind.lower()}{f'.{group}' if group else ''}/{each.name}"


def _change(before: Json | None, after: Json | None) -> str:
    if before is None:
        return "created"
    return "unchanged" if after is not None and _kept(before) == _kept(after) else "changed"


def _kept(item: Json) -> dict[str, Any]:
    """Return an object without what the API server and controllers write meanwhile."""
    obj: dict[str, Any] = item.value
    metadata = {
        name: value
        for name, value in obj["metadata"].items()
        if name not in {"resourceVersion", "managedFields"}
    }
    notes = metadata.get("annotations") or {}
    metadata["annotations"] = {key: value for key, value in notes.items() if key != _REVISION}
    return {**obj, "metadata": metadata, "status": None}


def _keys(changes: dict[Id, str], wanted: str) -> tuple[str, ...]:
    return tuple(each.key for each, change in changes.items() if change == wanted)


def _without_pods(item: Json) -> dict[str, Any]:
    """Return a workload as it is, with no replicas."""
    obj: dict[str, Any] = item.value
    kept = {"name", "namespace", "labels", "annotations"}
    metadata = {name: value for name, value in obj["metadata"].items() if name in kept}
    spec = {**obj["spec"], "replicas": 0}
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "metadata": metadata,
        "spec": spec,
    }


def _is_coordinator(item: Json) -> bool:
    return workloads.is_workload(item.value) and workloads.is_coordinator(item.value)


def _serves_coordinator(each: Id) -> bool:
    """Return whether an object is one of coordinator.yml that the Coordinator's StatefulSet needs to start again."""
    return each.name in {ROLE_COORDINATOR, f"{ROLE_COORDINATOR}-ready"} and each.kind in {
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "Service",
    }
