"""docs/reference/settings.md: every key of contrast.toml, from its schema, its shape and its default."""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from contrast_tasks.cli import generate
from contrast_tasks.cli.console import Console
from contrast_tasks.cli.context import Context
from contrast_tasks.settings import load as settings
from contrast_tasks.settings.layers import variable
from contrast_tasks.settings.shape import SHAPE, Leaf, Map, Table, fixed_leaves
from dev.reference.markdown import NOTICE, code, prose, table

INTRODUCTION = """\
# Settings

`contrast.toml` lies in the project's folder. A value comes, in this order, from a flag (`--set KEY=VALUE` for any key), from an environment
variable, from the file, or is the default. `contrast-tasks config show --origin` says which of them won.

A variable that holds a list is split at `:`; an empty one counts as not set. The same as JSON Schema: `schemas/settings.schema.json`.
"""


def render_settings(root: Path) -> str:
    """Return the page."""
    schema = json.loads((root / "schemas/settings.schema.json").read_bytes())
    fixed = set(fixed_leaves())
    rows = []
    for path, leaf, meaning in _leaves(SHAPE, schema, schema, ()):
        default = settings._DEFAULTS.get(".".join(path))
        rows.append(
            (
                code(".".join(path)),
                # The values stand in the next column.
                prose(meaning.partition("; one of ")[0]),
                prose(leaf.wanted),
                "" if default is None else code(json.dumps(default)),
                code(variable(path)) if path in fixed else "",
            )
        )
    flags = ((code(flag), code(key)) for flag, key in _flags())
    lines = [
        NOTICE,
        "",
        *INTRODUCTION.splitlines(),
        "",
        *table(("key", "what it says", "must be", "default", "variable"), rows),
        "",
        "## Flags of `generate` that stand for a setting",
        "",
        *table(("flag", "key"), flags),
    ]
    return "\n".join(lines) + "\n"


def _leaves(
    shape: Table | Map | Leaf,
    node: Mapping[str, Any],
    schema: Mapping[str, Any],
    path: tuple[str, ...],
) -> Iterator[tuple[tuple[str, ...], Leaf, str]]:
    """Yield path, leaf and description of every key; what a user chooses stands in angle brackets."""
    meaning = node.get("description", "")
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    if isinstance(shape, Leaf):
        yield path, shape, meaning or node.get("description", "")
    elif isinstance(shape, Table):
        for key, inner in shape.keys.items():
            yield from _leaves(inner, node["properties"][key], schema, (*path, key))
    elif shape.key.known and "properties" in node:
        for key, inner_node in node["properties"].items():
            yield from _leaves(shape.value, inner_node, schema, (*path, key))
    else:
        inner_node = node["additionalProperties"]
        if meaning and isinstance(shape.value, Leaf):
            inner_node = {**inner_node, "description": meaning}
        yield from _leaves(shape.value, inner_node, schema, (*path, _chosen(path)))


def _chosen(path: tuple[str, ...]) -> str:
    return {
        ("endorsements", "mirrors"): '"<address>"',
        ("workloads",): '"<Kind>/<name>"',
    }.get(path, "<name>")


def _flags() -> Iterator[tuple[str, str]]:
    """Yield each flag and the key it stands for, found by asking what `generate` makes of it."""
    parser = argparse.ArgumentParser()
    generate.configure_project(parser)
    context = Context(root=Path.cwd(), cwd=Path.cwd(), console=Console(), environ={})
    for action in parser._actions:
        if action.dest == "help":
            continue
        value = "local" if action.dest == "reference_values" else "."
        words = [*action.option_strings[-1:], *([value] if action.nargs != 0 else [])]
        given = generate.flags_of(parser.parse_args(words), context)
        [key] = (name.replace("__", ".") for name, found in given.items() if found is not None)
        yield ", ".join(action.option_strings) or action.dest, key
