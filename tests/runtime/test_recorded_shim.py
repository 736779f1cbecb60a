"""The model of Kata's shim asks of the agent what the real one asked, request by request.

Source: recordings of the shim 4.1.0 and of 3.30.0 with the reference product's patches.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.errors import UsageError
from contrast_tasks.runtime.host_files import HostFiles, one_file
from dev.recorded.chore import run_recorded
from dev.recorded.shim import compared, shim_verdicts
from dev.recorded.shim_cases import ShimCase, find_shim_cases
from dev.recorded.shim_commands import changed_by
from dev.verdicts import SomeFailed
from tests.fakes.testdata import SHIM_RECORDINGS

CASES = find_shim_cases(SHIM_RECORDINGS)


@pytest.mark.first(16)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_request_is_made_as_recorded(case: ShimCase) -> None:
    verdicts = list(shim_verdicts(case))

    assert [str(each) for each in verdicts if each.reason] == []
    assert len(verdicts) == len(json.loads((case.path / "requests.json").read_text()))


def test_each_configuration_was_recorded() -> None:
    assert {case.configuration for case in CASES} == {"stock", "nydus", "contrast", "contrast330"}
    assert len(CASES) > 60


def _requests(*kinds: str) -> list[dict[str, Any]]:
    return [{"ep": f"{each}Request", "input": {"at": index}} for index, each in enumerate(kinds)]


def _reasons(made: list[dict[str, Any]], recorded: list[dict[str, Any]]) -> list[str]:
    return [reason for _, reason in compared(made, recorded) if reason]


def test_the_order_of_requests_counts() -> None:
    first, second, third = _requests("CreateSandbox", "CopyFile", "CopyFile")

    assert _reasons([first, second, third], [first, second, third]) == []
    assert len(_reasons([first, third, second], [first, second, third])) == 2
    assert _reasons([first], [first, second]) == ["recorded, but not made"]
    assert _reasons([first, second], [first])[0].startswith("made, but not recorded")


def test_requests_of_threads_may_move_by_some_places_only() -> None:
    wait, *others = _requests("WaitProcess", *["CopyFile"] * 6)

    assert _reasons([wait, *others], [*others[:3], wait, *others[3:]]) == []
    assert len(_reasons([wait, *others], [*others, wait])) == 2


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Give a configuration with one case that can be bent."""
    folder = tmp_path / "stock"
    source = SHIM_RECORDINGS / "stock" / "plain"
    shutil.copytree(source, folder / "plain", copy_function=shutil.copyfile)
    return folder


def test_the_chore_tells_each_difference_and_the_sum(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied / "plain" / "requests.json"
    requests = json.loads(path.read_text())
    dns = requests[4]["input"]["dns"]
    requests[4]["input"]["dns"] = dns[:-1]
    path.write_text(json.dumps(requests))

    with pytest.raises(SomeFailed):
        run_recorded([str(copied)])

    lines = capsys.readouterr().out.splitlines()
    failed = [line for line in lines if line.startswith("FAILED")]
    difference = f"input.dns: found {json.dumps(dns)}, recorded {json.dumps(dns[:-1])}"
    assert failed == [f"FAILED stock/plain: 4 CreateSandboxRequest: {difference}"]
    assert lines[-1] == f"{len(requests) - 1} passed, 1 failed"


@pytest.mark.parametrize("folder", ["", "contrast@2.4.2", "nydus/plain"])
def test_the_chore_takes_all_configurations_one_or_a_case(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_recorded([str(SHIM_RECORDINGS / folder)])

    assert capsys.readouterr().out.splitlines()[-1].endswith(" passed, 0 failed")


def test_a_configuration_without_a_row_is_refused(copied: Path) -> None:
    other = copied.rename(copied.parent / "other")

    with pytest.raises(UsageError, match="no configuration of the shim"):
        run_recorded([str(other)])


def test_a_command_that_is_not_understood_is_refused() -> None:
    files = HostFiles(trees={"/a": one_file(1)})

    assert changed_by(["sh", "-ec", "cd /; echo 12 >a"], files) == {"/a": one_file(3)}
    with pytest.raises(UsageError, match="is not understood"):
        changed_by(["sh", "-ec", "curl example.com"], files)
    with pytest.raises(UsageError, match="begins with rm"):
        changed_by(["rm", "-r", "/"], files)
