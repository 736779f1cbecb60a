"""Deploy, restart, status and stop: on a cluster, or on this machine for platform `local`."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from contrast_tasks.addresses import USER_API_PORT
from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.client.deployed import running_pods
from contrast_tasks.deploy import on_cluster
from contrast_tasks.deploy.cluster import ROLLED_OUT, Access, Kubectl
from contrast_tasks.deploy.cluster_status import status as cluster_status
from contrast_tasks.deploy.inventory import KEPT_KINDS
from contrast_tasks.deploy.pods_report import PodLine
from contrast_tasks.deploy.select import select
from contrast_tasks.errors import ClusterError, ContrastError, UsageError
from contrast_tasks.kube.annotated import (
    Annotated,
    load_annotated,
    refuse_unfit,
)
from contrast_tasks.kube.workloads import claim_modes
from contrast_tasks.local.client import NodeClient, Tether
from contrast_tasks.local.control import NodeAbsent
from contrast_tasks.local.messages import PodStatus
from contrast_tasks.local.paths import local_paths
from contrast_tasks.progress import Watch, unseen
from contrast_tasks.report.hints import command
from contrast_tasks.settings.model import Settings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployResult:
    """What deploy changed: names of pods on platform local, of objects on a cluster.

    coordinator: host:port of the user API, "" on a cluster, where the load balancer assigns it.
    """

    platform: str
    started: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    coordinator: str = ""

    @property
    def changed(self) -> bool:
        """Return whether anything was done."""
        return bool(self.started or self.replaced or self.stopped)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusResult:
    """What runs.

    pods: on platform local. on_cluster: elsewhere, with drift: what was changed there, outdated: what this build would change,
    untold: what the user may not read.
    behind: what did not become ready in time. coordinator: the state it reports, "" if it was not asked.
    """

    platform: str
    running: bool
    behind: str = ""
    coordinator: str = ""
    pods: tuple[PodStatus, ...] = ()
    on_cluster: tuple[PodLine, ...] = ()
    drift: tuple[str, ...] = ()
    outdated: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)


def run_deploy(
    settings: Settings,
    *,
    say: Say,
    environ: Mapping[str, str] | None = None,
    cluster: Kubectl | None = None,
    with_mesh: bool = True,
    fresh: bool = False,
    trial: Tether | None = None,
    take_over: bool = False,
    prune: bool = False,
    watch: Watch = unseen,
) -> DeployResult:
    """Make what runs equal to the annotated YAML; unchanged pods keep running.

    The following are for platform local only. with_mesh: False runs only the Coordinator and the initializers. fresh:
    stop what runs and delete the Coordinator's history. trial: unless this tether lets go, everything that was started
    ends with it, including the Coordinator's history; None: it keeps running, unless this function raises. watch: is told of
    the pods, on a cluster of the objects.
    On platform local a Coordinator in recovery mode is recovered if the owner's share and key are here.
    For a cluster only: take_over: fields that other tools own; prune: remove objects that are no longer deployed.
    Raises UsageError for a confidential pod without policy, ImageError, ClusterError; CoordinatorUnreachable if the
    Coordinator needs an owner's help, and then everything keeps running.
    """
    if not settings.is_local and (fresh or not with_mesh):
        option = "--fresh" if fresh else "--without-mesh"
        raise UsageError(f"{option} works on platform local only, this is {settings.platform}")
    if settings.is_local and (take_over or prune):
        option = "--take-over" if take_over else "--prune"
        raise UsageError(f"{option} works on clusters only, this is platform local")
    objects = load_annotated(settings)
    refuse_unfit(objects, settings)
    if not settings.is_local:
        return _deploy_to_cluster(
            settings,
            objects,
            cluster or kubectl_of(settings, say),
            say=say,
            take_over=take_over,
            prune=prune,
            watch=watch,
        )
    from contrast_tasks.deploy.local.start import LocalDeploy

    local = LocalDeploy(
        settings=settings,
        objects=objects,
        say=say,
        environ=os.environ if environ is None else environ,
        with_mesh=with_mesh,
        fresh=fresh,
        watch=watch,
    )
    pods, coordinator = local.run(trial)
    return DeployResult(
        platform=settings.platform,
        started=pods.started,
        replaced=pods.replaced,
        unchanged=pods.unchanged,
        stopped=pods.stopped,
        coordinator=f"{coordinator}:{USER_API_PORT}" if coordinator else "",
    )


def _deploy_to_cluster(
    settings: Settings,
    objects: Sequence[Annotated],
    cluster: Kubectl,
    *,
    say: Say,
    take_over: bool,
    prune: bool,
    watch: Watch,
) -> DeployResult:
    done = on_cluster.deploy(
        settings, objects, cluster, say=say, take_over=take_over, prune=prune, watch=watch
    )
    for what, keys in (
        ("created", done.created),
        ("changed", done.changed),
        ("removed", done.removed),
    ):
        for key in keys:
            say(f"{what} {key}")
    for key in done.gone:
        say(f"{key} is no longer in the deployment, and still on the cluster")
    if not prune and any(key.split("/")[-2] not in KEPT_KINDS for key in done.gone):
        say(f"  hint: '{command('deploy --prune')}' removes it")
    return DeployResult(
        platform=settings.platform,
        started=done.created,
        replaced=done.changed,
        unchanged=done.unchanged,
        stopped=done.removed,
    )


def run_restart(
    settings: Settings,
    *,
    say: Say,
    names: Sequence[str] = (),
    wait_s: float = 60.0,
    cluster: Kubectl | None = None,
    watch: Watch = unseen,
) -> tuple[str, ...]:
    """Restart workloads so that they fetch new certificates: the named ones, without names all but the Coordinator.

    Return the names of the restarted pods, or of the workloads on a cluster.
    wait_s: how long to wait until they are ready; 0 does not wait. watch: is told of those that are waited for.
    """
    if not settings.is_local:
        chosen = _restartable(settings, say, names)
        kubectl = cluster or kubectl_of(settings, say)
        return on_cluster.restart(chosen, kubectl, say=say, wait_s=wait_s, watch=watch)
    client = NodeClient(paths=local_paths(settings.root))
    running = running_pods(settings)
    if names:
        pods = select(names, [(pod.workload, pod.name, pod.name) for pod in running])
    else:
        pods = tuple(pod.name for pod in running if pod.role != ROLE_COORDINATOR)
    restarted = client.restart(pods, watch=watch) if pods else ()
    for name in restarted:
        say(f"restarted {name}")
    for pod in running:
        if pod.role == ROLE_COORDINATOR and pod.name in restarted:
            from contrast_tasks.deploy.local.recovery import START_LIMIT_S, recover_if_needed

            client.wait([pod.name], until="started", timeout_s=START_LIMIT_S)
            others = [other.name for other in running if other.name not in restarted]
            restarted = (
                *restarted,
                *recover_if_needed(settings, client, pod.address, say=say, had_certificates=others),
            )
    if wait_s and restarted:
        client.wait(restarted, until="ready", timeout_s=wait_s, watch=watch)
    return restarted


def _restartable(settings: Settings, say: Say, names: Sequence[str]) -> Sequence[Annotated]:
    workloads = [item for item in load_annotated(settings) if item.is_workload]
    if names:
        return select(names, [(item.key, item.name, item) for item in workloads])
    others = [item for item in workloads if item.role != ROLE_COORDINATOR]
    for item in others:
        if item.kind == "CronJob":
            say(f"{item.key} needs no restart: its next job gets a new certificate")
        elif item.kind not in ROLLED_OUT:
            say(f"{item.key} cannot be restarted in place: delete it, then deploy again")
    return [item for item in others if item.kind in ROLLED_OUT]


def kubectl_of(settings: Settings, say: Say) -> Kubectl:
    """Return the cluster that the settings name; say: receives warnings of its API server."""
    return Kubectl(Access.of(settings), say=say)


def run_status(
    settings: Settings,
    *,
    say: Say,
    wait_s: float = 0.0,
    cluster: Kubectl | None = None,
    watch: Watch = unseen,
) -> StatusResult:
    """Return what runs; wait_s: how long to wait until every pod is ready. watch: is told of it."""
    if not settings.is_local:
        kubectl, objects = cluster or kubectl_of(settings, say), load_annotated(settings)
        found = cluster_status(objects, kubectl, say=say, wait_s=wait_s, watch=watch)
        return StatusResult(
            platform=settings.platform,
            running=any(line.pod for line in found.lines),
            behind=found.behind,
            on_cluster=found.lines,
            drift=found.drift,
            outdated=found.outdated,
            untold=found.untold,
        )
    client = NodeClient(paths=local_paths(settings.root))
    behind = ""
    try:
        if wait_s:
            behind = _wait_until_ready(client, wait_s, watch)
        pods = client.status()
    except NodeAbsent:
        pods = ()
    state, pods = _with_coordinator_state(pods)
    return StatusResult(
        platform=settings.platform,
        running=bool(pods),
        behind=behind,
        coordinator=state,
        pods=pods,
        addresses={pod.name: pod.address for pod in pods},
    )


def _with_coordinator_state(pods: Sequence[PodStatus]) -> tuple[str, tuple[PodStatus, ...]]:
    """Return the Coordinator's state, and the pods, the Coordinator's with the reason as its message.

    The Coordinator is asked only if some pod is not ready, because that pod may be waiting for it.
    """
    from contrast_tasks.deploy.local.recovery import coordinator_state

    coordinator = next((pod for pod in pods if pod.role == ROLE_COORDINATOR and pod.started), None)
    if coordinator is None or all(pod.ready for pod in pods):
        return "", tuple(pods)
    state, reason = coordinator_state(coordinator.address)
    explained = replace(coordinator, message=coordinator.message or reason)
    return state, tuple(explained if pod is coordinator else pod for pod in pods)


def _wait_until_ready(client: NodeClient, wait_s: float, watch: Watch) -> str:
    try:
        client.wait([], until="ready", timeout_s=wait_s, watch=watch)
    except NodeAbsent:
        raise
    except ClusterError as err:
        return str(err)
    return ""


def run_stop(
    settings: Settings,
    *,
    say: Say,
    everything: bool = False,
    cluster: Kubectl | None = None,
    watch: Watch = unseen,
) -> bool:
    """Stop the deployment; return False if nothing was deployed. everything: the Coordinator's history on a cluster too.

    watch: is told of the pods on platform local.
    """
    if not settings.is_local:
        stopped = on_cluster.stop(
            settings, cluster or kubectl_of(settings, say), say=say, everything=everything
        )
    elif everything:
        raise UsageError(
            "--all works on clusters only, this is platform local",
            hint=f"'{command('deploy --fresh')}' begins a new history",
        )
    else:
        claims = _claims_to_delete(settings)
        stopped = NodeClient(paths=local_paths(settings.root)).shutdown(claims=claims, watch=watch)
    say("stopped" if stopped else "nothing was running")
    return stopped


def _claims_to_delete(settings: Settings) -> list[str]:
    """Return the claims that `kubectl delete` of the deployment would delete; none if it cannot be read.

    Those that are objects of the deployment are, those of a StatefulSet's templates only where it says so.
    """
    try:
        objects = load_annotated(settings)
    except ContrastError:
        return []
    found = [item.name for item in objects if item.kind == "PersistentVolumeClaim"]
    for item in objects:
        policy = item.obj.get("spec", {}).get("persistentVolumeClaimRetentionPolicy") or {}
        if item.kind == "StatefulSet" and policy.get("whenDeleted") == "Delete":
            count = int(item.obj["spec"].get("replicas") or 1)
            found += [
                f"{claim}-{item.name}-{index}"
                for claim in claim_modes(item.obj)
                for index in range(count)
            ]
    return found
