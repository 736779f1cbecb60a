"""`./doitw docs`: write docs/reference/, schemas/ and share/ from the code."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from contrast_tasks.files import write_atomic
from dev.checkout import ROOT
from dev.reference.commands_page import render_commands
from dev.reference.findings_page import render_findings
from dev.reference.host_choices_page import render_host_choices
from dev.reference.manifest_page import render_manifest_page
from dev.reference.platforms_page import render_platforms
from dev.reference.refusals_page import render_refusals
from dev.reference.schemas import BODIES, BY_HAND, render_schema
from dev.reference.settings_page import render_settings
from dev.reference.shell_files import SHELL_FILES
from dev.reference.variables_page import render_variables

FOLDER = "docs/reference"
PAGES: Mapping[str, Callable[[Path], str]] = {
    f"{FOLDER}/commands.md": render_commands,
    f"{FOLDER}/findings.md": render_findings,
    f"{FOLDER}/host-choices.md": render_host_choices,
    f"{FOLDER}/manifest.md": render_manifest_page,
    f"{FOLDER}/platforms.md": render_platforms,
    f"{FOLDER}/refusals.md": render_refusals,
    f"{FOLDER}/settings.md": render_settings,
    f"{FOLDER}/variables.md": render_variables,
    **{
        f"schemas/{name}.schema.json": partial(render_schema, name=name)
        for name in (*BODIES, *BY_HAND)
    },
    **SHELL_FILES,
}


def write_pages() -> dict[str, Any]:
    """Write every page whose text has changed."""
    wrote = [
        name for name, render in PAGES.items() if write_atomic(ROOT / name, render(ROOT).encode())
    ]
    return {"wrote": wrote}
