"""docs/reference/manifest.md: every member of manifest.json, from its declaration."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contrast_tasks.declare.shapes import List, Map
from contrast_tasks.manifest.forms import ours, releases_with
from contrast_tasks.manifest.model import Manifest
from contrast_tasks.records import REFUSED, REQUIRED, Member, Record
from contrast_tasks.releases.table import RELEASE_NAMES
from dev.reference.markdown import NOTICE, code, prose, table

INTRODUCTION = """\
# The manifest

`manifest.json` names the workloads of a deployment and the guests whose evidence is accepted. `generate` writes it; `set` sends its bytes,
and `verify` compares them. Its rules are the codes `M...` in [findings.md](findings.md).

The members are those of all releases of the runtime. A release writes and reads exactly the ones that it has, in an order and spelling of its
own: `[runtime] release` chooses it. A member without entry in the column `releases` is in all of them; one that is `ours`, and
`simulated`, are understood by our Coordinator only. One of the two lists of
workload owners is required, and one spelling of the registers.

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
            _releases(record, path.rpartition(".")[2]),
            _source(path, member),
        )
        for path, member, record in _members(Manifest, "")
    )
    head = ("member", "meaning", "must be", "required", "releases", "from")
    return "\n".join([NOTICE, "", *INTRODUCTION.splitlines(), "", *table(head, rows)]) + "\n"


def _members(record: type[Record], above: str) -> Iterator[tuple[str, Member, type[Record]]]:
    for member in record.members:
        path = f"{above}{member.name}"
        shape = member.shape
        if isinstance(shape, Map):
            yield from _members(shape.value, f"{path}.{shape.chosen}.")
            continue
        yield path, member, record
        for name in member.old:
            if name in releases_with(record):
                yield f"{above}{name}", member, record
        if isinstance(shape, type):
            yield from _members(shape, f"{path}.")
        elif isinstance(shape, List) and isinstance(shape.element, type):
            yield from _members(shape.element, f"{path}[].")


def _releases(record: type[Record], name: str) -> str:
    """Return the releases that have a member, "" for all of them, `ours` for a member of our Coordinator only."""
    if name in ours(record):
        return "ours"
    found = releases_with(record).get(name, ())
    if found in ((), RELEASE_NAMES):
        return ""
    if found[-1] == RELEASE_NAMES[-1]:
        return f"from {found[0]}"
    if len(found) == 1:
        return f"{found[0]} only"
    return f"up to {found[-1]}" if found[0] == RELEASE_NAMES[0] else f"{found[0]} to {found[-1]}"


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
