"""What importing the graph loads, in processes of their own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_graph_is_imported_without_metadata_and_debugger() -> None:
    code = (
        "import contrast_tasks.tasks.face, sys\n"
        "print([n for n in ('importlib.metadata', 'pdb', 'email') if n in sys.modules])"
    )

    assert _run(code) == "[]"


def test_doit_still_finds_its_plugins() -> None:
    code = (
        "import contrast_tasks.tasks, importlib.metadata as real\n"
        "from doit.plugin import entry_points_impl\n"
        "group = 'console_scripts'\n"
        "print(bool(real.entry_points(group=group)), "
        "list(entry_points_impl()(group=group)) == list(real.entry_points(group=group)))"
    )

    assert _run(code) == "True True"


def test_doit_still_has_its_debugger() -> None:
    code = (
        "import contrast_tasks.tasks, doit.action, pdb\n"
        "print(doit.action.pdb.post_mortem is pdb.post_mortem)"
    )

    assert _run(code) == "True"


def test_a_doit_that_is_there_already_is_left_alone() -> None:
    code = (
        "import doit, sys\nbefore = sys.modules['importlib.metadata']\n"
        "import contrast_tasks.tasks\nprint(sys.modules['importlib.metadata'] is before)"
    )

    assert _run(code) == "True"
