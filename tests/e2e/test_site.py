"""The site of docs/: made without a warning, loads nothing from elsewhere, fits a telephone and a screen, and is accessible."""

import json
import re
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from dev.checkout import ROOT
from dev.site import NoSite, build_site
from tests.fakes.browser import needs_browser, verdict

pytest.importorskip("furo", reason="./doitw test installs the site's theme")
PAGES = {
    "index": "contrast-tasks",
    "first-minutes": "The first ten minutes: somebody else's database",
    "tutorial": "Make a deployment confidential",
    "explanation/pictures": "In pictures",
    "reference/platforms": "Platforms and releases",
    "search": "Search",
}
WIDTHS = (390, 1100)
# Says of each frame: the page's heading, whether all its pictures are drawn, how much sticks out to the right, and what axe-core
# finds, which takes a second for a page of this length.
ASK = """
addEventListener("load", async () => {
  const verdicts = []
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument
    frame.contentWindow.eval(AXE)
    const found = await frame.contentWindow.axe.run(page)
    verdicts.push([
      page.querySelector("h1")?.textContent.replace(/[^ -~]/g, "").trim(),
      [...page.images].every(image => image.complete && image.naturalWidth > 0),
      page.documentElement.scrollWidth - page.documentElement.clientWidth,
      found.violations.map(fault => fault.id + ": " + fault.nodes[0].html),
      found.passes.length > 30,
    ])
  }
  document.title = "verdict " + JSON.stringify(verdicts)
})
"""

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("site")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    build_site(ROOT / "docs", folder)
    return folder


def test_a_link_to_nothing_is_an_error(tmp_path: Path) -> None:
    pages = tmp_path / "docs"
    pages.mkdir()
    shutil.copy(ROOT / "docs" / "conf.py", pages)
    (pages / "index.md").write_text("# One page\n\n[Another](another.md)\n")

    with pytest.raises(NoSite):
        build_site(pages, tmp_path / "site")


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))

    assert len(pages) > 50
    for page in pages:
        loaded = re.findall(
            r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"([^\"]+)", page.read_text()
        )
        assert [address for address in loaded if "//" in address] == [], page


@needs_browser
def test_pages_fit_a_telephone_and_a_screen_and_an_accessibility_checker_finds_no_fault(
    site: Path, tmp_path: Path
) -> None:
    frames = "".join(
        f'<iframe src="{(site / f"{page}.html").as_uri()}" width="{width}" height="900"></iframe>'
        for page in PAGES
        for width in WIDTHS
    )
    axe = files("axe_core_python").joinpath("axe.min.js").read_text()
    (tmp_path / "axe.js").write_text(f"const AXE = {json.dumps(axe)}")
    file = tmp_path / "frames.html"
    scripts = f'<script src="axe.js"></script><script>{ASK}</script>'
    file.write_text(f"<!doctype html><title></title>{frames}{scripts}")

    assert verdict(file, "--allow-file-access-from-files") == [
        [heading, True, 0, [], True] for heading in PAGES.values() for _ in WIDTHS
    ]
