"""Deploy: the annotated YAML onto a cluster, or onto this machine where the platform is `local`.

Also restart, status and stop, which speak to the same two places.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from contrast_tasks.addresses import USER_API_PORT
from contrast_tasks.client.deployed import ROLE_COORDINATOR, is_local, running_pods
from contrast_tasks.deploy.cluster import ROLLED_OUT, Cluster, Kubectl, Target
from contrast_tasks.errors import ClusterError, UsageError
from contrast_tasks.kube.annotated import (
    Annotated,
    deployment_folder,
    load_annotated,
    refuse_without_policy,
)
from contrast_tasks.local.client import NodeClient, Tether
from contrast_tasks.local.control import NodeAbsent
from contrast_tasks.local.messages import PodStatus
from contrast_tasks.local.paths import local_paths
from contrast_tasks.settings.load import Settings

START_LIMIT_S = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployResult:
    """What deploy did; names of pods on platform local, of objects on a cluster.

    coordinator: host:port of the user API, "" on a cluster, where the load balancer decides it.
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
class RestartResult:
    """The pods or workloads that were restarted."""

    restarted: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusResult:
    """What runs. pods: on platform local; text: a cluster's own words otherwise.

    behind: what was waited for in vain. coordinator: its own word for its state, "" if it was not asked.
    """

    platform: str
    running: bool
    behind: str = ""
    coordinator: str = ""
    pods: tuple[PodStatus, ...] = ()
    text: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)


def run_deploy(
    settings: Settings,
    *,
    say: Say,
    environ: Mapping[str, str] | None = None,
    cluster: Cluster | None = None,
    with_mesh: bool = True,
    fresh: bool = False,
    trial: Tether | None = None,
    start_limit_s: float = START_LIMIT_S,
) -> DeployResult:
    """Make what runs equal to the annotated YAML; an unchanged pod is left running.

    with_mesh: False runs the Coordinator and the initializers alone. fresh: stop what runs and forget the
    Coordinator's history. trial: what is started ends with this tether, the Coordinator's history too, unless it lets go;
    without one, what was started goes on when this returns, and ends when it raises. The last three are of platform
    local, where a Coordinator in recovery mode is recovered if the owner's share and key are here.
    Raises UsageError for a confidential pod without policy, ImageError, ClusterError; CoordinatorUnreachable if the
    Coordinator needs somebody's help, then everything runs.
    """
    if not is_local(settings) and (fresh or not with_mesh):
        option = "--fresh" if fresh else "--without-mesh"
        raise UsageError(f"{option} works on platform local only, this is {settings.platform}")
    objects = load_annotated(settings)
    refuse_without_policy(objects)
    if not is_local(settings):
        return _deploy_to_cluster(settings, objects, cluster or Kubectl(), say)
    from contrast_tasks.deploy.local.start import LocalDeploy

    local = LocalDeploy(
        settings=settings,
        objects=objects,
        say=say,
        environ=os.environ if environ is None else environ,
        with_mesh=with_mesh,
        fresh=fresh,
        start_limit_s=start_limit_s,
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
    settings: Settings, objects: Sequence[Annotated], cluster: Cluster, say: Say
) -> DeployResult:
    changed = cluster.apply(deployment_folder(settings))
    for line in changed:
        say(line)
    return DeployResult(
        platform=settings.platform,
        started=tuple(changed),
        unchanged=() if changed else tuple(item.key for item in objects),
    )


def _matching(pods: Sequence[PodStatus], names: Sequence[str]) -> list[str]:
    """Return the pods of the named workloads (`web`, `Deployment/web`); all but the Coordinator for no name."""
    if not names:
        return [pod.name for pod in pods if pod.role != ROLE_COORDINATOR]
    found: list[str] = []
    for name in names:
        wanted = name.lower()
        matches = [
            pod.name
            for pod in pods
            if wanted in {pod.name.lower(), pod.workload.lower(), pod.workload.rpartition("/")[2]}
        ]
        if not matches:
            there = ", ".join(sorted({pod.workload for pod in pods})) or "none"
            raise ClusterError(f"no workload {name} is deployed, there are: {there}")
        found += matches
    return list(dict.fromkeys(found))


def run_restart(
    settings: Settings,
    *,
    say: Say,
    names: Sequence[str] = (),
    wait_s: float = 60.0,
    cluster: Cluster | None = None,
) -> RestartResult:
    """Restart workloads so that they fetch new certificates: all but the Coordinator, or the named ones.

    wait_s: how long to wait until they are ready; 0 does not wait.
    """
    if not is_local(settings):
        return _restart_in_cluster(settings, say, names, wait_s, cluster or Kubectl())
    client = NodeClient(paths=local_paths(settings.root))
    running = running_pods(settings)
    pods = _matching(running, names)
    restarted = client.restart(pods) if pods else ()
    for name in restarted:
        say(f"restarted {name}")
    for pod in running:
        if pod.role == ROLE_COORDINATOR and pod.name in restarted:
            others = [other.name for other in running if other.name not in restarted]
            _bring_back_coordinator(settings, client, pod, others=others, say=say)
    if wait_s and restarted:
        client.wait(restarted, until="ready", timeout_s=wait_s)
    return RestartResult(restarted=tuple(restarted))


def _bring_back_coordinator(
    settings: Settings,
    client: NodeClient,
    coordinator: PodStatus,
    *,
    others: Sequence[str],
    say: Say,
) -> None:
    from contrast_tasks.deploy.local.recovery import bring_back

    client.wait([coordinator.name], until="started", timeout_s=START_LIMIT_S)
    bring_back(settings, client, coordinator.address, say=say, had_certificates=others)


def _restart_in_cluster(
    settings: Settings, say: Say, names: Sequence[str], wait_s: float, cluster: Cluster
) -> RestartResult:
    workloads = [item for item in load_annotated(settings) if item.is_workload]
    chosen = [item for item in workloads if item.role != ROLE_COORDINATOR]
    if names:
        chosen = []
        for name in names:
            matches = [item for item in workloads if name in {item.name, item.key}]
            if not matches:
                there = ", ".join(sorted(item.key for item in workloads)) or "none"
                raise ClusterError(f"no workload {name} is deployed, there are: {there}")
            chosen += matches
    else:
        for item in chosen:
            if item.kind not in ROLLED_OUT:
                say(f"{item.key} cannot be restarted in place: delete it, then deploy again")
        chosen = [item for item in chosen if item.kind in ROLLED_OUT]
    targets = list(dict.fromkeys(map(_target, chosen)))
    restarted = cluster.restart(targets)
    for name in restarted:
        say(f"restarted {name}")
    if wait_s:
        cluster.wait(targets, timeout_s=wait_s)
    return RestartResult(restarted=restarted)


def _target(item: Annotated) -> Target:
    return item.kind, str(item.obj["metadata"].get("namespace") or ""), item.name


def run_status(
    settings: Settings, *, wait_s: float = 0.0, cluster: Cluster | None = None
) -> StatusResult:
    """Return what runs; wait_s: wait that long until every pod is ready."""
    if not is_local(settings):
        return _status_of_cluster(settings, wait_s, cluster or Kubectl())
    client = NodeClient(paths=local_paths(settings.root))
    behind = ""
    try:
        if wait_s:
            behind = _wait_until_ready(client, wait_s)
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


def _status_of_cluster(settings: Settings, wait_s: float, cluster: Cluster) -> StatusResult:
    behind = ""
    if wait_s:
        targets = [_target(item) for item in load_annotated(settings) if item.is_workload]
        try:
            cluster.wait(targets, timeout_s=wait_s)
        except ClusterError as err:
            behind = str(err)
    text = cluster.status()
    return StatusResult(platform=settings.platform, running=bool(text), behind=behind, text=text)


def _with_coordinator_state(pods: Sequence[PodStatus]) -> tuple[str, tuple[PodStatus, ...]]:
    """Return the Coordinator's state, and the pods, with its reason where its pod has no message.

    It is asked only when some pod is not ready, for that one may wait for the Coordinator.
    """
    from contrast_tasks.deploy.local.recovery import coordinator_state

    asked = [pod for pod in pods if pod.role == ROLE_COORDINATOR and pod.started]
    if not asked or all(pod.ready for pod in pods):
        return "", tuple(pods)
    state, reason = coordinator_state(asked[0].address)
    told = {asked[0].name: reason} if reason and not asked[0].message else {}
    return state, tuple(
        replace(pod, message=told[pod.name]) if pod.name in told else pod for pod in pods
    )


def _wait_until_ready(client: NodeClient, wait_s: float) -> str:
    try:
        client.wait([], until="ready", timeout_s=wait_s)
    except NodeAbsent:
        raise
    except ClusterError as err:
        return str(err)
    return ""


def run_stop(settings: Settings, *, say: Say) -> bool:
    """Stop the local deployment; return False if none was running. Raises ClusterError on a cluster."""
    if not is_local(settings):
        raise ClusterError(
            "stop works on platform local only",
            hint=f"use kubectl delete -f {settings.build_dir}/deployment",
        )
    stopped = NodeClient(paths=local_paths(settings.root)).shutdown()
    say("stopped" if stopped else "nothing was running")
    return stopped
