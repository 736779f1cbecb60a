"""The site of docs/: made without a warning, loads nothing from elsewhere, and fits the width of a telephone and of a screen."""

import re
import shutil
from pathlib import Path

import pytest

from dev.checkout import ROOT
from dev.site import NoSite, build_site
from tests.fakes.browser import needs_browser, verdict

pytest.importorskip("furo", reason="./doitw test installs the site's theme")
PAGES = ("index", "first-minutes", "tutorial", "explanation/pictures", "reference/commands")
WIDTHS = (390, 1100)
# Says of each frame: the page's heading, whether all its pictures are drawn, and how much sticks out to the right.
ASK = """
addEventListener("load", () => {
  document.title = "verdict " + JSON.stringify([...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument
    return [
      page.querySelector("h1").textContent.replace(/[^ -~]/g, "").trim(),
      [...page.images].every(image => image.complete && image.naturalWidth > 0),
      page.documentElement.scrollWidth - page.documentElement.clientWidth,
    ]
  }))
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
def test_pages_are_drawn_within_the_width_of_a_telephone_and_of_a_screen(
    site: Path, tmp_path: Path
) -> None:
    frames = "".join(
        f'<iframe src="{(site / f"{page}.html").as_uri()}" width="{width}" height="900"></iframe>'
        for page in PAGES
        for width in WIDTHS
    )
    file = tmp_path / "frames.html"
    file.write_text(f"<!doctype html><title></title>{frames}<script>{ASK}</script>")

    assert verdict(file, "--allow-file-access-from-files") == [
        [heading, True, 0]
        for heading in (
            "contrast-tasks",
            "The first ten minutes: somebody else's database",
            "Make a deployment confidential",
            "In pictures",
            "Commands",
        )
        for _ in WIDTHS
    ]
