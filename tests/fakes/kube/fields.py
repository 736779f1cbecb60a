"""Server-side apply: which manager owns which field, and what that makes of an object.

Lists count as one value, except those of objects with a `name`, which are merged by it, as most lists of Kubernetes are.
Source: Kubernetes documentation, Server-Side Apply.
"""

import copy
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from tests.fakes.kube.status import Failure

Path = tuple[str, ...]
_IDENTITY = frozenset({("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")})


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield each field that has a value, by its path; `k:NAME` is a list's element of that name."""
    keyed = _keyed(value)
    if isinstance(value, Mapping) and value:
        for key, member in value.items():
            yield from leaves(member, (*path, f"f:{key}"))
    elif keyed is not None:
        for name, member in keyed.items():
            yield from leaves(member, (*path, f"k:{name}"))
    else:
        yield path, value


def _keyed(value: Any) -> dict[str, Any] | None:
    if (
        isinstance(value, list)
        and value
        and all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in value)
    ):
        found = {one["name"]: one for one in value}
        return found if len(found) == len(value) else None
    return None


def apply(
    live: Mapping[str, Any] | None,
    applied: Mapping[str, Any],
    owned: dict[str, dict[Path, Any]],
    *,
    manager: str,
    force: bool,
) -> dict[str, Any]:
    """Return the object after an apply, and change `owned` (manager -> field -> value). Raises Failure for conflicts."""
    wanted = {path: value for path, value in leaves(applied) if not _is_identity(path)}
    current = dict(leaves(live)) if live is not None else {}
    conflicts = [
        (other, path)
        for other, fields in owned.items()
        if other != manager
        for path in fields
        if path in wanted and current.get(path) != wanted[path]
    ]
    if conflicts and not force:
        raise _conflict(conflicts)
    result: dict[str, Any] = copy.deepcopy(dict(live)) if live is not None else {}
    for path in owned.get(manager, {}):
        if path not in wanted and not any(
            path in fields for other, fields in owned.items() if other != manager
        ):
            _remove(result, path)
    for other, path in conflicts:
        owned[other].pop(path, None)
    owned[manager] = wanted
    return merge(result, applied)


def merge(target: Any, patch: Any) -> Any:
    """Return `target` with the values of `patch`; lists of named objects are merged by name."""
    if isinstance(target, Mapping) and isinstance(patch, Mapping):
        result = dict(target)
        for key, value in patch.items():
            result[key] = merge(result[key], value) if key in result else copy.deepcopy(value)
        return result
    old, new = _keyed(target), _keyed(patch)
    if old is not None and new is not None:
        return [merge(old.get(name, {}), one) for name, one in new.items()] + [
            copy.deepcopy(one) for name, one in old.items() if name not in new
        ]
    return copy.deepcopy(patch)


def merge_patch(target: Any, patch: Any) -> Any:
    """Return a JSON merge patch's result (RFC 7386); null removes."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def strategic_patch(target: Any, patch: Any) -> Any:
    """Return a strategic merge patch's result: null removes, lists of named objects are merged by name."""
    if isinstance(patch, Mapping):
        result = dict(target) if isinstance(target, Mapping) else {}
        for key, value in patch.items():
            if value is None:
                result.pop(key, None)
            elif not key.startswith("$"):
                result[key] = strategic_patch(result.get(key), value)
        return result
    return merge(target, patch)


def _is_identity(path: Path) -> bool:
    return tuple(part.removeprefix("f:") for part in path) in _IDENTITY


def _remove(value: Any, path: Path) -> None:
    *parents, last = path
    chain = [value]
    for part in parents:
        value = _member(value, part)
        if value is None:
            return
        chain.append(value)
    if last.startswith("f:") and isinstance(value, dict):
        value.pop(last[2:], None)
    # What became empty by that goes too.
    for parent, part in zip(reversed(chain[:-1]), reversed(parents), strict=True):
        child = _member(parent, part)
        left = set(child) - {"name"} if part.startswith("k:") and isinstance(child, dict) else child
        if left:
            return
        if part.startswith("f:"):
            parent.pop(part[2:], None)
        else:
            parent.remove(child)


def _member(value: Any, part: str) -> Any:
    if part.startswith("f:"):
        return value.get(part[2:]) if isinstance(value, dict) else None
    if isinstance(value, list):
        return next((one for one in value if one.get("name") == part[2:]), None)
    return None


def show(path: Path) -> str:
    """Return a path as the API server's messages have it."""
    return "".join(
        f".{part[2:]}" if part.startswith("f:") else f'[name="{part[2:]}"]' for part in path
    )


def _conflict(conflicts: list[tuple[str, Path]]) -> Failure:
    told = [(f'conflict with "{manager}"', show(path)) for manager, path in conflicts]
    count = "1 conflict" if len(told) == 1 else f"{len(told)} conflicts"
    text = "\n".join(f"{who}: {field}" for who, field in told)
    return Failure(
        HTTPStatus.CONFLICT,
        "Conflict",
        f"Apply failed with {count}: {text}",
        details={
            "causes": [
                {"reason": "FieldManagerConflict", "message": who, "field": field}
                for who, field in told
            ]
        },
    )
