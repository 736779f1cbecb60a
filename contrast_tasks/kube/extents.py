"""Offsets of nodes in the text of one document, from the marks of the nodes.

The marks of an alias are those of its anchor, and the end mark of a block collection is at the next token, so ends are
computed from the last leaf. Where the offset is uncertain, NotSpliceable is raised.
"""

import re
from collections.abc import Iterator

import yaml

_ALIAS = r"[ \t]*:[ \t]*\*[^\s,\[\]{}]+"
_DASH = r"-(?=\s)"


class NotSpliceable(Exception):  # caught inside this package, never shown
    """The change has no certain place in the text."""


class Extents:
    """The text of one document; all results are offsets into it, in characters."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.newline = "\r\n" if "\r\n" in text else "\n"

    def dash(self, item: yaml.Node) -> int:
        """Return where the dash before a sequence item is."""
        start = int(item.start_mark.index)
        line_start = self.line_start(start)
        head = self.text[line_start:start]
        dash = re.search(_DASH, head)
        if dash is None or head[: dash.start()].strip() or head[dash.end() :].strip():
            raise NotSpliceable
        return line_start + dash.start()

    def value_end(self, key_node: yaml.Node, value_node: yaml.Node) -> int:
        """Return where the value of a mapping entry ends, an alias included."""
        if value_node.start_mark.index < key_node.end_mark.index:
            alias = re.compile(_ALIAS).match(self.text, key_node.end_mark.index)
            if alias is None:
                raise NotSpliceable
            return alias.end()
        return self.end(value_node)

    def item_end(self, sequence: yaml.Node, item: yaml.Node) -> int:
        """Return where an item of a block sequence ends."""
        if item.start_mark.index < sequence.start_mark.index:
            raise NotSpliceable
        return self.end(item)

    def end(self, node: yaml.Node) -> int:
        """Return where the text of a node ends: after its last leaf, without the blank lines that follow."""
        start, end = int(node.start_mark.index), int(node.end_mark.index)
        if isinstance(node, yaml.ScalarNode):
            if node.style in {"|", ">"}:
                header = self.text[start : self.line_end(start)].partition("#")[0]
                # With the indicator "+", trailing blank lines belong to the scalar.
                blank = self.newline if "+" in header else None
                body = self.text[start:end]
                return start + len(body.rstrip() if blank is None else body.removesuffix(blank))
            return end
        if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
            return end
        if isinstance(node, yaml.MappingNode):
            return self.value_end(*node.value[-1])
        return self.item_end(node, node.value[-1])

    def own_comments_end(self, place: int, column: int) -> int:
        """Return the end of the last comment line below `place` that is indented deeper than `column`, else `place`.

        place: the end of a line.
        """
        while place < len(self.text):
            start = place + len(self.newline)
            stop = self.line_end(start)
            line = self.text[start:stop]
            indent = len(line) - len(line.lstrip(" "))
            if not line.lstrip(" ").startswith("#") or indent <= column:
                break
            place = stop
        return place

    def line_start(self, index: int) -> int:
        """Return where the line of a character starts."""
        return self.text.rfind("\n", 0, index) + 1

    def line_end(self, index: int) -> int:
        """Return where the line of a character ends, before its line break."""
        found = self.text.find("\n", index)
        if found < 0:
            return len(self.text)
        return found - 1 if found > index and self.text[found - 1] == "\r" else found


def shared_nodes(root: yaml.Node) -> frozenset[int]:
    """Return the ids of the nodes that occur more than once in the tree: anchors with an alias."""
    seen: set[int] = set()
    shared: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if id(node) in seen:
            shared.add(id(node))
            continue
        seen.add(id(node))
        pending.extend(_children(node))
    return frozenset(shared)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            yield key_node
            yield value_node
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value
