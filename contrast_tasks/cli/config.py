"""`config show`: the effective settings, and with --origin which flag, variable or line each comes from."""

import argparse
import json
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from contrast_tasks.cli.context import Context
from contrast_tasks.report.model import Report
from contrast_tasks.settings.load import Settings

EXAMPLE = "config show --origin"

_FIXED: Mapping[str, Callable[[Settings], Any]] = {
    "platform": lambda settings: settings.platform,
    "sources": lambda settings: settings.sources,
    "build_dir": lambda settings: settings.build_dir,
    "manifest": lambda settings: settings.manifest,
    "lock": lambda settings: settings.lock,
    "defaults.runtime_class": lambda settings: settings.runtime_class,
    "defaults.memory": lambda settings: settings.memory,
    "images.layouts": lambda settings: settings.image_layouts,
    "components.initializer": lambda settings: settings.components.initializer,
    "components.service_mesh": lambda settings: settings.components.service_mesh,
    "components.coordinator": lambda settings: settings.components.coordinator,
    "coordinator.include": lambda settings: settings.include_coordinator,
    "owners.workload": lambda settings: settings.workload_owner_keys,
    "owners.seedshare": lambda settings: settings.seedshare_owner_keys,
    "defaults.initializer": lambda settings: settings.initializer,
    "defaults.service_mesh": lambda settings: settings.service_mesh,
    "owners.disable_updates": lambda settings: settings.disable_updates,
    "reference_values.file": lambda settings: settings.reference_values,
}


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
        line = f"{key} = {json.dumps(value, ensure_ascii=False)}"
        context.console.data(f"{line}  # {origin}\n" if arguments.origin else f"{line}\n")
    return Report(command="config", result={"settings": values})


def effective(settings: Settings, key: str) -> Any:
    """Return the effective value under a dotted key, as JSON has it."""
    fixed = _FIXED.get(key)
    value = fixed(settings) if fixed is not None else _below(settings, _path(key))
    return list(value) if isinstance(value, tuple) else value


def _path(key: str) -> list[str]:
    level: Any = tomllib.loads(f"{key} = 0")
    path = []
    while isinstance(level, dict):
        path.append(next(iter(level)))
        level = level[path[-1]]
    return path


def _below(settings: Settings, path: list[str]) -> Any:
    top, *rest = path
    if top == "endorsements":
        return settings.mirrors[rest[-1]]
    level: Any = settings.workloads if top == "workloads" else settings.reference_overrides
    for step in rest:
        if isinstance(level, Mapping):
            level = level[step]
        else:
            # Hex values carry their encoding in the attribute's name.
            level = getattr(level, step if hasattr(level, step) else f"{step}_hex")
    return level
