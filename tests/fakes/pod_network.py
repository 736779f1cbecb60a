"""Network namespaces that stand for pods on one bridge, as a node has them; they need root, and end with the last descriptor."""

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contrast_tasks.packet_filter.deny import set_deny
from contrast_tasks.packet_filter.tools import find_tools

# Source: linux/sched.h.
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def why_not() -> str:
    """Return why no namespaces can be made or no packet filter set, "" if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "iptables-legacy", "ip6tables-legacy", "unshare", "mount"):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            return f"{program} is not installed"
    try:
        namespace = _new_namespace()
    except OSError as err:
        return f"the machine refuses network namespaces: {err.strerror}"
    try:
        namespace.run("iptables-legacy", "-t", "mangle", "-S")
    except AssertionError as err:
        return f"the kernel has no packet filter: {err}"
    finally:
        namespace.close()
    return ""


def needed() -> None:
    """Skip the test where that is so."""
    if reason := why_not():
        pytest.skip(reason)


def _called(result: int, name: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), name)


@dataclass
class Namespace:
    """One network namespace, held by a file descriptor."""

    descriptor: int

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread's new sockets and children live in the namespace."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _called(_LIBC.setns(self.descriptor, _CLONE_NEWNET), "setns")
            try:
                yield
            finally:
                _called(_LIBC.setns(own, _CLONE_NEWNET), "setns")
        finally:
            os.close(own)

    def run(self, *argv: str) -> str:
        """Run a command in the namespace, which must succeed, and return what it prints."""
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        with self.inside():
            done = subprocess.run(
                argv, env={**os.environ, "PATH": path}, check=False, capture_output=True, text=True
            )
        assert done.returncode == 0, (argv, done.stderr)
        return done.stdout

    def set_kernel(self, name: str, value: str) -> None:
        """Set a value below /proc/sys/net."""
        with self.inside():
            Path("/proc/sys/net", *name.split(".")).write_text(value)

    def close(self) -> None:
        os.close(self.descriptor)


def _new_namespace() -> Namespace:
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _called(_LIBC.unshare(_CLONE_NEWNET), "unshare")
        made = Namespace(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        _called(_LIBC.setns(own, _CLONE_NEWNET), "setns")
    finally:
        os.close(own)
    return made


@dataclass
class Pod(Namespace):
    """A pod with an address of each family on the node's bridge."""

    ipv4: str
    ipv6: str

    def close_inbound(self) -> None:
        """Set the rule that a guest has from its start."""
        with self.inside():
            set_deny(find_tools("IPv4")[0])

    def is_closed(self) -> bool:
        """Return whether the guest's rule is there."""
        return "-j DROP" in self.run("iptables-legacy", "-S", "INPUT")


@dataclass
class PodNetwork:
    """A bridge in a namespace of its own, and pods at it."""

    node: Namespace = field(default_factory=_new_namespace)
    pods: list[Pod] = field(default_factory=list)

    def __post_init__(self) -> None:
        for command in ("lo up", "br0 up"):
            if command.startswith("br0"):
                self.node.run("ip", "link", "add", "br0", "type", "bridge")
            self.node.run("ip", "link", "set", *command.split())
        self.node.run("ip", "address", "add", "10.88.0.1/24", "dev", "br0")

    def add(self) -> Pod:
        """Return a new pod, with its loopback up and nothing filtered."""
        made, number = _new_namespace(), len(self.pods) + 2
        pod = Pod(made.descriptor, ipv4=f"10.88.0.{number}", ipv6=f"fd88::{number}")
        peer = f"/proc/{os.getpid()}/fd/{pod.descriptor}"
        near = f"pod{number}"
        self.node.run(
            *("ip", "link", "add", near, "type", "veth"), *("peer", "name", "eth0", "netns", peer)
        )
        self.node.run("ip", "link", "set", near, "master", "br0", "up")
        for command in (
            "link set lo up",
            "link set eth0 up",
            f"address add {pod.ipv4}/24 dev eth0",
            f"address add {pod.ipv6}/64 dev eth0 nodad",
        ):
            pod.run("ip", *command.split())
        self.pods.append(pod)
        return pod

    def close(self) -> None:
        for each in (*self.pods, self.node):
            each.close()


def with_files(hosts: str, resolver: str, argv: Sequence[str]) -> list[str]:
    """Return a command that sees other files at /etc/hosts and /etc/resolv.conf, as a pod does."""
    script = 'mount --bind "$0" /etc/hosts; mount --bind "$1" /etc/resolv.conf; shift; exec "$@"'
    return ["unshare", "--mount", "sh", "-ec", script, hosts, resolver, *argv]
