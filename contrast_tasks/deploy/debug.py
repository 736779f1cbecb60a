"""Look into pods: what they said, and on this machine a command inside of one."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from contrast_tasks.client.deployed import running_pods
from contrast_tasks.decode import Json
from contrast_tasks.deploy.cluster import Access, Kubectl, id_of
from contrast_tasks.deploy.pods_report import Workload, pods_of
from contrast_tasks.deploy.select import id_in, select
from contrast_tasks.errors import ClusterError, UsageError
from contrast_tasks.kube.annotated import load_annotated
from contrast_tasks.local.client import NodeClient
from contrast_tasks.local.messages import PodStatus
from contrast_tasks.local.paths import local_paths
from contrast_tasks.report.hints import command as as_typed
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
    say: Callable[[str], None],
    container: str = "",
    lines: int = 100,
    cluster: Kubectl | None = None,
) -> tuple[tuple[Log, ...], str]:
    """Return what containers of the named workloads, without names of all, wrote last; on a cluster as kubectl's output.

    say: is told of workloads without pods, and of containers that cannot be read. container: only of this one. Raises
    ClusterError if nothing runs, or there is no such workload or container.
    """
    if not settings.is_local:
        kubectl = cluster or Kubectl(Access.of(settings), say=say)
        return (), _read_on_cluster(
            settings, names, kubectl, container=container, lines=lines, say=say
        )
    paths = local_paths(settings.root)
    running = running_pods(settings)
    pods = _selected(names, running) if names else running
    logs = tuple(
        Log(pod.name, name, _tail(path, lines), name in pod.hidden)
        for pod in pods
        for name, path in paths.logs_of(pod.name).items()
    )
    found = tuple(log for log in logs if container in ("", log.container))
    if container and not found:
        raise _no_container(container, [log.container for log in logs])
    return found, ""


def _no_container(wanted: str, there: Sequence[str]) -> ClusterError:
    known = ", ".join(dict.fromkeys(there)) or "none"
    return ClusterError(f"no pod has a container {wanted}", hint=f"there are: {known}")


def _read_on_cluster(
    settings: Settings,
    names: Sequence[str],
    cluster: Kubectl,
    *,
    container: str,
    lines: int,
    say: Callable[[str], None],
) -> str:
    found = _pods_on_cluster(settings, names, cluster, say)
    having = [pod for pod in found if container in ("", *_containers(pod))]
    if not having:
        raise _no_container(container, [name for pod in found for name in _containers(pod)])
    text, untold = "", list[str]()
    for pod in map(id_of, having):
        read = cluster.logs(pod, container=container, lines=lines)
        # Nothing else ends a line of kubectl's, though Python and terminals know more that does.
        for line in read.removesuffix("\n").split("\n") if read else ():
            # What kubectl itself says has no place in front.
            if line.startswith("["):
                text += f"{line}\n"
            else:
                untold.append(f"{pod.key}: {line.rstrip()}")
    if untold and not text:
        raise ClusterError("\n".join(untold), hint=_status_tells())
    for line in untold:
        say(line)
    return text


def _status_tells() -> str:
    return f"'{as_typed('status')}' tells why"


def _pods_on_cluster(
    settings: Settings, names: Sequence[str], cluster: Kubectl, say: Callable[[str], None]
) -> list[Json]:
    """Return the pods of the named workloads; raises ClusterError if there is none."""
    deployed = [
        (item.key, item.name, item) for item in load_annotated(settings) if item.is_workload
    ]
    wanted = select(names, deployed) if names else [item for _, _, item in deployed]
    place = cluster.target()
    places = {item.key: id_in(item, place).namespace for item in wanted}
    pods = {each: cluster.all_of("pods", each) for each in sorted(set(places.values()))}
    ours = {
        item.key: pods_of(Workload(item.key, item.obj), pods[places[item.key]]) for item in wanted
    }
    missing = [f"{key} has no pod in namespace {places[key]}" for key in ours if not ours[key]]
    if len(missing) == len(wanted):
        raise ClusterError("\n".join(missing), hint=_status_tells())
    for line in missing:
        say(f"{line}: {_status_tells()}")
    return [pod for each in ours.values() for pod in each]


def _containers(pod: Json) -> list[str]:
    spec = pod.at("spec").value
    every = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return [str(one["name"]) for one in every]


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
    if not pod.pids:
        why = f": {pod.message}" if pod.message else ""
        raise ClusterError(
            f"no container of {pod.name} runs, it is {pod.phase}{why}",
            hint=f"see what it wrote with '{as_typed(f'logs {pod.workload}')}'",
        )
    if not container:
        return list(pod.pids.items())[-1]
    if container not in pod.pids:
        running = ", ".join(pod.pids)
        raise ClusterError(f"{pod.name} runs no container {container}, there are: {running}")
    return container, pod.pids[container]
