"""Equal sources give equal bytes, wherever, whenever and by whomever they are generated."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.workloads import FakeProject, make_project

pytestmark = pytest.mark.e2e

_ROOT = Path(__file__).resolve().parents[2]


def _generate(root: Path, cache: Path, umask: int, **environ: str) -> FakeProject:
    project = make_project(root)
    done = subprocess.run(
        [sys.executable, "-m", "contrast_tasks", "generate"],
        cwd=root,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(cache),
            "PYTHONPATH": str(_ROOT),
            "CONTRAST_CACHE_DIR": str(cache),
            **environ,
        },
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return project


def test_two_clean_runs_in_different_surroundings_are_byte_equal(tmp_path: Path) -> None:
    one = _generate(
        tmp_path / "a", tmp_path / "cache-a", 0o022, TZ="UTC", LANG="C", PYTHONHASHSEED="1"
    )
    two = _generate(
        tmp_path / "some where/else",
        tmp_path / "cache-b",
        0o077,
        TZ="Pacific/Kiritimati",
        LANG="de_DE.UTF-8",
        PYTHONHASHSEED="2",
        USER="somebody",
    )

    assert one.outputs() == two.outputs()
    assert len(one.outputs()) == 13


def test_no_output_names_the_folder(tmp_path: Path) -> None:
    project = _generate(tmp_path / "a", tmp_path / "cache", 0o022)

    for name, content in project.outputs().items():
        assert str(tmp_path).encode() not in content, name


def test_outputs_are_readable_whatever_the_umask(tmp_path: Path) -> None:
    project = _generate(tmp_path / "a", tmp_path / "cache", 0o077)

    modes = {(project.root / name).stat().st_mode & 0o777 for name in project.outputs()}
    assert modes == {0o644}
