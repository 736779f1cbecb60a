"""What somebody changed on a cluster in the pods of a workload: the policy denies most of it, and then nothing starts.

Only what the deployment says is compared, since the API server and others add fields of their own; but a container, a variable or
a volume that it does not have is a change too.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from contrast_tasks.kube import workloads
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
        yield f"{path}: deployed {_show(ours)}, found {_show(live)}"


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


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
