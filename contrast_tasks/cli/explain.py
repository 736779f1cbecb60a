"""`explain`: why a task ran or will run, and why a request was denied."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from contrast_tasks.cli.context import Context
from contrast_tasks.cli.denials import about_denials, explain_denials
from contrast_tasks.errors import UsageError, did_you_mean
from contrast_tasks.pods.workload_names import matching
from contrast_tasks.report.model import Report

if TYPE_CHECKING:
    from contrast_tasks.tasks.reasons import TaskReasons

EXAMPLE = "explain Deployment/web"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "subjects",
        nargs="*",
        metavar="SUBJECT",
        help="task, workload, source or output; or text of an event, log of an agent, - for standard input; default: what will run",
    )
    parser.add_argument(
        "--policy",
        metavar="WORKLOAD",
        help="workload whose policy denied the request, as Deployment/web; or a policy file; default: found by the container's name",
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Explain denials, or tasks. Raises UsageError for --policy without a denial."""
    subjects = arguments.subjects
    if arguments.policy is not None and not subjects:
        raise UsageError(
            "explain: --policy names a policy, expected also what it denied",
            hint="give the text of the event with 'DENY', the agent's policy.jsonl, or - for standard input",
        )
    if arguments.policy is not None or about_denials(subjects):
        return explain_denials(subjects, arguments.policy, context)
    return _explain_tasks(subjects, context)


def _explain_tasks(subjects: Sequence[str], context: Context) -> Report:
    from contrast_tasks.tasks.face import load_tasks
    from contrast_tasks.tasks.reasons import reasons_of

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
        matches = [
            task
            for task in tasks
            if names & {task.name, *task.about}
            or (task.workload and matching(subject, [task.workload]))
        ]
        if not matches:
            known = sorted({name for task in tasks for name in (task.name, *task.about)})
            raise UsageError(
                f"no task, workload, source or output '{subject}'",
                hint=did_you_mean(subject, known) or "'explain' alone tells what will run",
            )
        selected.update((task.name, task) for task in matches)
    return list(selected.values())
