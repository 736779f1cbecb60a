"""`./doitw docs`: writes docs/reference/ from the code, so that it says what the code does and nothing else."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from contrast_tasks.files import write_atomic
from dev.reference.commands_page import render_commands
from dev.reference.findings_page import render_findings
from dev.reference.settings_page import render_settings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "docs/reference"
PAGES: Mapping[str, Callable[[Path], str]] = {
    "commands.md": render_commands,
    "findings.md": render_findings,
    "settings.md": render_settings,
}


def write_pages() -> dict[str, Any]:
    """Write every page whose text is another one now."""
    wrote = [
        f"{FOLDER}/{name}"
        for name, render in PAGES.items()
        if write_atomic(ROOT / FOLDER / name, render(ROOT).encode())
    ]
    return {"wrote": wrote}
