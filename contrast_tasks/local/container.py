"""One running container of a local pod: a process with its exit status and log."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from contrast_tasks.local.messages import ContainerPlan
from contrast_tasks.local.processes import signal_group, spawn

_LOG_TAIL_BYTES = 2000


class RunningContainer:
    """A container's first process; `exited` is set to its exit status, negative for a signal."""

    def __init__(self, plan: ContainerPlan, *, log: Path) -> None:
        self.plan = plan
        self.log = log
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int:
        """Return the process ID."""
        raise NotImplementedError

    def signal(self, signum: int) -> None:
        """Send a signal, if there still is somebody to get it."""
        raise NotImplementedError

    async def wait(self) -> int:
        """Return the exit status once the process has ended."""
        return await asyncio.shield(self.exited)

    async def stop(self, grace_s: float) -> None:
        """End the process: SIGTERM, and SIGKILL after `grace_s` seconds."""
        if self.exited.done():
            return
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self.wait()
        if not self.exited.done():
            self.signal(signal.SIGKILL)
            await self.wait()

    def failure(self, status: int) -> "ContainerFailed":
        """Return the error for an exit status, with the last line of the log."""
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        line = last_line(self.log)
        return ContainerFailed(self.plan.name, how + (f": {line}" if line else ""))


class ProcessContainer(RunningContainer):
    """A container that is a process group of this machine; signals go to the group."""

    def __init__(
        self, plan: ContainerPlan, *, env: Mapping[str, str], log: Path, folder: Path
    ) -> None:
        super().__init__(plan, log=log)
        cwd = Path(plan.working_dir or folder)
        try:
            self._process = spawn(plan.argv, env=env, cwd=cwd, log=log)
        except OSError as err:
            program = err.filename or plan.argv[0]
            raise ContainerFailed(plan.name, f"cannot start {program}: {err.strerror}") from err
        self._watch = os.pidfd_open(self._process.pid)
        asyncio.get_running_loop().add_reader(self._watch, self._on_exit)

    @property
    def pid(self) -> int:
        """Return the process ID, which is also the ID of its group and session."""
        return self._process.pid

    def _on_exit(self) -> None:
        # A container ends with its first process. That is not reaped yet, so the group's ID cannot be reused.
        signal_group(self.pid, signal.SIGKILL)
        status = self._process.poll()
        if status is None:
            return
        asyncio.get_running_loop().remove_reader(self._watch)
        os.close(self._watch)
        if not self.exited.done():
            self.exited.set_result(status)

    def signal(self, signum: int) -> None:
        """Send a signal to the whole group."""
        signal_group(self.pid, signum)


class ContainerFailed(Exception):
    """A container could not be started, or ended although it should run; denied: the line of the policy that denies it."""

    def __init__(self, container: str, message: str, *, denied: str = "") -> None:
        super().__init__(f"container {container} {message}")
        self.denied = denied


def last_line(log: Path) -> str:
    """Return the last line of a log that is not blank, at most 300 characters."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - _LOG_TAIL_BYTES))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")
