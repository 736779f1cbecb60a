"""What every Kubernetes object has: apiVersion, kind, and metadata with a name; the findings on what does not."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding

# Names become path segments in the API server and in our outputs. Source: Kubernetes API, "path segment names".
_NOT_A_SEGMENT = re.compile(r"\A\.\.?\Z|[/%\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Kinds that end by themselves, so that each run may be an object of its own.
_GENERATED = ("Job", "Pod")
RENDER = "a chart is rendered by Helm: name as a source what 'helm template NAME CHART -f VALUES > FILE' writes"


def has_generated_name(obj: Mapping[str, Any]) -> bool:
    """Return whether the API server completes the name, so that each `kubectl create` makes another object."""
    metadata = obj["metadata"]
    return bool(metadata.get("generateName")) and not metadata.get("name")


def shape_faults(obj: Any, line: int, file: str) -> Iterator[Finding]:
    """Yield what is wrong with an object that begins in `line` of `file`."""
    if not isinstance(obj, dict):
        yield finding(
            file,
            line,
            f"found {_kind_of(obj)}, expected a Kubernetes object",
            "write each object as a document of its own, separated by lines of ---",
        )
        return
    if not obj.keys() & {"apiVersion", "kind", "metadata"}:
        yield finding(
            file,
            line,
            "found no Kubernetes object, expected apiVersion, kind and metadata",
            RENDER
            if file.rpartition("/")[2].startswith("values")
            else "name only the files of the deployment as sources, or write the three",
        )
        return
    for key in ("apiVersion", "kind"):
        yield from _text_member(obj, key, key, line, file)
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        found = "no metadata" if metadata is None else f"{_kind_of(metadata)} as metadata"
        yield finding(
            file, line, f"found {found}, expected a mapping with a name", "add metadata.name"
        )
        return
    own = "generateName" if has_generated_name(obj) else "name"
    if own == "generateName" and obj.get("kind") not in _GENERATED:
        message = f"found metadata.generateName, expected metadata.name: only {' and '.join(_GENERATED)} may go without"
        hint = "kubectl apply takes no generateName; give the object a name"
        yield finding(file, line, message, hint)
        return
    for key in (own, "namespace") if metadata.get("namespace") is not None else (own,):
        yield from _text_member(metadata, key, f"metadata.{key}", line, file)
        value = metadata.get(key)
        if isinstance(value, str) and _NOT_A_SEGMENT.search(value):
            message = (
                f"found {value!r} as metadata.{key}, expected no '/', '%' or control character"
            )
            hint = "a name is letters, digits, '-' and '.'"
            yield finding(file, line, message, hint)


def _text_member(
    mapping: dict[str, Any], key: str, name: str, line: int, file: str
) -> Iterator[Finding]:
    value = mapping.get(key)
    if isinstance(value, str) and value:
        return
    found = f"no {name}" if value in (None, "") else f"{_kind_of(value)} as {name}"
    hint = f"quote the value of {name}" if value not in (None, "") else f"add {name}"
    yield finding(file, line, f"found {found}, expected a string", hint)


def _kind_of(value: Any) -> str:
    names = {dict: "a mapping", list: "a sequence", str: "a string", bool: "a boolean"}
    return "nothing" if value is None else names.get(type(value), "a number")


def finding(file: str, line: int, message: str, hint: str, column: int | None = None) -> Finding:
    """Return a finding on a file as YAML."""
    return Finding(catalogue.YAML, Location(file=file, line=line, column=column), message, hint)
