"""Running the tools of a pod's image: one function, which tests replace by a record of what was asked for."""

import os
import subprocess
from collections.abc import Callable, Sequence
from typing import NamedTuple

# Nothing else of the container's environment reaches a tool. There is no udev in a container, so libdevmapper makes device
# nodes itself and waits for nobody.
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "DM_DISABLE_UDEV": "1",
}
_MISSING = 127
_SHOWN = 300


class Finished(NamedTuple):
    """What a command left: its exit status (127 if there is no such program), and what it wrote, as text."""

    status: int
    output: str
    errors: str

    def reason(self) -> str:
        """Return the exit status and what it complained of, on one line."""
        said = " ".join((self.errors or self.output).split())
        return f"status {self.status}" + (f": {said[:_SHOWN]}" if said else "")


Run = Callable[[Sequence[str], bytes], Finished]
"""Runs a command with these bytes on its standard input; secrets are passed there and nowhere else."""


def run_command(argv: Sequence[str], given: bytes = b"") -> Finished:
    """Run a command to its end; it is killed if an exception, as by a signal, arrives meanwhile."""
    try:
        ended = subprocess.run(
            argv,
            input=given,
            capture_output=True,
            env=_ENVIRONMENT,
            cwd=os.sep,
            check=False,
        )
    except FileNotFoundError:
        return Finished(_MISSING, "", f"the image has no program {argv[0]}")
    return Finished(
        ended.returncode,
        ended.stdout.decode(errors="replace"),
        ended.stderr.decode(errors="replace"),
    )
