"""YAML text to nodes with marks, and nodes to plain values, with the scalar types that `kubectl` gives them.

kubectl's Go library reads dates and base-60 numbers as strings, `y` and `on` as booleans and `1e3` as a number, and
turns keys into strings. PyYAML differs in all four, so the loader here has its own table of types.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from contrast_tasks.records import Record

_TAG: Final = "tag:yaml.org,2002:"
MERGE_TAG: Final = _TAG + "merge"
_COLLECTION_TAGS: Final = frozenset({_TAG + "map", _TAG + "seq"})
# Nodes of a document once aliases are expanded. The API server accepts at most 1.5 MiB; an alias bomb never ends.
NODE_LIMIT: Final = 200_000
# Levels of nested collections. Kubernetes objects have a dozen; the C parser has no limit and crashes.
DEPTH_LIMIT: Final = 100
# A level takes at least a column of indentation or a bracket, and a bracket may open two levels. Texts with fewer are
# shallow enough.
_FEW: Final = DEPTH_LIMIT // 2
_LEADING: Final = " \t?:-"
# From here on Go writes whole numbers with an exponent. Source: Go's encoding/json.
_WHOLE: Final = 1e21
_TRUE: Final = frozenset({"y", "yes", "true", "on"})


# What a scalar without quotes and without a tag means; other texts that may be numbers begin with one of `_DIGITS`.
_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), _TAG + "null"),
    **{
        spelling: _TAG + "bool"
        for word in ("y", "yes", "true", "on", "n", "no", "false", "off")
        for spelling in (word, word.capitalize(), word.upper())
    },
    "<<": MERGE_TAG,
}
_DIGITS: Final = frozenset("-+.0123456789")
_INT: Final = r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)"
_FLOAT: Final = r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?"


class _Loader(yaml.CSafeLoader):
    """PyYAML's C parser with kubectl's implicit types."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: tuple[bool, bool]) -> str:
        """Return the tag of a node that has none; implicit: whether a plain scalar, and another one, may have any."""
        if kind is yaml.ScalarNode:
            return _tag_of(value) if implicit[0] else _TAG + "str"
        return _TAG + ("map" if kind is yaml.MappingNode else "seq")


def _tag_of(text: str) -> str:
    known = _WORDS.get(text)
    if known is None and text[0] in _DIGITS:
        # Most numbers are so plain that they need no pattern.
        if (text.isdecimal() and text.isascii() and text[0] != "0") or re.fullmatch(_INT, text):
            return _TAG + "int"
        if re.fullmatch(_FLOAT, text):
            return _TAG + "float"
    return known or _TAG + "str"


class Fault(Record):
    """A fault in a document; index: its offset in the text, in characters."""

    index: int
    message: str
    hint: str = ""


def compose(text: str) -> yaml.Node | None:
    """Return the root node of a text with at most one document, None if it is empty.

    Raises yaml.YAMLError if the text is malformed or nests collections deeper than DEPTH_LIMIT.
    """
    if text.count("[") + text.count("{") >= _FEW or any(map(_is_indented, text.splitlines())):
        _check_depth(text)
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def _is_indented(line: str) -> bool:
    return len(line) >= _FEW and not line[:_FEW].strip(_LEADING)


def _check_depth(text: str) -> None:
    # The parser yields events one by one, so counting levels needs no recursion.
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_LIMIT:
            problem = f"collections nested deeper than {DEPTH_LIMIT} levels"
            mark: Any = event.start_mark  # the C parser has its own class
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def key_text(node: yaml.Node) -> str | None:
    """Return a mapping key as the string it becomes in JSON, None if it is not a scalar."""
    if not isinstance(node, yaml.ScalarNode):
        return None
    kind = node.tag.removeprefix(_TAG)
    if kind == "bool":
        return "true" if node.value.lower() in _TRUE else "false"
    if kind in {"int", "float"}:
        return str(_number(kind, node.value))
    return str(node.value)


def entries(node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """Yield (key, key node, value node) of a mapping's own entries, without merge keys."""
    for key_node, value_node in node.value:
        if key_node.tag != MERGE_TAG:
            yield key_text(key_node) or "", key_node, value_node


def build(root: yaml.Node) -> tuple[Any, list[Fault]]:
    """Return the value of a node tree, with aliases and merge keys expanded, and all its faults."""
    builder = _Builder()
    return builder.value(root), builder.faults


def copied(value: Any) -> Any:
    """Return a copy of a JSON value that shares no mapping or list with it."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def same(left: Any, right: Any) -> bool:
    """Return whether two values and their types are equal (1, 1.0 and true differ); the order of keys does not matter."""
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(same(value, right[key]) for key, value in left.items())
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and bool(left == right)


def _number(kind: str, text: str) -> int | float:
    plain = text.replace("_", "").lower()
    if kind == "float":
        number = float(plain)
        # In JSON, 8.0 is 8: kubectl takes `0008`, which is no octal, and `1e3` where a whole number is wanted.
        return int(number) if abs(number) < _WHOLE and number.is_integer() else number
    sign, digits = (-1, plain[1:]) if plain[0] == "-" else (1, plain.lstrip("+"))
    for prefix, base in (("0b", 2), ("0o", 8), ("0x", 16)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    return sign * int(digits, 8 if digits.startswith("0") and len(digits) > 1 else 10)


class _Builder:
    """Builds the value of one document and collects its faults."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._active: set[int] = set()
        self._count = 0
        self._is_deep = False

    def value(self, node: yaml.Node) -> Any:
        self._count += 1
        if self._count > NODE_LIMIT:
            if self._count == NODE_LIMIT + 1:
                self._fault(
                    node,
                    f"aliases expand to more than {NODE_LIMIT} nodes",
                    "write the values out, or split the file",
                )
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._active:
            self._fault(
                node,
                "an anchor refers to itself",
                "remove the alias that lies inside its own anchor",
            )
            return None
        if len(self._active) == DEPTH_LIMIT:
            if not self._is_deep:
                self._is_deep = True
                message = f"aliases nest collections deeper than {DEPTH_LIMIT} levels"
                self._fault(node, message, "write the values out")
            return None
        if node.tag not in _COLLECTION_TAGS:
            self._fault(
                node, f"found the tag {node.tag!r}, expected plain JSON types", "remove the tag"
            )
        self._active.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node)
            return [self.value(child) for child in node.value]
        finally:
            self._active.discard(id(node))

    def _fault(self, node: yaml.Node, message: str, hint: str = "") -> None:
        self.faults.append(Fault(index=node.start_mark.index, message=message, hint=hint))

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind == "str":
            return node.value
        if kind == "null":
            return None
        if kind == "bool":
            return node.value.lower() in _TRUE
        if kind in {"int", "float"}:
            try:
                return _number(kind, node.value)
            except ValueError:
                self._fault(node, f"found {node.value!r}, expected a number after the tag {kind}")
                return None
        self._fault(
            node, f"found the tag {node.tag!r}, expected plain JSON types", "remove the tag"
        )
        return None

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merges: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == MERGE_TAG:
                merges.append(value_node)
                continue
            key = key_text(key_node)
            if key is None:
                self._fault(key_node, "found a collection as a key, expected a string")
                continue
            if key in result:
                self._fault(key_node, f"duplicate key {key!r}", "keep one of the two")
            result[key] = self.value(value_node)
        for merge in merges:
            self._merge(merge, result)
        return result

    def _merge(self, node: yaml.Node, into: dict[str, Any]) -> None:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            found = self.value(source)
            if not isinstance(found, dict):
                self._fault(source, "found no mapping after the merge key <<, expected one")
                continue
            for key, value in found.items():
                into.setdefault(key, value)
