"""`simulate`: check the generated policy of each pod against all requests of the pod's life."""

import argparse
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from contrast_tasks.cli.context import Context
from contrast_tasks.cli.parallel import in_parallel
from contrast_tasks.cli.values import NAMES_LIKE_COMMANDS
from contrast_tasks.errors import GraphError, MismatchError, UsageError
from contrast_tasks.pods.workload_names import hint_for, matching
from contrast_tasks.report.model import Failure, Report, Step

if TYPE_CHECKING:
    from contrast_tasks.images.lock import Lock
    from contrast_tasks.simulation import Simulation
    from contrast_tasks.steps.index import Workload
    from contrast_tasks.steps.work import Work
    from contrast_tasks.tasks.workspace import Workspace

    Works = Mapping[str, tuple[Workload, Work]]

EXAMPLE = "simulate Deployment/web"
ACTIONS = NAMES_LIKE_COMMANDS
_FEW = 4  # for which starting further processes takes longer than it saves


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("workloads", nargs="*", help="as web or Deployment/web; default: all")
    parser.add_argument(
        "--containerd",
        default="",
        metavar="VERSION",
        help="version on the node, as 1.7; default: that of the release",
    )
    parser.add_argument(
        "--requests", action="store_true", help="show every request and what the policy says to it"
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Simulate; a policy that denies its own pod is a failure, and so is a pod that its node refuses."""
    workspace = context.workspace()
    works = {
        key: (workload, _work(workspace, workload))
        for key, workload in _chosen(arguments.workloads, workspace).items()
    }
    failures: list[Failure] = []
    steps: list[Step] = []
    result: dict[str, Any] = {}
    with context.console.progress("simulating", len(works), "workload") as progress:
        for key, (found, seconds) in _simulated(workspace, works, arguments.containerd):
            progress.end(key)
            allowed, denied = found.number_of("allowed"), found.number_of("denied")
            context.console.data(f"{key}: {allowed} of {allowed + denied} requests allowed\n")
            for line in _lines(found, is_whole=arguments.requests):
                context.console.data(f"{line}\n")
            shown = [each for each in found.decisions if arguments.requests or _is_denied(each)]
            result[key] = {
                "requests": allowed + denied,
                "denied": denied,
                "hidden": found.number_of("hidden"),
                "decisions": shown,
                "refused": list(found.refused),
            }
            denials = list(_failures(key, found))
            failures += denials
            steps.append(
                Step(name=key, status="failed" if denials else "unchanged", seconds=seconds)
            )
            context.console.step(steps[-1])
    return Report(
        command="simulate",
        exit_code=MismatchError.exit_code if failures else 0,
        failures=tuple(failures),
        steps=tuple(steps),
        result=result,
    )


def _simulated(
    workspace: "Workspace", works: "Works", containerd: str
) -> "Iterator[tuple[str, tuple[Simulation, float]]]":
    """Yield the simulation of each workload and its seconds in order; many are made on all processors."""
    from contrast_tasks.simulation import simulate_workload
    from contrast_tasks.steps.locked import read_lock

    lock = read_lock(workspace.project.settings)
    services = _services(workspace, lock)

    def simulated(key: str) -> "tuple[Simulation, float]":
        workload, work = works[key]
        began = time.perf_counter()
        found = simulate_workload(
            workspace.project, workload, lock, work, containerd=containerd, services=services
        )
        return found, time.perf_counter() - began

    keys = list(works)
    # The first one says in this process what is wrong with all of them, such as an engine that is not installed.
    for key in keys[:_FEW]:
        yield key, simulated(key)
    yield from in_parallel(simulated, keys[_FEW:])


def _chosen(keys: Iterable[str], workspace: "Workspace") -> "dict[str, Workload]":
    """Return the confidential workloads by key; raises UsageError for a key that no source has."""
    project = workspace.project
    by_key = {workload.key: workload for workload in project.index.workloads.values()}
    chosen: list[str] = []
    for name in keys:
        found = matching(name, by_key)
        if not found:
            raise UsageError(f"no workload '{name}' among the sources", hint=hint_for(name, by_key))
        chosen += found
    return {
        key: by_key[key] for key in chosen or sorted(by_key) if project.is_confidential(by_key[key])
    }


def _work(workspace: "Workspace", workload: "Workload") -> "Work":
    try:
        return workspace.work(workload.id)
    except GraphError as error:
        message = f"{workload.key} has no policy of the sources and settings as they are now"
        raise GraphError(message, hint="run 'contrast-tasks generate' first") from error


def _services(workspace: "Workspace", lock: "Lock") -> list[dict[str, Any]]:
    """Return the Services among the sources, whose addresses containers are told."""
    from contrast_tasks.steps.prepare import documents_of

    project = workspace.project
    found = []
    for source in project.index.files:
        places = [
            each.index for each in workspace.read_facts(source).documents if each.kind == "Service"
        ]
        documents = documents_of(project, source.file, lock) if places else []
        found += [documents[each].obj for each in places]
    return found


def _is_denied(decision: Mapping[str, Any]) -> bool:
    return bool(decision["verdict"] == "denied")


def _lines(found: "Simulation", *, is_whole: bool) -> Iterator[str]:
    """Yield a line for each request that is shown, those that are denied with what the policy prints."""
    for each in found.decisions:
        if is_whole or _is_denied(each):
            yield f"  {each['position']} {each['kind']}: {each['purpose']}: {each['verdict']}"
            yield from (f"    {line}" for line in each["prints"])
    yield from (f"  {line}" for line in found.refused)


def _failures(key: str, found: "Simulation") -> Iterator[Failure]:
    for each in found.decisions:
        if _is_denied(each):
            codes = ", ".join(each["codes"]) or "no code"
            message = f"{key}: request {each['position']}, {each['kind']}, is denied: {codes}"
            yield Failure.of(MismatchError(message), key)
    for line in found.refused:
        yield Failure.of(MismatchError(f"{key}: {line}"), key)
