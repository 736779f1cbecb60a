"""Explain why a request was denied: expected and actual values for each code, and advice (docs/internals/policy.md 10.5).

A denial contains only codes and names, because the host reads it. This result contains values and is only for the owner
of the deployment.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from contrast_tasks.agent_messages import Request
from contrast_tasks.policy.engine import ENGINES, PolicyEngine, parse_denial
from contrast_tasks.policy.names import CRI_PREFIX
from contrast_tasks.policy.text import parse_policy

_ENTRY = re.compile(r"DENY (\w+) container=")


class Reason(NamedTuple):
    """One failed check: the names it concerns, the expected and the actual value, and advice."""

    code: str
    names: tuple[str, ...]
    expected: Any
    actual: Any
    advice: str


class Explanation(NamedTuple):
    """A denied request, the label of its container, and the reasons, sorted by code."""

    request: Request
    container: str
    reasons: tuple[Reason, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form for the command's result."""
        return {
            "kind": self.request.kind,
            "container": self.container,
            "reasons": [
                {**reason._asdict(), "names": list(reason.names)} for reason in self.reasons
            ],
        }


class _Check(NamedTuple):
    """Advice for a code, and the paths of the values it compares, in the request and in the policy, "" if it has none."""

    advice: str
    asked: str = ""
    wanted: str = ""


_OCI = "OCI/Process/"
_CHECKS: Mapping[str, _Check] = {
    "E_ANNOTATION": _Check(
        "the runtime sends an annotation that the policy does not know, or with another value"
    ),
    "E_ARGS": _Check(
        "compare command and args of the container and the image", _OCI + "Args", "process/args"
    ),
    "E_CAPS": _Check("compare securityContext.capabilities", _OCI + "Capabilities", "process/caps"),
    "E_CWD": _Check(
        "compare workingDir of the container and the image", _OCI + "Cwd", "process/cwd"
    ),
    "E_DEVICE": _Check(
        "compare volumeDevices of the container and the GPUs in its limits", "devices", "devices"
    ),
    "E_ENV": _Check(
        "compare env and envFrom of the container with what the policy was generated from"
    ),
    "E_FIELD": _Check(
        "the agent is newer than these rules, and the runtime uses a field that they do not know"
    ),
    "E_ID": _Check("the container is unknown, was removed, or exists already"),
    "E_IMG_REF": _Check("the runtime pulls another image than the pinned one", "storages", "image"),
    "E_INSTANCE": _Check("another instance of the container is still running"),
    "E_LOGS": _Check("the output of this container is not shown to the host"),
    "E_MASKED": _Check(
        "the runtime masks other paths than the supported runtimes",
        "OCI/Linux/MaskedPaths",
        "masked",
    ),
    "E_MOUNT_EXTRA": _Check(
        "compare volumeMounts of the container; it has a mount that the policy does not know"
    ),
    "E_MOUNT_MISSING": _Check("compare volumeMounts and automountServiceAccountToken"),
    "E_NAMESPACES": _Check("compare hostPID and hostIPC of the pod"),
    "E_HOSTNAME": _Check("compare hostname, subdomain and setHostnameAsFQDN of the pod"),
    "E_NNP": _Check("compare allowPrivilegeEscalation", _OCI + "NoNewPrivileges", "process/nnp"),
    "E_ORDER": _Check(
        "containers start in the order of the pod; check whether an earlier one failed"
    ),
    "E_PIDNS": _Check("compare shareProcessNamespace of the pod", "sandbox_pidns", "pidns"),
    "E_POD_NAME": _Check(
        "the pod belongs to another object than the one for which the policy was generated"
    ),
    "E_POD_NAMESPACE": _Check("the pod runs in another namespace than the one in its YAML"),
    "E_READONLY": _Check(
        "the runtime protects other paths than the supported runtimes",
        "OCI/Linux/ReadonlyPaths",
        "readonly",
    ),
    "E_ROOT_RO": _Check(
        "compare securityContext.readOnlyRootFilesystem", "OCI/Root/Readonly", "rootfs_ro"
    ),
    "E_SELECT": _Check(
        "the pod has a container that the policy does not know, such as an injected sidecar"
    ),
    "E_STORAGE": _Check(
        "the runtime provides volumes in another way than the supported runtime",
        "storages",
        "storages",
    ),
    "E_TTY": _Check("compare tty of the container", _OCI + "Terminal", "process/tty"),
    "E_USER": _Check(
        "set runAsUser, runAsGroup and supplementalGroups explicitly", _OCI + "User", "process/user"
    ),
}
_MOUNT = _Check("the runtime provides the volume in another way")
_OTHER = _Check("the runtime requested something that the policy never allows")


def read_log(text: str) -> Iterator[Request]:
    """Yield the requests of an agent's `policy.jsonl`, which has one object with kind and request per line.

    Other lines are skipped, because the agent's log may be truncated.
    """
    for line in text.split("\n"):
        try:
            entry = json.loads(line)
            # Requests contain no unpaired surrogates, and engines do not accept them.
            json.dumps(entry, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("request"), dict):
            yield Request(kind=str(entry.get("kind")), input=entry["request"])


def explain(
    policy: bytes, requests: Iterable[Request], *, engine: str = ENGINES[0]
) -> tuple[Explanation, ...]:
    """Evaluate the requests in order, as in one guest; return those that the policy denies, with reasons.

    Raises PolicyEngineError if the engine is missing or fails, and UsageError if the policy is not ours.
    """
    block = parse_policy(policy)
    guest = PolicyEngine(policy, engine=engine)
    found = []
    for request in requests:
        decision = guest.ask(request.kind, request.input)
        if decision.allowed:
            continue
        container = _container(block, request, decision.container)
        reasons = tuple(
            _reason(block, container, request, code, names)
            for code, names in sorted(decision.codes.items())
        )
        found.append(Explanation(request=request, container=decision.container, reasons=reasons))
    return tuple(found)


def explain_event(policy: bytes, text: str) -> Explanation | None:
    """Return the reasons of the denial line in a text, such as an event of the cluster; None without one.

    The text does not contain the request, so only expected values are shown.
    Raises UsageError if the policy is not ours.
    """
    denial, entry = parse_denial(text), _ENTRY.search(text)
    if denial is None or entry is None:
        return None
    block = parse_policy(policy)
    label, codes = denial
    request = Request(kind=entry[1], input={})
    container = _container(block, request, label)
    reasons = tuple(
        _reason(block, container, request, code, names)._replace(actual=None)
        for code, names in sorted(codes.items())
    )
    return Explanation(request=request, container=label, reasons=reasons)


def _reason(
    block: Mapping[str, Any],
    container: Mapping[str, Any],
    request: Request,
    code: str,
    names: tuple[str, ...],
) -> Reason:
    expected: Any = None
    actual: Any = None
    check = _CHECKS.get(code, _MOUNT if code.startswith("E_MOUNT") else _OTHER)
    if check.asked:
        asked, wanted = check.asked, check.wanted
        if request.kind == "ExecProcessRequest":
            asked = asked.replace("OCI/Process", "process")
            wanted = "exec" if code == "E_ARGS" else wanted
        expected, actual = _at(container, wanted), _at(request.input, asked)
        if expected == "shared":
            expected = block["shared"].get(wanted.rpartition("/")[2])
    elif code == "E_ENV":
        expected, actual = _variables(container, request, names)
    elif code.startswith("E_MOUNT"):
        expected, actual = _mounts(block, container, request, names)
    elif code == "E_POD_NAME":
        expected = block["pod"]["name_re"]
        actual = _annotations(request).get(f"{CRI_PREFIX}sandbox-name")
    elif code == "E_POD_NAMESPACE":
        expected = block["pod"]["namespace"]
        actual = _annotations(request).get(f"{CRI_PREFIX}sandbox-namespace")
    elif code == "E_ORDER":
        expected = container.get("after")
    return Reason(code=code, names=names, expected=expected, actual=actual, advice=check.advice)


def _variables(
    container: Mapping[str, Any], request: Request, names: tuple[str, ...]
) -> tuple[Any, Any]:
    env = container.get("env", {})
    entries = _list_at(request.input, "OCI/Process/Env") or _list_at(request.input, "process/Env")
    expected = {
        name: env.get("fixed", {}).get(name, env.get("pattern", {}).get(name)) for name in names
    }
    return expected, [each for each in entries if str(each).partition("=")[0] in names]


def _mounts(
    block: Mapping[str, Any],
    container: Mapping[str, Any],
    request: Request,
    names: tuple[str, ...],
) -> tuple[Any, Any]:
    shared = block["shared"]["mounts"]
    known = [*shared["all"], *shared["containers"], *container.get("mounts", [])]
    asked = [each for each in _list_at(request.input, "OCI/Mounts") if isinstance(each, Mapping)]
    return (
        [each for each in known if each["dst"] in names],
        [each for each in asked if each.get("destination") in names],
    )


def _container(block: Mapping[str, Any], request: Request, label: str) -> Mapping[str, Any]:
    """Return the expectations with which the request was compared; label: of the denial."""
    name = _annotations(request).get(
        f"{CRI_PREFIX}container-name", "" if label == "pause" else label
    )
    for container in block["containers"]:
        if container["name"] == name:
            found: Mapping[str, Any] = container
            return found
    return {}


def _annotations(request: Request) -> Mapping[str, Any]:
    found = _at(request.input, "OCI/Annotations")
    return found if isinstance(found, Mapping) else {}


def _at(value: Any, path: str) -> Any:
    for part in path.split("/"):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _list_at(value: Any, path: str) -> list[Any]:
    """Return the list at a path, [] if there is none; the host may have written anything."""
    found = _at(value, path)
    return found if isinstance(found, list) else []
