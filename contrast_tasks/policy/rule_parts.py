"""The rules without what a pod has no use for: layers that nodes attach, encrypted disks, passed-through GPUs.

Every pod carries the rules, and annotations are limited in size. What is left out could never hold for the data of the
pod: clauses with a condition that the data makes undefined or false, and rules that nothing refers to any more. So no
decision changes, and whoever knows the data can tell which text the rules must have.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`')
_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_HEAD = re.compile(r"(?:default )?(\w+)")
_CHOICE = re.compile(r"(\w+ := )[^\n]* if \{ (\w+) \} else := ([^\n]*\n)")
_SET = re.compile(r"(\w+) := \{[^\n]*\|\n")


class Unused(NamedTuple):
    """What the data of a pod says about conditions.

    undefined: expressions without a value. never: statements, and beginnings of clauses, that never hold. always: beginnings
    of statements that always hold where they are asked. refused: requests that are never allowed.
    """

    undefined: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()
    always: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()

    def __or__(self, other: "Unused") -> "Unused":
        """Return both."""
        return Unused(*(mine | its for mine, its in zip(self, other, strict=True)))


_LAYERS = Unused(undefined=frozenset({"policy_data.paths.layers"}))
_DISKS = Unused(never=frozenset({'want.kind == "block"', 'source_ok("block"'}))
# Without a probe or hook there is no command that may be run.
_COMMANDS = Unused(refused=frozenset({"ExecProcessRequest"}))
# Without GPUs a request that has one is denied before each of them is looked at.
_GPUS = Unused(
    never=frozenset({"expected.gpus > 0", "some gpu in gpus"}),
    always=frozenset({"every gpu in gpus {"}),
)


def unused_by(block: Mapping[str, Any]) -> Unused:
    """Return what the data block of a policy has no use for."""
    containers = block["containers"]
    found = Unused()
    if "layers" not in block["paths"]:
        found |= _LAYERS
    if all(each["kind"] != "block" for one in containers for each in one["storages"]):
        found |= _DISKS
    if not any(each["gpus"] for each in containers):
        found |= _GPUS
    if not any(each["exec"] for each in containers):
        found |= _COMMANDS
    return found


def without(clauses: Sequence[str], unused: Unused) -> list[str]:
    """Return the clauses of compact rules that may hold; each is a text with a newline at its end."""
    heads = {_head(clause) for clause in clauses}
    never = tuple(unused.never) or "\0"
    kept = [
        clause
        for clause in clauses
        if _head(clause) not in unused.refused and not clause.startswith(never)
    ]
    kept += [f'{name} := refuse("{name}")\n' for name in sorted(unused.refused)]
    while True:
        gone = heads - {_head(clause) for clause in kept}
        after = [text for clause in kept if (text := _reduced(clause, unused, gone))]
        if after == kept:
            return _reachable(kept)
        kept = after


def _head(clause: str) -> str:
    found = _HEAD.match(clause)
    return found[1] if found else ""


def _reduced(clause: str, unused: Unused, gone: set[str]) -> str:
    """Return a clause without conditions that always hold, "" if one never does."""
    if (choice := _CHOICE.fullmatch(clause)) and choice[2] in gone:
        return choice[1] + choice[3]
    if (found := _SET.match(clause)) and unused.never & set(clause.split("\n")):
        return f"{found[1]} := set()\n"
    before, middle, body = clause.partition(" if {\n")
    if not middle or "} else" in clause:
        condition = "" if "} else" in clause else clause.rstrip("\n").partition(" if ")[2]
        return "" if _never(condition, unused, gone) else clause
    kept = []
    for statement in _statements(body.removesuffix("}\n")):
        first = statement.partition("\n")[0]
        if _never(first, unused, gone):
            return ""
        if not first.startswith(tuple(unused.always) or "\0") and not _absent(first, gone):
            kept.append(statement)
    return f"{before}{middle}{''.join(kept)}}}\n"


def _statements(body: str) -> Iterator[str]:
    """Yield the statements of a body, each with the lines of its brackets."""
    statement, depth = "", 0
    for line in body.splitlines(keepends=True):
        statement += line
        code = _STRING.sub("", line)
        depth += sum(map(code.count, "([{")) - sum(map(code.count, ")]}"))
        if not depth:
            yield statement
            statement = ""


def _absent(statement: str, gone: set[str]) -> bool:
    """Return whether a statement says of a name that is gone that it has no value."""
    return statement.startswith("not ") and statement.removeprefix("not ") in gone


def _never(statement: str, unused: Unused, gone: set[str]) -> bool:
    """Return whether a statement never holds; an undefined name makes it so outside of negations and comprehensions."""
    if statement in unused.never or statement in unused.undefined:
        return True
    code = _STRING.sub("", statement)
    return not code.startswith("not ") and "|" not in code and bool(gone & set(_NAME.findall(code)))


def _reachable(clauses: Sequence[str]) -> list[str]:
    """Return the clauses that requests and what they refer to consist of; the names of requests begin with a capital letter."""
    uses: dict[str, set[str]] = {}
    for clause in clauses:
        uses.setdefault(_head(clause), set()).update(_NAME.findall(_STRING.sub("", clause)))
    reached: set[str] = set()
    left = {head for head in uses if head[:1].isupper() or head in {"package", "import"}}
    while left:
        reached |= left
        left = {name for head in left for name in uses[head] if name in uses} - reached
    return [clause for clause in clauses if _head(clause) in reached]
