"""The model makes of every recorded pod what real containerd made of it, member by member.

Source: recordings of containerd 1.6.20, 1.7.29 and 2.4.2.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.errors import UsageError
from dev.recorded.cases import Case, find_cases
from dev.recorded.chore import run_recorded, verdicts_on
from dev.recorded.differences import differences
from dev.verdicts import SomeFailed
from tests.fakes.testdata import RECORDINGS

CASES = find_cases(RECORDINGS)


@pytest.mark.first(16)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.path.name)
def test_a_pod_is_made_as_recorded(case: Case) -> None:
    verdicts = list(verdicts_on(case))

    assert [str(each) for each in verdicts if each.reason] == []
    assert {each.file.rpartition("/")[2] for each in verdicts} == {"1.6.20", "1.7.29", "2.4.2"}


def test_every_recorded_file_has_a_verdict() -> None:
    files = sorted(path.name for path in RECORDINGS.glob("*/recorded/*/*"))
    checked = sorted(each.check for case in CASES for each in verdicts_on(case))

    assert len(files) > 700
    assert checked == files


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Give a folder with a copy of one case that can be bent."""
    for name in ("plain-runc", "_images"):
        shutil.copytree(RECORDINGS / name, tmp_path / name, copy_function=_writable)
    return tmp_path


def _writable(source: str, target: str) -> None:
    shutil.copyfile(source, target)


def _members(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(value, dict) and value:
        return [found for key in value for found in _members(value[key], (*path, key))]
    return [path]


def test_every_member_of_a_record_counts() -> None:
    folder = RECORDINGS / "plain-runc" / "recorded" / "2.4.2"
    spec = json.loads((folder / "sandbox.json").read_text())
    spec["linux"]["seccomp"] = "default"

    for member in _members(spec):
        bent = json.loads(json.dumps(spec))
        place = bent
        for step in member[:-1]:
            place = place[step]
        place[member[-1]] = "bent"
        assert [each.partition(":")[0] for each in differences(spec, bent)] == [".".join(member)]


def test_the_chore_tells_each_difference_and_the_sum(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = copied / "plain-runc" / "recorded" / "1.7.29" / "app.json"
    spec = json.loads(record.read_text())
    spec["process"]["cwd"] = "/other"
    record.write_text(json.dumps(spec))
    (record.parent / "resolv.conf").unlink()

    with pytest.raises(SomeFailed):
        run_recorded([str(copied)])

    lines = capsys.readouterr().out.splitlines()
    failed = [line for line in lines if line.startswith("FAILED")]
    assert failed == [
        'FAILED plain-runc/recorded/1.7.29: app.json: process.cwd: found "/srv", recorded "/other"',
        "FAILED plain-runc/recorded/1.7.29: resolv.conf: made, but not recorded",
    ]
    assert lines[-1] == "7 passed, 2 failed"


def test_one_case_can_be_run_alone(capsys: pytest.CaptureFixture[str]) -> None:
    run_recorded([str(RECORDINGS / "cmd-args-only")])

    assert capsys.readouterr().out.splitlines()[-1] == "9 passed, 0 failed"


def test_a_folder_without_a_case_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no case"):
        run_recorded([str(tmp_path)])
    with pytest.raises(UsageError, match="found 0 words"):
        run_recorded([])
