"""One pod of the local backend: starts its containers in Kubernetes' order and supervises them.

Init containers run to their end one after the other. A sidecar must pass its start-up probe before the next container
starts. Then all main containers start together. If a container ends that should run, the others are stopped too. By its
restartPolicy the pod then starts again, after a pause that doubles each time, or has failed.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import Any

from contrast_tasks.errors import ClusterError, ContrastError
from contrast_tasks.local.container import ContainerFailed, RunningContainer, last_line
from contrast_tasks.local.messages import ContainerPlan, PodPlan, PodStatus, Probe
from contrast_tasks.local.paths import LocalPaths
from contrast_tasks.local.probes import ProbedContainer, until_failure, until_success
from contrast_tasks.local.sandbox import Sandbox

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 15.0
_INIT_GRACE_S = 1.0


class Phase(Enum):
    """The phases of a pod's life."""

    PENDING = "pending"
    INITIALIZING = "initializing"
    STARTING = "starting"
    RUNNING = "running"
    READY = "ready"
    BACK_OFF = "back-off"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"


class RunningPod:
    """A pod that starts when it is created, with empty logs.

    sandbox: where its containers run. changed: called whenever the result of `status()` changes.
    """

    def __init__(
        self,
        plan: PodPlan,
        *,
        paths: LocalPaths,
        sandbox: Sandbox,
        changed: Callable[[], None],
    ) -> None:
        self.plan = plan
        self.phase = Phase.PENDING
        self.restarts = 0
        self._message = self._denied = ""
        self._paths = paths
        self._changed = changed
        self._containers: list[RunningContainer] = []
        self._sandbox = sandbox
        # The container whose start-up probe is asked.
        self._unproven: ContainerPlan | None = None
        # The probes that keep a running pod from being ready, by container.
        self._unready: dict[str, Probe] = {}
        for container in plan.containers:
            paths.log(plan.name, container.name).unlink(missing_ok=True)
        self._task = asyncio.create_task(self._supervise(), name=plan.name)
        self._task.add_done_callback(self._supervision_ended)

    def status(self) -> PodStatus:
        """Return the pod's state."""
        is_done = self.phase is Phase.SUCCEEDED
        return PodStatus(
            name=self.plan.name,
            workload=self.plan.workload,
            role=self.plan.role,
            address=self.plan.address,
            phase=self.phase.value,
            started=is_done or self.phase in {Phase.RUNNING, Phase.READY},
            ready=is_done or self.phase is Phase.READY,
            restarts=self.restarts,
            message=self._message or self._waits_for(),
            policy_sha256=self.plan.policy_sha256,
            digest=self.plan.digest,
            pids={container.plan.name: container.pid for container in self._running()},
            hidden=self._sandbox.hidden,
            denied=self._denied,
        )

    def process_of(self, container: str) -> dict[str, Any]:
        """Return how a container's processes are started; raises ClusterError."""
        try:
            return dict(self._sandbox.process_of(container))
        except ContainerFailed as err:
            raise ClusterError(str(err)) from err

    async def execute(self, container: str, command: tuple[str, ...]) -> int:
        """Run a command in a running container as a cluster would, and return its status.

        Raises ClusterError if there is no such container, or the pod's policy denies it.
        """
        plan = next((each.plan for each in self._running() if each.plan.name == container), None)
        if plan is None:
            raise ClusterError(f"pod {self.plan.name} runs no container {container}")
        try:
            return await self._sandbox.execute(plan, command)
        except ContainerFailed as err:
            raise ClusterError(str(err)) from err

    async def stop(self, *, keeps_files: bool = False) -> None:
        """Stop supervision and containers, and delete the pod's files unless keeps_files is set."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._stop_containers()
        if not keeps_files:
            # Keys and workload secrets must not outlive the pod.
            shutil.rmtree(self._paths.pod(self.plan.name), ignore_errors=True)
        self._enter(Phase.STOPPED)

    async def _supervise(self) -> None:
        """Run the pod, and again after it has ended, as its restartPolicy says."""
        while True:
            try:
                await self._live()
                failure = ""
            except (ContainerFailed, ContrastError, OSError) as err:
                failure = str(err)
                self._denied = getattr(err, "denied", "")
            await self._stop_containers()
            policy = self.plan.restart_policy
            if policy == "Never" or (policy == "OnFailure" and not failure):
                self._enter(Phase.FAILED if failure else Phase.SUCCEEDED, failure)
                return
            self.restarts += 1
            self._enter(Phase.BACK_OFF, failure or "all containers ended")
            # Bounded, so that the power does not overflow for a pod that crashes for days.
            pause_s = _FIRST_PAUSE_S * 2.0 ** min(self.restarts - 1, 30)
            await asyncio.sleep(min(pause_s, _LONGEST_PAUSE_S))

    def _supervision_ended(self, task: asyncio.Task[None]) -> None:
        # Only a bug of ours raises here; the pod must not look as if it ran.
        if not task.cancelled() and (error := task.exception()) is not None:
            self._enter(Phase.FAILED, f"the local backend failed: {error!r}")

    async def _live(self) -> None:
        """Run the pod once; return when all main containers ended with status 0.

        Raises ContainerFailed when a container ends that should not.
        """
        await self._sandbox.open()
        self._enter(Phase.INITIALIZING)
        for plan in self.plan.containers:
            if plan.role == "init":
                await self._run_to_end(await self._start(plan))
            elif plan.role == "sidecar":
                await self._start(plan)
                await self._pass_startup(plan)
        self._enter(Phase.STARTING)
        plans = [plan for plan in self.plan.containers if plan.role == "main"]
        mains = [await self._start(plan) for plan in plans]
        for plan in plans:
            await self._pass_startup(plan)
        self._enter(Phase.RUNNING)
        await self._while_running(self._probe(), ended_well=mains)

    async def _start(self, plan: ContainerPlan) -> RunningContainer:
        container = await self._sandbox.start(plan)
        self._containers.append(container)
        self._changed()
        return container

    async def _probe(self) -> None:
        """Become ready and follow the probes of running containers; return never, raise ContainerFailed for a dead one."""
        watches = [
            asyncio.ensure_future(self._outlive(plan, plan.liveness))
            for plan in self.plan.containers
            if plan.role != "init" and plan.liveness is not None
        ]
        probes = [
            (plan, plan.readiness)
            for plan in self.plan.containers
            if plan.role == "main" and plan.readiness is not None
        ]
        watches.append(asyncio.ensure_future(self._follow_readiness(probes)))
        try:
            await asyncio.gather(*watches)
        finally:
            for watch in watches:
                watch.cancel()

    async def _outlive(self, plan: ContainerPlan, probe: Probe) -> None:
        """Raise ContainerFailed when a container's liveness probe has failed for good."""
        await asyncio.sleep(probe.delay_s)
        await until_failure(probe, self._probed(plan))
        raise ContainerFailed(plan.name, "failed its liveness probe")

    async def _follow_readiness(self, probes: Sequence[tuple[ContainerPlan, Probe]]) -> None:
        """Enter the phases ready and running as the readiness probes say; there need not be any."""
        self._unready = {plan.name: probe for plan, probe in probes}
        for plan, probe in probes:
            await until_success(probe, self._probed(plan))
            del self._unready[plan.name]
        self._enter(Phase.READY)
        if not probes or self.plan.isolation is None:
            await asyncio.Event().wait()

        async def follow(plan: ContainerPlan, probe: Probe) -> None:
            while True:
                await until_failure(probe, self._probed(plan))
                self._unready[plan.name] = probe
                self._enter(Phase.RUNNING)
                await until_success(probe, self._probed(plan))
                del self._unready[plan.name]
                if not self._unready:
                    self._enter(Phase.READY)

        await asyncio.gather(*(follow(plan, probe) for plan, probe in probes))

    def _probed(self, plan: ContainerPlan) -> ProbedContainer:
        return ProbedContainer(
            run=lambda command: self._sandbox.execute(plan, command),
            has_file=lambda path: self._sandbox.has_file(plan, path),
            serves=lambda port: self._sandbox.serves(plan, port),
        )

    async def _run_to_end(self, container: RunningContainer) -> None:
        await self._while_running(container.wait(), ignore=container)
        if (status := container.exited.result()) != 0:
            raise container.failure(status)

    async def _pass_startup(self, plan: ContainerPlan) -> None:
        """Return when the start-up probe has succeeded. Raises ContainerFailed if that takes too long."""
        if (probe := plan.startup) is None:
            return
        self._unproven = plan
        try:
            async with asyncio.timeout(probe.limit_s):
                await self._while_running(until_success(probe, self._probed(plan)))
        except TimeoutError:
            message = f"did not pass its start-up probe in {probe.limit_s:g} s"
            raise ContainerFailed(plan.name, message) from None
        finally:
            self._unproven = None

    async def _while_running(
        self,
        work: Awaitable[Any],
        *,
        ended_well: Sequence[RunningContainer] = (),
        ignore: RunningContainer | None = None,
    ) -> None:
        """Await `work`; raise ContainerFailed as soon as a container ends that should run.

        ended_well: main containers that may succeed; when all have, `work` is abandoned. ignore: a container that may end.
        """
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                exits = [
                    container.exited for container in self._running() if container is not ignore
                ]
                await asyncio.wait([task, *exits], return_when=asyncio.FIRST_COMPLETED)
                self._raise_failed(ended_well, ignore)
                if ended_well and all(container.exited.done() for container in ended_well):
                    return
            await task
        finally:
            task.cancel()

    def _raise_failed(
        self, ended_well: Sequence[RunningContainer], ignore: RunningContainer | None
    ) -> None:
        for container in self._containers:
            if container is ignore or container.plan.role == "init" or not container.exited.done():
                continue
            status = container.exited.result()
            # With restartPolicy Always even a success starts the pod again.
            may_be_done = container in ended_well and self.plan.restart_policy != "Always"
            if status != 0 or not may_be_done:
                raise container.failure(status)

    async def _stop_containers(self) -> None:
        """Stop main containers first, then the others, then processes that left their group."""
        for roles in ({"main"}, {"sidecar", "init"}):
            stopping = [each for each in self._containers if each.plan.role in roles]
            await asyncio.gather(*(each.stop(self._grace_s(each.plan)) for each in stopping))
        self._containers.clear()
        await self._sandbox.close()

    def _grace_s(self, plan: ContainerPlan) -> float:
        # An init container that has just started does not handle SIGTERM yet, and nothing of what it does is kept.
        return min(self.plan.grace_s, _INIT_GRACE_S) if plan.role == "init" else self.plan.grace_s

    def _running(self) -> list[RunningContainer]:
        return [container for container in self._containers if not container.exited.done()]

    def _waits_for(self) -> str:
        """Return what a pod that is not ready waits for and its last line of log, "" for nothing."""
        running = self._running()
        if self.phase is Phase.RUNNING and self._unready:
            name, asked = next(iter(self._unready.items()))
            return f"container {name} does not pass its readiness probe ({asked.told})"
        if self.phase is Phase.STARTING and self._unproven is not None:
            name, probe = self._unproven.name, self._unproven.startup
            told = f"container {name} has not passed its start-up probe{f' ({probe.told})' if probe else ''}"
            line = last_line(self._paths.log(self.plan.name, name))
            return f"{told}; its log ends with {line}" if line else told
        if self.phase is not Phase.INITIALIZING or not running:
            return ""
        name, line = running[-1].plan.name, last_line(running[-1].log)
        return line if line.startswith(name) else f"{name}: {line}".rstrip(": ")

    def _enter(self, phase: Phase, message: str = "") -> None:
        self.phase = phase
        self._message = message
        self._changed()
