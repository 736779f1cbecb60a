"""The text of a policy: a header, the rules and the data block. Its SHA-256 is the pod's identity."""

import json
import re
from typing import Any

from contrast_tasks import __version__
from contrast_tasks.decode import parse_json
from contrast_tasks.errors import UsageError
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.rules import compact_rules, rules_sha256

_HEADER = re.compile(
    rb"# contrast-tasks (?P<version>\S+), profile [\w-]+, rules sha256:[0-9a-f]{64}", re.ASCII
)
_DATA = "policy_data := "
_CONTAINER = "policy_container_"
# Unmodified regorus 0.9 accepts lines of at most 1,024 columns (docs/internals/policy.md 1.1).
_COLUMNS = 200
_LONGEST = 900
_PIECE = 140
_JOIN = 'concat("", ['


def render_policy(data: PolicyData) -> bytes:
    """Return the policy in UTF-8; equal expectations give equal bytes on any machine."""
    return render_block(data.to_json())


def render_block(block: dict[str, Any]) -> bytes:
    """Return the policy for a data block, the JSON form of expectations."""
    lines = [
        f"# contrast-tasks {__version__}, profile {block['profile']}, rules sha256:{rules_sha256()}\n",
        compact_rules(),
    ]
    containers = block["containers"]
    # Engines parse a nested literal twice for each level, so each container is a rule of its own.
    for index, container in enumerate(containers):
        lines.append(f"\n{_CONTAINER}{index} := ")
        _write(container, "", lines)
        lines.append("\n")
    names = [_Name(f"{_CONTAINER}{index}") for index in range(len(containers))]
    lines.append(f"\n{_DATA}")
    _write({**block, "containers": names}, "", lines)
    lines.append("\n")
    return "".join(lines).encode()


def has_our_rules(policy: bytes) -> bool:
    """Return whether a policy is what this version writes for the data in it, so that nothing follows the rules but data.

    The version and digest in the header are not trusted.
    """
    header, _, rest = policy.partition(b"\n")
    if _HEADER.fullmatch(header) is None:
        return False
    try:
        rendered = render_block(parse_policy(policy))
    except UsageError:
        return False
    return rendered.partition(b"\n")[2] == rest


def claimed_version(policy: bytes) -> str:
    """Return the version that the header of a policy claims, "" if there is none; it proves nothing."""
    found = _HEADER.match(policy)
    return found["version"].decode() if found else ""


def parse_policy(policy: bytes) -> dict[str, Any]:
    """Return the data block of a policy, in the form of schemas/policy-data.schema.json.

    Raises UsageError if the policy is not ours.
    """
    from contrast_tasks.schema import validate

    text = policy.decode(errors="replace")
    rules, found, block = text.partition(f"\n{_DATA}")
    if not found:
        raise UsageError("the policy has no data block", hint="use a policy that this tool made")
    pieces = rules.split(f"\n{_CONTAINER}")[1:]
    try:
        containers = [_load(piece.partition(" := ")[2]) for piece in pieces]
        names = [f"{_CONTAINER}{index}" for index in range(len(containers))]
        for name in names:
            block = block.replace(f" {name}", f' "{name}"', 1)
        document = _load(block)
    except ValueError as error:
        raise UsageError(f"the data block of the policy is {error}") from error
    if not isinstance(document, dict) or document.get("containers") != names:
        raise UsageError("the data block of the policy does not name its containers")
    document["containers"] = containers
    for pointer, message in validate(document, "policy-data"):
        raise UsageError(f"the data block of the policy is of another version: {pointer} {message}")
    return document


class _Name(str):
    """The name of a rule, written instead of its value."""

    __slots__ = ()


def _load(block: str) -> Any:
    return parse_json(_without_joins(block)).value


def _write(value: Any, indent: str, out: list[str]) -> None:
    """Write a JSON value with sorted keys and one member or element per line; short elements of lists are compact."""
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        out.append("{\n")
        for count, key in enumerate(sorted(value)):
            out.append(f"{',' + chr(10) if count else ''}{deeper}{_compact(key)}: ")
            _write(value[key], deeper, out)
        out.append(f"\n{indent}}}")
    elif isinstance(value, list) and value:
        out.append("[\n")
        for count, item in enumerate(value):
            out.append(f"{',' + chr(10) if count else ''}{deeper}")
            compact = item if isinstance(item, _Name) else _compact(item)
            if len(compact) <= _COLUMNS:
                out.append(compact)
            else:
                _write(item, deeper, out)
        out.append(f"\n{indent}]")
    else:
        compact = _compact(value)
        if len(compact) <= _LONGEST:
            out.append(compact)
        else:
            _write_pieces(value, indent, out)


def _write_pieces(value: str, indent: str, out: list[str]) -> None:
    # Rego strings cannot span lines. A character takes up to six columns.
    pieces = [value[start : start + _PIECE] for start in range(0, len(value), _PIECE)]
    inner = ",\n".join(f"{indent}  {_compact(piece)}" for piece in pieces)
    out.append(f"{_JOIN}\n{inner}\n{indent}])")


def _without_joins(block: str) -> str:
    """Turn `concat("", [pieces])` back into one JSON string."""
    lines: list[str] = []
    pieces: list[str] | None = None
    for line in block.split("\n"):
        if pieces is None:
            if line.endswith(_JOIN):
                lines.append(line.removesuffix(_JOIN))
                pieces = []
            else:
                lines.append(line)
        elif line.lstrip().startswith("])"):
            lines[-1] += json.dumps("".join(pieces)) + line.lstrip().removeprefix("])")
            pieces = None
        else:
            pieces.append(json.loads(line.strip().removesuffix(",")))
    return "\n".join(lines)


_compact = json.JSONEncoder(sort_keys=True, separators=(", ", ": "), allow_nan=False).encode
