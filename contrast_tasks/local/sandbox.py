"""Where the containers of a pod run: the seam between a pod's life and what isolates it.

`pod.py` decides what runs when; a sandbox starts it. There are two: processes of this machine, `process_sandbox.py`, and
containers in namespaces, `isolated/pod_sandbox.py`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from contrast_tasks.local.container import RunningContainer
from contrast_tasks.local.messages import ContainerPlan


class Sandbox(Protocol):
    """The surroundings of one pod; each method raises ContainerFailed or ContrastError."""

    @property
    def hidden(self) -> tuple[str, ...]:
        """Return the containers whose output the pod's policy hides on a cluster."""

    async def open(self) -> None:
        """Make it, empty: nothing of an earlier run is left."""

    async def start(self, plan: ContainerPlan) -> RunningContainer:
        """Start a container."""

    async def execute(self, plan: ContainerPlan, command: tuple[str, ...]) -> int:
        """Run a command in a running container and return its exit status."""

    async def has_file(self, plan: ContainerPlan, path: str) -> bool:
        """Return whether a running container has a regular file at `path`."""

    def process_of(self, container: str) -> Mapping[str, Any]:
        """Return how a container's processes are started: `process` of its OCI specification. Raises ContainerFailed."""

    def serves(self, plan: ContainerPlan, port: int) -> bool:
        """Return whether a process beside a running container listens on a TCP port; True where that cannot be told."""

    async def close(self) -> None:
        """End what is left of a pod whose containers have been stopped."""
