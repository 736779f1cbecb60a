import json
import logging

import pytest

from contrast_tasks.errors import SettingsError
from coordinator.logs import JsonFormatter, configure


def test_a_record_is_one_json_line_with_its_extra_fields() -> None:
    record = logging.makeLogRecord(
        {
            "name": "coordinator.userapi",
            "levelname": "INFO",
            "msg": "SetManifest %s",
            "args": ("succeeded",),
            "created": 0.25,
            "generation": 2,
        }
    )

    line = JsonFormatter().format(record)

    assert "\n" not in line
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "info",
        "logger": "coordinator.userapi",
        "msg": "SetManifest succeeded",
        "generation": 2,
    }


def test_a_line_break_in_a_message_stays_inside_the_line() -> None:
    record = logging.makeLogRecord({"msg": 'first\n{"msg": "forged"}'})

    assert "\n" not in JsonFormatter().format(record)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("CONTRAST_LOG_LEVEL", "verbose", "debug, info, warn, error"),
        ("CONTRAST_LOG_FORMAT", "xml", "json, text"),
    ],
)
def test_an_unknown_choice_names_variable_and_choices(name: str, value: str, wanted: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: found '{value}', wanted one of {wanted}"):
        configure({name: value})


def test_records_go_to_stderr_in_the_chosen_form(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure({"CONTRAST_LOG_LEVEL": "warn", "CONTRAST_LOG_FORMAT": "text"})
        logging.getLogger("coordinator").info("not shown")
        logging.getLogger("coordinator").warning("shown")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "not shown" not in captured.err
    assert captured.err.endswith("WARNING coordinator: shown\n")
