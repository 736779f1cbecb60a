"""JSON Schema validation of documents that have no declaration; jsonschema is imported on first use.

A schema is named by its file: `lock` is schemas/lock.schema.json. No schema refers to another.
"""

import json
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from contrast_tasks import resources
from contrast_tasks.errors import did_you_mean
from contrast_tasks.pointers import to_pointer

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

_SHOWN = 60


def names() -> list[str]:
    """Return the names of all schemas."""
    return [
        name.removeprefix("schemas/").removesuffix(".schema.json")
        for name in resources.names("schemas")
        if name.endswith(".schema.json")
    ]


def validate(document: object, schema_name: str) -> list[tuple[str, str]]:
    """Return (RFC 6901 pointer, message) of each difference between a JSON value and a schema, sorted by pointer.

    Tuples count as arrays. Raises FileNotFoundError if there is no such schema.
    """
    errors = (
        leaf for error in _validator(schema_name).iter_errors(document) for leaf in _leaves(error)
    )
    return sorted({(to_pointer(error.absolute_path), _message(error)) for error in errors})


@cache
def _validator(schema_name: str) -> "Draft202012Validator":
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "array": lambda _, value: isinstance(value, list | tuple),
            # In the draft 3.0 is an integer; our documents refuse it.
            "integer": lambda _, value: type(value) is int,
        }
    )
    kind = extend(Draft202012Validator, type_checker=types)  # type: ignore[no-untyped-call]  # stubs
    validator: Draft202012Validator = kind(
        json.loads(resources.read_bytes(f"schemas/{schema_name}.schema.json"))
    )
    return validator


def _leaves(error: "ValidationError") -> list["ValidationError"]:
    """Return the error of the nearest alternative instead of `does not match any`."""
    if error.validator in ("anyOf", "oneOf") and error.context:
        from jsonschema.exceptions import best_match

        best = best_match(iter(error.context))
        return [best] if best is not None else [error]
    return [error]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return f"an array of {len(value)}"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _message(error: Any) -> str:  # ValidationError; its fields are typed as possibly unset
    """Return what was found and what was expected, never a whole document."""
    render = _MESSAGES.get(error.validator)
    return render(error) if render else error.message[: 4 * _SHOWN]


def _has(what: str, bound: str) -> Callable[[Any], str]:
    return lambda error: (
        f"has {len(error.instance)} {what}, expected {bound} {error.validator_value}"
    )


def _is(wanted: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda error: f"is {_shown(error.instance)}, expected {wanted(error.validator_value)}"


def _words(wanted: Any) -> str:
    return wanted if isinstance(wanted, str) else " or ".join(wanted)


def _absent(error: Any) -> str:
    absent = [name for name in error.validator_value if name not in error.instance]
    return f"has no {', '.join(repr(name) for name in absent)}"


def _unknown(error: Any) -> str:
    known = tuple(error.schema.get("properties", ()))
    unknown = [name for name in error.instance if name not in known]
    near = did_you_mean(unknown[0], known) if len(unknown) == 1 else ""
    wanted = f"expected one of {', '.join(known)}" if known else "expected none"
    more = f"; {near}" if near else ""
    return f"has unknown {', '.join(repr(name) for name in unknown)}, {wanted}{more}"


_MESSAGES: dict[str, Callable[[Any], str]] = {
    "type": _is(_words),
    "enum": _is(lambda wanted: f"one of {', '.join(map(_shown, wanted))}"),
    "const": _is(_shown),
    "pattern": _is(lambda wanted: f"a string matching {wanted}"),
    "minimum": _is(lambda wanted: f"at least {wanted}"),
    "maximum": _is(lambda wanted: f"at most {wanted}"),
    "minLength": _has("characters", "at least"),
    "maxLength": _has("characters", "at most"),
    "minItems": _has("elements", "at least"),
    "maxItems": _has("elements", "at most"),
    "minProperties": _has("members", "at least"),
    "uniqueItems": lambda _: "holds an element twice",
    "required": _absent,
    "additionalProperties": _unknown,
    "not": lambda error: f"is {_shown(error.instance)}, which is not permitted here",
}
