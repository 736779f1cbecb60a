"""`policy simulate` and `policy explain`: a pod's life asked of its policy, and why a request was denied."""

import argparse
from typing import TYPE_CHECKING, Any

from contrast_tasks.cli.commands import did_you_mean
from contrast_tasks.cli.context import Context
from contrast_tasks.errors import MismatchError, UsageError
from contrast_tasks.report.model import Failure, Report

if TYPE_CHECKING:
    from contrast_tasks.steps.index import Workload
    from contrast_tasks.steps.project import Project

EXAMPLE = "policy simulate Deployment/web"
_EXPLAIN_ARGUMENTS = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "action",
        choices=("simulate", "explain"),
        help="ask a policy for every request of its pod's life; say why a request was denied",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="simulate: keys, as Deployment/web, default all; explain: a file with an event of the cluster or an "
        "agent's policy.jsonl, then a key or a policy file",
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Simulate or explain; a policy that denies its own pod is a failure, a denial that is explained is none."""
    if arguments.action == "explain":
        return _explain(arguments, context)
    return _simulate(arguments, context)


def _simulate(arguments: argparse.Namespace, context: Context) -> Report:
    from contrast_tasks.policy.simulate import simulate, synthesise_lifecycle
    from contrast_tasks.steps.policies import policy_of

    project = context.project()
    workloads = [_workload(project, key) for key in arguments.names or _keys(project)]
    failures = []
    result: dict[str, Any] = {}
    for workload in workloads:
        if not project.is_confidential(workload):
            continue
        key = workload.key
        policy, expectations = policy_of(project, workload)
        denials = simulate(policy, expectations)
        requests = len(synthesise_lifecycle(expectations))
        result[key] = {"requests": requests, "denied": len(denials)}
        context.console.data(f"{key}: {requests - len(denials)} of {requests} requests allowed\n")
        for denial in denials:
            codes = ", ".join(sorted(denial.decision.codes)) or "no code"
            message = f"{key}: request {denial.index}, {denial.request.kind}, is denied: {codes}"
            failures.append(Failure.of(MismatchError(message)))
    return Report(
        command="policy",
        exit_code=MismatchError.exit_code if failures else 0,
        failures=tuple(failures),
        result=result,
    )


def _explain(arguments: argparse.Namespace, context: Context) -> Report:
    from contrast_tasks.steps.explain import explain_text, read_file, text_lines
    from contrast_tasks.steps.policies import policy_of

    if len(arguments.names) != _EXPLAIN_ARGUMENTS:
        raise UsageError(
            f"policy explain takes a file and a key or policy file, found {len(arguments.names)} arguments",
            hint="write it as 'contrast-tasks policy explain event.txt Deployment/web'",
        )
    said, named = arguments.names
    if named.endswith(".rego"):
        policy = read_file(context.cwd / named)
    else:
        project = context.project()
        policy, _ = policy_of(project, _workload(project, named))
    text = read_file(context.cwd / said).decode(errors="replace")
    result = explain_text(policy, text, name=said)
    context.console.data("".join(f"{line}\n" for line in text_lines(result)))
    return Report(command="policy", result=result)


def _keys(project: "Project") -> list[str]:
    return sorted(workload.key for workload in project.index.workloads.values())


def _workload(project: "Project", key: str) -> "Workload":
    for workload in project.index.workloads.values():
        if workload.key == key:
            return workload
    keys = _keys(project)
    hint = did_you_mean(key, keys) or f"there are: {', '.join(keys)}"
    raise UsageError(f"no workload '{key}' among the sources", hint=hint)
