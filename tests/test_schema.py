import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from contrast_tasks import catalogue, resources, schema
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding
from contrast_tasks.schema import validate

DIGEST = "sha256:" + "ab" * 32
CONFIG: dict[str, Any] = {
    "entrypoint": ["/app"],
    "cmd": [],
    "env": ["PATH=/bin"],
    "working_dir": "/",
    "user": "",
    "volumes": [],
    "exposed_ports": ["8080/tcp"],
    "os": "linux",
    "architecture": "amd64",
}
LAYER = {"digest": DIGEST, "diff_id": DIGEST, "size_bytes": 10, "unpacked_bytes": 20}
IMAGE = {
    "reference": "web:1",
    "digest": DIGEST,
    "config": CONFIG,
    "layers": [LAYER],
    "passwd": "",
    "group": "",
}
FINDING = Finding(
    catalogue.IMAGE_NOT_PINNED,
    Location(file="a.yml", line=3, pointer="/spec"),
    "image has no digest",
).to_json()
RECORD = {
    "version": 1,
    "key": "Deployment/web",
    "namespace": "",
    "kind": "Deployment",
    "name": "web",
    "policy_sha256": "ab" * 32,
    "sans": ["web", "*"],
    "workload_secret_id": "apps/v1/Deployment/default/web",
    "role": "",
    "file": "deployment/web.yml",
    "document": 0,
    "line": 1,
    "findings": [FINDING],
}
CHECK = {
    "version": 1,
    "workloads": 5,
    "policies": 5,
    "manifest_sha256": "ab" * 32,
    "findings": [FINDING],
    "missing": [],
}
REPORT = {
    "version": "1.0",
    "command": "generate",
    "exit_code": 12,
    "findings": [FINDING],
    "errors": [{"kind": "FindingsError", "message": "1 finding", "exit_code": 12}],
    "tasks": [{"name": "manifest", "status": "changed", "wrote": ["manifest.json"]}],
    "result": {},
}
GOOD: list[tuple[str, Any]] = [
    ("lock", {"version": 1, "images": []}),
    ("lock", {"version": 1, "images": [IMAGE, IMAGE | {"manifest_digest": DIGEST}]}),
    ("findings", FINDING),
    ("findings", []),
    ("findings", [FINDING]),
    ("record", RECORD),
    ("record", RECORD | {"key": "shop/Pod/x", "role": "coordinator", "findings": []}),
    ("check", CHECK),
    ("report", REPORT),
    ("events", {"event": "begin", "version": "1.0", "command": "generate"}),
    ("events", {"event": "task", "name": "manifest", "status": "changed", "wrote": ["m.json"]}),
    ("events", {"event": "finding", "finding": FINDING}),
    (
        "events",
        {
            "event": "error",
            "error": {
                "kind": "ImageError",
                "message": "no",
                "exit_code": 20,
                "where": {"file": "x"},
            },
        },
    ),
    ("events", {"event": "end", "exit_code": 0, "result": {"x": 1}}),
]
BAD: list[tuple[str, Any, str, str]] = [
    ("lock", [], "", "is an array of 0, expected object"),
    ("lock", {"version": 2, "images": []}, "/version", "is 2, expected 1"),
    ("lock", {"version": 1}, "", "has no 'images'"),
    ("lock", {"version": 1, "images": [], "image": 1}, "", "has unknown 'image', expected one of"),
    (
        "lock",
        {"version": 1, "images": [IMAGE | {"digest": "sha256:AB"}]},
        "/images/0/digest",
        'is "sha256:AB", expected a string matching',
    ),
    (
        "lock",
        {"version": 1, "images": [IMAGE | {"digest": DIGEST + "\n"}]},
        "/images/0/digest",
        "has 72 characters, expected at most 71",
    ),
    (
        "lock",
        {"version": 1, "images": [IMAGE | {"layers": [LAYER | {"size_bytes": -1}]}]},
        "/images/0/layers/0/size_bytes",
        "is -1, expected at least 0",
    ),
    (
        "lock",
        {"version": 1, "images": [IMAGE | {"layers": [LAYER | {"size_bytes": 1.0}]}]},
        "/images/0/layers/0/size_bytes",
        "is 1.0, expected integer",
    ),
    ("findings", FINDING | {"severity": "fatal"}, "/severity", "expected one of"),
    ("findings", [FINDING | {"hint": ""}], "/0/hint", "has 0 characters, expected at least 1"),
    ("findings", FINDING | {"code": "x"}, "/code", "expected a string matching"),
    ("record", RECORD | {"policy_sha256": "AB" * 32}, "/policy_sha256", "expected a string"),
    ("record", RECORD | {"role": "worker"}, "/role", "expected one of"),
    ("record", RECORD | {"findings": [{}]}, "/findings/0", "has no 'code', 'rule'"),
    ("check", CHECK | {"missing": [{}]}, "/missing/0", "has no 'code'"),
    ("report", REPORT | {"errors": [{}]}, "/errors/0", "has no 'kind', 'message', 'exit_code'"),
    ("report", REPORT | {"version": "2.0"}, "/version", "expected a string matching"),
    ("events", {"event": "started"}, "/event", "expected one of"),
    ("events", {"event": "begin", "version": "2.0", "command": "x"}, "/version", "matching"),
    ("events", {"event": "task", "name": "x", "status": "done"}, "/status", "expected one of"),
]


@pytest.mark.parametrize("name", schema.names())
def test_every_schema_is_one_and_carries_its_name(name: str) -> None:
    document = json.loads(resources.read_text(f"schemas/{name}.schema.json"))

    Draft202012Validator.check_schema(document)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["$id"] == f"{name}.schema.json"
    assert document["title"]


@pytest.mark.parametrize("name", schema.names())
def test_a_schema_is_complete_in_itself(name: str) -> None:
    text = resources.read_text(f"schemas/{name}.schema.json")

    assert {ref[0] for ref in re.findall(r'"\$ref": "(.)', text)} <= {"#"}


def test_the_schemas_we_write_and_read_by_are_there() -> None:
    assert {
        "check",
        "events",
        "findings",
        "lock",
        "manifest",
        "manifest.input",
        "record",
        "reference-values",
        "report",
        "settings",
    } <= set(schema.names())


@pytest.mark.parametrize(("name", "document"), GOOD)
def test_a_good_document_is_valid(name: str, document: Any) -> None:
    assert validate(document, name) == []


@pytest.mark.parametrize(("name", "document", "pointer", "message"), BAD)
def test_a_bad_document_is_told_by_pointer_found_and_wanted(
    name: str, document: Any, pointer: str, message: str
) -> None:
    problems = validate(document, name)

    assert [found for found, _ in problems] == [pointer]
    assert message in problems[0][1]


def test_all_problems_are_told_sorted_by_pointer() -> None:
    problems = validate(RECORD | {"name": "", "kind": 1, "role": "x"}, "record")

    assert [pointer for pointer, _ in problems] == ["/kind", "/name", "/role"]


def test_a_near_miss_is_guessed() -> None:
    problems = validate({"version": 1, "images": [], "imagse": 1}, "lock")

    assert problems[0][1].endswith("did you mean 'images'?")


def test_tuples_are_arrays_and_booleans_are_no_integers() -> None:
    assert validate(RECORD | {"sans": ("a",)}, "record") == []
    assert validate(RECORD | {"document": True}, "record")


def test_pointers_are_escaped() -> None:
    problems = validate({"workloads": {"Deployment/a~b": {}, "Pod/a": {"memory": 1}}}, "settings")

    assert ("/workloads/Pod~1a/memory", "is 1, expected string") in problems


def test_a_long_value_is_cut() -> None:
    ((_, message),) = validate(RECORD | {"role": "x" * 5000}, "record")

    assert len(message) < 200


def test_an_unknown_schema_is_refused() -> None:
    with pytest.raises(FileNotFoundError):
        validate({}, "nonsense")
