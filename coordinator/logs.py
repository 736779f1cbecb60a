"""Log lines on stderr, one JSON object each; stdout stays empty.

Environment: CONTRAST_LOG_LEVEL (debug, info, warn, error), CONTRAST_LOG_FORMAT (json, text). Source of the names:
spec/coordinator.md 10.3. Records carry digests and generations, never seeds, secrets, keys or whole reports.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from contrast_tasks.errors import SettingsError

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
        moment = datetime.fromtimestamp(record.created, UTC)
        document: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        document |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def configure(environ: Mapping[str, str]) -> None:
    """Send all records to stderr in the format and from the level the environment asks for.

    Raises SettingsError naming the variable and what it may be.
    """
    level = _choice(environ, "CONTRAST_LOG_LEVEL", "info", tuple(_LEVELS))
    form = _choice(environ, "CONTRAST_LOG_FORMAT", "json", _FORMATS)
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])


def _choice(environ: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = environ.get(name) or default
    if value not in allowed:
        raise SettingsError(f"{name}: found {value!r}, wanted one of {', '.join(allowed)}")
    return value
