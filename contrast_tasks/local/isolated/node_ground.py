"""The ground of isolated pods: the node's network, its names, and the ports of this machine that lead to pods."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from contrast_tasks.errors import ClusterError
from contrast_tasks.local.isolated.ability import Ability
from contrast_tasks.local.isolated.bridge import (
    DNS_ADDRESS,
    call,
    make_bridge,
    place_of,
    pod_address,
    pod_address_6,
)
from contrast_tasks.local.isolated.container import Runc
from contrast_tasks.local.isolated.dns import DnsServer
from contrast_tasks.local.isolated.outside import Outside, PortTaken
from contrast_tasks.local.isolated.pod_sandbox import Grounds, PodSandbox
from contrast_tasks.local.isolated.relay import Relay
from contrast_tasks.local.isolated.roots import Roots
from contrast_tasks.local.isolated.services import ServedPod, Services
from contrast_tasks.local.messages import Endpoint, Plan, PodPlan, PodStatus
from contrast_tasks.local.paths import LocalPaths


class NodeGround:
    """Namespaces of a node.

    outside: makes sockets of this machine. group: the control group above those of containers, whose weights so count among
    themselves only.
    """

    is_isolated = True

    def __init__(
        self,
        paths: LocalPaths,
        *,
        ability: Ability,
        outside: Outside,
        environ: Mapping[str, str],
        group: str,
    ) -> None:
        self._outside = outside
        self._folder = paths.run
        self._services = Services()
        self._dns = DnsServer(lambda: self._services.zone)
        self._forwards: dict[Endpoint, Relay] = {}
        self._grounds = Grounds(
            paths=paths,
            folder=self._folder,
            ability=ability,
            roots=Roots(
                self._folder / "images", project=paths.project, ability=ability, environ=environ
            ),
            runc=Runc(self._folder / "runc"),
            environ=environ,
            services=self._services.documents,
            group=group,
        )

    async def open(self) -> None:
        """Make the node's own memory, bridge and DNS server."""
        self._folder.mkdir(parents=True, exist_ok=True)
        await call(["mount", "-t", "tmpfs", "-o", "mode=0711", "tmpfs", str(self._folder)])
        for name in ("images", "pods", "runc"):
            (self._folder / name).mkdir()
        await make_bridge()
        try:
            await self._dns.open(DNS_ADDRESS)
        except OSError as err:
            raise ClusterError(f"the node's DNS server cannot start: {err.strerror}") from err

    def busy(self, endpoints: Sequence[Endpoint]) -> Endpoint | None:
        """Return None: a socket of this machine tells itself when it cannot be had."""
        del endpoints
        return None

    async def apply(self, plan: Plan) -> None:
        """Serve the plan's Services, and forward its ports. Raises ClusterError for a port of this machine that is in use."""
        await self._services.apply(plan.services)
        wanted = {endpoint: pod for pod in plan.pods for endpoint in pod.listens}
        for endpoint in [each for each in self._forwards if each not in wanted]:
            await self._forwards.pop(endpoint).close()
        for endpoint, pod in wanted.items():
            if endpoint in self._forwards:
                continue
            try:
                listener = self._outside.listen(endpoint)
            except PortTaken as err:
                raise ClusterError(
                    f"{err}, pod {pod.name} needs it",
                    hint="stop the process that listens there, then deploy again",
                ) from err
            target = (pod_address(place_of(pod.address)), endpoint[1])
            self._forwards[endpoint] = Relay(listener, partial(_only, target))

    def sandbox(self, plan: PodPlan) -> PodSandbox:
        """Return a sandbox of namespaces."""
        if plan.isolation is None:
            raise ClusterError(f"pod {plan.name} is not described for namespaces")
        return PodSandbox(plan, plan.isolation, self._grounds, place_of(plan.address))

    def pods_changed(self, pods: Sequence[tuple[PodPlan, PodStatus]]) -> None:
        """Let Services and names follow the pods."""
        self._services.pods_changed(
            [
                ServedPod(
                    document=plan.isolation.document,
                    address=pod_address(place_of(plan.address)),
                    address_6=pod_address_6(place_of(plan.address)),
                    started=status.started,
                    ready=status.ready,
                )
                for plan, status in pods
                if plan.isolation is not None
            ]
        )

    async def close(self) -> None:
        """Stop forwarding and serving; namespaces end with the node's first process."""
        for relay in self._forwards.values():
            await relay.close()
        await self._services.close()
        await self._dns.close()
        await call(["umount", "--recursive", "--lazy", str(self._folder)], may_fail=True)
        await asyncio.to_thread(_remove, self._folder)


def _only(endpoint: Endpoint) -> list[Endpoint]:
    return [endpoint]


def _remove(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
