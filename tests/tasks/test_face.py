"""The pipeline under plain doit, and dodo.py files under our own command line."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contrast_tasks.catalogue import MEMORY_LIMIT
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding
from contrast_tasks.settings.model import Settings
from contrast_tasks.steps.project import Spec
from contrast_tasks.tasks.face import load_tasks
from contrast_tasks.tasks.workspace import Workspace, open_workspace
from tests.fakes.commands import Terminal
from tests.fakes.workloads import FakeProject

_ROOT = Path(__file__).resolve().parents[2]
DODO = """\
from contrast_tasks.tasks.face import DOIT_CONFIG, task_contrast

__all__ = ["DOIT_CONFIG", "task_contrast"]
"""
OWN_TASK = '''\
from contrast_tasks.tasks.chores import chore
from contrast_tasks.tasks.face import DOIT_CONFIG, pipeline


def task_contrast():
    yield from pipeline(before_lock=["own"])


def task_own():
    return chore("builtins:dict")


def task_echo():
    """Say the words again."""
    return chore("tests.tasks.test_face:echo", pos_arg="words")
'''


def echo(words: list[str]) -> dict[str, object]:
    return {"wrote": [f"<{word}>" for word in words]}


def _doit(project: FakeProject, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "doit", *words],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_plain_doit_runs_the_same_graph(terminal: Terminal, project: FakeProject) -> None:
    (project.root / "dodo.py").write_text(DODO)

    done = _doit(project)

    assert (done.returncode, done.stderr) == (0, "")
    assert "wrote manifest.json\n" in done.stdout
    by_doit = project.outputs()
    assert terminal.run("generate").err.startswith("up to date")
    assert project.outputs() == by_doit


@pytest.mark.e2e
def test_plain_doit_lists_tasks_before_anything_has_run(
    terminal: Terminal, project: FakeProject
) -> None:
    (project.root / "dodo.py").write_text(DODO)

    done = _doit(project, "list", "--all", "--quiet")

    names = {line.strip() for line in done.stdout.splitlines()}
    assert "workload:deployment/shop.yml#Deployment/shelf" in names
    assert {"generate", "manifest", "check", "lock", "output:deployment/shop.yml"} <= names
    assert project.outputs() == {}


@pytest.mark.e2e
def test_plain_doit_shows_findings_with_their_place(
    terminal: Terminal, project: FakeProject
) -> None:
    (project.root / "dodo.py").write_text(DODO)
    project.write("broken.yml", "a: [")

    done = _doit(project)

    assert done.returncode != 0
    assert "deployment/broken.yml:" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.e2e
def test_plain_doit_shows_warnings_and_that_there_is_nothing_to_do(
    terminal: Terminal, project: FakeProject
) -> None:
    (project.root / "dodo.py").write_text(DODO)
    project.settings('\n[workloads."Deployment/till"]\nruntime_class = false\n')

    first, second = _doit(project), _doit(project)

    assert "deployment/till/till.yaml:1: warning[G004 not-confidential]" in first.stdout
    assert (first.returncode, second.returncode) == (0, 0)
    assert second.stdout == "up to date\n"


@pytest.mark.e2e
def test_plain_doit_tells_what_the_manifest_lacks_and_fails_each_time(
    terminal: Terminal, project: FakeProject
) -> None:
    (project.root / "dodo.py").write_text(DODO)
    text = project.read("contrast.toml")
    (project.root / "contrast.toml").write_text(text.partition("[reference_values")[0])

    for done in (_doit(project), _doit(project)):
        assert "manifest.json:" in done.stdout
        assert "error[M032 missing-measurement]" in done.stdout
        assert "the manifest lacks 5 values that only you can know" in done.stdout
        assert done.returncode == 1
    assert (project.root / "manifest.json").exists()


@pytest.mark.e2e
def test_plain_doit_cleans_outputs_and_nothing_else(
    terminal: Terminal, project: FakeProject
) -> None:
    (project.root / "dodo.py").write_text(DODO)
    assert terminal.run("generate").code == 0
    outputs = project.outputs()

    done = _doit(project, "clean")

    assert (done.returncode, bool(outputs), project.outputs()) == (0, True, {})
    assert (project.root / "contrast.lock").is_file()
    assert terminal.run("generate").code == 0
    assert project.outputs() == outputs


@pytest.mark.e2e
def test_plain_doit_refuses_bad_settings_with_their_place(
    terminal: Terminal, project: FakeProject
) -> None:
    (project.root / "dodo.py").write_text(DODO)
    project.settings("\nunknown = 1\n")

    done = _doit(project, "list")

    assert done.returncode == 3
    assert "contrast.toml:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_task_of_the_projects_dodo_runs_before_lock(
    terminal: Terminal, project: FakeProject
) -> None:
    (project.root / "dodo.py").write_text(OWN_TASK)

    shown = terminal.run("generate", "--output", "json")

    assert shown.code == 0
    assert shown.out.index('"name": "own"') < shown.out.index('"name": "lock"')


def test_a_task_of_the_projects_dodo_is_a_command(terminal: Terminal, project: FakeProject) -> None:
    (project.root / "dodo.py").write_text(OWN_TASK)

    shown = terminal.run("echo", "--", "a", "-k", "b")

    assert (shown.code, shown.err) == (0, "wrote <a>\nwrote <-k>\nwrote <b>\n")


def test_help_lists_the_tasks_of_the_projects_dodo(
    terminal: Terminal, project: FakeProject
) -> None:
    (project.root / "dodo.py").write_text(OWN_TASK)

    shown = terminal.run("--help")

    assert (shown.code, shown.err) == (0, "")
    assert "\ntasks of this project:\n  own\n  echo          say the words again\n\n" in shown.out
    assert not (project.root / ".contrast").exists()


def test_help_of_a_task_says_what_the_task_does(terminal: Terminal, project: FakeProject) -> None:
    (project.root / "dodo.py").write_text(OWN_TASK)

    shown = terminal.run("echo", "--help")

    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("usage: contrast-tasks echo ")
    assert "\nSay the words again.\n\n  contrast-tasks echo\n" in shown.out


@pytest.mark.parametrize("words", [["--help"], ["echo", "--help"]])
def test_help_does_without_a_dodo_that_cannot_be_loaded(
    terminal: Terminal, project: FakeProject, words: list[str]
) -> None:
    (project.root / "dodo.py").write_text("def task_a(:\n")

    shown = terminal.run(*words)

    assert (shown.code, shown.err) == (0, "")
    assert "contrast-tasks" in shown.out


def test_several_tasks_run_in_one_command(terminal: Terminal, project: FakeProject) -> None:
    (project.root / "dodo.py").write_text(OWN_TASK)

    shown = terminal.run("own", "keys", "--output", "json")

    assert shown.code == 0
    assert '"name": "keys"' in shown.out
    assert '"name": "lock"' not in shown.out


def test_an_unknown_task_suggests_the_nearest(terminal: Terminal, project: FakeProject) -> None:
    (project.root / "dodo.py").write_text(OWN_TASK)

    shown = terminal.run("ecco")

    assert shown.code == 2
    assert shown.err == (
        "contrast-tasks: error: unknown command 'ecco'\n  hint: did you mean 'echo'?\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("def task_a(:\n", "SyntaxError", id="syntax"),
        pytest.param("import nowhere\n", "No module named 'nowhere'", id="import"),
        pytest.param("def task_a():\n    return 3\n", "Must return a dictionary", id="task"),
    ],
)
def test_a_dodo_that_cannot_be_used_is_a_graph_error(
    terminal: Terminal, project: FakeProject, text: str, message: str
) -> None:
    (project.root / "dodo.py").write_text(text)

    shown = terminal.run("generate")

    assert shown.code == 3
    assert message in shown.err
    assert "Traceback" not in shown.err


def test_every_task_can_be_sent_to_another_process(
    terminal: Terminal, project: FakeProject
) -> None:
    tasks = load_tasks(open_workspace(Spec(root=str(project.root)), is_fresh=True))

    copies = pickle.loads(pickle.dumps(tasks))

    assert [task.name for task in copies] == [task.name for task in tasks]


def test_names_that_doit_reserves_are_escaped(terminal: Terminal, project: FakeProject) -> None:
    till = project.root / "deployment/till/till.yaml"
    till.rename(till.with_name("a=b*[c]%.yaml"))

    shown = terminal.run("generate")

    assert shown.code == 0
    assert (project.root / "build/deployment/till/a=b*[c]%.yaml").exists()


def test_a_task_of_the_pipeline_is_a_command_without_a_dodo(
    terminal: Terminal, project: FakeProject
) -> None:
    assert terminal.run("workload:deployment/shop.yml#Deployment/shelf").code == 0
    [result] = (project.root / ".contrast/store/workload").iterdir()
    assert b'"name":"shelf"' in result.read_bytes()


SWITCH = """\
from contrast_tasks.tasks.chores import chore
from contrast_tasks.tasks.face import DOIT_CONFIG


def task_own():
    return chore("tests.tasks.test_face:shout", switches={"loud": "say it loudly"}, word="a")
"""


def shout(word: str, *, loud: bool) -> dict[str, object]:
    sys.stdout.write("said aloud\n")
    return {"wrote": [], "result": {"word": word.upper() if loud else word}}


@pytest.mark.parametrize(("words", "word"), [((), "a"), (("--loud",), "A")])
def test_a_chore_takes_switches_and_its_result_is_the_reports(
    terminal: Terminal, project: FakeProject, words: tuple[str, ...], word: str
) -> None:
    (project.root / "dodo.py").write_text(SWITCH)

    shown = terminal.run("own", *words, "--output", "json")

    report = json.loads(shown.out)
    assert (shown.code, report["command"], report["result"]) == (0, "own", {"word": word})
    assert shown.err == "said aloud\n"


VALUE = """\
from contrast_tasks.tasks.chores import chore
from contrast_tasks.tasks.face import DOIT_CONFIG


def task_own():
    return chore("tests.tasks.test_face:sing", pos_arg="words", options={"voice": "whose"})
"""


def sing(words: list[str], *, voice: str) -> dict[str, object]:
    return {"wrote": [], "result": {"words": words, "voice": voice}}


@pytest.mark.parametrize(
    ("line", "words", "voice"),
    [
        ("la", ["la"], ""),
        ("la --voice alto", ["la"], "alto"),
        ("--voice alto la li", ["la", "li"], "alto"),
        ("la --voice=alto", ["la"], "alto"),
        ("-- la -x", ["la", "-x"], ""),
    ],
)
def test_an_option_of_a_chore_may_stand_before_and_behind_its_words(
    terminal: Terminal, project: FakeProject, line: str, words: list[str], voice: str
) -> None:
    (project.root / "dodo.py").write_text(VALUE)

    shown = terminal.run("own", "--output", "json", *line.split())

    assert json.loads(shown.out)["result"] == {"words": words, "voice": voice}


@pytest.mark.parametrize("line", ["la --loud", "la --voice", "la -x"])
def test_an_option_that_a_chore_does_not_have_is_a_usage_error(
    terminal: Terminal, project: FakeProject, line: str
) -> None:
    (project.root / "dodo.py").write_text(VALUE)

    assert terminal.run("own", *line.split()).code == 2


def test_a_switch_that_a_task_does_not_have_is_a_usage_error(
    terminal: Terminal, project: FakeProject
) -> None:
    (project.root / "dodo.py").write_text(SWITCH)

    shown = terminal.run("own", "--quickly")

    assert shown.code == 2
    assert "own: unrecognized arguments: --quickly" in shown.err


def test_the_demo_is_no_command_of_a_users_project(
    terminal: Terminal, project: FakeProject
) -> None:
    shown = terminal.run("demo", "--keep")

    assert shown.code == 2
    assert shown.err.splitlines() == [
        "contrast-tasks: error: unknown command 'demo'",
        "  hint: it is a task of our repository: run './doitw demo' in a checkout",
    ]


def test_what_was_rendered_is_found_in_the_repository_at_the_kustomization_that_is_named() -> None:
    settings = Settings(
        root=Path("/project"), platform="local", sources=("k/kustomization.yaml", "d")
    )
    places = [Location(file=file, line=7) for file in ("build/rendered/k.yml", "d/web.yml")]
    opened: Any = SimpleNamespace(project=SimpleNamespace(settings=settings))

    found = Workspace.in_files(
        opened, [Finding(MEMORY_LIMIT, place, "found a") for place in places]
    )

    assert [finding.where for finding in found] == places
    assert [finding.where.in_repository for finding in found] == [
        Location(file="k/kustomization.yaml", line=1),
        places[1],
    ]
