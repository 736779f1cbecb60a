"""What `generate` would change, for `plan` and `generate --check`."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from contrast_tasks.cli.context import Context
from contrast_tasks.report.model import Report, exit_code_of, sorted_findings

if TYPE_CHECKING:
    from contrast_tasks.steps.plan import Difference
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
        return Planned(now, workspace, differences(now, workspace.project))
    refusal = Report(
        command="",
        exit_code=exit_code_of(reporter.errors),
        findings=sorted_findings(workspace.in_files(reporter.findings)),
        failures=reporter.failures(),
    )
    return Planned(now, workspace, [], refusal)


def show(found: Iterable["Difference"], context: Context) -> None:
    """Print the differences, or say that there are none."""
    lines = [
        f"{each.what} {each.name}{f' ({each.detail})' if each.detail else ''}\n" for each in found
    ]
    context.console.data("".join(lines))
    if not lines:
        context.console.say("no changes")
