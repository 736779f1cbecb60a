"""What `generate` would change, for `plan` and `generate --check`."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from contrast_tasks.cli.context import Context
from contrast_tasks.findings import Finding
from contrast_tasks.report.model import Failure, Report, Step, exit_code_of, sorted_findings
from contrast_tasks.report.text import LINES_SHOWN
from contrast_tasks.settings.outputs import STATE
from contrast_tasks.tasks.outcome import lacking, read_outcome

if TYPE_CHECKING:
    from contrast_tasks.files import WritableFolder
    from contrast_tasks.settings.model import Settings
    from contrast_tasks.steps.plan import Change, Difference
    from contrast_tasks.steps.project import Project
    from contrast_tasks.tasks.workspace import Workspace

CHANGES = 5
Said = TypeVar("Said", Finding, Failure)


class Planned(NamedTuple):
    """What a generate would write. refusal: the report of a plan that failed; there are no differences then.

    incomplete: that of a generate which writes all and fails nevertheless, for values that only the user knows.
    """

    now: "Project"
    workspace: "Workspace"
    differences: "list[Difference]"
    refusal: Report | None = None
    incomplete: Report | None = None


class Apart(NamedTuple):
    """The project opened with its outputs in a folder of their own, relative to it."""

    workspace: "Workspace"
    folder: str

    @property
    def database(self) -> str:
        """Return the record of its tasks."""
        from contrast_tasks.tasks.database import DATABASE

        return f"{self.folder}/{PurePosixPath(DATABASE).name}"

    def as_usual(self, report: Report, usual: "Settings") -> Report:
        """Return a report in which each file of the folder has the name that it has in the project."""
        planned = self.workspace.project.settings

        def named(text: str) -> str:
            for key in ("lock", "manifest", "build_dir"):
                text = text.replace(getattr(planned, key), getattr(usual, key))
            return text

        def said(each: Said) -> Said:
            where = each.where and each.where.replace(file=named(each.where.file))
            return each.replace(message=named(each.message), hint=named(each.hint), where=where)

        def step(each: Step) -> Step:
            wrote = (path for path in each.wrote if not path.startswith(self.folder))
            return each.replace(wrote=tuple(wrote))

        return report.replace(
            findings=tuple(map(said, report.findings)),
            failures=tuple(map(said, report.failures)),
            steps=tuple(map(step, report.steps)),
        )


def open_apart(context: Context, flags: Mapping[str, Any], place: "WritableFolder") -> Apart:
    """Open the project with its outputs in another folder; say so if that is not the usual one."""
    from contrast_tasks.steps.plan import copy_lock
    from contrast_tasks.tasks.workspace import open_workspace

    if place.refusal is not None:
        reason = (place.refusal.strerror or "").lower()
        context.console.say(
            f"{STATE} cannot be written ({reason}): what earlier runs know is not used, and nothing is kept"
        )
    copy_lock(context.settings(**flags), place.folder)
    spec = context.spec(**flags).replace(state=place.folder)
    return Apart(open_workspace(spec, is_fresh=True), place.folder)


@contextmanager
def plan_changes(context: Context, flags: Mapping[str, Any]) -> "Iterator[Planned]":
    """Generate beside the outputs that are there, and compare; what was generated is there as long as the context lasts."""
    from contrast_tasks.files import writable_folder
    from contrast_tasks.steps.plan import PLAN, differences
    from contrast_tasks.tasks.graph import generate_tasks
    from contrast_tasks.tasks.run import run_tasks, tasks_from

    now = context.workspace(**flags).project
    with writable_folder(context.root, PLAN) as place:
        apart = open_apart(context, flags, place)
        workspace = apart.workspace
        tasks = tasks_from([("contrast", generate_tasks(workspace))])
        reporter = run_tasks(tasks, ["manifest"], database=apart.database).reporter
        if not reporter.errors:
            planned = workspace.project
            found = differences(now, planned)
            described = [_with_policy(each, now, planned) for each in found[:LINES_SHOWN]]
            missing = read_outcome(context.root / planned.paths.check)[1]
            incomplete = None
            if missing:
                error = lacking(missing)
                incomplete = Report(
                    command="",
                    exit_code=error.exit_code,
                    findings=tuple(workspace.in_files(missing)),
                    failures=(Failure.of(error),),
                )
                incomplete = apart.as_usual(incomplete, now.settings)
            shown = described + found[LINES_SHOWN:]
            yield Planned(now, workspace, shown, incomplete=incomplete)
            return
        refusal = Report(
            command="",
            exit_code=exit_code_of(reporter.errors),
            findings=sorted_findings(workspace.in_files(reporter.findings)),
            failures=reporter.failures(),
        )
        yield Planned(now, workspace, [], apart.as_usual(refusal, now.settings))


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
