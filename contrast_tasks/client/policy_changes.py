"""What another policy allows a workload, in the words of its YAML: for `plan`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from contrast_tasks.client.audit_policy import (
    AllowedContainer,
    DescribedPolicy,
    describe_policy,
    mesh_lines,
)
from contrast_tasks.errors import ContrastError
from contrast_tasks.policy.text import parse_policy
from contrast_tasks.steps.plan import Change

# What the members of a container are called in the YAML, or in an image.
_NAMES = {
    "images": "image",
    "layers": "root hashes of layers",
    "command": "command",
    "users": "user",
    "folder": "working directory",
    "capabilities": "capabilities",
    "devices": "devices",
    "gpus": "GPUs",
    "is_hidden": "output hidden from the host",
}


def policy_changes(before: bytes, after: bytes) -> tuple[Change, ...]:
    """Return what differs; values of variables stay out, since they may be secrets. Empty for policies of another version."""
    try:
        return tuple(_changes(before, after))
    except ContrastError:
        return ()


def _changes(before: bytes, after: bytes) -> Iterator[Change]:
    old, new = describe_policy(before), describe_policy(after)
    if old.rules != new.rules:
        yield Change("rules", old.rules, new.rules)
    yield from _lists("requests beyond the usual", old.allowed, new.allowed)
    yield from _lists("weaker than default", old.weaker, new.weaker)
    yield from _lists("mesh", tuple(mesh_lines(old.mesh)), tuple(mesh_lines(new.mesh)))
    values = _environment(before), _environment(after)
    earlier, later = _by_name(old), _by_name(new)
    for name in sorted(earlier.keys() | later.keys()):
        one, other = earlier.get(name), later.get(name)
        if one is None or other is None:
            yield Change(
                f"container {name}", "" if one is None else "runs", "runs" if other else ""
            )
            continue
        yield from _container(name, one, other)
        yield from _variables(name, values[0].get(name, {}), values[1].get(name, {}))


def _by_name(policy: DescribedPolicy) -> dict[str, AllowedContainer]:
    return {container.name: container for container in policy.containers}


def _container(name: str, before: AllowedContainer, after: AllowedContainer) -> Iterator[Change]:
    for member, called in _NAMES.items():
        old, new = getattr(before, member), getattr(after, member)
        if old != new:
            yield Change(f"{name}: {called}", _text(old), _text(new))
    yield from _lists(f"{name}: may be executed", before.execs, after.execs)
    old_mounts, new_mounts = (
        tuple(f"{place} ({kind}, {source})" for place, kind, source in each.mounts)
        for each in (before, after)
    )
    yield from _lists(f"{name}: mount", old_mounts, new_mounts)


def _variables(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    yield from _lists(f"{name}: variable", tuple(before), tuple(after))
    for variable in sorted(before.keys() & after.keys()):
        if before[variable] != after[variable]:
            yield Change(f"{name}: variable {variable}", "a value", "another value")


def _environment(policy: bytes) -> dict[str, dict[str, Any]]:
    """Return the variables of each container with what the policy expects of them."""
    found = {}
    for container in parse_policy(policy)["containers"]:
        env = container["env"]
        head = [each if isinstance(each, str) else each["of"] for each in env["head"]]
        first = dict(each.partition("=")[::2] for each in head)
        found[container["name"]] = {**first, **env["optional"], **env["pattern"], **env["fixed"]}
    return found


def _lists(what: str, before: Iterable[str], after: Iterable[str]) -> Iterator[Change]:
    """Yield a change for each text that only one of the lists has."""
    yield from (Change(what, each, "") for each in sorted(set(before) - set(after)))
    yield from (Change(what, "", each) for each in sorted(set(after) - set(before)))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
