"""A sandbox of namespaces: one pod as a node would run it, each request asked of its policy first.

The model of the runtime makes specifications of the pod's document; `guest.py` asks the policy for the requests that Kata's shim
would make of them; what is allowed is run by runc. Identifiers are new each time, as those of a new sandbox are.
"""

import asyncio
import json
import secrets
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from contrast_tasks import variables
from contrast_tasks.agent_messages import Request
from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.decode import DecodeError
from contrast_tasks.errors import ClusterError
from contrast_tasks.local.container import ContainerFailed
from contrast_tasks.local.isolated.ability import Ability
from contrast_tasks.local.isolated.bridge import (
    PodNetwork,
    call,
    make_pod,
    remove_pod,
)
from contrast_tasks.local.isolated.container import Runc, RuncContainer
from contrast_tasks.local.isolated.guest import Denied
from contrast_tasks.local.isolated.machine_files import machine_mounts
from contrast_tasks.local.isolated.modelled_pod import NODE_NAME, ModelledPod
from contrast_tasks.local.isolated.roots import Roots
from contrast_tasks.local.isolated.runc_config import Additions, runc_config, runc_process
from contrast_tasks.local.isolated.sockets import is_listening
from contrast_tasks.local.messages import ContainerPlan, Isolation, PodPlan
from contrast_tasks.local.paths import LocalPaths
from contrast_tasks.packet_filter.deny import DENY, TABLE
from contrast_tasks.packet_filter.tools import find_tools
from contrast_tasks.records import Record

# Where the simulated processor is in containers that may ask it for evidence: what hardware would answer for.
_PROCESSOR: Final = "/run/contrast-processor"
_STATE: Final = "/var/lib/contrast-coordinator"
_RETRY_SECONDS: Final = "0.5"


class Grounds(Record):
    """What all sandboxes of a node share; services: returns the Services with their addresses."""

    paths: LocalPaths
    folder: Path
    ability: Ability
    roots: Roots
    runc: Runc
    environ: Mapping[str, str]
    services: Any
    group: str


class PodSandbox:
    """The namespaces, files, guest and containers of one pod."""

    def __init__(self, plan: PodPlan, isolation: Isolation, grounds: Grounds, place: int) -> None:
        self._plan = plan
        self._isolation = isolation
        self._grounds = grounds
        self._folder = grounds.folder / "pods" / plan.name
        names = grounds.folder / "namespaces" / plan.name
        self._pod = PodNetwork(
            place=place, network=names / "net", uts=names / "uts", ipc=names / "ipc"
        )
        self._containers: dict[str, RuncContainer] = {}
        self._ended: set[str] = set()
        self._opened: ModelledPod | None = None
        self._host_data = ""

    @property
    def hidden(self) -> tuple[str, ...]:
        """Return the containers whose output the policy hides."""
        return tuple(sorted(self._opened.guest.hidden)) if self._opened else ()

    async def open(self) -> None:
        """Make the pod's network and files, and create its sandbox in the guest."""
        await self.close()
        self._host_data = self._plan.measured_policy_sha256()
        try:
            opened = ModelledPod(
                self._isolation, self._pod, self._grounds.services(), self._plan.policy_document()
            )
        except DecodeError as err:
            raise ContainerFailed("sandbox", f"cannot be made of the pod: {err}") from err
        self._opened = opened
        opened.write_files(self._folder / "node")
        await make_pod(self._pod, opened.hostname or NODE_NAME)
        if self._host_data:
            await self._deny_incoming()
        self._ask(opened.create_sandbox(), "")

    async def start(self, plan: ContainerPlan) -> RuncContainer:
        """Create and start a container."""
        opened = self._in_use()
        self._tell_ended(opened)
        spec = opened.spec(plan.name)
        identifier = opened.identifier(plan.name)
        self._ask(opened.shim.create(identifier, spec), plan.name)
        self._ask(opened.shim.start(identifier), plan.name)
        own = self._folder / "containers" / plan.name
        image = self._isolation.images[opened.image_of(plan.name)]
        root = await self._grounds.roots.mount(image, own)
        try:
            config = runc_config(
                spec,
                root=root.path,
                pod=self._pod,
                place=opened.files.place,
                ability=self._grounds.ability,
                group=f"{self._grounds.group}/{identifier[:16]}",
                sysctls=opened.sysctls,
                additions=self._additions(plan, is_stand_in=root.is_stand_in),
            )
        except ClusterError as err:
            raise ContainerFailed(plan.name, f"cannot run here: {err} ({err.hint})") from err
        container = RuncContainer(
            plan,
            identifier=identifier,
            log=self._grounds.paths.log(self._plan.name, plan.name),
            runc=self._grounds.runc,
        )
        self._containers[plan.name] = container
        await container.start(own / "bundle", config)
        return container

    def _tell_ended(self, opened: ModelledPod) -> None:
        """Let the guest know of containers that have ended: a node does before it creates another one."""
        for name, container in self._containers.items():
            if container.exited.done() and name not in self._ended:
                self._ended.add(name)
                self._ask(opened.shim.exit(opened.identifier(name)), name)

    async def execute(self, plan: ContainerPlan, command: tuple[str, ...]) -> int:
        """Run a command in a container, if the policy allows it; its output is dropped."""
        opened = self._in_use()
        process = {**opened.spec(plan.name)["process"], "args": list(command)}
        identifier = opened.identifier(plan.name)
        key = secrets.token_hex(8)
        self._ask(opened.shim.execute(identifier, key, process), plan.name)
        file = self._folder / "containers" / plan.name / f"exec-{key}.json"
        file.write_text(json.dumps(runc_process(process, self._grounds.ability, {})))
        try:
            status, _ = await self._grounds.runc.call("exec", "--process", str(file), identifier)
        finally:
            file.unlink()
        self._ask(opened.shim.exit(identifier, key), plan.name)
        return status

    async def has_file(self, plan: ContainerPlan, path: str) -> bool:
        """Return whether a container has a file, as `test -f` would find it; the policy is asked for that command."""
        opened = self._in_use()
        process = {**opened.spec(plan.name)["process"], "args": ["test", "-f", path]}
        identifier = opened.identifier(plan.name)
        key = secrets.token_hex(8)
        self._ask(opened.shim.execute(identifier, key, process), plan.name)
        self._ask(opened.shim.exit(identifier, key), plan.name)
        pid = self._containers[plan.name].pid
        try:
            found = Path(f"/proc/{pid}/root", path.lstrip("/")).stat()  # noqa: ASYNC240  # one call
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode)

    def process_of(self, container: str) -> Mapping[str, Any]:
        """Return the process of a container's specification."""
        found: Mapping[str, Any] = self._in_use().spec(container)["process"]
        return found

    def serves(self, plan: ContainerPlan, port: int) -> bool:
        """Return whether a socket of the pod listens on a port."""
        return is_listening(self._containers[plan.name].pid, port)

    async def close(self) -> None:
        """Remove containers, namespaces and files; asks the policy about none of it, because a host can always do that."""
        self._opened = None
        for name, container in self._containers.items():
            await container.remove()
            await self._grounds.roots.unmount(self._folder / "containers" / name)
        self._containers.clear()
        self._ended.clear()
        await remove_pod(self._pod)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _deny_incoming(self) -> None:
        """Drop new connections to the pod until one of its containers lifts that, as a guest does."""
        rule = ("-w", "10", "-t", TABLE, *DENY.line("-I").split())
        refusals = []
        for tool in find_tools("IPv4"):
            try:
                await call(["nsenter", f"--net={self._pod.network}", tool.program, *rule])
            except ClusterError as err:
                refusals.append(str(err))
            else:
                return
        raise ClusterError("; ".join(refusals) or "there is no iptables")

    def _in_use(self) -> ModelledPod:
        if self._opened is None:
            raise ContainerFailed(self._plan.name, "has no sandbox")
        return self._opened

    def _ask(self, requests: Iterable[Request], container: str) -> None:
        """Ask the policy; a denial is logged and raised as the failure of the container."""
        try:
            self._in_use().guest.ask(requests)
        except Denied as err:
            log = self._grounds.paths.log(self._plan.name, container or "sandbox")
            with log.open("a") as stream:
                stream.write(f"{err.line}\n")
            name = container or "sandbox"
            raise ContainerFailed(name, f"is refused: {err}", denied=err.line) from err

    def _additions(self, plan: ContainerPlan, *, is_stand_in: bool) -> Additions:
        paths = self._grounds.paths
        given: dict[str, str] = {}
        mounts: list[Mapping[str, Any]] = []
        if is_stand_in:
            mounts += machine_mounts(self._grounds.environ)
        if plan.attested and self._host_data:
            given |= {
                variables.EVIDENCE: f"simulated:{_PROCESSOR}",
                variables.HOST_DATA: self._host_data,
                variables.RETRY_SECONDS: _RETRY_SECONDS,
                variables.PACKET_FILTER: "on",
            }
            mounts.append(_bind(_PROCESSOR, paths.processor, "ro"))
        if self._plan.role == ROLE_COORDINATOR and plan.role == "main":
            paths.state.mkdir(parents=True, exist_ok=True)
            # Nobody answers where the pod is told that the API server is.
            given[variables.STATE] = _STATE
            mounts.append(_bind(_STATE, paths.state, "rw"))
        return Additions(variables=given, mounts=mounts)


def _bind(destination: str, source: Path, access: str) -> dict[str, Any]:
    return {
        "destination": destination,
        "type": "bind",
        "source": str(source),
        "options": ["rbind", access],
    }
