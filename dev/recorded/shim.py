"""What the model of Kata's shim asks of the agent in each recorded case, beside what the real one asked."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contrast_tasks.agent_messages import Request
from contrast_tasks.errors import UsageError
from contrast_tasks.runtime.shim.service import ShimService
from contrast_tasks.runtime.shim_versions import Shim, shim_version
from dev.recorded.differences import differences
from dev.recorded.shim_cases import PLAN, ShimCase
from dev.recorded.shim_commands import changed_by
from dev.recorded.shim_machine import host_of, with_placeholders
from dev.verdicts import Verdict

# The rows of the configurations, by the name of their folder.
_SHIMS = {
    "stock": "stock-4.1.0",
    "nydus": "stock-4.1.0",
    "contrast": "contrast-4.1.0",
    "contrast330": "contrast-3.30.0",
}
# Asked by threads that wait and read, so their place among the others is not certain.
_MOVING = ("ReadStreamRequest", "WaitProcessRequest", "GetOOMEventRequest")
_MOST_PLACES = 4

Pair = tuple[int, Mapping[str, Any]]


def shim_verdicts(case: ShimCase) -> Iterator[Verdict]:
    """Yield a verdict for each request that was recorded, and one for each that the model makes besides."""
    recorded = case.read("requests.json")
    made = [{"ep": each.kind, "input": each.input} for each in _made(case, recorded)]
    for name, reason in compared(made, recorded):
        yield Verdict(case.name, name, reason)


def compared(
    made: Sequence[Mapping[str, Any]], recorded: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Yield for each request its place and kind, and where it differs from its record, "" if it does not.

    Requests of threads may be some places away from where they were recorded.
    """
    waiting = [pair for pair in enumerate(made) if pair[1]["ep"] in _MOVING]
    fixed = [each for each in made if each["ep"] not in _MOVING]
    for index, each in enumerate(recorded):
        name = f"{index} {each['ep']}"
        if each["ep"] in _MOVING:
            found = _nearest(waiting, index, each)
            if found is None:
                yield name, "recorded, but not made here"
            else:
                waiting.remove(found)
                yield name, ""
        elif not fixed:
            yield name, "recorded, but not made"
        else:
            yield name, "\n".join(differences(fixed.pop(0), each))
    for each in (*fixed, *(request for _, request in waiting)):
        yield f"more {each['ep']}", f"made, but not recorded: {json.dumps(each['input'])[:300]}"


def _nearest(waiting: Sequence[Pair], index: int, recorded: Mapping[str, Any]) -> Pair | None:
    """Return the first equal request that is made near that place."""
    near = (pair for pair in waiting if abs(pair[0] - index) <= _MOST_PLACES)
    return next((pair for pair in near if not any(differences(pair[1], recorded))), None)


def _row(case: ShimCase) -> Shim:
    if case.configuration not in _SHIMS:
        raise UsageError(
            f"{case.name}: no configuration of the shim that is known",
            hint=f"known are folders named {', '.join(_SHIMS)}",
        )
    return shim_version(_SHIMS[case.configuration])


def _made(case: ShimCase, recorded: Sequence[Mapping[str, Any]]) -> Iterator[Request]:
    plan, names = case.read(PLAN), case.identifiers()
    first = next(each for each in plan if each["do"] == "create")
    host = host_of(case, case.specification(first), recorded)
    service = ShimService(_row(case), host)
    files = host.files
    for call in plan:
        known = {**call, "id": names.get(call.get("id", ""), "")}
        if call["do"] == "create":
            spec = with_placeholders(case.specification(call))
            yield from service.create(known["id"], spec, call.get("rootfs", ()))
        elif call["do"] == "cmd":
            changed = changed_by(call["cmd"], files)
            files = files.replace(trees={**files.trees, **changed})
            for path, tree in changed.items():
                yield from service.changed(path, tree)
        else:
            yield from _called(service, known, plan)


def _limits(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the one document of a call that changes limits."""
    found: Mapping[str, Any] = next(each for each in call.values() if isinstance(each, dict))
    return found


def _called(
    service: ShimService, call: Mapping[str, Any], plan: Sequence[Mapping[str, Any]]
) -> Iterator[Request]:
    """Yield the requests of a call to a container that exists."""
    identifier, key = call["id"], call.get("exec", "")
    match call["do"]:
        case "start":
            created = [each for each in plan if each["do"] == "create"]
            yield from service.start(
                identifier,
                tty=any(each.get("tty") for each in created if each["label"] == call["label"]),
            )
        case "exec":
            yield from service.execute(identifier, key, call["process"], tty=call.get("tty", False))
        case "exit":
            yield from service.exit(identifier, key)
        case "kill":
            yield from service.kill(identifier, call["signal"], key)
        case "stats":
            yield from service.stats(identifier)
        case "resize":
            yield from service.resize(identifier, key, rows=call["H"], columns=call["W"])
        case "write":
            yield from service.write(identifier, key, data=call["data"].encode())
        case "closeio":
            yield from service.close_input(identifier, key)
        case "update":
            yield from service.update(identifier, _limits(call))
