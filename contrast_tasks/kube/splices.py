"""The splices that turn one document's text into a wanted value, from the marks of its nodes.

A value is changed in place. A new entry goes after the last line of the entry before it, so that comments above a key
stay with that key; comment lines indented deeper than the mapping belong to the entry before them. A change without a
certain place raises NotSpliceable.
"""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any

import yaml

from contrast_tasks.kube import emit, nodes
from contrast_tasks.kube.extents import Extents, NotSpliceable, shared_nodes
from contrast_tasks.records import Record

_COLON = re.compile(r"[ \t]*:")
_COMMENT = r"(?:^|\s)#"
_MAPPING_UNDER_KEY = re.compile(r"^( *)[^\s#-][^#\n]*:[ \t]*\r?\n\1( +)[^\s#-]", re.MULTILINE)
_SEQUENCE_UNDER_KEY = re.compile(r"^((?: |- )*)[^\s#-][^#\n]*:[ \t]*\r?\n( *)- ", re.MULTILINE)


class _Splice(Record, kw_only=False):
    start: int
    end: int
    text: str


def block_style(text: str, fallback: emit.BlockStyle | None = None) -> emit.BlockStyle:
    """Return the indentation of a text, from the first nested mapping and sequence."""
    base = fallback or emit.BlockStyle()
    mapping = _MAPPING_UNDER_KEY.search(text)
    sequence = _SEQUENCE_UNDER_KEY.search(text)
    return emit.BlockStyle(
        mapping_step=len(mapping[2]) if mapping else base.mapping_step,
        sequence_step=(
            max(len(sequence[2]) - len(sequence[1]), 0) if sequence else base.sequence_step
        ),
    )


class Splicer:
    """Collects the splices of one document and applies them.

    is_coarse: rewrite a whole value where a change inside it has no certain place, as around anchors.
    """

    def __init__(
        self, text: str, root: yaml.Node, style: emit.BlockStyle, *, is_coarse: bool = False
    ) -> None:
        self._is_coarse = is_coarse
        self._text = text
        self._root = root
        self._style = style
        self._at = Extents(text)
        self._newline = self._at.newline
        self._splices: list[_Splice] = []
        self._shared = shared_nodes(root)

    def apply(self, now: Any, want: Any) -> str:
        """Return the text that reads as `want`; raises NotSpliceable."""
        self._collection(self._root, now, want, None)
        ordered = sorted(
            self._splices, key=lambda splice: (splice.start, splice.end > splice.start)
        )
        for before, after in pairwise(ordered):
            if before.end > after.start:
                raise NotSpliceable
        pieces: list[str] = []
        position = 0
        for splice in ordered:
            pieces += [self._text[position : splice.start], splice.text]
            position = splice.end
        return "".join([*pieces, self._text[position:]])

    def _collection(self, node: yaml.Node, now: Any, want: Any, lead: int | None) -> None:
        # lead: offset after the colon of the key above; None if the collection follows a dash or is the root.
        if id(node) in self._shared or not now or not want:
            raise NotSpliceable
        if isinstance(node, yaml.CollectionNode) and node.flow_style:
            start = int(node.start_mark.index)
            self._add(start, int(node.end_mark.index), self._flow(node, now, want))
        elif isinstance(node, yaml.MappingNode) and isinstance(want, dict):
            self._mapping(node, now, want, lead)
        elif isinstance(node, yaml.SequenceNode) and isinstance(want, list):
            self._sequence(node, now, want, lead)
        else:
            raise NotSpliceable

    def _mapping(
        self, node: yaml.MappingNode, now: dict[str, Any], want: dict[str, Any], lead: int | None
    ) -> None:
        own = list(nodes.entries(node))
        names = [key for key, _, _ in own]
        if set(now) - set(names) - set(want) or not set(names) & set(want):
            raise NotSpliceable
        column = int(own[0][1].start_mark.column)
        for position, (key, key_node, value_node) in enumerate(own):
            if key not in want:
                following = own[position + 1][1] if position + 1 < len(own) else None
                self._remove_entry(key_node, value_node, following)
            elif not nodes.same(now[key], want[key]):
                self._value(key_node, value_node, now[key], want[key], column)
        new = [
            key
            for key in want
            if key not in names and not (key in now and nodes.same(now[key], want[key]))
        ]
        is_sorted = names == sorted(names)
        for key in sorted(new) if is_sorted else new:
            before = [
                entry for entry in own if entry[0] in want and (not is_sorted or entry[0] < key)
            ]
            lines = emit.entry_lines(key, want[key], column, self._style)
            if before:
                _, key_node, value_node = before[-1]
                self._insert_behind(self._at.value_end(key_node, value_node), lines, column)
            else:
                self._insert_first(own[0][1], lines, column, lead)

    def _insert_behind(self, end: int, lines: Sequence[str], column: int) -> None:
        place = self._at.own_comments_end(self._at.line_end(end), column)
        self._add(place, place, self._newline + self._newline.join(lines))

    def _insert_first(
        self, first: yaml.Node, lines: Sequence[str], column: int, lead: int | None
    ) -> None:
        start = int(first.start_mark.index)
        if lead is not None and "\n" in self._text[lead:start]:
            place = self._at.line_end(lead)
            self._add(place, place, self._newline + self._newline.join(lines))
        else:
            joined = self._newline.join(lines)[column:]
            self._add(start, start, joined + self._newline + " " * column)

    def _remove_entry(
        self, key_node: yaml.Node, value_node: yaml.Node, following: yaml.Node | None
    ) -> None:
        start = int(key_node.start_mark.index)
        line_start = self._at.line_start(start)
        if not self._text[line_start:start].strip():
            self._remove_lines(start, self._at.value_end(key_node, value_node))
        elif following is not None:
            self._add(start, int(following.start_mark.index), "")
        else:
            raise NotSpliceable

    def _remove_lines(self, start: int, end: int) -> None:
        stop = self._at.line_end(end)
        stop += len(self._newline) if stop < len(self._text) else 0
        self._add(self._at.line_start(start), stop, "")

    def _value(
        self, key_node: yaml.Node, value_node: yaml.Node, now: Any, want: Any, column: int
    ) -> None:
        colon = _COLON.match(self._text, key_node.end_mark.index)
        if colon is None:
            raise NotSpliceable
        is_alias = value_node.start_mark.index < key_node.end_mark.index
        if not is_alias and self._is_same_shape(value_node, now, want):
            before, outer = len(self._splices), self._style
            self._style = self._local_style(value_node, column)
            try:
                self._collection(value_node, now, want, colon.end())
            except NotSpliceable:
                if not self._is_coarse:
                    raise
                del self._splices[before:]
            else:
                return
            finally:
                self._style = outer
        end = self._at.value_end(key_node, value_node)
        old = self._text[colon.end() : end]
        if old.lstrip()[:1] in {"&", "!"}:
            raise NotSpliceable
        first, *rest = self._rendered(value_node, want, column)
        if "\n" not in old:
            gap = old[: len(old) - len(old.lstrip())] or " "
            self._add(colon.end(), end, gap + first[1:] if first else "")
            place = self._at.line_end(end)
        else:
            place = end
            self._add(colon.end(), end, self._newline.join([first, *rest]))
            rest = []
        if rest:
            self._add(place, place, self._newline + self._newline.join(rest))

    def _local_style(self, node: yaml.Node, column: int) -> emit.BlockStyle:
        if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
            return self._style
        if isinstance(node, yaml.SequenceNode):
            step = int(node.start_mark.column) - column
            return self._style.replace(sequence_step=step) if step >= 0 else self._style
        step = int(node.value[0][0].start_mark.column) - column
        return self._style.replace(mapping_step=step) if step > 0 else self._style

    def _rendered(self, node: yaml.Node, want: Any, column: int) -> list[str]:
        lines = emit.value_lines(want, column, self._style)
        if len(lines) == 1 and isinstance(want, str) and isinstance(node, yaml.ScalarNode):
            quote = {"'": emit.single_quoted, '"': emit.quoted}.get(node.style or "")
            if quote is not None:
                return [" " + quote(want)]
        return lines

    def _is_same_shape(self, node: yaml.Node, now: Any, want: Any) -> bool:
        if not now or not want:
            return False
        if isinstance(node, yaml.SequenceNode):
            return isinstance(want, list)
        if not isinstance(node, yaml.MappingNode) or not isinstance(want, dict):
            return False
        return any(key in want for key, _, _ in nodes.entries(node))

    def _sequence(
        self, node: yaml.SequenceNode, now: list[Any], want: list[Any], lead: int | None
    ) -> None:
        items = node.value
        column = int(node.start_mark.column)
        if self._text[node.start_mark.index : node.start_mark.index + 1] != "-":
            raise NotSpliceable
        matcher = SequenceMatcher(
            None,
            [_identity(item) for item in now],
            [_identity(item) for item in want],
            autojunk=False,
        )
        for action, start, stop, new_start, new_stop in matcher.get_opcodes():
            new = want[new_start:new_stop]
            if action == "equal":
                for item, old, value in zip(items[start:stop], now[start:stop], new, strict=True):
                    if not nodes.same(old, value):
                        self._collection(item, old, value, None)
            elif action == "delete":
                for item in items[start:stop]:
                    self._remove_lines(self._at.dash(item), self._at.end(item))
            else:
                # What takes the place of an item has its comment; what comes on top follows it.
                count = stop - start
                if count:
                    self._replace_items(items[start:stop], now[start:stop], new[:count], column)
                self._add_items(node, items[:stop], new[count:], lead)

    def _add_items(
        self, node: yaml.SequenceNode, before: Sequence[yaml.Node], new: list[Any], lead: int | None
    ) -> None:
        column = int(node.start_mark.column)
        lines = emit.sequence_lines(new, column, self._style) if new else []
        if lines and before:
            self._insert_behind(self._at.item_end(node, before[-1]), lines, column)
        elif lines:
            self._insert_first(node, lines, column, lead)

    def _replace_items(
        self, items: Sequence[yaml.Node], now: Sequence[Any], new: Sequence[Any], column: int
    ) -> None:
        if len(items) == len(new):
            for item, old, value in zip(items, now, new, strict=True):
                self._replace_item(item, old, value, column)
        else:
            self._replace_range(items[0], items[-1], new, column)

    def _replace_item(self, item: yaml.Node, old: Any, value: Any, column: int) -> None:
        if self._is_same_shape(item, old, value):
            self._collection(item, old, value, None)
            return
        lines = self._rendered(item, value, column)
        is_one_line = isinstance(item, yaml.ScalarNode) and item.style not in {"|", ">"}
        if not is_one_line or len(lines) > 1 or item.start_mark.index == item.end_mark.index:
            self._replace_range(item, item, [value], column)
        elif id(item) in self._shared:
            raise NotSpliceable
        else:
            self._at.dash(item)
            self._add(item.start_mark.index, item.end_mark.index, lines[0][1:])

    def _replace_range(
        self, first: yaml.Node, last: yaml.Node, new: Sequence[Any], column: int
    ) -> None:
        lines = emit.sequence_lines(new, column, self._style)
        start, end = self._at.dash(first), self._at.end(last)
        if end <= self._at.dash(last):
            raise NotSpliceable
        self._add(start, end, self._newline.join(lines)[column:])

    def _flow(self, node: yaml.Node, now: Any, want: Any) -> str:
        # Unchanged members keep their text. A comment inside would hide the rest of the line.
        if re.search(_COMMENT, self._text[node.start_mark.index : node.end_mark.index]):
            raise NotSpliceable
        if isinstance(node, yaml.MappingNode) and isinstance(want, dict) and isinstance(now, dict):
            own = {key: (key_node, value) for key, key_node, value in nodes.entries(node)}
            if set(now) - set(own):
                raise NotSpliceable
            parts = [self._flow_entry(own.get(key), now, key, value) for key, value in want.items()]
            return "{" + ", ".join(parts) + "}"
        return emit.flow(want)

    def _flow_entry(
        self, own: tuple[yaml.Node, yaml.Node] | None, now: dict[str, Any], key: str, value: Any
    ) -> str:
        if own is None:
            return f"{emit.flow(key)}: {emit.flow(value)}"
        key_node, value_node = own
        if nodes.same(now[key], value):
            return self._text[key_node.start_mark.index : self._at.value_end(key_node, value_node)]
        name = self._text[key_node.start_mark.index : key_node.end_mark.index]
        if isinstance(value_node, yaml.MappingNode) and isinstance(value, dict):
            return f"{name}: {self._flow(value_node, now[key], value)}"
        return f"{name}: {emit.flow(value)}"

    def _add(self, start: int, end: int, text: str) -> None:
        if (start, end, text) != (start, start, ""):
            self._splices.append(_Splice(start, end, text))


def _identity(item: Any) -> str:
    # Kubernetes identifies list members by name, and mounts of one volume also by path.
    if isinstance(item, dict):
        place = item.get("mountPath") or item.get("devicePath") or ""
        if isinstance(item.get("name"), str):
            return f"name:{item['name']}:{place}"
    return f"value:{_canonical(item)}"


def _canonical(item: Any) -> str:
    if isinstance(item, dict):
        return "{" + ",".join(f"{key!r}:{_canonical(item[key])}" for key in sorted(item)) + "}"
    if isinstance(item, list):
        return "[" + ",".join(map(_canonical, item)) + "]"
    return repr(item)
