"""`config show`: the effective settings, with --origin also the flag, variable or line that each comes from."""

import argparse
import json
import tomllib
from typing import Any

from contrast_tasks.cli.context import Context
from contrast_tasks.records import Record
from contrast_tasks.report.model import Report
from contrast_tasks.settings.layers import as_toml
from contrast_tasks.settings.model import Settings

EXAMPLE = "config show --origin"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("action", choices=("show",))
    parser.add_argument("--origin", action="store_true", help="show where each value comes from")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Print one line of TOML per setting."""
    settings = context.settings()
    values: dict[str, dict[str, Any]] = {}
    for key, origin in sorted(settings.origins.items()):
        value = effective(settings, key)
        values[key] = {"value": value, "origin": origin}
        if (key, origin) == ("runtime.release", "default"):
            of = (
                "the last with plain policies"
                if settings.is_local
                else "the newest with the platform"
            )
            origin = f"default: {of}"  # noqa: PLW2901
        line = f"{key} = {json.dumps(value, ensure_ascii=False)}"
        context.console.data(f"{line}  # {origin}\n" if arguments.origin else f"{line}\n")
    return Report(command="config", result={"settings": values})


def effective(settings: Settings, key: str) -> Any:
    """Return the effective value of a dotted key as a JSON value."""
    path = _path(key)
    value: Any = settings
    while path:
        value, path = _step(value, path)
    return as_toml(value)


def _step(value: Any, path: list[str]) -> tuple[Any, list[str]]:
    """Return the value of the next keys of a path, and the keys that are left."""
    if not isinstance(value, Record):
        return value[path[0]], path[1:]
    # A member's name may have several keys: `reference_values.file` is a member, and so is `reference_values`.
    for length in range(len(path), 0, -1):
        for member in value.members:
            if member.name == ".".join(path[:length]):
                return getattr(value, member.attribute), path[length:]
    raise KeyError(path[0])


def _path(key: str) -> list[str]:
    level: Any = tomllib.loads(f"{key} = 0")
    path = []
    while isinstance(level, dict):
        path.append(next(iter(level)))
        level = level[path[-1]]
    return path
