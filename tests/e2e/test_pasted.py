"""Pages whose blocks are pasted into one shell, on a machine without a cluster; a block that is not says what it would need."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrast_tasks.local.client import NodeClient
from contrast_tasks.local.paths import local_paths
from tests.fakes.shop import require_namespaces

pytestmark = pytest.mark.e2e

CHECKOUT = Path(__file__).parents[2]
FOLDERS = ("contrast_tasks", "coordinator", "dev", "examples", "schemas", "templates")
FILES = ("contrast.toml", "dodo.py", "doitw", "requirements.lock")
# What each page shows that begins where step 4 of the tutorial ends.
SHOWN = {
    "ci": (
        "wrote .github/workflows/contrast.yml",
        "wrote .gitlab/contrast.yml",
        "wrote .pre-commit-config.yaml",
    ),
    "debug": (
        "E_ENV (HOME): variables are unexpected",
        "generated 5 of 5 workloads, 0 files written",
        "-A PREROUTING",
    ),
    "systems": ("contrast.toml is there already and stays as it is",),
    "vendor-yaml": ("0 settings to write, 0 choices to make",),
    "air-gapped": ("contrast.lock holds 6 images", "image: registry.inside.example/emojivoto/web:"),
    "incident": ("is in recovery mode", "wrote seed-shares.json", "(generation 1), mesh CA "),
    "own-tasks": ("build/policies/Deployment.web.rego", "tar -czf handout.tgz"),
    "projects": ("no changes\nno changes\n",),
    "rotate": ("(generation 4), mesh CA ", "hint: the manifest in force does not list the key"),
    "sign": ("1 of 2 approvals", "(generation 2), mesh CA "),
    "upgrade": ("recovered it with seed-shares.json", "all 5 pods are ready"),
}

# A block of these languages is pasted if `local` stands before it, or run by the test that is named there; `debian` is for those
# of `./doitw first_minutes`. Settings (toml) are loaded by tests/repository/test_documents.py, diffs and drawings are nothing to run.
LANGUAGES = ("sh", "yaml", "json", "python", "text")
# What the other blocks would need, as the comment before each says it.
ELSEWHERE = {
    "a Vault",
    "a cluster",
    "a container engine",
    "a part of a document",
    "a registry",
    "a release",
    "a security module",
    "an example of one command",
    "an index of packages",
    "evidence of a processor",
    "GitHub",
    "GitLab",
    "this repository's own tests",
}


class Place:
    """A folder with a clone, our command on PATH, and one shell at a time that somebody pastes into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def paste(self, blocks: list[str], *, cwd: Path) -> str:
        """Run the blocks in one shell, which ends at the first command that fails; return what was shown."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CONTRAST_")}
        environment = {
            **kept,
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "CHECKOUT": str(self.folder / "clone"),
            "CONTRAST_VENV": str(self.folder / "venv"),
            "NO_COLOR": "1",
        }
        script = "".join(f"echo '<{number}>'\n{block}" for number, block in enumerate(blocks))
        done = subprocess.run(
            ["sh", "-eu", "-c", script],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("pasted")
    clone, tools, venv = folder / "clone", folder / "bin", folder / "venv" / "bin"
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "_data")
        shutil.copytree(CHECKOUT / name, clone / name, ignore=ignored)
    for name in FILES:
        shutil.copy(CHECKOUT / name, clone / name)
    for made in (tools, venv):
        made.mkdir(parents=True)
    shutil.copy(CHECKOUT / "requirements.lock", venv.parent)
    (venv / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (venv / "python").chmod(0o755)
    (tools / "contrast-tasks").symlink_to(clone / "doitw")
    return Place(folder)


@pytest.fixture(scope="module")
def generated(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tutorial's project after step 4."""
    text = page("tutorial").partition("## 5. Deploy")[0]
    folder = tmp_path_factory.mktemp("generated")
    place.paste(local_blocks(text), cwd=folder)
    return folder / "shop"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return an empty folder; what a project below it has started is stopped at the end."""
    yield tmp_path
    for settings in tmp_path.glob("*/contrast.toml"):
        NodeClient(paths=local_paths(settings.parent)).shutdown()


def page(name: str) -> str:
    return (CHECKOUT / "docs" / f"{name}.md").read_text()


def local_blocks(text: str) -> list[str]:
    return re.findall(r"<!-- local -->\n```sh\n(.*?)```", text, re.DOTALL)


def test_the_tutorial_works_as_pasted(place: Place, folder: Path) -> None:
    shown = place.paste(local_blocks(page("tutorial")), cwd=folder)

    assert "contrast.lock holds 6 images" in shown
    assert "Verify return code: 0 (ok)" in shown
    assert "no alternative certificate subject name matches" in shown
    assert "changed Deployment/web (sans)" in shown
    assert "4 pods restarted, all ready" in shown
    assert shown.lower().count("<html") == 2


def test_the_first_ten_minutes_work_as_pasted(place: Place, folder: Path) -> None:
    require_namespaces()

    shown = place.paste(local_blocks(page("first-minutes")), cwd=folder)

    assert "error[G030 memory-request]" in shown
    assert "error[G020 volume-mode]" in shown
    assert "2 workloads checked, nothing found" in shown
    assert "all 2 pods are ready" in shown
    assert "\nOK\nhello\n" in shown
    assert (folder / "database" / "audit.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("name", SHOWN)
def test_the_blocks_of_a_page_work_after_step_4_of_the_tutorial(
    place: Place, generated: Path, folder: Path, name: str
) -> None:
    if name == "debug":
        require_namespaces()  # it looks at a packet filter
    shop = folder / "shop"
    shutil.copytree(generated, shop, symlinks=True)

    shown = place.paste(local_blocks(page(f"howto/{name}")), cwd=shop)

    assert [text for text in SHOWN[name] if text not in shown] == [], shown


def test_every_block_is_run_or_says_what_it_would_need() -> None:
    pages = [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md")]
    texts = {path.relative_to(CHECKOUT).as_posix(): path.read_text() for path in pages}

    marks = {
        f"{name}: {block.strip()}": re.match(r"<!-- (local|debian|elsewhere)(?:: (.+))? -->$", mark)
        for name, text in texts.items()
        for mark, language, block in re.findall(
            r"^ *([^\n]*)\n *```(\w+)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL
        )
        if language in LANGUAGES
    }

    assert [block for block, mark in marks.items() if mark is None] == []
    found = [(mark[1], mark[2]) for mark in marks.values() if mark]
    assert {needed for way, needed in found if way == "elsewhere"} == ELSEWHERE
    tests = {test for way, test in found if way == "local" and test}
    assert [test for test in tests if not (CHECKOUT / test).is_file()] == []


def test_every_page_with_such_blocks_is_pasted() -> None:
    pages = {
        path.relative_to(CHECKOUT / "docs").with_suffix("").as_posix()
        for path in (CHECKOUT / "docs").rglob("*.md")
        if local_blocks(path.read_text())
    }

    assert pages == {"tutorial", "first-minutes", *(f"howto/{name}" for name in SHOWN)}
