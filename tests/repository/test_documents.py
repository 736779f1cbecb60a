"""What the documents tell people to type is understood: settings, command lines, links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrast_tasks.cli.arguments import parser_of, parser_of_task, split_commands
from contrast_tasks.cli.commands import SUMMARIES
from contrast_tasks.cli.task import own_tasks
from contrast_tasks.settings.load import load_settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TEXTS = sorted(
    path
    for folder in ("", "docs", "examples", "contrast_tasks", "coordinator", "templates", "tests")
    for path in ((ROOT / folder).rglob("*.md") if folder else ROOT.glob("*.md"))
)
BASE = 'platform = "k3s-qemu-snp"\nsources = ["deployment"]\n'
_ENDS = {"|", "||", "&&", ">", ">>", "<", ";", "2>&1"}


def blocks(language: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        name = page.relative_to(ROOT).as_posix()
        for number, found in enumerate(
            re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)
        ):
            yield f"{name}-{number}", found


def settings_in_documents() -> Iterator[object]:
    for name, text in blocks("toml"):
        yield pytest.param(text if "platform =" in text else BASE + text, id=name)
    for name, text in blocks("sh"):
        for body in re.findall(r"> contrast\.toml <<'?END'?\n(.*?)END\n", text, re.DOTALL):
            whole = body.replace("$PLATFORM", "k3s-qemu-snp")
            yield pytest.param(whole if "platform =" in whole else BASE + whole, id=name)


def command_lines() -> Iterator[object]:
    for name, text in blocks("sh"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True) if "<<" not in line else []
            for position, word in enumerate(words):
                if word.rpartition("/")[2] in ("contrast-tasks", "doitw") and position == 0:
                    ends = [i for i, each in enumerate(words) if each in _ENDS]
                    yield pytest.param(
                        words[1 : min(ends, default=len(words))], id=f"{name}: {line}"
                    )


@pytest.mark.parametrize("text", list(settings_in_documents()))
def test_settings_are_understood(text: str, tmp_path: Path) -> None:
    (tmp_path / "contrast.toml").write_text(text)

    assert load_settings(tmp_path, environ={}).sources


@pytest.mark.first(30)
@pytest.mark.parametrize("words", list(command_lines()))
def test_command_lines_are_understood(words: list[str]) -> None:
    written = re.findall(r"def task_(\w+)", "".join(page.read_text() for page in PAGES))
    tasks = {**(own_tasks(ROOT) or {}), **dict.fromkeys(written)}

    for command, *rest in split_commands(words):
        parser = parser_of(command) if command in SUMMARIES else parser_of_task(command)
        assert command in SUMMARIES or command in tasks or command == "--help"
        parser.parse_args(rest if command in SUMMARIES else [command, *rest])


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_to_headings_in_them(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", text, re.MULTILINE)
    local = [link for pair in links for link in pair if link and "://" not in link]

    assert [link for link in local if not _is_there(page, link)] == []


def _is_there(page: Path, link: str) -> bool:
    file, _, anchor = link.partition("#")
    target = page.parent / file if file else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings get: lower case, dashes for spaces, no other signs."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def test_every_page_is_reached_from_the_readme() -> None:
    reached = {ROOT / "README.md"}
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        for link in re.findall(r"\]\(([^)#]+\.md)[^)]*\)", page.read_text()):
            target = (page.parent / link).resolve()
            if target.is_file() and target not in reached:
                reached.add(target)
                waiting.append(target)

    assert [page for page in PAGES if page not in reached] == []


# Names that installers look up in an index; this project has no name there, and whoever takes it would be installed.
_FROM_AN_INDEX = re.compile(
    r"(?:pip3? install|pipx (?:install|run)|uv add|uv tool (?:install|run)|uvx)\b(?: -\S+)* ['\"]?contrast-tasks"
)


@pytest.mark.parametrize(
    "folder", ["", "contrast_tasks", "coordinator", "docs", "examples", "templates"]
)
def test_nothing_asks_an_index_for_this_project(folder: str) -> None:
    found = (ROOT / folder).rglob("*") if folder else (*ROOT.glob("*"), *ROOT.glob(".*"))
    kinds = {".md", ".py", ".sh", ".toml", ".yml", ".yaml", ".in"}
    texts = {path: path.read_text() for path in found if path.suffix in kinds and path.is_file()}

    assert texts
    assert [path for path, text in texts.items() if _FROM_AN_INDEX.search(text)] == []
    assert _FROM_AN_INDEX.search("pip install --quiet 'contrast-tasks[mesh]'")
