"""Processes that cannot outlive their supervisor, by three safeguards.

The kernel kills a child when the process that started it dies (PR_SET_PDEATHSIG). The node is a child subreaper: it adopts
grandchildren that left their group, and finds them by the mark in their environment. A guard process above the node, also
a subreaper, kills what is left when the node itself is killed.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from contrast_tasks.linux import become_subreaper, bound_to_parent, die_with
from contrast_tasks.variables import LOCAL_POD

MARK = LOCAL_POD
"""Environment variable that ties a process to `<project path>:<pod>`."""


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
) -> subprocess.Popen[bytes]:
    """Start `argv` in a new session that ends with this process; its output is appended to `log`.

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
            # The node has one thread, so no lock is held over the fork.
            preexec_fn=bound_to_parent(),  # noqa: PLW1509
        )


def signal_group(pid: int, signum: int) -> None:
    """Send `signum` to the process group led by `pid`, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


def is_alive(pid: int) -> bool:
    """Return whether a process with this ID exists and is not a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def _parents() -> Iterator[tuple[int, int]]:
    """Yield (pid, parent pid) of every visible process."""
    for name in os.listdir("/proc"):  # noqa: PTH208  # names only, and often
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                text = Path(f"/proc/{name}/stat").read_text()
                # The name in parentheses may hold anything, also ")".
                yield int(name), int(text.rpartition(")")[2].split()[1])


def descendants(pid: int) -> list[int]:
    """Return the IDs of all processes below `pid`, parents before children."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    tree = [pid]
    for ancestor in tree:  # which grows meanwhile
        tree += children.get(ancestor, [])
    return tree[1:]


def numbers_outside(pid: int) -> dict[int, int]:
    """Return for the processes below `pid` that are in a namespace of their own: their ID there -> their ID here."""
    found = {}
    for each in descendants(pid):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{each}/status").read_text()
            numbers = status.partition("NSpid:")[2].partition("\n")[0].split()
            if len(numbers) > 1:
                found[int(numbers[1])] = each
    return found


def carries_mark(pid: int, mark: str) -> bool:
    """Return whether the process was started with `MARK=mark` in its environment."""
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={mark}".encode() in environ.split(b"\0")


def kill_marked(mark: str) -> None:
    """Kill the descendants of this process that carry `mark`, until none is left."""
    while left := [pid for pid in descendants(os.getpid()) if carries_mark(pid, mark)]:
        _kill(left)


def kill_descendants() -> None:
    """Kill all descendants of this process, until none is left. Requires `become_subreaper`."""
    while left := descendants(os.getpid()):
        _kill(left)


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        # A grandchild becomes our child when its parent is reaped; the caller's loop finds it again.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def guard(node: Callable[[], int]) -> int:
    """Run `node` in a child process, kill what it leaves behind, and return its exit status.

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
