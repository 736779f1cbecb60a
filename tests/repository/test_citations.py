"""Every document that code, templates, tests and documents cite is in the repository, and has the section."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INTERNALS = ROOT / "docs" / "internals"
_WRAP = re.compile(r"\s*\n[ \t]*(?:#|//)?[ \t]*")
_CITED = re.compile(
    r"docs/internals/([a-z-]+)\.md((?:(?:,? and|,)? ?(?:\d+(?:\.\d+)*)(?:-[\d.]*\d)?(?: \([^()]*\))?)*)"
)
_NUMBERS = re.compile(r"\b(\d+(?:\.\d+)*)(?:-(\d+(?:\.\d+)*))?")
_PAGE = re.compile(r"[A-Za-z0-9_./-]*[A-Za-z0-9_-]\.md\b")
_THIS = "tests/repository/test_citations.py"
_OUTSIDE = re.compile(r"(?<![\w./-])(?:spec|notes)/[a-z]|(?<![\w-])architecture\.md|\.\./shared")


@cache
def texts() -> dict[str, str]:
    """Return the text of every tracked file, by path; the lines of a sentence joined."""
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    found = {}
    for name in names:
        path = ROOT / name
        if name == _THIS or not path.is_file():
            continue
        try:
            found[name] = _WRAP.sub(" ", path.read_text())
        except UnicodeDecodeError:
            continue
    return found


def sections(page: str) -> set[str]:
    """Return the numbers of the headings of a page of docs/internals."""
    path = INTERNALS / f"{page}.md"
    text = path.read_text() if path.is_file() else ""
    return set(re.findall(r"^#+ (\d+(?:\.\d+)*)\.? ", text, re.MULTILINE))


def numbers(cited: str) -> Iterator[str]:
    """Yield the section numbers of what follows a page's name; the ends of a range, and whole chapters between."""
    for first, last in _NUMBERS.findall(re.sub(r"\([^()]*\)", "", cited)):
        yield first
        if last:
            head, _, end = last.rpartition(".")
            start = int(first.rpartition(".")[2])
            yield from (f"{head}.{n}".lstrip(".") for n in range(start + 1, int(end) + 1))


def cited_sections() -> Iterator[object]:
    """Yield (page, number) once for each that is cited anywhere."""
    seen = {
        (page, number)
        for text in texts().values()
        for page, cited in _CITED.findall(text)
        for number in numbers(cited)
    }
    for page, number in sorted(seen):
        yield pytest.param(page, number, id=f"{page}-{number}")


@pytest.mark.parametrize(("page", "number"), list(cited_sections()))
@pytest.mark.first(40)
def test_a_cited_section_exists(page: str, number: str) -> None:
    assert number in sections(page)


def test_sections_are_read_from_lists_and_ranges() -> None:
    (cited,) = (
        found[1] for found in _CITED.findall("docs/internals/a.md 1 (x, 9), 2.2-2.4 and 3; b 7")
    )

    assert list(numbers(cited)) == ["1", "2.2", "2.3", "2.4", "3"]


def test_nothing_outside_the_repository_is_cited() -> None:
    found = {(name, match) for name, text in texts().items() for match in _OUTSIDE.findall(text)}

    assert found == set()


def test_a_cited_document_exists() -> None:
    missing = {
        (name, cited)
        for name, text in texts().items()
        if name.startswith(("contrast_tasks/", "coordinator/", "templates/", "schemas/"))
        for cited in _PAGE.findall(text)
        if not (ROOT / cited).is_file() and not (ROOT / name).parent.joinpath(cited).is_file()
    }

    assert missing == set()
