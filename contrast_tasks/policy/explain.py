"""Explain why a request was denied: expected and actual values for each code, and advice (docs/internals/policy.md 10.5).

A denial contains only codes and names, because the host reads it. This result contains values and is only for the owner
of the deployment.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from contrast_tasks.agent_messages import Request, unknown_members
from contrast_tasks.policy.advice import change_of, check_of
from contrast_tasks.policy.agent_log import Denial, find_denials
from contrast_tasks.policy.check import NEVER_BEGINS, Check
from contrast_tasks.policy.engine import ENGINES, PolicyEngine
from contrast_tasks.policy.names import CRI_PREFIX
from contrast_tasks.policy.text import parse_policy

_ANNOTATIONS = "OCI/Annotations"
_PULL = "image_guest_pull"
_UNKNOWN_CONTAINER = "E_SELECT"


class Reason(NamedTuple):
    """One failed check: the names it concerns, the expected and the actual value, advice, and what would allow it.

    origins: places that the expectation comes from, as lines for people; filled in by who knows the deployment.
    """

    code: str
    names: tuple[str, ...]
    expected: Any
    actual: Any
    advice: str
    change: str
    origins: tuple[str, ...] = ()


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
                {
                    **reason._asdict(),
                    "names": list(reason.names),
                    "origins": list(reason.origins),
                }
                for reason in self.reasons
            ],
        }


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
        if not decision.allowed:
            denial = Denial(request.kind, decision.container, dict(decision.codes))
            found.append(_explanation(block, denial, request))
    return tuple(found)


def explain_text(policy: bytes | None, text: str) -> tuple[Explanation, ...]:
    """Return the reasons of the denials in a text, such as an event of the cluster.

    The text does not contain the requests, so only expected values are shown; without a policy, if it is not known which one
    denied, those that all policies have. Raises UsageError if the policy is not ours.
    """
    block = None if policy is None else parse_policy(policy)
    return tuple(_explanation(block, denial, None) for denial in find_denials(text))


def _explanation(
    block: Mapping[str, Any] | None, denial: Denial, request: Request | None
) -> Explanation:
    asked = request or Request(kind=denial.kind, input={})
    container = {} if block is None else _container(block, asked, denial.container)
    codes = denial.codes
    if (denial.kind, denial.container) == ("CreateContainerRequest", "?"):
        # Without expectations for the container every other check fails too, and the list of codes may be cut.
        codes = {_UNKNOWN_CONTAINER: ()}
    reasons = []
    for code, names in sorted(codes.items()):
        check = check_of(denial.kind, code, has_layers="layers" in container)
        if block is None:
            expected, actual = _fixed(check.wanted), None
        else:
            expected, actual = _values(block, container, asked, code, names)
        if request is None:
            actual = None
        change = change_of(check, code, names, expected)
        reasons.append(Reason(code, names, expected, actual, check.advice, change))
    return Explanation(asked, denial.container, _decided(reasons))


def _decided(reasons: Sequence[Reason]) -> tuple[Reason, ...]:
    """Return the reasons; where one should stay as it is, no change for another allows the request."""
    final = [each.code for each in reasons if each.change.startswith(NEVER_BEGINS)]
    if not final:
        return tuple(reasons)
    return tuple(
        each
        if each.code in final
        else each._replace(change=f"none should, because of {' and '.join(final)}")
        for each in reasons
    )


def _values(
    block: Mapping[str, Any],
    container: Mapping[str, Any],
    request: Request,
    code: str,
    names: tuple[str, ...],
) -> tuple[Any, Any]:
    """Return what is expected and what is asked for; None for what is not known."""
    check = check_of(request.kind, code, has_layers="layers" in container)
    if code == "E_ENV":
        return _variables(container, request, names)
    if code == "E_ANNOTATION":
        known, asked = block["pod"]["annotations"], _annotations(request)
        return {key: known.get(key) for key in names}, {key: asked.get(key) for key in names}
    if code == "E_FIELD":
        return "no members but those of the known messages", unknown_members(request) or None
    if code.startswith("E_MOUNT"):
        return _mounts(block, container, request, names)
    actual = _asked(request, check)
    if check.asked == ("storages",) and isinstance(actual, list):
        is_image = code.startswith("E_IMG")
        actual = [
            each
            for index, each in enumerate(actual)
            if _is_of_image(container, index, each) == is_image
        ]
        if code == "E_IMG_REF" and "layers" not in container:
            actual = _at(actual, "*/source")
    expected = _wanted(block, container, check.wanted)
    if code == _UNKNOWN_CONTAINER:
        expected = [name for name in expected if name]  # the pause container has none
    return expected, actual


def _is_of_image(container: Mapping[str, Any], index: int, storage: Any) -> bool:
    """Return whether a storage is of the image: the one that is pulled, or a layer or the overlay, which come first."""
    if "layers" in container:
        return index <= len(container["layers"])
    return isinstance(storage, Mapping) and storage.get("driver") == _PULL


def _fixed(wanted: str) -> str | None:
    """Return what is the same for every pod, None if it is not."""
    return wanted[1:] if wanted.startswith("=") else None


def _wanted(block: Mapping[str, Any], container: Mapping[str, Any], wanted: str) -> Any:
    if wanted.startswith("="):
        return _fixed(wanted)
    if wanted.startswith("/"):
        return _at(block, wanted[1:])
    found = _at(container, wanted)
    if found == "shared":
        return block["shared"].get(wanted.rpartition("/")[2])
    return found


def _asked(request: Request, check: Check) -> Any:
    """Return the value of the request, or several by the last part of their paths; None if there is none."""
    found = {path.rpartition("/")[2]: _at(request.message, path) for path in check.asked}
    known = {name: value for name, value in found.items() if value is not None}
    if len(check.asked) == 1 or len(known) == 1:
        return next(iter(known.values()), None)
    return known or None


def _variables(
    container: Mapping[str, Any], request: Request, names: tuple[str, ...]
) -> tuple[Any, Any]:
    member = "process/Env" if request.kind == "ExecProcessRequest" else "OCI/Process/Env"
    entries = _list_at(request.message, member)
    expected = {name: _variable(container.get("env", {}), name) for name in names}
    return expected, [each for each in entries if str(each).partition("=")[0] in names]


def _variable(env: Mapping[str, Any], name: str) -> Any:
    """Return the value that a variable must have, several if there is a choice, None if it is not expected."""
    found: list[Any] = []
    for entry in env.get("head", ()):
        if isinstance(entry, str):
            before, _, value = entry.partition("=")
            found += [value] if before == name else []
        elif entry.get("of") == f"{name}=":
            found += entry.get("any", [entry.get("is", entry.get("re"))])
    for kind in ("fixed", "pattern"):
        if name in env.get(kind, {}):
            found.append(env[kind][name])
    found += env.get("optional", {}).get(name, ())
    return found[0] if len(found) == 1 else found or None


def _mounts(
    block: Mapping[str, Any],
    container: Mapping[str, Any],
    request: Request,
    names: tuple[str, ...],
) -> tuple[Any, Any]:
    shared = block["shared"]["mounts"]
    known = [*shared["all"], *shared["containers"], *container.get("mounts", [])]
    expected = [each for each in known if each["dst"] in names]
    places = {*names, *(each["written"] for each in expected if "written" in each)}
    asked = [each for each in _list_at(request.message, "OCI/Mounts") if isinstance(each, Mapping)]
    if not names:
        # The code for doubled mounts names none.
        paths = [str(each.get("destination")) for each in asked]
        places = {path for path in paths if paths.count(path) > 1}
    return expected, [each for each in asked if str(each.get("destination")) in places]


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
    found = _at(request.message, _ANNOTATIONS)
    return found if isinstance(found, Mapping) else {}


def _at(value: Any, path: str) -> Any:
    """Return the value at a path; `*` stands for every element of a list."""
    part, _, rest = path.partition("/")
    if path.startswith("OCI/Annotations/"):
        # Keys of annotations contain slashes.
        found = _at(value, _ANNOTATIONS)
        key = path.removeprefix("OCI/Annotations/")
        return found.get(key) if isinstance(found, Mapping) else None
    if part == "*":
        return [_at(each, rest) for each in value] if isinstance(value, list) else None
    value = value.get(part) if isinstance(value, Mapping) else None
    return _at(value, rest) if rest else value


def _list_at(value: Any, path: str) -> list[Any]:
    """Return the list at a path, [] if there is none; the host may have written anything."""
    found = _at(value, path)
    return found if isinstance(found, list) else []
