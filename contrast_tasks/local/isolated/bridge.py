"""The network of a node: a bridge, and for each pod a pair of interfaces and addresses of both families, by iproute2.

All of it is in the node's own network namespace, so nothing appears on this machine and two projects have the same addresses.
A pod's place is the last part of its loopback address on this machine: 127.77.0.4 is 10.244.0.4 inside.
"""

import asyncio
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from contrast_tasks.errors import ClusterError
from contrast_tasks.records import Record

BRIDGE: Final = "contrast0"
NODE_ADDRESS: Final = "10.244.0.1"
NODE_ADDRESS_6: Final = "fd00:10:244::1"
DNS_ADDRESS: Final = "10.96.0.10"
MTU: Final = 1500
_DEVICE: Final = "eth0"


class PodNetwork(Record):
    """Addresses of one pod, and the files that name its namespaces."""

    place: int
    network: Path
    uts: Path
    ipc: Path

    @property
    def address(self) -> str:
        """Return the IPv4 address."""
        return pod_address(self.place)

    @property
    def address_6(self) -> str:
        """Return the IPv6 address."""
        return pod_address_6(self.place)

    @property
    def mac(self) -> str:
        """Return the hardware address, which is made of the IPv4 address."""
        return f"02:42:0a:f4:00:{self.place:02x}"


def pod_address(place: int) -> str:
    """Return the IPv4 address of the pod at a place."""
    return f"10.244.0.{place}"


def pod_address_6(place: int) -> str:
    """Return the IPv6 address of the pod at a place."""
    return f"fd00:10:244::{place:x}"


def place_of(address: str) -> int:
    """Return the place of a pod from its loopback address on this machine."""
    return int(address.rpartition(".")[2])


async def make_bridge() -> None:
    """Set the node's own interfaces up. Raises ClusterError."""
    lines = (
        "link set lo up",
        f"link add {BRIDGE} type bridge",
        # Nobody else is on the bridge, so addresses need no check for duplicates, which takes a second.
        f"link set {BRIDGE} up",
        f"addr add {NODE_ADDRESS}/24 dev {BRIDGE}",
        f"addr add {NODE_ADDRESS_6}/64 dev {BRIDGE} nodad",
        f"addr add {DNS_ADDRESS}/32 dev lo",
    )
    await call(["ip", "-batch", "-"], lines)


async def add_service_address(address: str) -> None:
    """Let the node answer for the address of a Service."""
    await call(["ip", "addr", "replace", f"{address}/32", "dev", "lo"])


async def make_pod(pod: PodNetwork, hostname: str) -> None:
    """Make a pod's namespaces and connect it. Raises ClusterError."""
    for file in (pod.network, pod.uts, pod.ipc):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    named = [f"--net={pod.network}", f"--uts={pod.uts}", f"--ipc={pod.ipc}"]
    await call(["unshare", *named, "hostname", hostname])
    outer = f"pod{pod.place}"
    inner = f"address {pod.mac} mtu {MTU} netns ./{pod.network.name}"
    await call(
        ["ip", "-batch", "-"],
        (
            f"link add {outer} mtu {MTU} type veth peer name {_DEVICE} {inner}",
            f"link set {outer} master {BRIDGE} up",
        ),
        cwd=pod.network.parent,
    )
    await call(
        ["nsenter", f"--net={pod.network}", "ip", "-batch", "-"],
        (
            "link set lo up",
            f"link set {_DEVICE} up",
            f"addr add {pod.address}/24 dev {_DEVICE}",
            f"addr add {pod.address_6}/64 dev {_DEVICE} nodad",
            f"route add default via {NODE_ADDRESS}",
            f"route add default via {NODE_ADDRESS_6}",
        ),
    )


async def remove_pod(pod: PodNetwork) -> None:
    """Remove a pod's interfaces and namespaces; what is not there is no error."""
    await call(["ip", "link", "delete", f"pod{pod.place}"], may_fail=True)
    for file in (pod.network, pod.uts, pod.ipc):
        if file.exists():
            await call(["umount", "--lazy", str(file)], may_fail=True)
            file.unlink(missing_ok=True)


async def call(
    command: Sequence[str],
    lines: Sequence[str] = (),
    *,
    may_fail: bool = False,
    cwd: Path | None = None,
) -> str:
    """Run a command with lines as its input and return its output. Raises ClusterError with its last words.

    cwd: for relative paths, where a project's folder may have a name that the command takes apart.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.PIPE if lines else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd,
    )
    content = "".join(f"{line}\n" for line in lines).encode() if lines else None
    output, _ = await process.communicate(content)
    text = output.decode(errors="replace").strip()
    if process.returncode != 0 and not may_fail:
        reason = text.splitlines()[-1] if text else f"status {process.returncode}"
        raise ClusterError(f"the node cannot run {' '.join(command[:4])}: {reason}")
    return text
