"""Look into pods: what they said, and on this machine a command inside of one."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from contrast_tasks.client.deployed import running_pods
from contrast_tasks.deploy.cluster import Access, Kubectl
from contrast_tasks.deploy.select import select, target
from contrast_tasks.errors import ClusterError, UsageError
from contrast_tasks.kube.annotated import load_annotated
from contrast_tasks.local.client import NodeClient
from contrast_tasks.local.messages import PodStatus
from contrast_tasks.local.paths import local_paths
from contrast_tasks.settings.model import Settings


class Log(NamedTuple):
    """The last lines of one container; is_hidden: on a cluster nobody could read them, because the policy says so."""

    pod: str
    container: str
    lines: tuple[str, ...]
    is_hidden: bool


def read_logs(
    settings: Settings,
    names: Sequence[str],
    *,
    container: str = "",
    lines: int = 100,
    cluster: Kubectl | None = None,
) -> tuple[tuple[Log, ...], str]:
    """Return what containers of the named workloads, without names of all, wrote last; on a cluster as kubectl's output.

    container: only of this one. Raises ClusterError if nothing runs, or there is no such workload.
    """
    if not settings.is_local:
        workloads = [item for item in load_annotated(settings) if item.is_workload]
        deployed = [(item.key, item.name, target(item)) for item in workloads]
        wanted = select(names, deployed) if names else [each for _, _, each in deployed]
        kubectl = cluster or Kubectl(Access.of(settings))
        found = [kubectl.logs(each, container=container, lines=lines) for each in wanted]
        return (), "".join(found)
    paths = local_paths(settings.root)
    running = running_pods(settings)
    pods = _selected(names, running) if names else running
    return tuple(
        Log(pod.name, name, _tail(path, lines), name in pod.hidden)
        for pod in pods
        for name, path in paths.logs_of(pod.name).items()
        if container in ("", name)
    ), ""


def _selected(names: Sequence[str], running: Sequence[PodStatus]) -> list[PodStatus]:
    wanted = select(names, [(pod.workload, pod.name, pod.name) for pod in running])
    return [pod for pod in running if pod.name in wanted]


def _tail(path: Path, lines: int) -> tuple[str, ...]:
    return tuple(path.read_text(errors="replace").splitlines()[-lines:])


def run_in_pod(
    settings: Settings, name: str, command: Sequence[str], *, container: str = ""
) -> int:
    """Run a command in a running container of this machine with this process's input and output; return its exit status.

    container: by default the first main one. No policy is asked: this is for debugging what runs here, and on a cluster the
    policy of a confidential pod denies it. Raises ClusterError if there is no such container, UsageError on a cluster.
    """
    if not settings.is_local:
        raise UsageError(
            f"exec works on platform local only, this is {settings.platform}",
            hint="policies deny commands that are not probes of the pod; 'kubectl exec' reaches pods without one",
        )
    client = NodeClient(paths=local_paths(settings.root))
    running = running_pods(settings)
    if not client.is_isolated():
        raise ClusterError(
            "pods are processes of this machine here, there is nothing to enter",
            hint="look at it from outside, or let pods have namespaces ([local] isolation)",
        )
    pod = _selected([name], running)[0]
    place, pid = _running(pod, container)
    process = client.process_of(pod.name, place)
    user = process["user"]
    entered = ["--mount", "--net", "--uts", "--ipc", "--pid", "--root", "--wd"]
    entered += [] if os.geteuid() == 0 else ["--user"]
    entered += ["--setuid", str(user["uid"]), "--setgid", str(user["gid"])]
    if os.geteuid() != 0 and not user["uid"]:
        # With one user there are no groups to take.
        entered[-4:] = ["--preserve-credentials"]
    program = shutil.which("nsenter") or "nsenter"
    done = subprocess.run(
        [program, "--target", str(pid), *entered, *command],
        env=dict(each.split("=", 1) for each in process["env"]),
        check=False,
    )
    return done.returncode


def _running(pod: PodStatus, container: str) -> tuple[str, int]:
    """Return a container and its first process, as this machine numbers it."""
    if not container and pod.pids:
        return list(pod.pids.items())[-1]
    if container not in pod.pids:
        if not pod.pids:
            raise ClusterError(f"no container of {pod.name} runs")
        running = ", ".join(pod.pids)
        raise ClusterError(f"{pod.name} runs no container {container}, there are: {running}")
    return container, pod.pids[container]
