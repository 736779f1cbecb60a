"""Processes that cannot outlive their supervisor.

Three nets lie below each other. A child asks the kernel for SIGKILL when the process that started it dies
(PR_SET_PDEATHSIG). The node is a child subreaper, so a grandchild that leaves its group comes back to it and is
found by the mark in its environment. Above the node a guard process, a subreaper too, ends whatever is left when
the node itself is killed.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from contrast_tasks.linux import become_subreaper, bound_to_parent, die_with

MARK = "CONTRAST_LOCAL_POD"
"""Environment variable that ties a process to `<project path>:<pod>`."""


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
) -> subprocess.Popen[bytes]:
    """Start `argv` in a session of its own, output appended to `log`, bound to this process' life.

    Raises OSError if the program cannot be executed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        return subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            # The node has one thread, so nothing can hold a lock over the fork.
            preexec_fn=bound_to_parent(),  # noqa: PLW1509
        )


def signal_group(pid: int, signum: int) -> None:
    """Send `signum` to the process group led by `pid`; a group that is gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


def is_alive(pid: int) -> bool:
    """Return whether a process of that id exists and is not a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def _parents() -> Iterator[tuple[int, int]]:
    """Yield (pid, parent pid) of every process that can be seen."""
    for name in os.listdir("/proc"):  # noqa: PTH208  # names only, and often
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                text = Path(f"/proc/{name}/stat").read_text()
                # The name in parentheses may hold anything, also ")".
                yield int(name), int(text.rpartition(")")[2].split()[1])


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below `pid`, parents before children."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found: list[int] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(0), [])
        found.extend(below)
        queue.extend(below)
    return found


def carries_mark(pid: int, mark: str) -> bool:
    """Return whether the process was started with `MARK=mark` in its environment."""
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={mark}".encode() in environ.split(b"\0")


def kill_marked(mark: str) -> None:
    """Kill the descendants of this process that carry `mark`, until none is left; reap our own."""
    while left := [pid for pid in descendants(os.getpid()) if carries_mark(pid, mark)]:
        _kill(left)


def kill_descendants() -> None:
    """Kill everything below this process, until nothing is left; needs `become_subreaper`."""
    while left := descendants(os.getpid()):
        _kill(left)


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        # A grandchild becomes ours when its parent is reaped; the caller's loop sees it again.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def guard(node: Callable[[], int]) -> int:
    """Run `node` in a child process and return its exit status; whatever it leaves behind is killed.

    SIGTERM, SIGINT and SIGHUP are passed on. If the guard dies, the node gets SIGTERM and stops its pods itself.
    """
    become_subreaper()
    here = os.getpid()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            die_with(here, signal.SIGTERM)
            status = node()
        except KeyboardInterrupt:
            status = 130
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def pass_on(signum: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signum)

    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, pass_on)
    _, status = os.waitpid(child, 0)
    kill_descendants()
    return os.waitstatus_to_exitcode(status)
