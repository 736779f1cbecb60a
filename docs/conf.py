# ruff: noqa: INP001 - Sphinx reads this file by its name, it is in no package.
"""How Sphinx makes the site of these pages: `./doitw site`. The navigation is in index.md."""

project = "contrast-tasks"
author = "the contrast-tasks maintainers"
html_title = "contrast-tasks"
html_theme = "furo"
smartquotes = False  # which would make one dash of the two of an option
html_static_path: list[str] = []
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
extensions = ["myst_parser"]
# Links to headings, spelled as on the repository's own pages, of every level that pages link to.
myst_heading_anchors = 4
