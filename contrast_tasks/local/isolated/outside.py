"""The part of a node that stays outside of its namespaces: it starts the rest, and makes the sockets that people reach.

A node has a network of its own, so a socket on this machine's loopback interface can only be made out here. The node asks for
one over a pair of sockets and gets its descriptor. When this process ends, in whatever way, the kernel ends the node, and with
its first process all others, their network and their mounts; nothing of them is on this machine.
"""

import contextlib
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from contrast_tasks.errors import ClusterError
from contrast_tasks.files import pretty_json, write_atomic
from contrast_tasks.linux import become_subreaper, bound_to_parent
from contrast_tasks.local.messages import Endpoint
from contrast_tasks.local.processes import kill_descendants

_MOST_BYTES: Final = 4096
_BACKLOG: Final = 128
_CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")
_GROUP_ATTEMPTS: Final = 100
_GROUP_PAUSE_S: Final = 0.02


class PortTaken(ClusterError):
    """A port of this machine cannot be listened on."""


class Outside:
    """The node's end of the pair: asks for sockets. `ended` becomes readable when the outside is gone or wants the end."""

    def __init__(self, descriptor: int) -> None:
        self._pair = socket.socket(fileno=descriptor)

    @property
    def ended(self) -> int:
        """Return the descriptor; the outside only ever sends answers, and end-of-file."""
        return self._pair.fileno()

    def close(self) -> None:
        """Close the node's end."""
        self._pair.close()

    def listen(self, endpoint: Endpoint) -> socket.socket:
        """Return a socket that listens on this machine. Raises PortTaken if it cannot be had, ClusterError."""
        try:
            self._pair.send(json.dumps(endpoint).encode())
            content, descriptors, _, _ = socket.recv_fds(self._pair, _MOST_BYTES, 1)
        except OSError as err:
            raise ClusterError(f"the node has lost its outside: {err.strerror}") from err
        if not descriptors:
            raise PortTaken(f"{endpoint[0]}:{endpoint[1]} {content.decode()}")
        return socket.socket(fileno=descriptors[0])


def run_outside(
    command: Sequence[str], passed: Sequence[int], *, pid_file: Path, group: str
) -> int:
    """Run `command` with the descriptor of its end as the last argument until it ends; return its exit status.

    passed: further descriptors that it inherits; they are closed here. SIGTERM, SIGINT and SIGHUP ask it to end.
    group: name of the control group above those of its containers, which is removed.
    """
    become_subreaper()
    _remove_groups(group)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                pass_fds=[*passed, theirs.fileno()],
                # One thread, so no lock is held over the fork.
                preexec_fn=bound_to_parent(),  # noqa: PLW1509
            )
        for descriptor in passed:
            os.close(descriptor)

        def ask_to_end(_signum: int, _frame: object) -> None:
            with contextlib.suppress(OSError):
                ours.shutdown(socket.SHUT_WR)

        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, ask_to_end)
        write_atomic(pid_file, pretty_json({"node": process.pid, "guard": os.getpid()}), mode=0o600)
        _serve(ours, process.pid)
        status = process.wait()
    kill_descendants()
    _remove_groups(group)
    pid_file.unlink(missing_ok=True)
    return status


def _serve(ours: socket.socket, pid: int) -> None:
    """Answer requests until the process ends."""
    watch = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        poll.register(ours, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if watch in ready:
                return
            try:
                request = ours.recv(_MOST_BYTES)
            except OSError:
                request = b""
            if not request:
                poll.unregister(ours)
                continue
            _answer(ours, request)
    finally:
        os.close(watch)


def _answer(ours: socket.socket, request: bytes) -> None:
    address, port = json.loads(request)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server, contextlib.suppress(OSError):
        try:
            # As servers do, so that connections of an earlier run in TIME_WAIT do not count as use.
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((address, port))
            server.listen(_BACKLOG)
        except OSError as err:
            in_use = err.errno == errno.EADDRINUSE
            reason = "is in use" if in_use else f"cannot be listened on: {err.strerror}"
            ours.send(reason.encode())
        else:
            socket.send_fds(ours, [b"listening"], [server.fileno()])


def _remove_groups(name: str) -> None:
    """Remove the control groups that a node left behind which was killed, those of containers before their parent.

    A group is busy until the last of its processes is gone, which takes a moment longer than to kill it.
    """
    patterns = (f"{name}/*/", f"*/{name}/*/", f"{name}/", f"*/{name}/")
    for _ in range(_GROUP_ATTEMPTS):
        left = [folder for pattern in patterns for folder in _CONTROL_GROUPS.glob(pattern)]
        if not left:
            return
        for folder in left:
            with contextlib.suppress(OSError):
                folder.rmdir()
        time.sleep(_GROUP_PAUSE_S)


def node_command(command: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """Return the command of a node in its namespaces, without the descriptor of its end."""
    return [
        *command,
        *(sys.executable, "-m", "contrast_tasks.local.daemon"),
        *arguments,
        "--outside-fd",
    ]
