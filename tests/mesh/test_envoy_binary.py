"""Where the Envoy binary is looked for."""

from pathlib import Path

import pytest

from contrast_tasks.mesh import envoy_binary
from contrast_tasks.mesh.envoy_binary import EnvoyMissing, find_envoy


def executable(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_variable_wins(tmp_path: Path) -> None:
    named = executable(tmp_path / "mine")

    assert find_envoy({"CONTRAST_ENVOY_BIN": str(named)}) == named


def test_a_variable_that_names_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EnvoyMissing, match="expected an executable file"):
        find_envoy({"CONTRAST_ENVOY_BIN": str(tmp_path / "gone"), "PATH": str(tmp_path)})


def test_the_package_comes_before_the_search_path(tmp_path: Path) -> None:
    executable(tmp_path / "envoy")

    assert find_envoy({"PATH": str(tmp_path)}).parts[-3:] == ("envoy", "_bin", "envoy")


def test_the_search_path_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy_binary, "_packaged", lambda: None)
    found = executable(tmp_path / "envoy")

    assert find_envoy({"PATH": str(tmp_path)}) == found


def test_nowhere_is_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy_binary, "_packaged", lambda: None)

    with pytest.raises(EnvoyMissing) as error:
        find_envoy({"PATH": str(tmp_path)})

    assert "the extra 'mesh'" in error.value.hint
    assert error.value.exit_code == 30
