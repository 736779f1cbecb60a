"""The client of the local backend: starts the project's node and sends it requests."""

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from contrast_tasks.decode import DecodeError, Json, parse_json, read_record
from contrast_tasks.errors import ClusterError
from contrast_tasks.local.control import LET_GO, NodeAbsent, ask, parse_answer
from contrast_tasks.local.messages import Applied, Plan, PodStatus
from contrast_tasks.local.paths import LocalPaths
from contrast_tasks.local.processes import is_alive, numbers_outside
from contrast_tasks.progress import Watch, unseen

START_LIMIT_S = 20.0

_HERE = Path(__file__).resolve()
_DAEMON = "contrast_tasks.local.daemon"
_END_LIMIT_S = 60.0
# Stopping a pod includes the grace period of its containers.
_CHANGE_LIMIT_S = 120.0
# After so many seconds whoever watches is told again which pods are waited for.
_TELL_S = 2.0

# The nodes that this process started, kept so that their exit status can be collected.
_started: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeClient:
    """Requests to the node of one project. Each raises NodeAbsent if no node runs, and ClusterError."""

    paths: LocalPaths

    def is_running(self) -> bool:
        """Return whether a node answers."""
        try:
            self._ask("status", timeout_s=5)
        except NodeAbsent:
            return False
        return True

    def is_isolated(self) -> bool:
        """Return whether the node gives pods namespaces of their own."""
        return bool(self._ask("status")["isolated"])

    def status(self) -> tuple[PodStatus, ...]:
        """Return all pods, with the process IDs of this machine."""
        return self._pods(self._ask("status"))

    def addresses(self, names: Sequence[str]) -> dict[str, str]:
        """Return the address for each pod name; the Coordinator's is under the empty name."""
        addresses: dict[str, str] = self._ask("addresses", names=names)["addresses"]
        return addresses

    def process_of(self, pod: str, container: str) -> dict[str, Any]:
        """Return how the processes of an isolated pod's container are started, as an OCI specification says it."""
        return self._ask("process", pod=pod, container=container)

    def execute(self, pod: str, container: str, command: Sequence[str]) -> int:
        """Run a command in a container as a cluster would, asking the pod's policy; return its status."""
        answer = self._ask("execute", pod=pod, container=container, command=command)
        status: int = answer["status"]
        return status

    def apply(self, plan: Plan) -> Applied:
        """Make the node run exactly the plan's pods."""
        answer = self._ask("apply", plan=plan.to_json(), timeout_s=_CHANGE_LIMIT_S)
        return read_record(Applied, Json(answer))

    def restart(self, pods: Sequence[str], *, watch: Watch = unseen) -> tuple[str, ...]:
        """Restart the named pods; without names all of them. watch: is told of those that are named."""
        with watch("restarting", len(pods), "pod") as progress:
            for name in pods:
                progress.begin(name)
            answer = self._ask("restart", pods=pods, timeout_s=_CHANGE_LIMIT_S)
        return tuple(answer["restarted"])

    def stop(self, pods: Sequence[str]) -> tuple[str, ...]:
        """Stop the named pods, without names all of them; the node keeps running."""
        return tuple(self._ask("stop", pods=pods, timeout_s=_CHANGE_LIMIT_S)["stopped"])

    def wait(
        self,
        pods: Sequence[str],
        *,
        until: str,
        timeout_s: float,
        restarts: int = 5,
        watch: Watch = unseen,
    ) -> tuple[PodStatus, ...]:
        """Return when the named pods, without names all of them, are `started` or `ready`; watch: is told of each.

        Raises ClusterError naming the other pods after `timeout_s`, or when one of them failed for good or was restarted
        `restarts` times.
        """
        before = {pod.name: pod.restarts for pod in self.status()}
        names, told = tuple(pods) or tuple(before), set[str]()
        end, restarted = time.monotonic() + timeout_s, 0
        with watch("waiting for", len(names), "pod") as progress:
            while True:
                left_s = max(0.0, end - time.monotonic())
                answer = ask(
                    self.paths.control,
                    {
                        "op": "wait",
                        "pods": names,
                        "until": until,
                        "timeout_s": min(left_s, _TELL_S),
                        "restarts": restarts - restarted,
                    },
                    timeout_s=min(left_s, _TELL_S) + 10,
                )
                statuses = self._pods(answer)
                if answer["reached"]:
                    return statuses
                waited = [pod for pod in statuses if pod.name in names]
                behind = [pod for pod in waited if not pod.has_reached(until)]
                restarted = max(pod.restarts - before.get(pod.name, 0) for pod in waited)
                is_lost = restarted >= restarts or any(pod.phase == "failed" for pod in waited)
                if is_lost or left_s <= _TELL_S:
                    raise _not_reached(until, behind)
                for pod in behind:
                    progress.begin(pod.name)
                for name in {pod.name for pod in waited if pod not in behind} - told:
                    told.add(name)
                    progress.end(name)

    def shutdown(self, *, claims: Sequence[str] = (), watch: Watch = unseen) -> bool:
        """Stop all pods and the node, and wait for its end; return False if no node ran.

        A node that was told to end before, and still does, is waited for as well. claims: to delete with it. watch: is told
        of the pods.
        """
        pids, names = running_pids(self.paths), list[str]()
        try:
            names = [pod.name for pod in self.status()]
            self._ask("shutdown", claims=claims)
        except NodeAbsent:
            # It closes its socket first, and its pods end after that.
            pids = [pid for pid in pids if _is_node(pid)]
            if not pids:
                return False
        with watch("stopping", len(names), "pod") as progress:
            for name in names:
                progress.begin(name)
            for pid in pids:
                _await_exit(pid, timeout_s=_END_LIMIT_S)
        for process in _started:
            process.poll()
        return True

    def _pods(self, answer: Mapping[str, Any]) -> tuple[PodStatus, ...]:
        """Return the pods of an answer, with the process IDs of this machine instead of the node's own."""
        pods = tuple(PodStatus(**row) for row in answer["pods"])
        if not answer["isolated"]:
            return pods
        outside = {
            inner: outer
            for pid in running_pids(self.paths)
            for inner, outer in numbers_outside(pid).items()
        }
        return tuple(
            replace(
                pod, pids={name: outside[pid] for name, pid in pod.pids.items() if pid in outside}
            )
            for pod in pods
        )

    def _ask(self, op: str, *, timeout_s: float = 60.0, **fields: object) -> dict[str, Any]:
        return ask(self.paths.control, {"op": op, **fields}, timeout_s=timeout_s)


def _not_reached(until: str, behind: Sequence[PodStatus]) -> ClusterError:
    told = [
        f"{pod.name} is {pod.phase}" + (f": {pod.message}" if pod.message else "") for pod in behind
    ]
    return ClusterError(f"not {until}: " + "; ".join(told), hint="logs are in .contrast/local/logs")


def running_pids(paths: LocalPaths) -> list[int]:
    """Return the process IDs of the guard and the node, as far as they are alive."""
    with contextlib.suppress(OSError, DecodeError):
        document = parse_json(paths.pid_file.read_bytes())
        pids = [document.at(name).integer() for name in ("guard", "node")]
        return [pid for pid in pids if is_alive(pid)]
    return []


def _is_node(pid: int) -> bool:
    """Return whether a process is a guard or a node; the number of one that was killed may belong to another by now."""
    try:
        return _DAEMON.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _await_exit(pid: int, *, timeout_s: float) -> None:
    """Wait for a process that need not be a child."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([watch], [], [], timeout_s)[0]:
            raise ClusterError(f"the local backend (process {pid}) does not end")
    finally:
        os.close(watch)


class Tether:
    """A pipe to a node: when this process ends, in whatever way, the node ends too, unless it was let go before."""

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()

    def let_go(self) -> None:
        """Let the node outlive this process."""
        os.write(self._write_end, LET_GO)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.read_end)
        os.close(self._write_end)


def ensure_node(
    paths: LocalPaths,
    *,
    owner_fd: int | None = None,
    is_trial: bool = False,
    users: str | None = None,
) -> tuple[NodeClient, bool]:
    """Return a client of the project's node, and whether the node was started now; arguments as `start_node`."""
    client = NodeClient(paths=paths)
    if client.is_running():
        return client, False
    return start_node(paths, owner_fd=owner_fd, is_trial=is_trial, users=users), True


def start_node(
    paths: LocalPaths,
    *,
    owner_fd: int | None = None,
    is_trial: bool = False,
    users: str | None = None,
) -> NodeClient:
    """Start a node in the background and return when it serves.

    owner_fd: read end of a Tether; unless let go, the node stops everything when the write end closes.
    is_trial: unless let go, the node deletes the Coordinator's history when it ends.
    users: which users exist in its namespaces (`Ability.users`), None for a node without namespaces.
    Raises ClusterError with the node's own reason if it cannot start; no process is left then.
    """
    paths.logs.mkdir(parents=True, exist_ok=True)
    ready, node_end = os.pipe()
    passed = [node_end] if owner_fd is None else [node_end, owner_fd]
    argv = [sys.executable, "-m", _DAEMON]
    argv += ["--project", str(paths.project), "--ready-fd", str(node_end)]
    argv += [] if owner_fd is None else ["--owner-fd", str(owner_fd)]
    argv += ["--trial"] if is_trial else []
    argv += [] if users is None else ["--users", users]
    log = paths.logs / "node.log"
    try:
        with log.open("ab") as stream:
            process = subprocess.Popen(
                argv,
                cwd=paths.project,
                env={**os.environ, "PYTHONPATH": _python_path()},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                pass_fds=passed,
                start_new_session=True,
            )
    finally:
        os.close(node_end)
    _started.append(process)
    answer = b""
    try:
        answer = _read_line(ready, START_LIMIT_S)
    finally:
        if not answer:
            process.terminate()
            process.wait(_END_LIMIT_S)
    if not answer:
        raise ClusterError("the local backend did not start", hint=f"its log is {log}")
    parse_answer(answer)
    return NodeClient(paths=paths)


def shim_folder() -> Path:
    """Return the folder with the sitecustomize that resolves cluster names in Python applications."""
    return _HERE.parent / "shim"


def _python_path() -> str:
    before = os.environ.get("PYTHONPATH")
    # The folder that holds the packages contrast_tasks and coordinator.
    return os.pathsep.join([str(_HERE.parents[2]), *([before] if before else [])])


def _read_line(descriptor: int, timeout_s: float) -> bytes:
    try:
        if not select.select([descriptor], [], [], timeout_s)[0]:
            return b""
        return os.read(descriptor, 65536)
    finally:
        os.close(descriptor)
