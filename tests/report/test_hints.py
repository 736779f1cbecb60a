"""Hints name the next command as this one was called."""

import pytest

from contrast_tasks.report.hints import command, recovery_hint


def test_an_installed_command_is_named_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTRAST_COMMAND", raising=False)

    assert command("stop") == "contrast-tasks stop"


def test_a_wrapper_is_named_as_it_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTRAST_COMMAND", "../doitw")

    assert command("deploy set") == "../doitw deploy set"


def test_both_ways_out_of_recovery_mode_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTRAST_COMMAND", "./doitw")

    assert "'./doitw recover'" in recovery_hint()
    assert "'./doitw deploy --fresh'" in recovery_hint()
