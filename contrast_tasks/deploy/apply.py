"""Deploy, restart, status and stop: on a cluster, or on this machine for platform `local`."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from contrast_tasks.addresses import USER_API_PORT
from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.client.deployed import running_pods
from contrast_tasks.deploy.classes import refuse_absent_classes
from contrast_tasks.deploy.cluster import ROLLED_OUT, Kubectl
from contrast_tasks.deploy.select import select, target
from contrast_tasks.errors import ClusterError, ContrastError, UsageError
from contrast_tasks.kube.annotated import (
    Annotated,
    deployment_places,
    files_to_create,
    load_annotated,
    refuse_unfit,
)
from contrast_tasks.kube.workloads import claim_modes
from contrast_tasks.local.client import NodeClient, Tether
from contrast_tasks.local.control import NodeAbsent
from contrast_tasks.local.messages import PodStatus
from contrast_tasks.local.paths import local_paths
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
    """What runs. pods: on platform local; text: kubectl's output on a cluster.

    behind: what did not become ready in time. coordinator: the state it reports, "" if it was not asked.
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
    cluster: Kubectl | None = None,
    with_mesh: bool = True,
    fresh: bool = False,
    trial: Tether | None = None,
) -> DeployResult:
    """Make what runs equal to the annotated YAML; unchanged pods keep running.

    The following are for platform local only. with_mesh: False runs only the Coordinator and the initializers. fresh:
    stop what runs and delete the Coordinator's history. trial: unless this tether lets go, everything that was started
    ends with it, including the Coordinator's history; None: it keeps running, unless this function raises.
    On platform local a Coordinator in recovery mode is recovered if the owner's share and key are here.
    Raises UsageError for a confidential pod without policy, ImageError, ClusterError; CoordinatorUnreachable if the
    Coordinator needs an owner's help, and then everything keeps running.
    """
    if not settings.is_local and (fresh or not with_mesh):
        option = "--fresh" if fresh else "--without-mesh"
        raise UsageError(f"{option} works on platform local only, this is {settings.platform}")
    objects = load_annotated(settings)
    refuse_unfit(objects, settings)
    if not settings.is_local:
        return _deploy_to_cluster(settings, objects, cluster or Kubectl(), say)
    from contrast_tasks.deploy.local.start import LocalDeploy

    local = LocalDeploy(
        settings=settings,
        objects=objects,
        say=say,
        environ=os.environ if environ is None else environ,
        with_mesh=with_mesh,
        fresh=fresh,
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
    settings: Settings, objects: Sequence[Annotated], cluster: Kubectl, say: Say
) -> DeployResult:
    if reason := refuse_absent_classes(settings, objects, cluster):
        say(f"the runtime classes of the cluster were not looked up: {reason}")
    created = files_to_create(objects, settings)
    if created:
        files = dict.fromkeys(settings.root / item.where.file for item in objects)
        applied = [file for file in files if file not in created]
        changed = [*(cluster.apply(applied) if applied else ()), *cluster.create(created)]
    else:
        changed = cluster.apply(deployment_places(settings))
    for line in changed:
        say(line)
    return DeployResult(
        platform=settings.platform,
        started=tuple(changed),
        unchanged=() if changed else tuple(item.key for item in objects),
    )


def run_restart(
    settings: Settings,
    *,
    say: Say,
    names: Sequence[str] = (),
    wait_s: float = 60.0,
    cluster: Kubectl | None = None,
) -> tuple[str, ...]:
    """Restart workloads so that they fetch new certificates: the named ones, without names all but the Coordinator.

    Return the names of the restarted pods, or of the workloads on a cluster.
    wait_s: how long to wait until they are ready; 0 does not wait.
    """
    if not settings.is_local:
        return _restart_in_cluster(settings, say, names, wait_s, cluster or Kubectl())
    client = NodeClient(paths=local_paths(settings.root))
    running = running_pods(settings)
    if names:
        pods = select(names, [(pod.workload, pod.name, pod.name) for pod in running])
    else:
        pods = tuple(pod.name for pod in running if pod.role != ROLE_COORDINATOR)
    restarted = client.restart(pods) if pods else ()
    for name in restarted:
        say(f"restarted {name}")
    for pod in running:
        if pod.role == ROLE_COORDINATOR and pod.name in restarted:
            from contrast_tasks.deploy.local.recovery import START_LIMIT_S, recover_if_needed

            client.wait([pod.name], until="started", timeout_s=START_LIMIT_S)
            others = [other.name for other in running if other.name not in restarted]
            recover_if_needed(settings, client, pod.address, say=say, had_certificates=others)
    if wait_s and restarted:
        client.wait(restarted, until="ready", timeout_s=wait_s)
    return restarted


def _restart_in_cluster(
    settings: Settings, say: Say, names: Sequence[str], wait_s: float, cluster: Kubectl
) -> tuple[str, ...]:
    workloads = [item for item in load_annotated(settings) if item.is_workload]
    if names:
        targets = select(names, [(item.key, item.name, target(item)) for item in workloads])
    else:
        others = [item for item in workloads if item.role != ROLE_COORDINATOR]
        for item in others:
            if item.kind not in ROLLED_OUT:
                say(f"{item.key} cannot be restarted in place: delete it, then deploy again")
        targets = tuple(target(item) for item in others if item.kind in ROLLED_OUT)
    restarted = cluster.restart(targets)
    for name in restarted:
        say(f"restarted {name}")
    if wait_s:
        cluster.wait(targets, timeout_s=wait_s)
    return restarted


def run_status(
    settings: Settings, *, wait_s: float = 0.0, cluster: Kubectl | None = None
) -> StatusResult:
    """Return what runs; wait_s: how long to wait until every pod is ready."""
    if not settings.is_local:
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


def _status_of_cluster(settings: Settings, wait_s: float, cluster: Kubectl) -> StatusResult:
    behind = ""
    if wait_s:
        targets = [target(item) for item in load_annotated(settings) if item.is_workload]
        try:
            cluster.wait(targets, timeout_s=wait_s)
        except ClusterError as err:
            behind = str(err)
    text = cluster.status()
    return StatusResult(platform=settings.platform, running=bool(text), behind=behind, text=text)


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
    if not settings.is_local:
        raise ClusterError(
            "stop works on platform local only",
            hint=f"use kubectl delete -f {settings.build_dir}/deployment",
        )
    claims = _claims_to_delete(settings)
    stopped = NodeClient(paths=local_paths(settings.root)).shutdown(claims=claims)
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
