"""`./doitw site`: make the site of docs/ in build/site, with Sphinx; whatever it warns of is an error."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ContrastError
from dev.checkout import ROOT


class NoSite(ContrastError):
    """Sphinx found a fault in the pages; its output is on the terminal."""


def run_site() -> dict[str, Any]:
    """Make build/site; raises NoSite."""
    build_site(ROOT / "docs", ROOT / "build" / "site")
    return {"wrote": ["build/site"]}


def build_site(pages: Path, site: Path) -> None:
    """Write the site of a folder of pages in place of what is there; raises NoSite for a fault, such as a link to nothing."""
    shutil.rmtree(site, ignore_errors=True)
    command = [
        *(sys.executable, "-m", "sphinx", "--builder", "html", "--quiet", "--no-color"),
        *("--fail-on-warning", "--fresh-env", "--doctree-dir", str(site / ".doctrees")),
        *(str(pages), str(site)),
    ]
    if subprocess.run(command, check=False).returncode != 0:
        raise NoSite("the site could not be made", hint="see Sphinx's output above")
    shutil.rmtree(site / ".doctrees")
