"""A container of runc: its first process becomes a child of this one, the first of the node's process namespace."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from contrast_tasks.local.container import ContainerFailed, RunningContainer
from contrast_tasks.local.messages import ContainerPlan

_CHUNK_BYTES: Final = 1 << 16
_MESSAGE: Final = re.compile(r'msg="((?:[^"\\]|\\.)*)"')


class Runc:
    """The command `runc` with the node's own state folder."""

    def __init__(self, state: Path) -> None:
        self._command = ("runc", "--root", str(state))

    async def call(self, *words: str, output: int = subprocess.DEVNULL) -> tuple[int, str]:
        """Run a command; return its status and the last message that runc itself wrote, without its frame."""
        log_end, own_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                *("--log", f"/dev/fd/{own_end}"),
                *words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(own_end,),
            )
        finally:
            os.close(own_end)
        status = await process.wait()
        os.set_blocking(log_end, False)
        with open(log_end, "rb") as stream:  # noqa: ASYNC230, PTH123  # what is in the pipe already
            text = (stream.read(_CHUNK_BYTES) or b"").decode(errors="replace")
        messages = _MESSAGE.findall(text)
        return status, messages[-1].replace('\\"', '"') if messages else ""


class RuncContainer(RunningContainer):
    """A container whose output goes to its log; `start` makes one."""

    def __init__(self, plan: ContainerPlan, *, identifier: str, log: Path, runc: Runc) -> None:
        super().__init__(plan, log=log)
        self.identifier = identifier
        self._runc = runc
        self._pid = 0
        self._watch = self._output = -1
        self._log: BinaryIO | None = None

    @property
    def pid(self) -> int:
        """Return the ID of the first process in the node's namespace, 0 before it has started."""
        return self._pid

    async def start(self, bundle: Path, config: Mapping[str, Any]) -> None:
        """Start it from its configuration. Raises ContainerFailed with runc's message."""
        bundle.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  # in memory
        (bundle / "config.json").write_text(json.dumps(config))
        pid_file = bundle / "pid"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._log = self.log.open("ab", buffering=0)
        # A pipe, as with containerd: programs open /dev/stdout anew, which would write at the beginning of a file.
        self._output, theirs = os.pipe()
        os.set_blocking(self._output, False)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._output, self._copy_output)
        words = ("run", "--detach", "--bundle", str(bundle), "--pid-file", str(pid_file))
        try:
            status, message = await self._runc.call(*words, self.identifier, output=theirs)
        finally:
            os.close(theirs)
        if status != 0:
            self._copy_output()
            self._close_output()
            raise ContainerFailed(self.plan.name, f"cannot be started: {message or 'runc failed'}")
        self._pid = int(pid_file.read_text())
        self._watch = os.pidfd_open(self._pid)
        loop.add_reader(self._watch, self._on_exit)

    def signal(self, signum: int) -> None:
        """Send a signal to the first process; SIGKILL ends all of the container's."""
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._watch, signum)

    async def remove(self) -> None:
        """End what is left, and remove runc's record of it and its control group."""
        await self._runc.call("delete", "--force", self.identifier)
        self._close_output()

    def _copy_output(self) -> None:
        while True:
            try:
                chunk = os.read(self._output, _CHUNK_BYTES)
            except BlockingIOError:
                return
            if not chunk or self._log is None:
                self._close_output()
                return
            self._log.write(chunk)

    def _close_output(self) -> None:
        if self._log is None:
            return
        asyncio.get_running_loop().remove_reader(self._output)
        os.close(self._output)
        self._log.close()
        self._log = None

    def _on_exit(self) -> None:
        # The first process of a namespace is the last to be reaped, so nothing of the container runs any more.
        found, status = os.waitpid(self._pid, os.WNOHANG)
        if found == 0:
            return
        asyncio.get_running_loop().remove_reader(self._watch)
        os.close(self._watch)
        if self._log is not None:
            self._copy_output()
        if not self.exited.done():
            self.exited.set_result(os.waitstatus_to_exitcode(status))
