"""docs/reference/manifest.md: every member of manifest.json, from its declaration."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contrast_tasks.declare.shapes import List, Map
from contrast_tasks.manifest.model import Manifest
from contrast_tasks.records import REFUSED, REQUIRED, Member, Record
from dev.reference.markdown import NOTICE, code, prose, table

INTRODUCTION = """\
# The manifest

`manifest.json` names the workloads of a deployment and the guests whose evidence is accepted. `generate` writes it; `set` sends its bytes,
and `verify` compares them. Its rules are the codes `M...` in [findings.md](findings.md). A member that is not required is left out if it has
no value.

A value that only you know may be blank after `generate`, but not in `set`. The last column names the key in `contrast.toml` that sets the
member, or `file` if only a file of reference values can. As JSON Schema: `schemas/manifest.schema.json`, and with blanks
`schemas/manifest.input.schema.json`.
"""


def render_manifest_page(root: Path) -> str:
    """Return the page."""
    del root
    rows = (
        (
            code(path),
            prose(member.meaning),
            prose(_wanted(member.shape)),
            "yes" if member.absent is REQUIRED or member.blank is None else "",
            _source(path, member),
        )
        for path, member in _members(Manifest, "")
    )
    head = ("member", "meaning", "must be", "required", "from")
    return "\n".join([NOTICE, "", *INTRODUCTION.splitlines(), "", *table(head, rows)]) + "\n"


def _members(record: type[Record], above: str) -> Iterator[tuple[str, Member]]:
    for member in record.members:
        path = f"{above}{member.name}"
        shape = member.shape
        if isinstance(shape, type):
            yield path, member
            yield from _members(shape, f"{path}.")
        elif isinstance(shape, Map):
            yield from _members(shape.value, f"{path}.{shape.chosen}.")
        elif isinstance(shape, List) and isinstance(shape.element, type):
            yield path, member
            yield from _members(shape.element, f"{path}[].")
        else:
            yield path, member


def _wanted(shape: Any) -> str:
    if isinstance(shape, type):
        return "an object"
    if isinstance(shape, List):
        element = "objects" if isinstance(shape.element, type) else f"{shape.element.wanted} each"
        count = f"{shape.most} times " if shape.most else ""
        return f"an array: {count}{element}{'' if shape.null is REFUSED else ', or null'}"
    return str(shape.wanted)


def _source(path: str, member: Member) -> str:
    if isinstance(member.shape, type) or ".simulated[]." in path:
        return ""
    if member.settable:
        where = "snp.<product>" if ".snp[]." in path else "tdx"
        part = "".join(f"{each}." for each in _PARTS if f".{_PARTS[each]}." in path)
        return code(f"reference_values.{where}.{part}{member.key}")
    return "file" if member.measured else ""


_PARTS = {"minimum_tcb": "MinimumTCB", "platform_info": "PlatformInfo"}
