"""Markdown for generated pages."""

from collections.abc import Iterable, Sequence

NOTICE = "<!-- written by ./doitw docs from the code; edit that -->"


def code(text: str) -> str:
    """Return a code span for a table cell."""
    escaped = text.replace("|", "\\|")
    return f"`` {escaped} ``" if "`" in text else f"`{escaped}`"


def prose(text: str) -> str:
    """Return plain text for a table cell."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table whose cells are Markdown."""
    return [
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *("|" + "".join(f" {cell} |" if cell else " |" for cell in row) for row in rows),
    ]
