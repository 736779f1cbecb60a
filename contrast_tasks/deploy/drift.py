"""What somebody changed on a cluster in the pods of a workload: the policy denies most of it, and then nothing starts.

Only what the deployment says is compared, since the API server and others add fields of their own; but a container, a variable or
a volume that it does not have is a change too.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from contrast_tasks.annotations import POLICY_KEYS
from contrast_tasks.deploy.cluster import FIELD_MANAGER
from contrast_tasks.kube import workloads
from contrast_tasks.manifest.policy_document import DocumentError, document_in
from contrast_tasks.pods.quantities import QuantityError, parse_quantity

_SHOWN = 60
_QUANTITIES = re.compile(r"\.(resources|sizeLimit|divisor)\b")
# Lists in which every element counts, by the name of their field.
_WHOLE = frozenset({"containers", "initContainers", "env", "volumes", "volumeMounts"})
# Fields that the API server adds to no template, so that one that the deployment does not have is somebody's.
_NEVER_ADDED = _WHOLE | {
    *("args", "command", "envFrom", "lifecycle", "stdin", "tty", "volumeDevices", "workingDir"),
    *("livenessProbe", "readinessProbe", "startupProbe"),
    *("hostIPC", "hostNetwork", "hostPID", "hostUsers", "hostname", "shareProcessNamespace"),
    *("runtimeClassName", "subdomain"),
}


def drift(ours: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """Return a line for each field of the pod template that differs."""
    template, found = workloads.pod_template(dict(ours)), workloads.pod_template(dict(live))
    path = ".".join(workloads.template_path(ours))
    return list(_differences(template, found, path))


def is_of_another_build(ours: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Return whether a field of the pod template that a deploy set is another one than ours; live: with its managedFields.

    Who changes a field owns it from then on, so what a deploy owns is as that deploy set it.
    """
    place = workloads.template_path(ours)
    template, found = workloads.pod_template(dict(ours)), workloads.pod_template(dict(live))
    return any(
        _is_set_otherwise(_below(entry, place), template, found, "")
        for entry in _managed(live)
        if _is_ours(entry)
    )


def _is_set_otherwise(owned: Mapping[str, Any], ours: Any, live: Any, path: str) -> bool:
    """Return whether a field below is not ours; owned: those that a deploy owns there, as managedFields have them."""
    for step, below in owned.items():
        wanted, found = _at(step, ours), _at(step, live)
        if found is None:
            continue
        place = f"{path}.{step[2:]}"
        if wanted is None or (not below and any(_differences(wanted, found, place))):
            return True
        if _is_set_otherwise(below, wanted, found, place):
            return True
    return False


def _at(step: str, value: Any) -> Any:
    """Return what a step of managedFields leads to: a member, or the element of a list with a name. None for any other."""
    kind, _, name = step.partition(":")
    if kind == "f" and isinstance(value, Mapping):
        return value.get(name)
    if kind != "k" or not isinstance(value, list):
        return None
    wanted = json.loads(name)
    # Others have keys that the API server completes.
    if wanted.keys() != {"name"}:
        return None
    named = (one for one in value if isinstance(one, Mapping))
    return next((one for one in named if one.get("name") == wanted["name"]), None)


def others(live: Mapping[str, Any]) -> list[str]:
    """Return the names of the other tools that own fields of the pods' spec; live: with its managedFields."""
    place = (*workloads.template_path(live), "spec")
    found = (entry for entry in _managed(live) if not _is_ours(entry) and _below(entry, place))
    return sorted({str(entry.get("manager")) for entry in found})


def _managed(live: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = live["metadata"].get("managedFields") or []
    return found


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("manager") == FIELD_MANAGER)


def _below(entry: Mapping[str, Any], place: Iterable[str]) -> Mapping[str, Any]:
    """Return the fields below a place that an entry of managedFields has."""
    found: Mapping[str, Any] = entry.get("fieldsV1") or {}
    for step in place:
        found = found.get(f"f:{step}") or {}
    return found


def _differences(ours: Any, live: Any, path: str) -> Iterator[str]:
    if isinstance(ours, Mapping) and isinstance(live, Mapping):
        for key, value in ours.items():
            if value is not None and not (value in ({}, []) and key not in live):
                yield from _differences(value, live.get(key), f"{path}.{key}" if path else key)
        for key in sorted(_NEVER_ADDED & live.keys()):
            if ours.get(key) is None:
                yield f"{path}.{key}: not deployed, and is there"
    elif _is_named(ours) and _is_named(live):
        yield from _named_differences(ours, live, path)
    elif isinstance(ours, list) and isinstance(live, list) and len(ours) == len(live):
        for number, (one, other) in enumerate(zip(ours, live, strict=True)):
            yield from _differences(one, other, f"{path}[{number}]")
    elif ours != live and not (_QUANTITIES.search(path) and _are_equal(ours, live)):
        key = next((key for key in POLICY_KEYS if path.endswith(f".annotations.{key}")), "")
        before, after = (_policy(key, one) if key else _show(one) for one in (ours, live))
        yield f"{path}: deployed {before}, found {after}"


def _named_differences(ours: list[Any], live: list[Any], path: str) -> Iterator[str]:
    wanted, found = ({one["name"]: one for one in each} for each in (ours, live))
    for name, value in wanted.items():
        place = f"{path}[{name}]"
        if name not in found:
            yield f"{place}: deployed, and is gone"
        else:
            yield from _differences(value, found[name], place)
    if path.rpartition(".")[2] in _WHOLE:
        for name in found:
            if name not in wanted:
                yield f"{path}[{name}]: not deployed, and is there"


def _is_named(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, Mapping) and isinstance(one.get("name"), str) for one in value)
    )


def _are_equal(ours: Any, live: Any) -> bool:
    # The API server writes quantities in their shortest form.
    try:
        return parse_quantity(str(ours)) == parse_quantity(str(live))
    except QuantityError:
        return False


def _policy(key: str, value: Any) -> str:
    """Return which policy an annotation has: as what it is known in the manifest."""
    try:
        found = document_in({key: value})
    except DocumentError:
        return "no policy that can be read"
    return f"policy {found.key_hex}" if found else "nothing"


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
