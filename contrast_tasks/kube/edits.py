"""Change Kubernetes YAML in place, with the fewest splices that turn the old objects into the wanted ones.

Comments, order of keys, quoting and line endings outside the changed lines stay. Each result is parsed again and
compared with the wanted object. Where they differ, as around anchors, whole values are rewritten instead of lines in
them; if that fails too, the whole document is. JSON has no comments, so it is written anew, with its own indentation.
"""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from contrast_tasks.errors import ContrastError
from contrast_tasks.kube import emit, nodes
from contrast_tasks.kube.documents import (
    BYTE_ORDER_MARK,
    Chunk,
    Document,
    KubeError,
    is_json,
    kept_documents,
    split,
)
from contrast_tasks.kube.extents import NotSpliceable
from contrast_tasks.kube.splices import Splicer, block_style
from contrast_tasks.pointers import replaced

_INDENT = r"\n([ \t]+)\""


def rewrite(text: str, wanted: Mapping[int, dict[str, Any]], file: str = "") -> str:
    """Return `text` with the objects at the given document indexes replaced by the wanted ones.

    New keys go to their alphabetical place if the keys of the mapping are sorted, otherwise to its end.
    Raises KubeError if `text` is malformed, and ContrastError for an unknown document index.
    """
    documents, findings = kept_documents(text, file)
    if findings:
        raise KubeError(findings)
    unknown = sorted(set(wanted) - {document.index for document in documents})
    if unknown:
        raise ContrastError(f"found document index {unknown[0]}, expected below {len(documents)}")
    changed: dict[int, list[Document]] = {}
    for document in documents:
        if document.index in wanted and not nodes.same(document.obj, wanted[document.index]):
            changed.setdefault(document.chunk.start, []).append(document)
    if not changed:
        return text
    style = block_style(text)
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    return mark + "".join(
        _rewrite_chunk(chunk, changed[chunk.start], wanted, style)
        if chunk.start in changed
        else chunk.text
        for chunk in split(text)
    )


def _rewrite_chunk(
    chunk: Chunk,
    documents: list[Document],
    wanted: Mapping[int, dict[str, Any]],
    fallback_style: emit.BlockStyle,
) -> str:
    root, now = _whole(chunk, documents[0])
    target = now
    for document in documents:
        target = replaced(target, document.path, wanted[document.index])
    if is_json(chunk.text):
        return _json(chunk.text, target)
    style = block_style(chunk.text, fallback_style)
    for is_coarse in (False, True):
        try:
            spliced = Splicer(chunk.text, root, style, is_coarse=is_coarse).apply(now, target)
        except NotSpliceable:
            continue
        if _reads_as(spliced, target):
            return spliced
    dumped = _dump(chunk.text, int(root.start_mark.index), target, style)
    if not _reads_as(dumped, target):
        raise ContrastError(
            "a rewritten document differs from the wanted one when it is read again"
        )
    return dumped


def _json(text: str, target: Any) -> str:
    """Return a target as JSON with the indentation of a text, and with what surrounds the object there."""
    body = text.strip()
    indent = re.search(_INDENT, body)
    made = emit.json_text(target, indent[1] if indent else None, is_dense='": ' not in body)
    before, _, after = text.partition(body)
    return f"{before}{made}{after}"


def _whole(chunk: Chunk, document: Document) -> tuple[yaml.Node, Any]:
    """Return the node and the value of a chunk; document: one of it, which may be an item of a list."""
    if not document.path:
        return document.node, document.obj
    root = nodes.compose(chunk.text)
    if root is None:
        raise ContrastError("a document is empty when it is read again")
    return root, nodes.build(root)[0]


def _reads_as(text: str, wanted: Any) -> bool:
    try:
        root = nodes.compose(text)
    except yaml.YAMLError:
        return False
    if root is None:
        return False
    value, faults = nodes.build(root)
    return not faults and nodes.same(value, wanted)


def _dump(text: str, start: int, target: Any, style: emit.BlockStyle) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    head = text[:start]
    if head and not head.endswith("\n"):
        head = head.rstrip(" ") + newline
    return head + newline.join(emit.mapping_lines(target, 0, style)) + newline
