"""Log lines on stderr, one JSON object or one line of text each; stdout stays empty.

Environment: CONTRAST_LOG_LEVEL (debug, info, warn, error), CONTRAST_LOG_FORMAT (json, text). Source of the names:
docs/internals/coordinator.md 10.3. Records carry digests and generations, never seeds, secrets, keys or whole reports.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime

from contrast_tasks.errors import SettingsError
from contrast_tasks.variables import LOG_FORMAT, LOG_LEVEL, PREFIX, READ

_log = logging.getLogger("coordinator")

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_FORMATS = ("json", "text")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """Write time, level, logger, message and the extra fields of a record as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        document: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


class TextFormatter(logging.Formatter):
    """Write the same for people: the extra fields after the message, then an indented traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        parts = [_time(record), record.levelname, f"{record.name}:", record.getMessage()]
        parts += [f"{key}={value}" for key, value in _extra(record).items()]
        # Messages quote peers; a line break in a quotation must not begin a forged log line.
        lines = ["".join(map(_shown, " ".join(parts)))]
        if record.exc_info:
            lines += [f"  {line}" for line in self.formatException(record.exc_info).splitlines()]
        return "\n".join(lines)


def _shown(char: str) -> str:
    return char if char.isprintable() else repr(char)[1:-1]


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class LineHandler(logging.Handler):
    """Writes each record as a whole; `descriptor`: where to. Threads wait for each other's writes, not for their formatting.

    A pipe that is full takes long lines in pieces, between which it would take those of others.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._writing = threading.Lock()

    def handle(self, record: logging.LogRecord) -> bool:
        """Write a record that the filters let through, without the lock of other handlers."""
        passed = bool(self.filter(record))
        if passed:
            self.emit(record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            # A traceback may have what is no text.
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
            with self._writing:
                while line:
                    line = line[os.write(self._descriptor, line) :]
        except Exception:  # noqa: BLE001  # as any handler: what is logged must not fail for the log
            self.handleError(record)


def configure(environ: Mapping[str, str]) -> None:
    """Send all records to stderr, in the format and from the level that the environment names, and say which variables nothing reads.

    Raises SettingsError naming the variable and what it may be.
    """
    level = _choice(environ, LOG_LEVEL, "info", tuple(_LEVELS))
    form = _choice(environ, LOG_FORMAT, "json", _FORMATS)
    handler = LineHandler(sys.stderr.fileno())
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    for name in sorted(each for each in environ if each.startswith(PREFIX) and each not in READ):
        _log.warning("%s is set, and nothing reads a variable of this name", name)


def _choice(environ: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = environ.get(name) or default
    if value not in allowed:
        raise SettingsError(f"{name}: found {value!r}, wanted one of {', '.join(allowed)}")
    return value
