"""What each code of a denial checks, which values it compares, and what would allow the request (docs/internals/policy.md 10.5).

What the pod decides can be changed in its YAML. What an honest runtime never asks for should stay denied, and the text
says why.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from contrast_tasks.policy.advice_host import BY_HOST
from contrast_tasks.policy.advice_pod import BY_POD
from contrast_tasks.policy.check import AGAIN, PROCESS, RUNTIME, STORAGES, Check, fixed

_CHECKS: Mapping[str, Check] = {**BY_POD, **BY_HOST}
# Where a check of another request compares something else.
_OTHERS: Mapping[tuple[str, str], Check] = {
    ("ExecProcessRequest", "E_ARGS"): Check(
        "only commands of probes and lifecycle hooks may be run",
        f"write the command into a probe or hook of the container, if it is meant; then {AGAIN}. 'kubectl exec' stays denied",
        "exec",
        ("process/Args",),
    ),
    ("ExecProcessRequest", "E_REFUSED"): fixed(
        "no container of the pod has a probe or hook that runs a command",
        "no command",
        "process/Args",
        change=f"write the command into a probe or hook of the container, if it is meant; then {AGAIN}. 'kubectl exec' stays denied",
    ),
    ("ExecProcessRequest", "E_CAPS"): fixed(
        "a command gets the capabilities of its container", "none", "process/Capabilities"
    ),
    ("ExecProcessRequest", "E_TTY"): Check(
        "a command has a terminal only where the container has one",
        f"set tty of the container; then {AGAIN}. 'kubectl exec -t' stays denied",
        "process/tty",
        ("process/Terminal", "process/ConsoleSize"),
    ),
    ("CreateSandboxRequest", "E_STORAGE"): Check(
        "the sandbox has other storages", RUNTIME, "/sandbox/storages", STORAGES
    ),
    ("CreateSandboxRequest", "E_PIDNS"): fixed(
        "containers share a process namespace by way of the sandbox", "false", "sandbox_pidns"
    ),
}
# Where the node attaches the layers of an image, which the guest does not pull.
_OF_LAYERS: Mapping[str, Check] = {
    "E_IMG_COUNT": fixed(
        "an image has a storage for each layer and one for the overlay",
        "the layers, then the overlay",
        *STORAGES,
        change=RUNTIME,
    ),
    "E_IMG_OPTS": fixed(
        "the overlay has other layers or options",
        "the layers in their order, overlay-rw and lowerdir",
        *STORAGES,
        change=RUNTIME,
    ),
    "E_IMG_REF": Check(
        "the node attaches other layers than those of the pinned image",
        f"run lock to pin the image that is meant; then {AGAIN}",
        "layers",
        STORAGES,
    ),
}
_UNKNOWN = Check(
    "the code is cut off, or of another version",
    "none here: use the contrast-tasks that wrote the policy",
)


_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  # a path


def change_of(check: Check, code: str, names: Sequence[str], expected: Any) -> str:
    """Return the smallest change that would allow what a code denies; names: what it concerns. expected: values by name."""
    known = [
        name for name in names if isinstance(expected, Mapping) and expected.get(name) is not None
    ]
    if code == "E_ENV" and known and len(known) == len(names):
        return (
            f"write the value that is asked for where it comes from, if it is meant; then {AGAIN}"
        )
    if code == "E_MOUNT_MISSING" and names:
        if all(name == _TOKEN for name in names):
            return f"set automountServiceAccountToken of the pod to false; then {AGAIN}"
        if _TOKEN not in names:
            return f"take it out of volumeMounts of the container, if it is not meant; then {AGAIN}"
    return check.change


def known_codes() -> frozenset[str]:
    """Return the codes that have an explanation."""
    return frozenset(_CHECKS)


def check_of(kind: str, code: str, *, has_layers: bool = False) -> Check:
    """Return what a code checks in a request of that kind; has_layers: of a container whose layers the node attaches."""
    if has_layers and code in _OF_LAYERS:
        return _OF_LAYERS[code]
    found = _OTHERS.get((kind, code)) or _CHECKS.get(code, _UNKNOWN)
    if kind == "ExecProcessRequest":
        return found._replace(
            asked=tuple(each.replace(PROCESS, "process/") for each in found.asked)
        )
    return found
