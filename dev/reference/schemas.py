"""The JSON Schemas of what commands report, each complete without references to other files.

Findings, reports, events and check.json are declared here, with severities and states from the code. Schemas that are
written by hand get their shared parts in `$defs` from here.
"""

import json
from pathlib import Path
from typing import Any, get_args

from contrast_tasks.findings import Severity
from contrast_tasks.report.model import Status
from dev.reference.declared_schemas import DECLARED

ANY = {"type": "string"}
TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}
NUMBER = {"type": "integer", "minimum": 1}
EXIT_CODE = {"type": "integer", "minimum": 0, "maximum": 255}
VERSION = {"type": "string", "pattern": r"^1\.[0-9]+$"}
SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
RESULT = {"type": "object"}


def table(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of an object that has no other members."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }


def part(name: str) -> dict[str, str]:
    """Return a reference to a schema in `$defs`."""
    return {"$ref": f"#/$defs/{name}"}


def array(items: dict[str, Any], **bounds: Any) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", **bounds, "items": items}


WROTE = {"wrote": array(TEXT, minItems=1)}
STEP = {"name": TEXT, "status": {"enum": list(get_args(Status))}}
SHARED: dict[str, dict[str, Any]] = {
    "where": table(
        {"file": ANY},
        {"line": NUMBER, "column": NUMBER, "pointer": {"type": "string", "pattern": "^(?:/|$)"}},
    ),
    "finding": table(
        {
            "code": {"type": "string", "pattern": "^[A-Z]+[0-9]{2,4}$"},
            "rule": {"type": "string", "pattern": "^[a-z0-9]+(?:-[a-z0-9]+)*$"},
            "severity": {"enum": [severity.value for severity in Severity]},
            "message": TEXT,
            "where": part("where"),
        },
        {"hint": TEXT},
    ),
    "failure": table(
        {"kind": TEXT, "message": ANY, "exit_code": EXIT_CODE},
        {"hint": TEXT, "reason": TEXT, "where": part("where"), "task": TEXT},
    ),
    "step": table(STEP, WROTE),
}
EVENTS: dict[str, dict[str, Any]] = {
    "begin": table({"event": {"const": "begin"}, "version": VERSION, "command": ANY}),
    "task": table({"event": {"const": "task"}, **STEP}, WROTE),
    "finding": table({"event": {"const": "finding"}, "finding": part("finding")}),
    "error": table({"event": {"const": "error"}, "error": part("failure")}),
    "end": table({"event": {"const": "end"}, "exit_code": EXIT_CODE, "result": RESULT}),
}
FINDINGS = array(part("finding"))


def chosen(value: str, then: dict[str, Any]) -> dict[str, Any]:
    """Return the schema for objects with this `event`; validators report an anyOf without the fault."""
    return {
        "if": {"required": ["event"], "properties": {"event": {"const": value}}},
        "then": then,
    }


BODIES: dict[str, dict[str, Any]] = {
    **DECLARED,
    "findings": {
        "title": "Findings",
        "description": "What checks report about files: one finding, or a list of them.",
        "if": {"type": "array"},
        "then": FINDINGS,
        "else": part("finding"),
    },
    "report": {
        "title": "Report of one command line",
        "description": "The document of --output json. The version grows within 1.x by adding members only.",
        **table(
            {
                "version": VERSION,
                "command": TEXT,
                "exit_code": EXIT_CODE,
                "findings": FINDINGS,
                "errors": array(part("failure")),
                "tasks": array(part("step")),
                "result": RESULT,
            }
        ),
    },
    "events": {
        "title": "Event stream",
        "description": "One line of --output events; `begin` is the first and carries the version, `end` the last.",
        "type": "object",
        "required": ["event"],
        "properties": {"event": {"enum": list(EVENTS)}},
        "allOf": [chosen(name, then) for name, then in EVENTS.items()],
    },
    "check": {
        "title": "Check",
        "description": "build/check.json: findings of the checks before the manifest is written; `missing`: values that only the user knows.",
        **table(
            {
                "version": {"const": 1},
                "workloads": COUNT,
                "policies": COUNT,
                "manifest_sha256": SHA256,
                "findings": FINDINGS,
                "missing": FINDINGS,
            }
        ),
    },
}


# Written by hand, except for their shared parts.
BY_HAND = ("local-plan", "policy-data", "record")
_WIDTH = 120


def render_schema(root: Path, name: str) -> str:
    """Return the text that schemas/<name>.schema.json should have."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{name}.schema.json",
    }
    body = BODIES.get(name)
    if body is None:
        body = json.loads((root / f"schemas/{name}.schema.json").read_bytes())
    document = {**head, **body, "$defs": {**body.get("$defs", {}), **_shared(body)}}
    if not document["$defs"]:
        del document["$defs"]
    return _text(document) + "\n"


def _text(value: Any, indent: str = "") -> str:
    """Return JSON with each value on one line if it fits."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(indent) + len(line) <= _WIDTH:
        return line
    deeper = indent + "  "
    if isinstance(value, dict):
        items = [f"{json.dumps(name)}: {_text(part, deeper)}" for name, part in value.items()]
        return f"{{\n{deeper}" + f",\n{deeper}".join(items) + f"\n{indent}}}"
    items = [_text(part, deeper) for part in value]
    return f"[\n{deeper}" + f",\n{deeper}".join(items) + f"\n{indent}]"


def _shared(body: Any) -> dict[str, Any]:
    """Return the shared parts that a schema refers to, directly or through others."""
    parts: dict[str, Any] = {}
    while True:
        text = json.dumps([body, parts])
        used = {name: shape for name, shape in SHARED.items() if f'"#/$defs/{name}"' in text}
        if used == parts:
            return parts
        parts = used
