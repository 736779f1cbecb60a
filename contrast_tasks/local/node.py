"""The node: one daemon per project that runs pods as processes and answers on a control socket.

`python -m contrast_tasks.local.node --project DIR [--ready-fd N] [--owner-fd N] [--trial]`

It stops everything on SIGTERM, SIGINT, on the request `shutdown`, and when the pipe behind --owner-fd closes, which
is how a daemon started by `demo`, or by a `deploy` that does not finish, ends with it; a byte on that pipe lets the
daemon go. It stops everything, too, when its control socket is gone, as after `rm -r .contrast`: nobody could reach it
any more. With --trial the Coordinator's history ends with a daemon that was not let go. One line of JSON on
--ready-fd tells that it serves, or why not.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ClusterError, ContrastError
from contrast_tasks.files import pretty_json, write_atomic
from contrast_tasks.local.control import (
    LET_GO,
    MAX_MESSAGE_BYTES,
    listening_socket,
    render_error,
    render_message,
)
from contrast_tasks.local.network import (
    COORDINATOR_HOST,
    Network,
    busy_endpoint,
    pod_address,
)
from contrast_tasks.local.paths import LocalPaths, local_paths
from contrast_tasks.local.plan import Plan, PodPlan, parse_plan
from contrast_tasks.local.pod import BackOff, Phase, Pod
from contrast_tasks.local.processes import become_subreaper, guard, kill_descendants

_WATCH_PERIOD_S = 0.5


class Node:
    """The pods of one project and the requests about them."""

    def __init__(self, paths: LocalPaths, network: Network, back_off: BackOff) -> None:
        self._paths = paths
        self._network = network
        self._back_off = back_off
        self._pods: dict[str, Pod] = {}
        self._changes = asyncio.Event()
        self._order = asyncio.Lock()
        self.ending = asyncio.Event()
        self.was_let_go = False
        self.is_lost = False

    def _changed(self) -> None:
        self._changes.set()
        self._changes = asyncio.Event()

    async def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one request.

        Raises ClusterError for a request that is not known or cannot be carried out.
        """
        match request.get("op"):
            case "status":
                return self._status()
            case "addresses":
                return {"addresses": self._addresses(request["names"])}
            case "wait":
                return await self._wait(request)
            case "shutdown":
                self.ending.set()
                return {}
            case "apply" | "restart" | "stop":
                async with self._order:
                    return await self._change(request)
            case other:
                raise ClusterError(f"the local backend knows no request {other!r}")

    async def _change(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request["op"] == "apply":
            return await self._apply(parse_plan(request["plan"]))
        if request["op"] == "restart":
            return await self._restart(request["pods"])
        return await self._stop(request["pods"])

    def _status(self) -> dict[str, Any]:
        pods = [pod.status() for _, pod in sorted(self._pods.items())]
        return {"project": str(self._paths.project), "net": self._network.net, "pods": pods}

    def _addresses(self, names: Sequence[str]) -> dict[str, str]:
        coordinator = pod_address(self._network.net, COORDINATOR_HOST)
        return {**self._network.allocate(names), "": coordinator}

    async def _apply(self, plan: Plan) -> dict[str, Any]:
        wanted = {pod.name: pod for pod in plan.pods}
        for pod in plan.pods:
            pod.measured_policy_sha256()
        removed = sorted(self._pods.keys() - wanted.keys())
        unchanged = sorted(
            name
            for name, pod in self._pods.items()
            if name in wanted
            and pod.plan.digest == wanted[name].digest
            and pod.phase is not Phase.FAILED
        )
        replaced = sorted(self._pods.keys() - set(removed) - set(unchanged))
        started = sorted(wanted.keys() - self._pods.keys())
        self._refuse_busy([wanted[name] for name in started], leaving=[*removed, *replaced])
        await self._remove([*removed, *replaced])
        self._refuse_busy([wanted[name] for name in [*started, *replaced]], leaving=[])
        hosts = {name: dict(ports) for name, ports in plan.hosts.items()}
        write_atomic(self._paths.hosts, pretty_json(hosts))
        for name in [*started, *replaced]:
            self._start(wanted[name])
        return {
            "started": started,
            "replaced": replaced,
            "unchanged": unchanged,
            "stopped": removed,
        }

    def _refuse_busy(self, pods: Sequence[PodPlan], *, leaving: Sequence[str]) -> None:
        """Raise ClusterError if a port that a pod needs is taken by anybody but a pod that leaves."""
        freed = {endpoint for name in leaving for endpoint in self._pods[name].plan.listens}
        for pod in pods:
            wanted = [endpoint for endpoint in pod.listens if endpoint not in freed]
            if (busy := busy_endpoint(wanted)) is not None:
                raise ClusterError(
                    f"{busy[0]}:{busy[1]} is in use, pod {pod.name} needs it",
                    hint="stop the process that listens there, then deploy again",
                )

    def _start(self, plan: PodPlan) -> None:
        pod = Pod(
            plan,
            paths=self._paths,
            hosts_env={"CONTRAST_LOCAL_HOSTS": str(self._paths.hosts)},
            changed=self._changed,
            back_off=self._back_off,
        )
        self._pods[plan.name] = pod
        pod.start()

    async def _remove(self, names: Sequence[str]) -> None:
        pods = [self._pods[name] for name in names]
        # What lies in the folders of a node that was lost may be its successor's by now.
        await asyncio.gather(*(pod.stop(keeps_files=self.is_lost) for pod in pods))
        for name in names:
            del self._pods[name]
        self._changed()

    def _known(self, names: Sequence[str]) -> list[str]:
        for name in names:
            if name not in self._pods:
                there = ", ".join(sorted(self._pods)) or "none"
                raise ClusterError(f"no pod {name} runs here, there are: {there}")
        return list(names) or sorted(self._pods)

    async def _restart(self, names: Sequence[str]) -> dict[str, Any]:
        names = self._known(names)
        plans = [self._pods[name].plan for name in names]
        await self._remove(names)
        for plan in plans:
            self._start(plan)
        return {"restarted": names}

    async def _stop(self, names: Sequence[str]) -> dict[str, Any]:
        names = self._known(names)
        await self._remove(names)
        return {"stopped": names}

    async def _wait(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer when all named pods are `started` or `ready`, one has no hope left, or time is up."""
        names = self._known(request["pods"])
        until, limit = request["until"], request["restarts"]
        before = {name: self._pods[name].restarts for name in names}
        reached = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(request["timeout_s"]):
                while True:
                    changes = self._changes
                    pods = [self._pods[name] for name in self._known(names)]
                    reached = all(getattr(pod.phase, f"is_{until}") for pod in pods)
                    hopeless = any(
                        pod.phase is Phase.FAILED
                        or pod.restarts - before.get(pod.plan.name, 0) >= limit
                        for pod in pods
                    )
                    if reached or hopeless:
                        break
                    await changes.wait()
        return {"reached": reached, **self._status()}

    async def close(self) -> None:
        """Stop all pods; applications first, the Coordinator last."""
        last = [name for name, pod in self._pods.items() if pod.plan.role == "coordinator"]
        await self._remove([name for name in self._pods if name not in last])
        await self._remove(last)


async def _serve_client(
    node: Node, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        line = await reader.readline()
        if line:
            try:
                answer = render_message({"ok": True, **await node.answer(json.loads(line))})
            except ContrastError as err:
                answer = render_error(err)
            except (KeyError, ValueError, TypeError, AttributeError) as err:
                answer = render_error(ClusterError(f"the request is not understood: {err!r}"))
            writer.write(answer)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        return
    finally:
        writer.close()


def _watch_owner(node: Node, owner_fd: int) -> None:
    loop = asyncio.get_running_loop()

    def told() -> None:
        loop.remove_reader(owner_fd)
        if os.read(owner_fd, 1) == LET_GO:
            node.was_let_go = True
        else:
            node.ending.set()

    loop.add_reader(owner_fd, told)


def _watch_socket(node: Node, control: Path, ours: tuple[int, int] | None) -> None:
    """End the node when its socket is not there any more, or is another node's; looks again by itself."""
    if node.ending.is_set():
        return
    if _identity(control) != ours:
        node.is_lost = True
        node.ending.set()
        return
    loop = asyncio.get_running_loop()
    loop.call_later(_WATCH_PERIOD_S, _watch_socket, node, control, ours)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


async def _run(
    node: Node, paths: LocalPaths, network: Network, options: argparse.Namespace
) -> None:
    """Serve until told to end."""
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(signum, node.ending.set)
    if options.owner_fd is not None:
        _watch_owner(node, options.owner_fd)
    requests: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_serve_client(node, reader, writer))
        requests.add(task)
        task.add_done_callback(requests.discard)

    server = await asyncio.start_unix_server(
        accept, sock=listening_socket(paths.control), limit=MAX_MESSAGE_BYTES
    )
    write_atomic(
        paths.pid_file,
        pretty_json({"node": os.getpid(), "guard": os.getppid(), "net": network.net}),
        mode=0o600,
    )
    _watch_socket(node, paths.control, _identity(paths.control))
    _report(options.ready_fd, {"ok": True, "net": network.net})
    await node.ending.wait()
    server.close()
    if not node.is_lost:
        paths.control.unlink(missing_ok=True)
    await node.close()
    if requests:
        # Answers that are being written, as the one to `shutdown`, get a moment.
        await asyncio.wait(requests, timeout=1)


def _report(ready_fd: int | None, document: Mapping[str, Any]) -> None:
    if ready_fd is not None:
        with contextlib.suppress(OSError):
            os.write(ready_fd, render_message(document))
        os.close(ready_fd)


def _node(options: argparse.Namespace) -> int:
    paths = local_paths(options.project)
    try:
        become_subreaper()
        held = _only_node(paths)
        network = Network.claim(paths.network, paths.project)
    except (ContrastError, OSError) as err:
        error = {"message": str(err), "hint": getattr(err, "hint", "")}
        _report(options.ready_fd, {"ok": False, "error": error})
        return 30
    node = Node(paths, network, BackOff())
    try:
        asyncio.run(_run(node, paths, network, options))
    finally:
        kill_descendants()
        if not node.is_lost:
            if options.trial and not node.was_let_go:
                shutil.rmtree(paths.state, ignore_errors=True)
            paths.pid_file.unlink(missing_ok=True)
        network.close()
        os.close(held)
    return 0


def _only_node(paths: LocalPaths) -> int:
    """Return the descriptor whose lock says that this project has a node; the kernel drops it with us."""
    descriptor = os.open(paths.base / "node.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        os.close(descriptor)
        raise ClusterError("another local backend of this project is running") from err
    return descriptor


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon until it is told to stop; return its exit status."""
    parser = argparse.ArgumentParser(prog="contrast-tasks-node", description=__doc__)
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--owner-fd", type=int)
    parser.add_argument("--trial", action="store_true")
    options = parser.parse_args(argv)

    def node() -> int:
        return _node(options)

    # The guard must not keep the pipe open after the node has reported.
    status = guard(node)
    if options.ready_fd is not None:
        with contextlib.suppress(OSError):
            os.close(options.ready_fd)
    return status


if __name__ == "__main__":
    sys.exit(main())
