"""What `generate` would change, for `plan` and `generate --check`."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from contrast_tasks.cli.context import Context
from contrast_tasks.report.model import Report, exit_code_of, sorted_findings
from contrast_tasks.report.text import LINES_SHOWN

if TYPE_CHECKING:
    from contrast_tasks.steps.plan import Change, Difference
    from contrast_tasks.steps.project import Project
    from contrast_tasks.tasks.workspace import Workspace

CHANGES = 5


class Planned(NamedTuple):
    """What a generate would write. refusal: the report of a plan that failed; there are no differences then."""

    now: "Project"
    workspace: "Workspace"
    differences: "list[Difference]"
    refusal: Report | None = None


def plan_changes(context: Context, flags: Mapping[str, object]) -> Planned:
    """Generate beside the outputs that are there, and compare."""
    from contrast_tasks.steps.plan import PLAN, differences, plan_spec
    from contrast_tasks.tasks.graph import generate_tasks
    from contrast_tasks.tasks.run import run_tasks, tasks_from
    from contrast_tasks.tasks.workspace import open_workspace

    now = context.workspace(**flags).project
    workspace = open_workspace(plan_spec(now), is_fresh=True)
    tasks = tasks_from([("contrast", generate_tasks(workspace))])
    reporter = run_tasks(tasks, ["manifest"], database=f"{PLAN}/doit.db").reporter
    if not reporter.errors:
        planned = workspace.project
        found = differences(now, planned)
        described = [_with_policy(each, now, planned) for each in found[:LINES_SHOWN]]
        return Planned(now, workspace, described + found[LINES_SHOWN:])
    refusal = Report(
        command="",
        exit_code=exit_code_of(reporter.errors),
        findings=sorted_findings(workspace.in_files(reporter.findings)),
        failures=reporter.failures(),
    )
    return Planned(now, workspace, [], refusal)


def _with_policy(found: "Difference", now: "Project", planned: "Project") -> "Difference":
    """Return the difference of a workload with what its policy allows otherwise; reading policies takes a while."""
    from dataclasses import replace

    from contrast_tasks.client.policy_changes import policy_changes

    workload = next(
        (each.id for each in planned.index.workloads.values() if each.key == found.name), ""
    )
    if not workload or found.what != "changed":
        return found
    files = [each.root / each.paths.policy(workload) for each in (now, planned)]
    if not all(file.is_file() for file in files):
        return found
    before, after = (file.read_bytes() for file in files)
    return replace(found, changes=(*found.changes, *policy_changes(before, after)))


def show(found: Iterable["Difference"], context: Context) -> None:
    """Print the differences, or say that there are none."""
    lines: list[str] = []
    for each in found:
        detail = f" ({each.detail})" if each.detail else ""
        lines.append(f"{each.what} {each.name}{detail}\n")
        lines.extend(f"  {_line(change)}\n" for change in each.changes)
    context.console.data("".join(lines))
    if not lines:
        context.console.say("no changes")


def _line(change: "Change") -> str:
    if not change.before:
        return f"+ {change.what}: {change.after}"
    if not change.after:
        return f"- {change.what}: {change.before}"
    return f"~ {change.what}: {change.before} -> {change.after}"
