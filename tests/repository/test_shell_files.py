"""Completion scripts and man page, given to the shells and the formatter that they are for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from contrast_tasks.cli.commands import SUMMARIES
from contrast_tasks.cli.completion import SHELLS
from dev.checkout import ROOT

pytestmark = pytest.mark.e2e

MAN = ROOT / "share/man/man1/contrast-tasks.1"


def lack(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


def run(*words: str, folder: Path) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


def bash(*words: str) -> str:
    """Return a script that completes the last of the words, as bash does when Tab is pressed."""
    file = ROOT / SHELLS["bash"]
    line = " ".join(f"'{word}'" for word in ("contrast-tasks", *words))
    return (
        f"source '{file}'; COMP_WORDS=({line}); COMP_CWORD={len(words)};"
        " function=$(complete -p contrast-tasks | sed 's/.*-F \\([^ ]*\\).*/\\1/');"
        f' "$function" contrast-tasks \'{words[-1]}\' contrast-tasks; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("gen",), {"generate"}),
        (("st",), {"status", "stop"}),
        (("lint", "--fail"), {"--fail-on"}),
        (("lint", "--fail-on", "w"), {"warning"}),
        (("generate", "--reference-values", "k3s-qemu-t"), {"k3s-qemu-tdx"}),
        (("completion", "f"), {"fish"}),
        (("generate", "dep"), {"deployment"}),
    ],
)
def test_bash_completes_commands_options_and_values(
    tmp_path: Path, words: tuple[str, ...], wanted: set[str]
) -> None:
    (tmp_path / "deployment").mkdir()

    assert set(run("bash", "--norc", "-c", bash(*words), folder=tmp_path).split()) == wanted


@pytest.mark.parametrize("shell", [pytest.param(name, marks=lack(name)) for name in SHELLS])
def test_the_shell_reads_its_script(tmp_path: Path, shell: str) -> None:
    assert run(shell, "-n", str(ROOT / SHELLS[shell]), folder=tmp_path) == ""


@lack("fish")
def test_fish_completes_commands(tmp_path: Path) -> None:
    script = f"source {ROOT / SHELLS['fish']}; complete -C 'contrast-tasks gen'"

    assert run("fish", "--no-config", "-c", script, folder=tmp_path).split("\t")[0] == "generate"


@lack("groff")
def test_the_man_page_has_all_commands_and_no_fault(tmp_path: Path) -> None:
    text = run("groff", "-man", "-ww", "-Tutf8", str(MAN), folder=tmp_path)

    assert [name for name in SUMMARIES if name not in text] == []
