"""docs/reference/settings.md: every key of contrast.toml, from its declaration."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contrast_tasks.cli import project_flags
from contrast_tasks.cli.console import Console
from contrast_tasks.cli.context import Context
from contrast_tasks.declare.shapes import Map, Table
from contrast_tasks.records import REQUIRED, Member
from contrast_tasks.settings.layers import variable
from contrast_tasks.settings.model import SHAPE, fixed_members, is_of_tables
from dev.reference.markdown import NOTICE, code, prose, table

INTRODUCTION = """\
# Settings

`contrast.toml` lies in the project's folder. A flag (`--set KEY=VALUE` for any key) wins over an environment variable, which wins over the
file, which wins over the default. `contrast-tasks config show --origin` names the origin of each value.

A variable that holds a list is split at `:`; an empty variable counts as unset. As JSON Schema: `schemas/settings.schema.json`.
"""


def render_settings(root: Path) -> str:
    """Return the page."""
    del root
    fixed = {path for path, _ in fixed_members()}
    rows = (
        (
            code(".".join(path)),
            prose(member.meaning),
            prose(wanted),
            "" if member.default in (REQUIRED, None, "", {}) else code(json.dumps(member.default)),
            code(variable(path)) if path in fixed else "",
        )
        for path, member, wanted in _leaves(SHAPE, ())
    )
    flags = ((code(flag), code(key)) for flag, key in _flags())
    lines = [
        NOTICE,
        "",
        *INTRODUCTION.splitlines(),
        "",
        *table(("key", "meaning", "must be", "default", "variable"), rows),
        "",
        "## Flags of `generate` that set a key",
        "",
        *table(("flag", "key"), flags),
    ]
    return "\n".join(lines) + "\n"


def _leaves(shape: Table, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Member, str]]:
    """Yield path, declaration and wanted value of every key; names that the user chooses are in angle brackets."""
    for key, member in shape.keys.items():
        yield from _below(member, member.shape, (*path, key))


def _below(
    member: Member, shape: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Member, str]]:
    if isinstance(shape, Table):
        yield from _leaves(shape, path)
    elif is_of_tables(shape):
        yield from _leaves(shape.element, (*path[:-1], f"{path[-1]}[]"))
    elif isinstance(shape, Map):
        for chosen in (
            shape.key.known if shape.chosen == "<name>" and shape.key.known else (shape.chosen,)
        ):
            yield from _below(member, shape.value, (*path, chosen))
    else:
        yield path, member, shape.wanted


def _flags() -> Iterator[tuple[str, str]]:
    """Yield each flag and the key that it sets, found by parsing it as `generate` does."""
    parser = argparse.ArgumentParser()
    project_flags.configure(parser)
    context = Context(root=Path.cwd(), cwd=Path.cwd(), console=Console(), environ={})
    for action in parser._actions:
        if action.dest == "help":
            continue
        value = "local" if action.dest == "reference_values" else "."
        words = [*action.option_strings[-1:], *([value] if action.nargs != 0 else [])]
        given = project_flags.flags_of(parser.parse_args(words), context)
        [key] = (name.replace("__", ".") for name, found in given.items() if found is not None)
        yield ", ".join(action.option_strings) or action.dest, key
