"""`explain`: why a task ran or will run, and why a request was denied."""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks.cli.context import Context
from contrast_tasks.errors import UsageError, did_you_mean
from contrast_tasks.manifest.policy_document import DocumentError, parse_document
from contrast_tasks.report.model import Report

if TYPE_CHECKING:
    from contrast_tasks.tasks.reasons import TaskReasons

EXAMPLE = "explain Deployment/web"
_DENIAL = "DENY "
_POLICY_FILES = (".rego", ".rego.gz", ".toml")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "subjects",
        nargs="*",
        metavar="SUBJECT",
        help="task, workload, source or output; or text of an event, or a policy.jsonl; default: what will run",
    )
    parser.add_argument(
        "--policy",
        metavar="WORKLOAD",
        help="workload whose policy denied the request, as Deployment/web; or a policy file",
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Explain denials with --policy, else tasks."""
    if arguments.policy is None:
        return _explain_tasks(arguments.subjects, context)
    if not arguments.subjects:
        raise UsageError(
            "explain: --policy names a policy, expected also what it denied",
            hint="give the text of the event with 'DENY', or the agent's policy.jsonl",
        )
    return _explain_denials(arguments.subjects, arguments.policy, context)


def _explain_tasks(subjects: Sequence[str], context: Context) -> Report:
    from contrast_tasks.tasks.face import load_tasks
    from contrast_tasks.tasks.reasons import reasons_of

    for subject in subjects:
        if _DENIAL in subject or subject.endswith(".jsonl"):
            raise UsageError(
                "explain: this is about a request, expected --policy with the workload that was asked",
                hint="as in 'explain policy.jsonl --policy Deployment/web'",
            )
    tasks = reasons_of(load_tasks(context.workspace()))
    chosen = (
        _select(subjects, tasks, context) if subjects else [task for task in tasks if task.stale]
    )
    for task in chosen:
        context.console.data(f"{task.name}\n")
        if task.ran:
            context.console.data(f"  ran last because {', '.join(task.ran)}\n")
        context.console.data(f"  {_state(task)}\n")
    if not chosen:
        context.console.say("everything is up to date; name a task, a workload or a file")
    return Report(command="explain", result={"tasks": [asdict(task) for task in chosen]})


def _state(task: "TaskReasons") -> str:
    if task.stale:
        return f"will run because {', '.join(task.stale)}"
    if task.waits_for:
        return f"waits for {', '.join(task.waits_for)}, and runs if they make something new"
    return "is up to date"


def _select(
    subjects: Iterable[str], tasks: "list[TaskReasons]", context: Context
) -> "list[TaskReasons]":
    """Return the tasks that are or concern the subjects, each once. Raises UsageError for an unknown subject."""
    selected: dict[str, TaskReasons] = {}
    for subject in subjects:
        names = {subject, context.path(subject)}
        matches = [task for task in tasks if names & {task.name, *task.about}]
        if not matches:
            known = sorted({name for task in tasks for name in (task.name, *task.about)})
            raise UsageError(
                f"no task, workload, source or output '{subject}'",
                hint=did_you_mean(subject, known) or "'explain' alone tells what will run",
            )
        selected.update((task.name, task) for task in matches)
    return list(selected.values())


def _explain_denials(subjects: Iterable[str], name: str, context: Context) -> Report:
    policy = _policy(name, context)
    explanations = []
    for subject in subjects:
        is_text = _DENIAL in subject
        text = subject if is_text else read_file(context.cwd / subject).decode(errors="replace")
        explained = explain_text(policy, text, name="the text" if is_text else subject)
        explanations.append(explained)
        context.console.data("".join(f"{line}\n" for line in text_lines(explained)))
    return Report(command="explain", result={"denials": explanations})


def _policy(name: str, context: Context) -> bytes:
    """Return the policy in a file, text, gzip or initdata, or the generated policy of a workload."""
    path = context.cwd / name
    if path.is_file() or name.endswith(_POLICY_FILES):
        try:
            return parse_document(read_file(path)).policy
        except DocumentError as err:
            raise UsageError(f"{name} is {err}", hint="give it a file of verify/") from err
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
    """Return the bytes of a file. Raises UsageError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as err:
        raise UsageError(f"cannot read {path.name}: {(err.strerror or '').lower()}") from err


def explain_text(policy: bytes, text: str, *, name: str) -> dict[str, Any]:
    """Return the number of requests in a text, and the denied ones with their reasons, as JSON values.

    text: the agent's `policy.jsonl`, or a text with a denial line of our policies, as the message of an event. An event
    has no request, so only the expected values are known. name: of the text, for errors.
    Raises UsageError if the text is neither, PolicyEngineError if requests cannot be evaluated, ContrastError if the
    policy is not ours.
    """
    from contrast_tasks.policy.explain import explain, explain_event, read_log

    requests = list(read_log(text))
    if requests:
        denials = explain(policy, requests)
    else:
        event = explain_event(policy, text)
        if event is None:
            raise UsageError(
                f"{name} holds neither requests nor a denial of ours",
                hint="give it the message of the pod's event, or the guest's policy.jsonl",
            )
        denials = (event,)
    return {"requests": len(requests), "denied": [denial.to_json() for denial in denials]}


def text_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the explanation as lines for people."""
    for denied in result["denied"]:
        container = denied["container"]
        suffix = f" of {container}" if container not in {"", "-", "?"} else ""
        yield f"{denied['kind']}{suffix} is denied"
        if not denied["reasons"]:
            yield "  none of our rules allows this request"
        for reason in denied["reasons"]:
            names = f" ({', '.join(reason['names'])})" if reason["names"] else ""
            yield f"  {reason['code']}{names}: {reason['advice']}"
            for side in ("expected", "actual"):
                if reason[side] is not None:
                    yield f"    {side:<8} {json.dumps(reason[side], ensure_ascii=False, sort_keys=True)}"
    if not result["denied"]:
        yield f"none of {result['requests']} requests is denied"
