"""One pod of the local backend: its containers in Kubernetes' order, supervised until it is stopped.

Init containers run to their end one after the other; a sidecar must pass its start-up probe before the next
container starts; then all main containers start together. When a part ends that should run, the other parts are
stopped and the pod starts again after a pause that doubles, or is marked failed, as its restartPolicy says.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ContrastError
from contrast_tasks.local.part import Part, PartFailed, last_line
from contrast_tasks.local.paths import LocalPaths
from contrast_tasks.local.plan import ContainerPlan, PodPlan
from contrast_tasks.local.probes import until_success
from contrast_tasks.local.processes import MARK, kill_marked


class Phase(Enum):
    """Where a pod is in its life."""

    PENDING = "pending"
    INITIALIZING = "initializing"
    STARTING = "starting"
    RUNNING = "running"
    READY = "ready"
    BACK_OFF = "back-off"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_started(self) -> bool:
        """Return whether all containers run, or have done their work."""
        return self in {Phase.RUNNING, Phase.READY, Phase.SUCCEEDED}

    @property
    def is_ready(self) -> bool:
        """Return whether the pod serves, or has done its work."""
        return self in {Phase.READY, Phase.SUCCEEDED}


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOff:
    """Pauses before a pod starts again, in seconds."""

    first_s: float = 0.25
    factor: float = 2.0
    longest_s: float = 15.0

    def pause_s(self, restarts: int) -> float:
        """Return the pause before restart number `restarts`, counted from 1."""
        # The exponent is bounded so that a pod that crashes for days does not overflow.
        return min(self.first_s * self.factor ** min(restarts - 1, 30), self.longest_s)


class Pod:
    """A pod with its supervising task; `changed` is called whenever `status()` would answer differently."""

    def __init__(
        self,
        plan: PodPlan,
        *,
        paths: LocalPaths,
        hosts_env: Mapping[str, str],
        changed: Callable[[], None],
        back_off: BackOff,
    ) -> None:
        self.plan = plan
        self.phase = Phase.PENDING
        self.restarts = 0
        self.message = ""
        self._paths = paths
        self._hosts_env = hosts_env
        self._changed = changed
        self._back_off = back_off
        self._parts: list[Part] = []
        self._mark = f"{paths.project}:{plan.name}"
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to supervise, with empty logs."""
        for container in self.plan.containers:
            self._paths.log(self.plan.name, container.name).unlink(missing_ok=True)
        self._task = asyncio.create_task(self._supervise(), name=self.plan.name)
        self._task.add_done_callback(self._supervision_ended)

    def _supervision_ended(self, task: asyncio.Task[None]) -> None:
        # Only a bug of ours gets here with an error; it must not look like a pod that runs.
        if not task.cancelled() and (error := task.exception()) is not None:
            self._enter(Phase.FAILED, f"the local backend failed: {error!r}")

    async def stop(self, *, keeps_files: bool = False) -> None:
        """Stop every part and the supervision; nothing of the pod is left when this returns, unless it keeps files."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._stop_parts()
        if not keeps_files:
            # Keys and workload secrets live no longer than the pod.
            shutil.rmtree(self._paths.pod(self.plan.name), ignore_errors=True)
        self._enter(Phase.STOPPED)

    def status(self) -> dict[str, Any]:
        """Return the pod's state as JSON."""
        return {
            "name": self.plan.name,
            "workload": self.plan.workload,
            "role": self.plan.role,
            "address": self.plan.address,
            "phase": self.phase.value,
            "started": self.phase.is_started,
            "ready": self.phase.is_ready,
            "restarts": self.restarts,
            "message": self.message or self._waits_for(),
            "policy_sha256": self.plan.policy_sha256,
            "digest": self.plan.digest,
            "pids": {part.container.name: part.pid for part in self._running()},
        }

    def _waits_for(self) -> str:
        """Return which init container the pod waits for and what that said last, "" if it waits for none."""
        running = self._running()
        if self.phase is not Phase.INITIALIZING or not running:
            return ""
        name, said = running[-1].container.name, last_line(running[-1].log)
        return said if said.startswith(name) else f"{name}: {said}".rstrip(": ")

    def _running(self) -> list[Part]:
        return [part for part in self._parts if not part.exited.done()]

    def _enter(self, phase: Phase, message: str = "") -> None:
        self.phase = phase
        self.message = message
        self._changed()

    async def _supervise(self) -> None:
        while True:
            try:
                await self._live()
                failure = ""
            except (PartFailed, ContrastError, OSError) as err:
                failure = str(err)
            await self._stop_parts()
            policy = self.plan.restart_policy
            if policy == "Never" or (policy == "OnFailure" and not failure):
                self._enter(Phase.FAILED if failure else Phase.SUCCEEDED, failure)
                return
            self.restarts += 1
            self._enter(Phase.BACK_OFF, failure or "all containers ended")
            await asyncio.sleep(self._back_off.pause_s(self.restarts))

    async def _live(self) -> None:
        """Run the pod once; return when all main containers ended with status 0.

        Raises PartFailed when a part ends that should not.
        """
        host_data = self.plan.measured_policy_sha256()
        self._prepare_folders()
        self._enter(Phase.INITIALIZING)
        for container in self.plan.containers:
            if container.role == "init":
                await self._run_to_end(container, host_data)
            elif container.role == "sidecar":
                self._spawn(container, host_data)
                await self._pass_startup([container], host_data)
        self._enter(Phase.STARTING)
        mains = [container for container in self.plan.containers if container.role == "main"]
        parts = [self._spawn(container, host_data) for container in mains]
        await self._pass_startup(mains, host_data)
        self._enter(Phase.RUNNING)
        for container in mains:
            if container.readiness is not None:
                probing = until_success(container.readiness, self._runner(container, host_data))
                await self._while_running(probing, ended_well=parts)
        if any(not part.exited.done() for part in parts):
            self._enter(Phase.READY)
            await self._until_all_ended(parts)

    async def _run_to_end(self, container: ContainerPlan, host_data: str) -> None:
        part = self._spawn(container, host_data)
        await self._while_running(part.wait(), ignore=part)
        if (status := part.exited.result()) != 0:
            raise part.failure(status)

    async def _until_all_ended(self, mains: list[Part]) -> None:
        while any(not part.exited.done() for part in mains):
            waiting = [part.exited for part in self._parts if not part.exited.done()]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            self._raise_failed(ended_well=mains)

    def _raise_failed(
        self, *, ended_well: list[Part] | None = None, ignore: Part | None = None
    ) -> None:
        """Raise PartFailed for a part that ended; a main container with status 0 may be done.

        With restartPolicy Always nothing may be done: the pod starts again.
        """
        for part in self._parts:
            if part is ignore or part.container.role == "init" or not part.exited.done():
                continue
            status = part.exited.result()
            if status == 0 and part in (ended_well or []) and self.plan.restart_policy != "Always":
                continue
            raise part.failure(status)

    async def _while_running(
        self,
        work: Awaitable[Any],
        *,
        ended_well: list[Part] | None = None,
        ignore: Part | None = None,
    ) -> None:
        """Await `work`, but fail as soon as a part ends that should run.

        ended_well: main containers that may be done; when all are, there is nothing to wait for.
        """
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                exits = [
                    part.exited
                    for part in self._parts
                    if part is not ignore and not part.exited.done()
                ]
                await asyncio.wait([task, *exits], return_when=asyncio.FIRST_COMPLETED)
                self._raise_failed(ended_well=ended_well, ignore=ignore)
                if ended_well and all(part.exited.done() for part in ended_well):
                    return
            await task
        finally:
            task.cancel()

    async def _pass_startup(self, containers: Sequence[ContainerPlan], host_data: str) -> None:
        """Return when every start-up probe has succeeded; raise PartFailed when one runs out of time."""
        for container in containers:
            if (probe := container.startup) is None:
                continue
            try:
                async with asyncio.timeout(probe.limit_s):
                    work = until_success(probe, self._runner(container, host_data))
                    await self._while_running(work)
            except TimeoutError:
                message = f"did not pass its start-up probe in {probe.limit_s:g} s"
                raise PartFailed(container.name, message) from None

    def _prepare_folders(self) -> None:
        # emptyDir volumes and start-up markers must not survive into the pod's next life.
        own = self._paths.pod(self.plan.name)
        shutil.rmtree(own, ignore_errors=True)
        for folder in (str(own), *self.plan.folders):
            Path(folder).mkdir(parents=True, exist_ok=True, mode=0o755)

    def _environment(self, container: ContainerPlan, host_data: str) -> dict[str, str]:
        evidence = {
            "CONTRAST_EVIDENCE": f"simulated:{self._paths.processor}",
            "CONTRAST_HOST_DATA": host_data,
        }
        return {
            **container.env,
            **self._hosts_env,
            **(evidence if container.attested and host_data else {}),
            MARK: self._mark,
        }

    def _spawn(self, container: ContainerPlan, host_data: str) -> Part:
        self._check_image(container)
        part = Part(
            container,
            env=self._environment(container, host_data),
            log=self._paths.log(self.plan.name, container.name),
            folder=self._paths.pod(self.plan.name),
        )
        self._parts.append(part)
        self._changed()
        return part

    def _check_image(self, container: ContainerPlan) -> None:
        """Raise PartFailed unless the process is started from the image that was generated for."""
        if not container.image_digest:
            return
        unpacked = self._paths.images / container.image_digest.removeprefix("sha256:")
        if Path(container.rootfs).parent != unpacked or not Path(container.rootfs).is_dir():
            raise PartFailed(
                container.name,
                f"has no unpacked image {container.image_digest}, found {container.rootfs or 'none'}",
            )

    def _runner(
        self, container: ContainerPlan, host_data: str
    ) -> Callable[[tuple[str, ...]], Awaitable[int]]:
        async def run(command: tuple[str, ...]) -> int:
            part = Part(
                ContainerPlan(
                    name=f"{container.name} probe",
                    role="probe",
                    argv=command,
                    env=container.env,
                    working_dir=container.working_dir,
                ),
                env=self._environment(container, host_data),
                log=self._paths.log(self.plan.name, container.name),
                folder=self._paths.pod(self.plan.name),
            )
            try:
                return await part.wait()
            finally:
                await part.stop(0)

        return run

    async def _stop_parts(self) -> None:
        """Stop main containers first, then sidecars, then strays."""
        grace_s = self.plan.grace_s
        for roles in ({"main"}, {"sidecar", "init"}):
            await asyncio.gather(
                *(part.stop(grace_s) for part in self._parts if part.container.role in roles)
            )
        self._parts.clear()
        kill_marked(self._mark)
