"""The part of `explain` that is about denied requests."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks.cli.context import Context
from contrast_tasks.errors import UsageError
from contrast_tasks.manifest.policy_document import DocumentError, parse_document
from contrast_tasks.pods.workload_names import hint_for, matching
from contrast_tasks.report.model import Report

if TYPE_CHECKING:
    from contrast_tasks.policy.explain import Explanation
    from contrast_tasks.steps.index import Workload

STDIN = "-"
_DENIAL = "DENY "
_BLOCKED = "blocked by policy"
_WRONG_HASH = "Unexpected policy hash"
_LOGS = (".jsonl", ".txt", ".log")
_POLICY_FILES = (".rego", ".rego.gz", ".toml")


def about_denials(subjects: Sequence[str]) -> bool:
    """Return whether the subjects are texts with denials, logs, or standard input, and not tasks."""
    joined = " ".join(subjects)
    return (
        any(mark in joined for mark in (_DENIAL, _BLOCKED, _WRONG_HASH))
        or STDIN in subjects
        or any(subject.endswith(_LOGS) for subject in subjects)
    )


def explain_denials(subjects: Sequence[str], policy: str | None, context: Context) -> Report:
    """Explain what was denied; policy: a workload or a policy file, None to find the workload by its containers.

    Raises UsageError for texts without a denial, files that cannot be read, and a policy that is not found.
    """
    denials = []
    for name, text in _texts(subjects, context):
        explained = _explained(name, text, policy, context)
        denials.append(explained)
        context.console.data("".join(f"{line}\n" for line in text_lines(explained)))
    return Report(command="explain", result={"denials": denials})


def _texts(subjects: Sequence[str], context: Context) -> Iterator[tuple[str, str]]:
    """Yield a name for errors and the text of each subject; words of an event without quotes are one text."""
    if _DENIAL in " ".join(subjects) and not any(_DENIAL in subject for subject in subjects):
        subjects = [" ".join(subjects)]
    for subject in subjects:
        if subject == STDIN:
            yield "standard input", sys.stdin.read()
        elif any(mark in subject for mark in (_DENIAL, _BLOCKED, _WRONG_HASH)):
            yield "the text", subject
        else:
            yield subject, _read_file(context, subject).decode(errors="replace")


def _explained(name: str, text: str, policy: str | None, context: Context) -> dict[str, Any]:
    """Return the number of requests in a text, the workload, and the denied requests with their reasons, as JSON values."""
    from contrast_tasks.policy.agent_log import find_denials, read_log
    from contrast_tasks.policy.explain import explain, explain_text
    from contrast_tasks.steps.denials import SeveralWorkloadsError, traces_of_text

    requests = list(read_log(text))
    if not requests and not find_denials(text):
        raise _without_denial(name, text)
    workload, candidates = None, ""
    try:
        workload = _workload(policy, requests, text, context)
    except SeveralWorkloadsError as error:
        # What holds for every policy can be said all the same, if the text names no container.
        if requests or traces_of_text(text).containers:
            raise
        candidates = error.keys
    rego = None if candidates else _policy(policy or "", workload, context)
    found = explain(rego, requests) if requests and rego else explain_text(rego, text)
    if workload is not None:
        found = _with_origins(found, workload, context)
    return {
        "requests": len(requests),
        "workload": "" if workload is None else workload.key,
        **({"candidates": candidates} if candidates else {}),
        "denied": [denial.to_json() for denial in found],
    }


def _without_denial(name: str, text: str) -> UsageError:
    if _WRONG_HASH in text:
        return UsageError(
            f"{name} is about the policy itself: the guest got another one than it was started for",
            hint="apply the YAML of the last 'generate' and set its manifest; annotations must not be changed behind it",
        )
    if _BLOCKED in text:
        return UsageError(
            f"{name} has a denial without a line 'DENY ...'",
            hint="the text is cut before it, or the pod's policy is not ours; give it the whole message",
        )
    return UsageError(
        f"{name} holds neither requests nor a denial of ours",
        hint="give it the message of the pod's event, or policy.jsonl or policy.txt of the guest",
    )


def _workload(
    policy: str | None, requests: Sequence[Any], text: str, context: Context
) -> "Workload | None":
    """Return the workload that the policy belongs to, None for a file that is of no workload."""
    from contrast_tasks.steps.denials import find_workload, traces_of_requests, traces_of_text

    if policy is not None and _is_file(policy, context):
        return None
    project = context.workspace().project
    if policy is None:
        return find_workload(
            project, traces_of_requests(requests) if requests else traces_of_text(text)
        )
    by_key = {workload.key: workload for workload in project.index.workloads.values()}
    found = matching(policy, by_key)
    if not found:
        raise UsageError(f"no workload and no file '{policy}'", hint=hint_for(policy, by_key))
    if len(found) > 1:
        raise UsageError(
            f"'{policy}' are several workloads: {', '.join(sorted(found))}", hint="name one of them"
        )
    return by_key[found[0]]


def _is_file(name: str, context: Context) -> bool:
    return (context.cwd / name).is_file() or name.endswith(_POLICY_FILES)


def _policy(name: str, workload: "Workload | None", context: Context) -> bytes:
    """Return the generated policy of a workload, or the one in a file, as text, gzip or initdata."""
    if workload is not None:
        project = context.workspace().project
        written = Path(project.root, project.paths.policy(workload.id))
        if not written.is_file():
            message = f"{workload.key} has no policy yet"
            raise UsageError(message, hint="run 'contrast-tasks generate'")
        return written.read_bytes()
    try:
        return parse_document(_read_file(context, name)).policy
    except DocumentError as err:
        raise UsageError(f"{name} is {err}", hint="give it a file of verify/") from err


def _with_origins(
    found: "tuple[Explanation, ...]", workload: "Workload", context: Context
) -> "tuple[Explanation, ...]":
    """Return the explanations with the lines that the expectations come from."""
    from contrast_tasks.steps.locked import read_lock
    from contrast_tasks.steps.origins import Asked, Origins

    project = context.workspace().project
    origins = Origins(project, workload, read_lock(project.settings))
    return tuple(
        each._replace(
            reasons=tuple(
                reason._replace(
                    origins=origins.of(
                        Asked(each.request.kind, each.container, reason.code, reason.names)
                    )
                )
                for reason in each.reasons
            )
        )
        for each in found
    )


def _read_file(context: Context, name: str) -> bytes:
    """Return the bytes of a file, named as the user wrote it. Raises UsageError if it cannot be read."""
    try:
        return (context.cwd / name).read_bytes()
    except OSError as err:
        raise UsageError(f"cannot read {name}: {(err.strerror or '').lower()}") from err


def _counted(denied: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """Return each denial with the number of times that it is repeated at once."""
    counted: list[tuple[dict[str, Any], int]] = []
    for each in denied:
        if counted and counted[-1][0] == each:
            counted[-1] = (each, counted[-1][1] + 1)
        else:
            counted.append((each, 1))
    return counted


def text_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the explanation as lines for people."""
    for denied, times in _counted(result["denied"]):
        container = denied["container"]
        suffix = f" of {container}" if container not in {"", "-", "?"} else ""
        where = f" in {result['workload']}" if result["workload"] else ""
        yield f"{denied['kind']}{suffix}{where} is denied{f' {times} times' if times > 1 else ''}"
        if "candidates" in result:
            yield f"  of one of {result['candidates']}; name it with --policy to see what its policy expects"
        if not denied["reasons"]:
            yield "  none of our rules allows this request"
        for reason in denied["reasons"]:
            names = f" ({', '.join(reason['names'])})" if reason["names"] else ""
            yield f"  {reason['code']}{names}: {reason['advice']}"
            for label, side in (("expected", "expected"), ("asked", "actual")):
                if reason[side] is not None:
                    shown = json.dumps(reason[side], ensure_ascii=False, sort_keys=True)
                    yield f"    {label:<8} {shown}"
            for origin in reason["origins"]:
                yield f"    {'from':<8} {origin}"
            yield f"    {'change':<8} {reason['change']}"
    if not result["denied"]:
        yield f"none of {result['requests']} requests is denied"
