"""The pods of one project, and the requests about them.

A request is a JSON object with a member `op`: `status`, `addresses`, `process`, `execute`, `wait`, `apply`, `restart`,
`stop`, `shutdown`.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.decode import DecodeError, Json
from contrast_tasks.errors import ClusterError
from contrast_tasks.files import pretty_json, write_atomic
from contrast_tasks.local.ground import Ground, ProcessGround
from contrast_tasks.local.messages import Applied, Plan, PodPlan, parse_plan
from contrast_tasks.local.network import COORDINATOR_HOST, Network, pod_address
from contrast_tasks.local.paths import LocalPaths
from contrast_tasks.local.pod import Phase, RunningPod


class Node:
    """Runs pods; ground: what they stand on, by default this machine itself.

    ending: set when the node has to stop. was_let_go: it may outlive its starter. is_lost: its socket is gone.
    """

    def __init__(self, paths: LocalPaths, network: Network, ground: Ground | None = None) -> None:
        self._paths = paths
        self._network = network
        self._ground: Ground = ground or ProcessGround(paths)
        self._pods: dict[str, RunningPod] = {}
        self._changes = asyncio.Event()
        self._order = asyncio.Lock()
        self._doomed: list[Path] = []
        self.ending = asyncio.Event()
        self.was_let_go = False
        self.is_lost = False

    async def answer(self, request: Json) -> dict[str, Any]:
        """Carry out one request. Raises ClusterError if it is invalid or fails."""
        try:
            match op := request.at("op").text():
                case "status":
                    return self._status()
                case "addresses":
                    return {"addresses": self._addresses(request.at("names").texts())}
                case "process" | "execute":
                    return await self._look_into(op, request)
                case "wait":
                    return await self._wait(
                        request.at("pods").texts(),
                        until=request.at("until").text(),
                        timeout_s=request.at("timeout_s").number(),
                        restarts=request.at("restarts").integer(),
                    )
                case "apply" | "restart" | "stop":
                    async with self._order:
                        return await self._change(op, request)
                case "shutdown":
                    self._doomed = self._claims(request.at("claims").texts())
                    self.ending.set()
                    return {}
            raise ClusterError(f"the local backend knows no request {op!r}")
        except DecodeError as err:
            raise ClusterError(f"the request is not understood: {err}") from err

    async def _look_into(self, op: str, request: Json) -> dict[str, Any]:
        (name,) = self._known([request.at("pod").text()])
        pod, container = self._pods[name], request.at("container").text()
        if op == "process":
            return pod.process_of(container)
        return {"status": await pod.execute(container, request.at("command").texts())}

    async def _change(self, op: str, request: Json) -> dict[str, Any]:
        if op == "apply":
            return asdict(await self._apply(parse_plan(request.at("plan").value)))
        names = self._known(request.at("pods").texts())
        if op == "restart":
            return {"restarted": await self._restart(names)}
        await self._remove(names)
        return {"stopped": names}

    async def open(self) -> None:
        """Make what pods need. Raises ClusterError."""
        await self._ground.open()

    async def close(self) -> None:
        """Stop all pods, the Coordinator last."""
        last = [name for name, pod in self._pods.items() if pod.plan.role == ROLE_COORDINATOR]
        await self._remove([name for name in self._pods if name not in last])
        await self._remove(last)
        for folder in self._doomed:
            # Here, because its files may belong to users that exist in this node only.
            shutil.rmtree(folder, ignore_errors=True)
        await self._ground.close()

    def _claims(self, names: Sequence[str]) -> list[Path]:
        """Return the folders of claims; a name that is no claim's has none."""
        known = {path.name: path for path in self._paths.volumes.glob("*")}
        return [known[name] for name in names if name in known]

    def _status(self) -> dict[str, Any]:
        pods = [asdict(pod.status()) for _, pod in sorted(self._pods.items())]
        return {
            "project": str(self._paths.project),
            "net": self._network.net,
            "isolated": self._ground.is_isolated,
            "pods": pods,
        }

    def _addresses(self, names: Sequence[str]) -> dict[str, str]:
        coordinator = pod_address(self._network.net, COORDINATOR_HOST)
        return {**self._network.allocate(names), "": coordinator}

    async def _apply(self, plan: Plan) -> Applied:
        for pod in plan.pods:
            pod.measured_policy_sha256()
        wanted = {pod.name: pod for pod in plan.pods}
        here = self._pods.keys()
        unchanged = {
            name
            for name in here & wanted.keys()
            if self._pods[name].plan.digest == wanted[name].digest
            and self._pods[name].phase is not Phase.FAILED
        }
        started = sorted(wanted.keys() - here)
        replaced = sorted(here & wanted.keys() - unchanged)
        stopped = sorted(here - wanted.keys())
        self._refuse_busy([wanted[name] for name in started], leaving=[*stopped, *replaced])
        await self._remove([*stopped, *replaced])
        self._refuse_busy([wanted[name] for name in [*started, *replaced]], leaving=[])
        await self._ground.apply(plan)
        write_atomic(self._paths.hosts, pretty_json(plan.hosts))
        for name in [*started, *replaced]:
            self._start(wanted[name])
        return Applied(
            started=tuple(started),
            replaced=tuple(replaced),
            unchanged=tuple(sorted(unchanged)),
            stopped=tuple(stopped),
        )

    def _refuse_busy(self, pods: Sequence[PodPlan], *, leaving: Sequence[str]) -> None:
        """Raise ClusterError if an endpoint that a pod needs is in use, unless by one of the pods in `leaving`."""
        freed = {endpoint for name in leaving for endpoint in self._pods[name].plan.listens}
        for pod in pods:
            wanted = [endpoint for endpoint in pod.listens if endpoint not in freed]
            if (busy := self._ground.busy(wanted)) is not None:
                raise ClusterError(
                    f"{busy[0]}:{busy[1]} is in use, pod {pod.name} needs it",
                    hint="stop the process that listens there, then deploy again",
                )

    async def _restart(self, names: Sequence[str]) -> Sequence[str]:
        plans = [self._pods[name].plan for name in names]
        await self._remove(names)
        for plan in plans:
            self._start(plan)
        return names

    def _start(self, plan: PodPlan) -> None:
        self._pods[plan.name] = RunningPod(
            plan,
            paths=self._paths,
            sandbox=self._ground.sandbox(plan),
            changed=self._changed,
        )

    async def _remove(self, names: Sequence[str]) -> None:
        pods = [self._pods[name] for name in names]
        # The folders of a lost node may belong to its successor by now.
        await asyncio.gather(*(pod.stop(keeps_files=self.is_lost) for pod in pods))
        for name in names:
            del self._pods[name]
        self._changed()

    def _known(self, names: Sequence[str]) -> list[str]:
        """Return the names, without names those of all pods. Raises ClusterError for an unknown one."""
        for name in names:
            if name not in self._pods:
                running = ", ".join(sorted(self._pods)) or "none"
                raise ClusterError(f"no pod {name} runs here, there are: {running}")
        return list(names) or sorted(self._pods)

    async def _wait(
        self, names: Sequence[str], *, until: str, timeout_s: float, restarts: int
    ) -> dict[str, Any]:
        """Answer when all named pods are `started` or `ready`, one has failed for good, or time is up."""
        names = self._known(names)
        before = {name: self._pods[name].restarts for name in names}
        reached = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while True:
                    changes = self._changes
                    pods = [self._pods[name] for name in self._known(names)]
                    reached = all(pod.status().has_reached(until) for pod in pods)
                    if reached or any(
                        pod.phase is Phase.FAILED
                        or pod.restarts - before.get(pod.plan.name, 0) >= restarts
                        for pod in pods
                    ):
                        break
                    await changes.wait()
        return {"reached": reached, **self._status()}

    def _changed(self) -> None:
        self._ground.pods_changed([(pod.plan, pod.status()) for pod in self._pods.values()])
        self._changes.set()
        self._changes = asyncio.Event()
