"""Kata's shim: what it asks of the agent in its guest for each call of containerd.

Source: recordings of the real shim; docs/internals/policy.md 2.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from contrast_tasks.agent_messages import Request, fill_defaults
from contrast_tasks.annotations import POLICY
from contrast_tasks.records import Record
from contrast_tasks.runtime.host_files import HostFiles, Tree
from contrast_tasks.runtime.shim.copies import copy_requests
from contrast_tasks.runtime.shim.creation import Spec, creation, is_sandbox, name_of
from contrast_tasks.runtime.shim.disks import Disks
from contrast_tasks.runtime.shim.forms import in_form
from contrast_tasks.runtime.shim.mounts import SHM_STORAGE, Copied, Guest
from contrast_tasks.runtime.shim.network import Network, network_requests
from contrast_tasks.runtime.shim.oci import executed, resources
from contrast_tasks.runtime.shim_versions import Shim

_GZIP: Final = b"\x1f\x8b"  # of gzip
_READ_BYTES: Final = 32768
_KILL: Final = 9


class _Running:
    """A container in the guest.

    copies: what was copied for it. sent: the entries of each copy so far, by its folder. execs: the identifiers of its
    further processes by the caller's name.
    """

    def __init__(self, spec: Spec, copies: tuple[Copied, ...]) -> None:
        self.name = name_of(spec)
        self.is_sandbox = is_sandbox(spec)
        self.copies = copies
        self.sent = {each.folder: {entry.path for entry in each.tree} for each in copies}
        self.execs: dict[str, str] = {}


class Host(Record):
    """What the shim finds on its host; resolv_conf: the content of the pod's file."""

    files: HostFiles
    network: Network
    resolv_conf: str


class ShimService:
    """The shim of one pod. Each method is a call of containerd and yields the requests in their order.

    Requests of the threads that wait and read may come some places later in reality. Names that the shim draws are counted.
    """

    def __init__(self, shim: Shim, host: Host) -> None:
        self._shim = shim
        self._host = host
        self._containers: dict[str, _Running] = {}
        self._sandbox_id = ""
        self._disks = Disks()
        self._copied = self._executed = 0

    def create(
        self, identifier: str, spec: Spec, rootfs: Sequence[Mapping[str, Any]] = ()
    ) -> Iterator[Request]:
        """Create a container, and the guest if it is the sandbox; rootfs: the mounts of its root file system."""
        if not is_sandbox(spec):
            yield from self._create(identifier, spec, rootfs)
            return
        self._sandbox_id = identifier
        yield _request("CheckRequest", "see whether the agent answers", service="")
        yield from self._policy(spec["annotations"])
        yield from self._network()
        yield self._create_sandbox(identifier, spec)
        yield _request(
            "GuestDetailsRequest",
            "read the guest's details",
            mem_block_size=True,
            mem_hotplug_probe=True,
        )
        yield from self._create(identifier, spec, rootfs)
        if self._shim.repeats_network:
            yield from self._network()

    def start(self, identifier: str, *, tty: bool = False) -> Iterator[Request]:
        """Start a container."""
        container = self._containers[identifier]
        name = container.name
        yield _request("StartContainerRequest", f"start {name}", container_id=identifier)
        if container.is_sandbox:
            yield self._wait(identifier)
            yield _request("GetOOMEventRequest", "watch for lack of memory")
        else:
            yield from self._read(identifier, identifier, name, tty=tty)

    def execute(
        self, identifier: str, key: str, process: Mapping[str, Any], *, tty: bool = False
    ) -> Iterator[Request]:
        """Run a process in a container; key: the caller's name of it."""
        container = self._containers[identifier]
        self._executed += 1
        exec_id = f"00000000-0000-4000-8000-{self._executed:012x}"
        container.execs[key] = exec_id
        purpose = f"run {process['args'][0].rpartition('/')[2]} in {container.name}"
        request = _request(
            "ExecProcessRequest",
            purpose,
            container_id=identifier,
            exec_id=exec_id,
            process=executed(process),
        )
        yield in_form(request, self._shim)
        yield from self._read(identifier, exec_id, purpose, tty=tty)

    def exit(self, identifier: str, key: str = "") -> Iterator[Request]:
        """Let a process end by itself; key: of one that was executed, "" for the container's own."""
        if key:
            exec_id = self._containers[identifier].execs[key]
            yield self._wait(identifier, exec_id)
            return
        yield self._wait(identifier)
        yield from self._stop(identifier)

    def kill(self, identifier: str, signal: int, key: str = "") -> Iterator[Request]:
        """Send a signal that ends a process."""
        container = self._containers[identifier]
        exec_id = container.execs[key] if key else ""
        yield _request(
            "SignalProcessRequest",
            f"stop {container.name}",
            container_id=identifier,
            exec_id=exec_id,
            signal=signal,
        )
        if key:
            yield self._wait(identifier, exec_id)
            return
        # The sandbox has no output, so it has been waited for since it started.
        if not container.is_sandbox:
            yield self._wait(identifier)
        yield from self._stop(identifier)

    def stats(self, identifier: str) -> Iterator[Request]:
        """Measure a container."""
        name = self._containers[identifier].name
        yield _request("StatsContainerRequest", f"measure {name}", container_id=identifier)

    def resize(
        self, identifier: str, key: str = "", *, rows: int, columns: int
    ) -> Iterator[Request]:
        """Change the size of a terminal."""
        yield self._on_stream(
            "TtyWinResizeRequest", "resize the terminal", identifier, key, row=rows, column=columns
        )

    def write(self, identifier: str, key: str = "", *, data: bytes) -> Iterator[Request]:
        """Write to the input of a process."""
        yield self._on_stream(
            "WriteStreamRequest", "write to the input", identifier, key, data=list(data)
        )

    def close_input(self, identifier: str, key: str = "") -> Iterator[Request]:
        """Close the input of a process."""
        yield self._on_stream("CloseStdinRequest", "close the input", identifier, key)

    def update(self, identifier: str, limits: Mapping[str, Any]) -> Iterator[Request]:
        """Change the limits of a container; limits: as in an OCI specification."""
        yield _request(
            "UpdateContainerRequest",
            f"change the limits of {self._containers[identifier].name}",
            container_id=identifier,
            resources=resources(limits),
        )

    def changed(self, source: str, tree: Tree) -> Iterator[Request]:
        """Copy what is new in a folder that the kubelet has changed, into each container that mounts it."""
        for container in self._containers.values():
            for copied in container.copies:
                if copied.source == source:
                    known = container.sent[copied.folder]
                    new = [each for each in tree if each.path not in known or each.path == "..data"]
                    known |= {each.path for each in new}
                    yield from copy_requests(
                        new,
                        copied.folder,
                        f"copy {copied.destination} of {container.name}",
                        form=self._shim.copy_form,
                    )

    def _policy(self, annotations: Mapping[str, str]) -> Iterator[Request]:
        if POLICY in annotations:
            content = base64.b64decode(annotations[POLICY])
            # A compressed policy needs a message with bytes in place of text.
            policy = list(content) if content.startswith(_GZIP) else content.decode()
            yield _request("SetPolicyRequest", "set the policy", policy=policy)

    def _create_sandbox(self, identifier: str, spec: Spec) -> Request:
        request = _request(
            "CreateSandboxRequest",
            "create the sandbox",
            hostname=spec.get("hostname", ""),
            dns=self._host.resolv_conf.split("\n"),
            storages=[SHM_STORAGE],
            sandbox_id=identifier,
        )
        return in_form(request, self._shim)

    def _network(self) -> Iterator[Request]:
        for request in network_requests(self._host.network):
            yield in_form(request, self._shim)

    def _create(
        self, identifier: str, spec: Spec, rootfs: Sequence[Mapping[str, Any]]
    ) -> tuple[Request, ...]:
        guest = Guest(
            empty_dirs=self._shim.empty_dirs,
            sandbox_id=self._sandbox_id,
            files=self._host.files,
            name_copy=lambda base: self._copy_name(identifier, base),
            disk_address=lambda disk: self._disks.attach(disk, identifier),
            layer_address=lambda name: self._disks.attach_to_pci(name, identifier),
            root_end="" if self._shim.attaches_layers else "/rootfs",
        )
        found = creation(identifier, spec, rootfs, shim=self._shim, guest=guest)
        self._containers[identifier] = _Running(spec, found.copies)
        return found.requests

    def _copy_name(self, identifier: str, base: str) -> str:
        self._copied += 1
        return f"{identifier}-{self._copied:016x}-{base}"

    def _read(self, identifier: str, exec_id: str, name: str, *, tty: bool) -> Iterator[Request]:
        """Read output and errors, which are one stream on a terminal."""
        for _ in range(1 if tty else 2):
            yield _request(
                "ReadStreamRequest",
                f"read output of {name}",
                container_id=identifier,
                exec_id=exec_id,
                len=_READ_BYTES,
            )

    def _wait(self, identifier: str, exec_id: str = "") -> Request:
        return _request(
            "WaitProcessRequest",
            f"wait for {self._containers[identifier].name}",
            container_id=identifier,
            exec_id=exec_id or identifier,
        )

    def _on_stream(
        self, kind: str, purpose: str, identifier: str, key: str, **members: Any
    ) -> Request:
        container = self._containers[identifier]
        exec_id = container.execs[key] if key else identifier
        return _request(
            kind,
            f"{purpose} of {container.name}",
            container_id=identifier,
            exec_id=exec_id,
            **members,
        )

    def _stop(self, identifier: str) -> Iterator[Request]:
        """Clean up after a container whose process has ended; with the sandbox goes the guest."""
        container = self._containers.pop(identifier)
        name = container.name
        self._disks.release(identifier)
        yield _request(
            "SignalProcessRequest", f"end {name}", container_id=identifier, exec_id="", signal=_KILL
        )
        yield _request(
            "WaitProcessRequest", f"wait for {name}", container_id=identifier, exec_id=identifier
        )
        yield _request("RemoveContainerRequest", f"remove {name}", container_id=identifier)
        yield _request("RemoveStaleVirtiofsShareMountsRequest", "remove stale mounts")
        if container.is_sandbox:
            yield _request("DestroySandboxRequest", "remove the sandbox")


def _request(kind: str, purpose: str, **members: Any) -> Request:
    return Request(kind, fill_defaults(kind, members), purpose)
