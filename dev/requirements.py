"""`./doitw lock_requirements`: write both requirements' locks, for all platforms, with hashes."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ContrastError
from dev.checkout import ROOT

LOCK = "requirements.lock"
TOOLS_LOCK = "requirements-dev.lock"
# Each lock, what it is made from, and the lock whose versions it must have.
_LOCKS = (
    (TOOLS_LOCK, "requirements-dev.in", ()),
    (LOCK, "requirements.in", ("--constraint", TOOLS_LOCK)),
)


class NotLocked(ContrastError):
    """uv could not resolve the requirements; its output is on the terminal."""


def write_lock(words: Sequence[str] = ()) -> dict[str, Any]:
    """Write the locks, keeping the pinned versions; words: arguments for uv, as `--upgrade`."""
    before = {lock: (ROOT / lock).read_bytes() for lock, _, _ in _LOCKS}
    for lock, source, constraint in _LOCKS:
        command = [
            *(str(Path(sys.executable).with_name("uv")), "pip", "compile", source),
            *(
                "--output-file",
                lock,
                "--universal",
                "--generate-hashes",
                "--python-version",
                "3.11",
            ),
            *("--no-header", "--no-annotate", "--quiet", *constraint, *words),
        ]
        if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
            raise NotLocked(f"{source} cannot be locked", hint="see uv's output above")
    return {
        "wrote": [lock for lock, content in before.items() if (ROOT / lock).read_bytes() != content]
    }
