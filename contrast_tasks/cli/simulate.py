"""`simulate`: check the generated policy of each pod against all requests of the pod's life."""

import argparse
from typing import TYPE_CHECKING, Any

from contrast_tasks.cli.context import Context
from contrast_tasks.errors import GraphError, MismatchError, UsageError, did_you_mean
from contrast_tasks.report.model import Failure, Report

if TYPE_CHECKING:
    from contrast_tasks.policy.expectations import PolicyData
    from contrast_tasks.steps.index import Workload
    from contrast_tasks.tasks.workspace import Workspace

EXAMPLE = "simulate Deployment/web"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("workloads", nargs="*", help="keys, as Deployment/web; default: all")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Simulate; a policy that denies its own pod is a failure."""
    from contrast_tasks.policy.simulate import simulate, synthesise_lifecycle

    workspace = context.workspace()
    project = workspace.project
    by_key = {workload.key: workload for workload in project.index.workloads.values()}
    failures = []
    result: dict[str, Any] = {}
    for key in arguments.workloads or sorted(by_key):
        if key not in by_key:
            hint = did_you_mean(key, sorted(by_key)) or f"there are: {', '.join(sorted(by_key))}"
            raise UsageError(f"no workload '{key}' among the sources", hint=hint)
        if not project.is_confidential(by_key[key]):
            continue
        policy, expectations = _policy_of(workspace, by_key[key])
        denials = simulate(policy, expectations)
        requests = len(synthesise_lifecycle(expectations))
        result[key] = {"requests": requests, "denied": len(denials)}
        context.console.data(f"{key}: {requests - len(denials)} of {requests} requests allowed\n")
        for denial in denials:
            codes = ", ".join(sorted(denial.decision.codes)) or "no code"
            message = f"{key}: request {denial.index}, {denial.request.kind}, is denied: {codes}"
            failures.append(Failure.of(MismatchError(message)))
    return Report(
        command="simulate",
        exit_code=MismatchError.exit_code if failures else 0,
        failures=tuple(failures),
        result=result,
    )


def _policy_of(workspace: "Workspace", workload: "Workload") -> "tuple[bytes, PolicyData]":
    """Return the policy of a workload and its expectations.

    Raises GraphError if `generate` has not run since the sources changed.
    """
    from contrast_tasks.steps.lock import read_lock
    from contrast_tasks.steps.policies import expectations_of

    project = workspace.project
    try:
        work = workspace.work(workload.id)
    except GraphError as error:
        message = f"{workload.key} has no policy of the sources and settings as they are now"
        raise GraphError(message, hint="run 'contrast-tasks generate' first") from error
    lock = read_lock(project.settings)
    return work.policy, expectations_of(project, workload, lock, work.obj)
