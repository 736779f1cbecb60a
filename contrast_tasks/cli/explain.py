"""`explain`: why a task ran or will run; why a request was denied."""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks.cli.commands import did_you_mean
from contrast_tasks.cli.context import Context
from contrast_tasks.errors import UsageError
from contrast_tasks.report.model import Report

if TYPE_CHECKING:
    from contrast_tasks.tasks.reasons import TaskReasons

EXAMPLE = "explain Deployment/web"
_DENIAL = "DENY "


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "subjects",
        nargs="*",
        metavar="SUBJECT",
        help="task, workload, source or output; text of an event, or a policy.jsonl; default: what will run",
    )
    parser.add_argument(
        "--policy",
        metavar="WORKLOAD",
        help="whose policy denied it, as Deployment/web; or a file",
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Explain; subjects that are denials need --policy, all others are about the graph."""
    if arguments.policy is None:
        return _explain_tasks(arguments.subjects, context)
    if not arguments.subjects:
        raise UsageError(
            "explain: --policy says who denied, expected also what was denied",
            hint="give the text of the event with 'DENY', or the agent's policy.jsonl",
        )
    return _explain_denials(arguments.subjects, arguments.policy, context)


def _explain_tasks(subjects: Iterable[str], context: Context) -> Report:
    from contrast_tasks.tasks.face import load_tasks
    from contrast_tasks.tasks.reasons import reasons_of

    wanted = list(subjects)
    for subject in wanted:
        if _DENIAL in subject or subject.endswith(".jsonl"):
            raise UsageError(
                "explain: this is about a request, expected --policy with the workload that was asked",
                hint="as in 'explain policy.jsonl --policy Deployment/web'",
            )
    found = reasons_of(load_tasks(context.workspace()))
    chosen = _chosen(wanted, found, context) if wanted else [each for each in found if each.stale]
    for each in chosen:
        context.console.data(f"{each.name}\n")
        if each.ran:
            context.console.data(f"  ran last because {_joined(each.ran)}\n")
        context.console.data(f"  {_now(each)}\n")
    if not chosen:
        context.console.say("everything is up to date; name a task, a workload or a file")
    return Report(command="explain", result={"tasks": [asdict(each) for each in chosen]})


def _now(task: "TaskReasons") -> str:
    if task.stale:
        return f"will run because {_joined(task.stale)}"
    if task.waits_for:
        return f"waits for {_joined(task.waits_for)}, and runs if they make something new"
    return "is up to date"


def _joined(reasons: Iterable[str]) -> str:
    return ", ".join(reasons)


def _chosen(
    subjects: Iterable[str], tasks: "list[TaskReasons]", context: Context
) -> "list[TaskReasons]":
    chosen: dict[str, TaskReasons] = {}
    for subject in subjects:
        near = {subject, context.path(subject)}
        about = [each for each in tasks if near & {each.name, *each.about}]
        if not about:
            known = sorted({name for each in tasks for name in (each.name, *each.about)})
            raise UsageError(
                f"no task, workload, source or output '{subject}'",
                hint=did_you_mean(subject, known) or "'explain' alone tells what will run",
            )
        chosen.update((each.name, each) for each in about)
    return list(chosen.values())


def _explain_denials(subjects: Iterable[str], name: str, context: Context) -> Report:
    policy = _policy(name, context)
    found = []
    for subject in subjects:
        is_text = _DENIAL in subject
        text = subject if is_text else read_file(context.cwd / subject).decode(errors="replace")
        found.append(explain_text(policy, text, name="the text" if is_text else subject))
        context.console.data("".join(f"{line}\n" for line in text_lines(found[-1])))
    return Report(command="explain", result={"denials": found})


def _policy(name: str, context: Context) -> bytes:
    """Return the policy in a file, or the generated one of a workload."""
    path = context.cwd / name
    if path.is_file() or name.endswith(".rego"):
        return read_file(path)
    project = context.workspace().project
    by_key = {workload.key: workload for workload in project.index.workloads.values()}
    if name not in by_key:
        hint = did_you_mean(name, sorted(by_key)) or f"there are: {', '.join(sorted(by_key))}"
        raise UsageError(f"no workload and no file '{name}'", hint=hint)
    written = Path(project.root, project.paths.policy(by_key[name].id))
    if not written.is_file():
        raise UsageError(f"{name} has no policy yet", hint="run 'contrast-tasks generate'")
    return written.read_bytes()


def read_file(path: Path) -> bytes:
    """Return the bytes of a file; raises UsageError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as err:
        raise UsageError(f"cannot read {path.name}: {(err.strerror or '').lower()}") from err


def explain_text(policy: bytes, text: str, *, name: str) -> dict[str, Any]:
    """Return the number of requests in the text, and the denied ones with their reasons, as JSON values.

    text: the agent's `policy.jsonl`, or any text with a denial line of ours, as the message of an event; an event has
    no request, so that it shows what was expected only. name: what errors call the text.
    Raises UsageError if it is neither, PolicyEngineError if requests cannot be evaluated, ContrastError if the policy
    is not ours.
    """
    from contrast_tasks.policy.explain import explain, explain_event, read_log

    requests = list(read_log(text))
    if requests:
        found = explain(policy, requests)
    else:
        event = explain_event(policy, text)
        if event is None:
            raise UsageError(
                f"{name} holds neither requests nor a denial of ours",
                hint="give it the message of the pod's event, or the guest's policy.jsonl",
            )
        found = (event,)
    return {"requests": len(requests), "denied": [each.to_json() for each in found]}


def text_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the explanation as lines for people."""
    for denied in result["denied"]:
        of = f" of {denied['container']}" if denied["container"] not in {"", "-", "?"} else ""
        yield f"{denied['kind']}{of} is denied"
        if not denied["reasons"]:
            yield "  no policy of ours allows this request"
        for reason in denied["reasons"]:
            names = f" ({', '.join(reason['names'])})" if reason["names"] else ""
            yield f"  {reason['code']}{names}: {reason['advice']}"
            for side in ("expected", "actual"):
                if reason[side] is not None:
                    yield f"    {side:<8} {json.dumps(reason[side], ensure_ascii=False, sort_keys=True)}"
    if not result["denied"]:
        yield f"none of {result['requests']} requests is denied"
