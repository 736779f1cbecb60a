import json
import logging
import os
import sys
import threading

import pytest

from contrast_tasks.errors import SettingsError
from coordinator.logs import JsonFormatter, LineHandler, TextFormatter, configure


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


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_line_break_in_a_message_stays_inside_the_line(formatter: logging.Formatter) -> None:
    record = logging.makeLogRecord({"msg": "first\n\x1b[31mforged", "where": "a\nb"})

    line = formatter.format(record)

    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


def test_text_has_the_extra_fields_and_an_indented_traceback() -> None:
    try:
        int("broken\n2026 INFO forged")
    except ValueError:
        found = sys.exc_info()
    record = logging.makeLogRecord(
        {
            "name": "coordinator.userapi",
            "levelname": "ERROR",
            "msg": "SetManifest failed",
            "created": 0.25,
            "generation": 2,
            "exc_info": found,
        }
    )

    first, *traceback = TextFormatter().format(record).splitlines()

    assert first == (
        "1970-01-01T00:00:00.250Z ERROR coordinator.userapi: SetManifest failed generation=2"
    )
    assert traceback[0] == "  Traceback (most recent call last):"
    assert [line for line in traceback if not line.startswith("  ")] == []


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


def test_records_go_to_stderr_in_the_chosen_form(capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure(
            {
                "CONTRAST_LOG_LEVEL": "warn",
                "CONTRAST_LOG_FORMAT": "text",
                "CONTRAST_LOG_SUBSYSTEMS": "*",
            }
        )
        logging.getLogger("coordinator").info("not shown")
        logging.getLogger("coordinator").warning("shown")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)

    captured = capfd.readouterr()
    assert captured.out == ""
    assert "not shown" not in captured.err
    unread, shown = captured.err.splitlines()
    assert unread.endswith(
        "CONTRAST_LOG_SUBSYSTEMS is set, and nothing reads a variable of this name"
    )
    assert shown.endswith("WARNING coordinator: shown")


def test_long_lines_of_several_threads_stay_whole_in_a_pipe_that_is_full() -> None:
    """A pipe holds 64 KiB, and keeps together what has 4 KiB. Source: pipe(7)."""
    reads, writes = os.pipe()
    handler = LineHandler(writes)
    handler.setFormatter(logging.Formatter("%(message)s"))
    wanted = [f"{letter}{'-' * 200_000}{letter}" for letter in "abcdefghijkl"]
    threads = [
        threading.Thread(target=handler.handle, args=(logging.makeLogRecord({"msg": text}),))
        for text in wanted
    ]
    with os.fdopen(reads, encoding="ascii", buffering=4096) as lines:
        for thread in threads:
            thread.start()
        found = [next(lines).rstrip() for _ in wanted]
        for thread in threads:
            thread.join(20)
    os.close(writes)

    assert sorted(found) == wanted
