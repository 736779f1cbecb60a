"""The Kubernetes documents of one file, with the lines of their keys.

The text is split at its `---` lines first, so that one malformed document does not hide the faults of others. Empty
documents are left out and lists of any kind are expanded; `Document.index` counts the resulting objects from 0.
JSON is read as the YAML that it is; a file may have several objects one after the other, as kubectl reads them.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding, FindingsError
from contrast_tasks.kube import nodes
from contrast_tasks.kube.shape import RENDER, finding, shape_faults
from contrast_tasks.pointers import Path, to_pointer
from contrast_tasks.records import Record

BYTE_ORDER_MARK: Final = "\ufeff"
# Of the texts of parsed files that are kept, in characters; parsed they take some fifty times that in bytes.
_KEPT = 1_000_000

# A document marker starts in column 1 and is never content; directives belong to the document below them. A pattern that
# begins with a character is searched for ten times as fast as one that begins with a line.
_SEPARATOR = re.compile(r"\n---(?=[ \t\r\n]|\Z)")
_DIRECTIVE = re.compile(r"%[^\r\n]*(?:\r\n|\n)")
# Files joined by `cat` have byte order marks at the start of a document too, where kubectl passes over them.
_INNER_MARK = r"(?m)(^---[^\r\n]*(?:\r\n|\n))\ufeff|(?<=\n)\ufeff(?=---|#|%)"
# JSON writes a character beyond U+FFFF as two escapes, which YAML does not know.
_PAIR = r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
# The action of a template that a chart or a tool like it fills in.
_ACTION = re.compile(r"\{\{-?\s*[.$\w]")
_BARE_MARKER = re.compile(r"\A---[ \t]*(?:\r\n|\n|\Z)")


class KubeError(FindingsError):
    """A file cannot be read as Kubernetes documents; carries every finding of the file."""


class Chunk(Record):
    """The text of one document; start: its offset in the file, in characters; first_line: counts from 1."""

    start: int
    first_line: int
    text: str

    def line_at(self, index: int) -> int:
        """Return the line in the file of the character at `index`."""
        return self.first_line + self.text.count("\n", 0, index)


class Document(Record):
    """One Kubernetes object and its place.

    index: position among the objects of the file. line: of its first key. text: its own text, for hashing.
    path: the path inside the document for an item of a List, otherwise ().
    """

    file: str
    index: int
    line: int
    text: str
    obj: dict[str, Any]
    path: Path = ()
    chunk: Chunk
    node: yaml.MappingNode

    @property
    def kind(self) -> str:
        """Return the kind, such as `Deployment`."""
        return str(self.obj["kind"])

    @property
    def name(self) -> str:
        """Return metadata.name, or the beginning of it that metadata.generateName is."""
        return object_name(self.obj)


def object_name(obj: Mapping[str, Any]) -> str:
    """Return metadata.name, or the beginning of it that metadata.generateName is; the API server appends to that."""
    metadata = obj["metadata"]
    return str(metadata.get("name") or metadata["generateName"])


def decode(content: bytes, file: str) -> str:
    """Return the text of a file, without what only kubectl's own decoder passes over; raises KubeError if it is not UTF-8.

    Byte order marks inside of the file are left out, and in JSON, pairs of escapes are the character that they mean.
    """
    try:
        return _plain(content.decode())
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        message = f"found byte 0x{content[err.start]:02x}, expected UTF-8 text"
        raise KubeError([finding(file, line, message, "save the file as UTF-8")]) from err


def _plain(text: str) -> str:
    if BYTE_ORDER_MARK in text[1:]:
        text = re.sub(_INNER_MARK, lambda match: match[1] or "", text)
    if "\\u" in text and text.lstrip(f"{BYTE_ORDER_MARK} \t\r\n").startswith("{"):
        text = re.sub(_PAIR, _character, text)
    return text


def _character(match: re.Match[str]) -> str:
    high, low = int(match[2], 16) - 0xD800, int(match[3], 16) - 0xDC00
    return match[1] + chr(0x10000 + (high << 10) + low)


def parse_documents(text: str, file: str) -> list[Document]:
    """Return all Kubernetes objects of one file.

    Raises KubeError with every G003 finding: syntax, duplicate keys, missing apiVersion, kind or name.
    """
    documents, findings = read_documents(text, file)
    if findings:
        raise KubeError(findings)
    return documents


def read_documents(text: str, file: str) -> tuple[list[Document], list[Finding]]:
    """Return the objects of one file that can be read, and the G003 findings on the others.

    With a finding they are good for checks only: what stands in the rest of the file is unknown.
    """
    documents: list[Document] = []
    findings: list[Finding] = []
    for chunk in split(text):
        try:
            root = nodes.compose(chunk.text)
        except yaml.YAMLError as err:
            findings.append(_syntax(err, chunk, file))
            continue
        if root is None or _is_null(root):
            continue
        value, faults = nodes.build(root)
        if faults:
            findings += [
                finding(file, chunk.line_at(fault.index), fault.message, fault.hint)
                for fault in faults
            ]
            continue
        for path, node, obj in _expand(root, value, ()):
            wrong = list(shape_faults(obj, chunk.line_at(node.start_mark.index), file))
            findings += wrong
            if wrong or not isinstance(node, yaml.MappingNode):
                continue
            documents.append(
                Document(
                    file=file,
                    index=len(documents),
                    line=chunk.line_at(_first_key(node)),
                    text=_text_of(node, chunk, whole=not path),
                    obj=obj,
                    path=path,
                    chunk=chunk,
                    node=node,
                )
            )
    return documents, findings


_Read = tuple[Sequence[Document], Sequence[Finding]]
_kept: dict[tuple[str, str], _Read] = {}


def kept_documents(text: str, file: str) -> _Read:
    """Return what `read_documents` does, for callers that change nothing in it.

    The last files stay parsed for the index, the workloads, also in processes forked in between, and the outputs.
    """
    found = _kept.get((text, file))
    if found is None:
        found = _kept[text, file] = read_documents(text, file)
        while len(_kept) > 1 and sum(len(each) for each, _ in _kept) > _KEPT:
            del _kept[next(iter(_kept))]
    return found


def _marker_starts(body: str) -> Iterator[int]:
    """Yield where each document marker begins, with the directives right above it."""
    # A line break before the text stands for its beginning.
    for match in _SEPARATOR.finditer(f"\n{body}"):
        start = match.start()
        while start:
            above = body.rfind("\n", 0, start - 1) + 1
            if not _DIRECTIVE.fullmatch(body, above, start):
                break
            start = above
        yield start


def split(text: str) -> list[Chunk]:
    """Split a text at its document markers; joined, the chunks are the text without its byte order mark."""
    body = text.removeprefix(BYTE_ORDER_MARK)
    starts = [*_json_starts(body)] or [*_marker_starts(body)]
    if not starts or starts[0] > 0:
        starts.insert(0, 0)
    chunks: list[Chunk] = []
    line = 1
    for start, end in zip(starts, [*starts[1:], len(body)], strict=True):
        piece = body[start:end]
        chunks.append(Chunk(start=start, first_line=line, text=piece))
        line += piece.count("\n")
    return chunks


def is_json(text: str) -> bool:
    """Return whether a text is JSON objects and nothing else."""
    return next(_json_starts(text), None) is not None


def _json_starts(text: str) -> Iterator[int]:
    """Yield 0 and the ends of all objects but the last if a text is nothing but JSON objects."""
    if not text.lstrip().startswith("{"):
        return
    decoder, start, ends = json.JSONDecoder(), text.index("{"), [0]
    while start < len(text):
        try:
            _, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            return
        ends.append(end)
        start = len(text) - len(text[end:].lstrip())
    yield from ends[:-1]


def line_of(document: Document, path: Sequence[str | int]) -> int:
    """Return the line of the key or item at `path`, or of its nearest ancestor that is in the file."""
    index = _first_key(document.node)
    node: yaml.Node = document.node
    for step in path:
        found = _step(node, step)
        if found is None:
            break
        index, node = found
    return document.chunk.line_at(index)


def location(document: Document, path: Sequence[str | int] = ()) -> Location:
    """Return the place of `path` in the file, with the JSON pointer inside the object."""
    return Location(file=document.file, line=line_of(document, path), pointer=to_pointer(path))


def _step(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, key_node, value_node in nodes.entries(node):
            if key == step:
                return key_node.start_mark.index, value_node
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.index, node.value[step]
    return None


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")


def _first_key(node: yaml.Node) -> int:
    # An anchor before a mapping moves the mark of the mapping, but not that of its first key.
    first = node.value[0][0] if isinstance(node, yaml.MappingNode) and node.value else node
    return int(first.start_mark.index)


def _text_of(node: yaml.Node, chunk: Chunk, *, whole: bool) -> str:
    if whole:
        return _BARE_MARKER.sub("", chunk.text).strip("\r\n")
    return chunk.text[node.start_mark.index : node.end_mark.index].rstrip()


def _expand(node: yaml.Node, obj: Any, path: Path) -> Iterator[tuple[Path, yaml.Node, Any]]:
    """Yield the objects of a list of any kind, others as they are.

    Items of a list such as ConfigMapList need no kind of their own. Source: Kubernetes, apimachinery's unstructured lists.
    """
    kind = obj.get("kind") if isinstance(obj, dict) else None
    items = obj.get("items") if isinstance(kind, str) and kind.endswith("List") else None
    if not isinstance(node, yaml.MappingNode) or not isinstance(items, list):
        yield path, node, obj
        return
    inner = str(kind).removesuffix("List")
    children = next(value for key, _, value in nodes.entries(node) if key == "items")
    for position, (child, member) in enumerate(zip(children.value, items, strict=True)):
        if inner and obj.get("apiVersion") and isinstance(member, dict) and not member.get("kind"):
            implied = {"apiVersion": obj["apiVersion"], "kind": inner}
            given = {key: value for key, value in member.items() if key not in implied or value}
            yield (*path, "items", position), child, implied | given
        else:
            yield from _expand(child, member, (*path, "items", position))


def _syntax(err: yaml.YAMLError, chunk: Chunk, file: str) -> Finding:
    if not isinstance(err, yaml.MarkedYAMLError):
        position = getattr(err, "position", 0)
        line = chunk.line_at(position)
        return finding(file, line, f"found {getattr(err, 'reason', err)}, expected yaml text", "")
    mark = err.problem_mark or err.context_mark
    line = chunk.first_line + (mark.line if mark else 0)
    column = mark.column + 1 if mark else None
    rows = chunk.text.splitlines()
    row = rows[mark.line] if mark and mark.line < len(rows) else ""
    if "\t" in row[: len(row) - len(row.lstrip())]:
        message, hint = (
            "found a tab in the indentation, expected spaces",
            "replace the tab with spaces",
        )
    elif "single document" in (err.context or "") or "<document start>" in (err.problem or ""):
        message = "found a second document, expected a line of --- before it"
        hint = "write --- between documents"
    else:
        message = f"found invalid yaml, {err.problem}"
        if err.context:
            message += f" {err.context}"
        if err.context_mark and err.context_mark.line != (mark.line if mark else 0):
            message += f" of line {chunk.first_line + err.context_mark.line}"
        hint = "expected one yaml document; check indentation, quotes and colons here and above"
    if _ACTION.search(row):
        hint = RENDER
    return finding(file, line, message, hint, column)
