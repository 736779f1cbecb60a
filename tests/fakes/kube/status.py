"""Errors of an API server: the JSON object `Status` with its code."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any


class Failure(Exception):  # the API's own word
    """A refused request. reason: one CamelCase word; details: name, kind, causes."""

    def __init__(
        self,
        code: HTTPStatus,
        reason: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.details = code, reason, dict(details or {})

    def render(self) -> dict[str, Any]:
        """Return the object."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            **({"reason": self.reason} if self.reason else {}),
            **({"details": self.details} if self.details else {}),
            "code": int(self.code),
        }


def not_found(plural: str, name: str) -> Failure:
    """Return the answer for an object that does not exist."""
    return Failure(
        HTTPStatus.NOT_FOUND,
        "NotFound",
        f'{plural} "{name}" not found',
        details={"name": name, "kind": plural},
    )


def already_exists(plural: str, name: str) -> Failure:
    """Return the answer for a name that is taken."""
    return Failure(
        HTTPStatus.CONFLICT,
        "AlreadyExists",
        f'{plural} "{name}" already exists',
        details={"name": name, "kind": plural},
    )


def outdated(plural: str, name: str) -> Failure:
    """Return the answer for an update of a version that is not the newest."""
    return Failure(
        HTTPStatus.CONFLICT,
        "Conflict",
        f'Operation cannot be fulfilled on {plural} "{name}": the object has been modified; please apply your changes to '
        "the latest version and try again",
        details={"name": name, "kind": plural},
    )


def invalid(kind: str, name: str, causes: Sequence[tuple[str, str]]) -> Failure:
    """Return the answer for an object with faults: for each its field and what is wrong."""
    texts = [f"{field}: {message}" for field, message in causes]
    told = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    return Failure(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Invalid",
        f'{kind} "{name}" is invalid: {told}',
        details={
            "name": name,
            "kind": kind,
            "causes": [
                {"reason": _reason(message), "message": message, "field": field}
                for field, message in causes
            ],
        },
    )


def _reason(message: str) -> str:
    """Return the reason that the API server gives with a message of validation."""
    words = {"Required value": "FieldValueRequired", "Too long": "FieldValueTooLong"}
    return words.get(message.partition(":")[0], "FieldValueInvalid")


def forbidden(plural: str, name: str, message: str) -> Failure:
    """Return the answer of an admission controller that refuses."""
    return Failure(
        HTTPStatus.FORBIDDEN,
        "Forbidden",
        f'{plural} "{name}" is forbidden: {message}',
        details={"name": name, "kind": plural},
    )
