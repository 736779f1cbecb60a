"""A sandbox without isolation: containers are processes of this machine, with paths of this machine."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from contrast_tasks import variables
from contrast_tasks.local.container import ContainerFailed, ProcessContainer
from contrast_tasks.local.messages import ContainerPlan, PodPlan
from contrast_tasks.local.paths import LocalPaths
from contrast_tasks.local.processes import MARK, kill_marked


class ProcessSandbox:
    """The processes of one pod, found again by the mark in their environment."""

    def __init__(self, plan: PodPlan, paths: LocalPaths) -> None:
        self._plan = plan
        self._paths = paths
        self._mark = f"{paths.project}:{plan.name}"
        self._host_data = ""

    @property
    def hidden(self) -> tuple[str, ...]:
        """Return nothing: nobody asks the policy."""
        return ()

    async def open(self) -> None:
        """Measure the policy and make the pod's folders anew."""
        self._host_data = self._plan.measured_policy_sha256()
        # emptyDir volumes and start-up markers must not survive a restart of the pod.
        folder_of_pod = self._paths.pod(self._plan.name)
        shutil.rmtree(folder_of_pod, ignore_errors=True)
        for folder in (str(folder_of_pod), *self._plan.folders):
            Path(folder).mkdir(parents=True, exist_ok=True, mode=0o755)  # noqa: ASYNC240  # local and fast

    async def start(self, plan: ContainerPlan) -> ProcessContainer:
        """Start a container whose image is unpacked."""
        self._check_image(plan)
        return self._process(plan)

    async def execute(self, plan: ContainerPlan, command: tuple[str, ...]) -> int:
        """Run a command with the container's environment."""
        process = self._process(replace(plan, role="probe", argv=command))
        try:
            return await process.wait()
        finally:
            await process.stop(0)

    async def has_file(self, plan: ContainerPlan, path: str) -> bool:
        """Return whether a path of this machine is a file."""
        del plan
        return Path(path).is_file()  # noqa: ASYNC240  # one stat call

    def process_of(self, container: str) -> Mapping[str, Any]:
        """Raise ContainerFailed: a process of this machine has no specification."""
        raise ContainerFailed(container, "is a process of this machine")

    def serves(self, plan: ContainerPlan, port: int) -> bool:
        """Return True: probes of a pod behind a mesh ask the application's own address too."""
        del plan, port
        return True

    async def close(self) -> None:
        """Kill processes that left their group."""
        kill_marked(self._mark)

    def _check_image(self, plan: ContainerPlan) -> None:
        """Raise ContainerFailed unless the container's image is unpacked in the folder of its digest."""
        if not plan.image_digest:
            return
        unpacked = self._paths.images / plan.image_digest.removeprefix("sha256:")
        if Path(plan.rootfs).parent != unpacked or not Path(plan.rootfs).is_dir():
            raise ContainerFailed(
                plan.name,
                f"has no unpacked image {plan.image_digest}, found {plan.rootfs or 'none'}",
            )

    def _process(self, plan: ContainerPlan) -> ProcessContainer:
        env = {**plan.env, variables.LOCAL_HOSTS: str(self._paths.hosts), MARK: self._mark}
        if plan.attested and self._host_data:
            env[variables.EVIDENCE] = f"simulated:{self._paths.processor}"
            env[variables.HOST_DATA] = self._host_data
        return ProcessContainer(
            plan,
            env=env,
            log=self._paths.log(self._plan.name, plan.name),
            folder=self._paths.pod(self._plan.name),
        )
