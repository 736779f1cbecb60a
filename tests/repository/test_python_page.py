"""docs/reference/python.md: what a dodo.py may import is there, and so are the tasks."""

import inspect
import re
from importlib import import_module
from pathlib import Path

from contrast_tasks.steps.project import Spec
from contrast_tasks.tasks.face import load_tasks
from contrast_tasks.tasks.workspace import open_workspace
from tests.fakes.workloads import make_project

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/python.md").read_text()


def section(heading: str) -> list[str]:
    """Return the first cells of a section's table, without their code marks."""
    text = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def test_what_a_dodo_may_import_is_there_with_these_arguments() -> None:
    modules = re.findall(r"^## `([\w.]+)`", PAGE, re.MULTILINE)

    assert modules == ["contrast_tasks.tasks.face", "contrast_tasks.tasks.chores"]
    for module in modules:
        for shown in section(f"`{module}`"):
            name, _, arguments = shown.partition("(")
            member = getattr(import_module(module), name)
            if arguments:
                written = re.findall(r"\w+(?==|\))|(?<=\*\*)\w+|^\w+", arguments)
                assert written == [*inspect.signature(member).parameters], shown


def test_the_tasks_are_those_of_the_graph(tmp_path: Path) -> None:
    project = make_project(tmp_path)

    tasks = load_tasks(open_workspace(Spec(root=str(project.root))))

    shown = {name.partition(":")[0] for name in section("Names of tasks")}
    # The project is for a cluster, which takes our components from a registry.
    assert shown == {"components", *(task.name.partition(":")[0] for task in tasks)}
