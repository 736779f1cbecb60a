"""What chores need besides the product, installed by a uv that is a small shell script."""

import shutil
from pathlib import Path

import pytest

from dev.checkout import ROOT
from dev.tools import NoTools, install_tools

UV = """#!/bin/sh
printf '%s\\n' "$*" >>"{log}"
exit {code}
"""


def environment(folder: Path, *, code: int = 0) -> Path:
    """Return a folder as ./doitw makes one, in which a uv writes down what it is asked."""
    (folder / "bin").mkdir()
    shutil.copy(ROOT / "requirements.lock", folder)
    uv = folder / "bin" / "uv"
    uv.write_text(UV.format(log=folder / "uv.log", code=code))
    uv.chmod(0o755)
    return folder


def test_tools_are_installed_by_hash_and_once(tmp_path: Path) -> None:
    made = environment(tmp_path)

    install_tools(made)
    install_tools(made)

    (asked,) = (made / "uv.log").read_text().splitlines()
    assert asked.startswith(f"pip install --quiet --require-hashes -r {ROOT}/requirements-dev.lock")
    assert "--only-binary :all: --no-binary=argparse-manpage" in asked


def test_a_failure_is_told_and_tried_again(tmp_path: Path) -> None:
    made = environment(tmp_path, code=2)

    for _ in range(2):
        with pytest.raises(NoTools, match="could not be installed"):
            install_tools(made)

    assert len((made / "uv.log").read_text().splitlines()) == 2


def test_an_environment_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    made = environment(tmp_path)
    (made / "requirements.lock").unlink()

    install_tools(made)

    assert not (made / "uv.log").exists()
