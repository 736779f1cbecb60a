# ruff: noqa: INP001 - Sphinx reads this file by its name, it is in no package.
"""How Sphinx makes the site of these pages: `./doitw site`. The navigation is in index.md."""

import re
from pathlib import Path

from sphinx.application import Sphinx

project = "contrast-tasks"
author = "the contrast-tasks maintainers"
html_title = "contrast-tasks"
html_theme = "furo"
smartquotes = False  # which would make one dash of the two of an option
html_static_path: list[str] = []
html_copy_source = False
html_use_index = False
html_show_sphinx = False
html_show_copyright = False
extensions = ["myst_parser"]
# Links to headings, spelled as on the repository's own pages, of every level that pages link to.
myst_heading_anchors = 4

# What the theme's templates leave out, and what a keyboard or a screen reader needs: captions of the navigation have a level,
# each landmark has a name, what scrolls sideways can be reached, and the page of the search has a heading.
_ADDED = {
    r'(<p class="caption" role="heading")>': r'\1 aria-level="2">',
    r'(<aside class="sidebar-drawer")>': r'\1 aria-label="Pages">',
    r'(<aside class="toc-drawer[^"]*")>': r'\1 aria-label="On this page">',
    r"<pre>": r'<pre tabindex="0">',
    r'(<div class="table-wrapper[^"]*")>': r'\1 tabindex="0">',
    r'(<div id="search-results"></div>)': r"<h1>Search</h1>\1",
}


def complete_pages(app: Sphinx, fault: Exception | None) -> None:
    """Write into each page of the site what the theme leaves out."""
    for page in Path(app.outdir).rglob("*.html") if fault is None else ():
        text = page.read_text(encoding="utf-8")
        for found, wanted in _ADDED.items():
            text = re.sub(found, wanted, text)
        page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Have the pages completed when all are written."""
    app.connect("build-finished", complete_pages)
