"""What a node's pods stand on: the seam between the requests of a deployment and how pods are isolated."""

from collections.abc import Sequence
from typing import Protocol

from contrast_tasks.local.messages import Endpoint, Plan, PodPlan, PodStatus
from contrast_tasks.local.network import busy_endpoint
from contrast_tasks.local.paths import LocalPaths
from contrast_tasks.local.process_sandbox import ProcessSandbox
from contrast_tasks.local.sandbox import Sandbox


class Ground(Protocol):
    """Sandboxes, and what is common to all pods; methods raise ClusterError.

    is_isolated: whether pods have namespaces of their own.
    """

    is_isolated: bool

    async def open(self) -> None:
        """Make what all pods share."""

    def busy(self, endpoints: Sequence[Endpoint]) -> Endpoint | None:
        """Return the first endpoint of this machine that is in use, None if all are free."""

    async def apply(self, plan: Plan) -> None:
        """Prepare for a plan's pods; those that are not in it have been stopped."""

    def sandbox(self, plan: PodPlan) -> Sandbox:
        """Return a new sandbox for a pod."""

    def pods_changed(self, pods: Sequence[tuple[PodPlan, PodStatus]]) -> None:
        """Take notice of the pods' states."""

    async def close(self) -> None:
        """End what all pods share."""


class ProcessGround:
    """This machine itself: nothing is made, and nothing has to be ended."""

    is_isolated = False

    def __init__(self, paths: LocalPaths) -> None:
        self._paths = paths

    async def open(self) -> None:
        """Do nothing."""

    def busy(self, endpoints: Sequence[Endpoint]) -> Endpoint | None:
        """Return the first endpoint in use; each is bound briefly to find out."""
        return busy_endpoint(endpoints)

    async def apply(self, plan: Plan) -> None:
        """Do nothing."""

    def sandbox(self, plan: PodPlan) -> Sandbox:
        """Return a sandbox of processes."""
        return ProcessSandbox(plan, self._paths)

    def pods_changed(self, pods: Sequence[tuple[PodPlan, PodStatus]]) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""
