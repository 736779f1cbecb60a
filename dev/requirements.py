"""`./doitw lock_requirements`: write requirements.lock from requirements.in, for all platforms, with hashes."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ContrastError
from dev.checkout import ROOT

LOCK = "requirements.lock"


class NotLocked(ContrastError):
    """uv could not resolve the requirements; its output is on the terminal."""


def write_lock(words: Sequence[str] = ()) -> dict[str, Any]:
    """Write the lock, keeping the pinned versions; words: arguments for uv, as `--upgrade`."""
    before = (ROOT / LOCK).read_bytes()
    command = [
        *(str(Path(sys.executable).with_name("uv")), "pip", "compile", "requirements.in"),
        *("--output-file", LOCK, "--universal", "--generate-hashes", "--python-version", "3.11"),
        *("--no-header", "--no-annotate", "--quiet", *words),
    ]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise NotLocked("the requirements cannot be locked", hint="see uv's output above")
    return {"wrote": [LOCK] if (ROOT / LOCK).read_bytes() != before else []}
