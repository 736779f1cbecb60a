"""`generate --watch`, with a clock that runs when the test says so."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.commands import Shown, Terminal, quiet_environment
from tests.fakes.workloads import FakeProject


@pytest.fixture
def terminal(
    project: FakeProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Terminal:
    quiet_environment(monkeypatch, tmp_path / "cache")
    return Terminal(project.root, capsys, monkeypatch)


def watched(terminal: Terminal, *steps: Callable[[], object]) -> Shown:
    """Watch, do each step in one interval of the watch, and press Ctrl-C two intervals after the last."""
    left = [*steps, lambda: None, lambda: None]

    def sleep(seconds: float) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop(0)()

    terminal.patch.setattr("contrast_tasks.cli.watch._sleep", sleep)
    return terminal.run("generate", "--watch")


def test_it_generates_once_and_then_waits(terminal: Terminal, project: FakeProject) -> None:
    shown = watched(terminal)

    assert shown.code == 130
    assert shown.err.count("generated 4 of 4 workloads") == 1
    assert shown.err.count("watching ") == 1
    assert project.outputs()


def test_what_a_run_notes_for_itself_is_no_change(terminal: Terminal) -> None:
    terminal.run("generate")

    shown = watched(terminal)

    assert shown.err.count("up to date") == 1


def test_a_change_is_generated_when_it_rests(terminal: Terminal, project: FakeProject) -> None:
    file = project.root / "deployment/till/till.yaml"

    def edit() -> None:
        file.write_text(file.read_text().replace("name: till", "name: till2", 1))

    shown = watched(terminal, edit, lambda: file.write_text(file.read_text() + "# half\n"))

    assert shown.err.count("generated ") == 2
    assert "Deployment/till2: policy" in shown.err
    assert shown.err.count("watching ") == 2


@pytest.mark.sweep
def test_a_broken_file_is_told_and_the_watch_goes_on(
    terminal: Terminal, project: FakeProject
) -> None:
    settings = project.root / "contrast.toml"
    before = settings.read_text()

    shown = watched(
        terminal,
        lambda: settings.write_text("platform = [\n"),
        lambda: None,
        lambda: settings.write_text(before),
        lambda: None,
    )

    assert shown.code == 130
    assert "contrast.toml:1: error: not valid TOML" in shown.err
    assert shown.err.endswith("interrupted, finished work is kept\n")
    assert "up to date" in shown.err.partition("not valid TOML")[2]


@pytest.mark.sweep
def test_a_new_file_in_a_folder_of_sources_is_seen(
    terminal: Terminal, project: FakeProject
) -> None:
    new = project.root / "deployment/new.yml"
    till = (project.root / "deployment/till/till.yaml").read_text()

    shown = watched(terminal, lambda: new.write_text(till.replace("till", "desk")))

    assert "Deployment/desk: policy" in shown.err


def test_a_form_that_needs_an_end_is_refused(terminal: Terminal) -> None:
    shown = terminal.run("generate", "--watch", "--output", "junit")

    assert shown.code == 2
    assert "--watch has no end, found --output junit" in shown.out
