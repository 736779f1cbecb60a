"""The text of a policy: a header, the rules and the data block. Its SHA-256 is the pod's identity."""

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from contrast_tasks import __version__
from contrast_tasks.decode import parse_json
from contrast_tasks.errors import UsageError
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.rule_parts import needed_parts
from contrast_tasks.policy.rules import CompactRules, compact_rules, rules_sha256, unescaped

_HEADER = rb"(?a)# contrast-tasks (?P<version>\S+), profile [\w-]+, rules sha256:[0-9a-f]{16}"
# Each member of the block is a rule of its own, of which an engine evaluates those that a request needs. The version is the
# first. Containers are found by their names.
_DATA = "policy_version:="
_RULE = r"(?m)^policy_(\w+)(\([^\n]*?\))?:="
# Unmodified regorus 0.9 accepts lines of at most 1,024 columns (docs/internals/policy.md 1.1). The longest ones are a key and
# a string after it. A character of a piece takes up to twelve columns, which are two escapes.
_COLUMNS = 300
_LONGEST = 600
_PIECE = 60
_JOIN = 'concat("", ['
_LINES = ",\n"
# Of the digest in the header, which is for people.
_DIGITS = 16
# A JSON string, or one without escapes, which Rego has too.
_STRING = r'"(?:[^"\\\n]|\\.)*"|`([^`\n]*)`'


def render_policy(data: PolicyData, rules: CompactRules = compact_rules) -> bytes:
    """Return the policy in UTF-8; equal expectations give equal bytes on any machine.

    rules: what returns the result of `compact_rules`.
    """
    return render_block(data.to_json(), rules)


def render_block(block: dict[str, Any], rules: CompactRules = compact_rules) -> bytes:
    """Return the policy for a data block, the JSON form of expectations."""
    lines = [
        f"# contrast-tasks {__version__}, profile {block['profile']}, rules sha256:{rules_sha256()[:_DIGITS]}\n",
        rules(needed_parts(block)),
    ]
    members = dict(sorted(block.items(), key=lambda member: (member[0] != "version", member[0])))
    for container in members.pop("containers"):
        members[f"container({_compact(container['name'])})"] = container
    for name, value in members.items():
        lines.append(f"policy_{name}:={_member(_encode(value))}\n")
    return "".join(lines).encode()


@lru_cache(maxsize=64)
def _member(value: str) -> str:
    """Return a member of the data block as Rego, from its JSON; most pods of a project have most members in common."""
    return _text(_ordered(json.loads(value)))[0]


def has_our_rules(policy: bytes) -> bool:
    """Return whether a policy is what this version writes for the data in it, so that nothing follows the rules but data.

    The version and digest in the header are not trusted.
    """
    header, _, rest = policy.partition(b"\n")
    if re.fullmatch(_HEADER, header) is None:
        return False
    try:
        rendered = render_block(parse_policy(policy))
    except UsageError:
        return False
    return rendered.partition(b"\n")[2] == rest


def claimed_version(policy: bytes) -> str:
    """Return the version that the header of a policy claims, "" if there is none; it proves nothing."""
    found = re.match(_HEADER, policy)
    return found["version"].decode() if found else ""


def parse_policy(policy: bytes) -> dict[str, Any]:
    """Return the data block of a policy, in the form of schemas/policy-data.schema.json.

    Raises UsageError if the policy is not ours.
    """
    from contrast_tasks.schema import validate

    text = policy.decode(errors="replace")
    _, found, block = text.partition(f"\n{_DATA}")
    if not found:
        raise UsageError("the policy has no data block", hint="use a policy that this tool made")
    document: dict[str, Any] = {"containers": []}
    # The texts before the first rule, then name, argument and value of each.
    _, *parts = re.split(_RULE, _DATA + block)
    try:
        for name, argument, value in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            loaded = _load(value)
            if argument:
                document["containers"].append(loaded)
            else:
                document[name] = loaded
    except ValueError as error:
        raise UsageError(f"the data block of the policy is {error}") from error
    for pointer, message in validate(document, "policy-data"):
        raise UsageError(f"the data block of the policy is of another version: {pointer} {message}")
    return document


def _load(block: str) -> Any:
    block = re.sub(_STRING, lambda found: found[0] if found[1] is None else f'"{found[1]}"', block)
    return parse_json(_without_joins(block)).value


def _text(value: Any) -> tuple[str, bool]:
    """Return a JSON value as Rego, and whether it is one line of few columns.

    Otherwise members and elements get lines of their own.
    """
    if isinstance(value, str):
        compact = _compact(value)
        return (_pieces(value) if len(compact) > _LONGEST else compact), len(compact) <= _COLUMNS
    if isinstance(value, dict):
        parts = [(_name(key), _text(item)) for key, item in value.items()]
        texts = [f"{name}:{text}" for (name, _), (text, _) in parts]
        fits = all(is_short and is_line for (_, is_short), (_, is_line) in parts)
        return _enclosed("{", texts, "}", fits=fits)
    if isinstance(value, list):
        items = [_text(item) for item in value]
        fits = all(is_line for _, is_line in items)
        return _enclosed("[", [text for text, _ in items], "]", fits=fits)
    return _encode(value), True


def _enclosed(start: str, texts: Sequence[str], end: str, *, fits: bool) -> tuple[str, bool]:
    """Return texts between brackets, in one line if each fits into one and all do together."""
    if fits:
        line = f"{start}{','.join(texts)}{end}"
        if len(line) <= _COLUMNS:
            return line, True
    return f"{start}\n{_LINES.join(texts)}\n{end}", False


def _name(key: str) -> tuple[str, bool]:
    compact = _compact(key)
    return (compact, True) if len(compact) <= _COLUMNS else (_pieces(key), False)


def _pieces(value: str) -> str:
    # Rego strings cannot span lines.
    pieces = [value[start : start + _PIECE] for start in range(0, len(value), _PIECE)]
    return f"{_JOIN}\n{_LINES.join(map(_compact, pieces))}\n])"


def _without_joins(block: str) -> str:
    """Turn `concat("", [pieces])` back into one JSON string."""
    lines: list[str] = []
    pieces: list[str] | None = None
    for line in block.split("\n"):
        if pieces is None:
            lines.append(line)
        elif line.startswith("])"):
            lines[-1] += _encode("".join(pieces)) + line.removeprefix("])")
        else:
            pieces.append(json.loads(line.removesuffix(",")))
            continue
        pieces = [] if lines[-1].endswith(_JOIN) else None
        if pieces is not None:
            lines[-1] = lines[-1].removesuffix(_JOIN)
    return "\n".join(lines)


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _ordered(value: Any) -> Any:
    """Return a value with sorted members, those first that have none and no elements themselves.

    An engine parses what a literal begins with twice, so one that begins with literals takes twice as long for each level.
    """
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (isinstance(value[key], dict | list), key))
        return {key: _ordered(value[key]) for key in keys}
    return [_ordered(each) for each in value] if isinstance(value, list) else value


def _compact(text: str) -> str:
    """Return a string as Rego: as in JSON, but as it is if it needs no escapes."""
    return unescaped(encode_basestring_ascii(text))
