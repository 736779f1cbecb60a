"""A real browser without a window, for pages that write what they find into their own title."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")


def verdict(page: Path, *options: str) -> Any:
    """Load a page and return the JSON that its script wrote into the title, behind the word `verdict`."""
    done = subprocess.run(
        [
            str(BROWSER),
            *("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"),
            *(*options, "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = re.search(r"<title>verdict (.*?)</title>", done.stdout)
    assert found is not None
    return json.loads(html.unescape(found[1]))
