import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.errors import (
    ContrastError,
    GraphError,
    ImageError,
    Location,
    UsageError,
)
from contrast_tasks.findings import FindingsError
from contrast_tasks.tasks.actions import action
from contrast_tasks.tasks.reporter import Bug
from contrast_tasks.tasks.run import run_tasks, tasks_from
from tests.fakes.findings import finding

HERE = "tests.tasks.test_run"


def succeed(name: str) -> dict[str, Any]:
    return {"wrote": [name]}


def refuse(name: str) -> dict[str, Any]:
    raise FindingsError([finding(message=name)])


def break_down(name: str) -> dict[str, Any]:
    raise ValueError(name)


def lack_an_image(name: str) -> dict[str, Any]:
    raise ImageError(f"no image {name}", hint="lock it")


def die(name: str) -> dict[str, Any]:
    os._exit(9)


def _task(name: str, function: str, *after: str, fresh: bool = False) -> dict[str, Any]:
    return {
        "basename": name,
        "actions": [action(f"{HERE}:{function}", name=name)],
        "uptodate": [fresh],
        "task_dep": list(after),
        "io": {"capture": False},
    }


def _run(tmp_path: Path, *tasks: dict[str, Any], selected: list[str], processes: int = 1) -> Any:
    def creator() -> Iterator[dict[str, Any]]:
        yield from tasks

    made = tasks_from([("all", creator())])
    database = str(tmp_path / "doit.db")
    return run_tasks(made, selected, database=database, processes=lambda _: processes).reporter


def _statuses(reporter: Any) -> dict[str, str]:
    return {step.name: step.status for step in reporter.steps}


def test_all_failures_of_independent_tasks_are_reported_in_one_run(tmp_path: Path) -> None:
    reporter = _run(
        tmp_path,
        _task("a", "refuse"),
        _task("b", "refuse"),
        _task("c", "succeed"),
        _task("last", "succeed", "a", "b", "c"),
        selected=["last"],
    )

    assert [found.message for found in reporter.findings] == ["a", "b"]
    assert _statuses(reporter) == {
        "a": "failed",
        "b": "failed",
        "c": "changed",
        "last": "not-run",
    }


def test_an_error_raised_on_purpose_keeps_class_hint_and_task(tmp_path: Path) -> None:
    reporter = _run(tmp_path, _task("a", "lack_an_image"), selected=["a"])

    [failure] = reporter.failures()
    assert (failure.kind, failure.exit_code, failure.hint, failure.task) == (
        "ImageError",
        20,
        "lock it",
        "a",
    )


def test_an_unexpected_exception_is_a_bug_with_its_traceback(tmp_path: Path) -> None:
    reporter = _run(tmp_path, _task("a", "break_down"), selected=["a"])

    [error] = reporter.errors
    assert isinstance(error, Bug)
    assert error.exit_code == 1
    assert "ValueError: a" in str(error)
    assert "break_down" in error.traceback


@pytest.mark.filterwarnings("ignore:This process")
def test_errors_cross_process_boundaries_whole(tmp_path: Path) -> None:
    reporter = _run(
        tmp_path,
        _task("a", "refuse"),
        _task("b", "lack_an_image"),
        selected=["a", "b"],
        processes=2,
    )

    assert [found.message for found in reporter.findings] == ["a"]
    assert sorted(type(error).__name__ for error in reporter.errors) == [
        "FindingsError",
        "ImageError",
    ]


@pytest.mark.filterwarnings("ignore:This process")
def test_a_worker_that_dies_ends_the_run_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="worker process ended with status 9"):
        _run(tmp_path, _task("a", "die"), _task("b", "succeed"), selected=["a", "b"], processes=2)


def test_an_unknown_task_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        _run(tmp_path, _task("a", "succeed"), selected=["b"])


def test_a_task_that_depends_on_nothing_that_exists_is_a_graph_error(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="does not exist"):
        _run(tmp_path, _task("a", "succeed", "nowhere"), selected=["a"])


def test_one_name_for_two_tasks_is_a_graph_error(tmp_path: Path) -> None:
    with pytest.raises(GraphError):
        _run(tmp_path, _task("a", "succeed"), _task("a", "succeed"), selected=["a"])


def test_an_up_to_date_task_is_not_run(tmp_path: Path) -> None:
    reporter = _run(tmp_path, _task("a", "break_down", fresh=True), selected=["a"])

    assert _statuses(reporter) == {"a": "up-to-date"}
    assert reporter.errors == []


def test_every_error_of_the_tree_can_be_pickled() -> None:
    import pickle

    error = ImageError("no image", hint="lock it", where=Location(file="x", line=3))
    copy = pickle.loads(pickle.dumps(error))

    assert isinstance(copy, ContrastError)
    assert (str(copy), copy.hint, copy.where) == ("no image", "lock it", Location(file="x", line=3))


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_keeps_the_places_it_came_through(tmp_path: Path, processes: int) -> None:
    tasks = [_task("a", "lack_an_image"), _task("b", "refuse")]

    reporter = _run(tmp_path, *tasks, selected=["a", "b"], processes=processes)

    traces = {failure.task: failure.trace for failure in reporter.failures()}
    assert "in lack_an_image\n    raise ImageError" in traces["a"]
    assert traces["a"].endswith("ImageError: no image a\n")
    assert traces["b"] == ""
