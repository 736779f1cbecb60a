from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contrast_tasks.tasks.freshness import Fresh
from contrast_tasks.tasks.inputs import Inputs
from contrast_tasks.tasks.store import Store

NO_STORE = Store("/dev/null")


def _rule(digest: str, *outputs: str) -> Fresh:
    return Fresh(lambda: Inputs(digest, {}), outputs, results=NO_STORE)


def _recorded(fresh: Fresh) -> dict[str, Any]:
    task = SimpleNamespace(value_savers=[])
    fresh(task, {})
    [saver] = task.value_savers
    saved: dict[str, Any] = saver()
    return saved


def _is_fresh(fresh: Fresh, values: dict[str, Any]) -> bool:
    return fresh(SimpleNamespace(value_savers=[]), values)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    path.write_text("made")
    return path


def test_a_task_that_never_ran_is_not_fresh(output: Path) -> None:
    assert not _is_fresh(_rule("1", str(output)), {})


def test_equal_inputs_and_untouched_outputs_are_fresh(output: Path) -> None:
    recorded = _recorded(_rule("1", str(output)))

    assert _is_fresh(_rule("1", str(output)), recorded)


def test_other_inputs_are_not_fresh(output: Path) -> None:
    recorded = _recorded(_rule("1", str(output)))

    assert not _is_fresh(_rule("2", str(output)), recorded)


def test_an_edited_output_is_not_fresh(output: Path) -> None:
    recorded = _recorded(_rule("1", str(output)))
    output.write_text("MADE")

    assert not _is_fresh(_rule("1", str(output)), recorded)


def test_a_deleted_output_is_not_fresh(output: Path) -> None:
    recorded = _recorded(_rule("1", str(output)))
    output.unlink()

    assert not _is_fresh(_rule("1", str(output)), recorded)


def test_an_output_rewritten_with_the_same_bytes_is_fresh(output: Path) -> None:
    recorded = _recorded(_rule("1", str(output)))
    output.write_text("made")

    assert _is_fresh(_rule("1", str(output)), recorded)


def test_another_set_of_outputs_is_not_fresh(output: Path) -> None:
    recorded = _recorded(_rule("1", str(output)))

    assert not _is_fresh(_rule("1"), recorded)


def test_what_was_true_before_the_action_is_recorded() -> None:
    digests = iter(["before", "after"])

    rule = Fresh(lambda: Inputs(next(digests), {}), [], results=NO_STORE)
    recorded = _recorded(rule)

    assert recorded["inputs"] == "before"


def test_a_task_that_settles_its_inputs_records_what_is_true_after_the_action() -> None:
    digests = iter(["before", "after"])

    rule = Fresh(lambda: Inputs(next(digests), {}), [], results=NO_STORE, settles=True)
    recorded = _recorded(rule)

    assert recorded["inputs"] == "after"


@pytest.mark.parametrize("damaged", [None, [], {"out": None}, {"out": 3}], ids=str)
def test_a_damaged_record_is_not_fresh(output: Path, damaged: object) -> None:
    recorded = {"inputs": "1", "outputs": damaged}

    assert not _is_fresh(_rule("1", str(output)), recorded)


@pytest.mark.parametrize("parts", ["5a5a 5b5b", None, 3], ids=str)
def test_a_record_of_version_0_1_0_tells_no_more_than_that_inputs_changed(parts: object) -> None:
    recorded = {"inputs": "1", "outputs": {}, "parts": parts}

    assert _rule("2").reasons(recorded) == ["what it is made from changed"]
