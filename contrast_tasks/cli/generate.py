"""`generate`: run the graph up to the manifest, show what changed, and record a snapshot if nothing did."""

import argparse
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from contrast_tasks.cli import project_flags, reference_flags, snapshot
from contrast_tasks.cli.context import Context
from contrast_tasks.cli.values import count
from contrast_tasks.errors import GraphError, MissingReferenceValues
from contrast_tasks.report.model import (
    Failure,
    Report,
    Step,
    counted,
    exit_code_of,
    number_of,
    sorted_findings,
)
from contrast_tasks.report.text import LINES_SHOWN
from contrast_tasks.settings.model import FILE_NAME
from contrast_tasks.tasks.outcome import lacking, read_outcome

if TYPE_CHECKING:
    from contrast_tasks.progress import Progress
    from contrast_tasks.tasks.workspace import Workspace

EXAMPLE = "generate --reference-values k3s-qemu-snp deployment/"
# For fewer workloads a second process costs more than it saves.
_PARALLEL_FROM = 24
_PROCESSES_AT_MOST = 8
_WORKLOAD = "workload:"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments, with the reference product's names where it has them."""
    project_flags.configure(parser)
    parser.add_argument(
        "-o", metavar="FILE", dest="combined", help="also write all annotated YAML to one file"
    )
    reference_flags.configure(parser)
    parser.add_argument("--always", action="store_true", help="also run tasks that are up to date")
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing, and exit with 5 if generate would write something, or as it would end",
    )
    parser.add_argument(
        "--watch", action="store_true", help="generate again after each change, until Ctrl-C"
    )
    parser.add_argument("-n", "--processes", type=count, metavar="N", help="number of processes")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Generate; exit with 13 if values are missing that only the user can know."""
    flags = {**project_flags.flags_of(arguments, context), "output__combined": None}
    if arguments.combined is not None:
        flags["output__combined"] = context.path(arguments.combined)
    for line in reference_flags.warnings_of(arguments):
        context.console.say(line)
    if arguments.check:
        return _check(context, flags)

    def run() -> Report:
        return generate(context, flags, always=arguments.always, processes=arguments.processes)

    if arguments.watch:
        from contrast_tasks.cli.watch import watch

        watch(context, flags, run)
    report = run()
    written = [step for step in report.steps if step.name.startswith("output:") and step.wrote]
    if written and arguments.paths and _leaves_paths(context, flags):
        named = " ".join(arguments.paths)
        context.console.say(f"the annotated files are other ones; with --in-place {named} has them")
    return report


def _check(context: Context, flags: dict[str, Any]) -> Report:
    """Return the report of what would change; in a checkout of what is committed that is nothing."""
    from dataclasses import asdict

    from contrast_tasks.cli.planned import CHANGES, plan_changes, show

    with plan_changes(context, flags) as planned:
        if planned.refusal is not None:
            return planned.refusal.replace(command="generate")
        show(planned.differences, context)
        if planned.incomplete is not None and not planned.differences:
            return planned.incomplete.replace(command="generate")
    return Report(
        command="generate",
        exit_code=CHANGES if planned.differences else 0,
        result={"changes": [asdict(each) for each in planned.differences]},
    )


def _leaves_paths(context: Context, flags: dict[str, Any]) -> bool:
    """Return whether a user without a settings file may take the named files for the annotated ones."""
    settings = context.settings(**flags)
    return not (settings.in_place or settings.combined or (context.root / FILE_NAME).is_file())


def _key(task: str) -> str:
    """Return the key of the workload that a task is about, as `Deployment/web`."""
    return task.rpartition("#")[2]


class _Lines:
    """Shows people what changed, stage by stage, and writes each finished task to the event stream.

    doit runs tasks in no fixed order, so the lines of a stage are collected and sorted.
    """

    def __init__(self, context: Context, progress: "Progress") -> None:
        self._console = context.console
        self._progress = progress
        self._told = 0
        self._policies: list[str] = []
        self._files: list[str] = []

    def started(self, name: str) -> None:
        """Count a workload; a task is shown when it has finished."""
        if name.startswith(_WORKLOAD):
            self._progress.begin(_key(name))

    def skipped(self, name: str) -> None:
        """Count a workload."""
        if name.startswith(_WORKLOAD):
            self._progress.end(_key(name))

    def finished(self, step: Step, values: dict[str, Any]) -> None:
        """Collect the lines of a task; if it ends a stage, show the stage's lines."""
        self._console.step(step)
        is_done = step.status in ("changed", "unchanged")
        if step.name == "check" and is_done:
            # Not earlier, because another workload may still fail.
            self._tell_all(self._policies)
        if step.name == "manifest" and is_done:
            self._tell_all(self._files)
        if step.name.startswith(_WORKLOAD):
            key = _key(step.name)
            self._progress.end(key)
            policy = values.get("policy_sha256") or "none"
            self._policies.extend(f"{key}: policy {policy}" for _ in step.wrote)
        elif step.name.startswith("output:"):
            self._files.extend(f"wrote {path}" for path in step.wrote)
        else:
            self._tell_all([f"wrote {path}" for path in step.wrote])
            self._tell_all([f"removed {path}" for path in values.get("removed", ())])
            for line in values.get("warnings", ()):
                self._console.say(f"warning: {line}")

    def _tell_all(self, lines: list[str]) -> None:
        room = max(0, LINES_SHOWN - self._told)
        # In one piece, for a bar is drawn anew below each.
        if shown := "\n".join(sorted(lines)[:room]):
            self._console.say(shown)
        self._told += len(lines)
        lines.clear()

    def close(self) -> None:
        """Show the remaining lines, and the number of lines that were left out."""
        self._tell_all(self._files)
        if self._told > LINES_SHOWN:
            self._console.say(f"and {self._told - LINES_SHOWN} more")


def generate(
    context: Context,
    flags: dict[str, Any],
    *,
    always: bool = False,
    processes: int | None = None,
    is_quiet: bool = False,
) -> Report:
    """Run the graph and return the report; is_quiet: show no findings."""
    from contrast_tasks.tasks.face import load_tasks
    from contrast_tasks.tasks.run import run_tasks

    started = time.perf_counter()
    workspace = context.workspace(**flags)
    project, tasks = workspace.project, load_tasks(workspace)
    with context.console.progress(
        "generating", len(project.index.workloads), "workload"
    ) as progress:
        lines = _Lines(context, progress)
        run = run_tasks(
            tasks,
            ["manifest"],
            listener=lines,
            processes=_processes(tasks) if processes is None else lambda _: processes,
            always=always,
        )
    lines.close()
    if project.paths.in_place and not run.reporter.errors:
        _settle(context, workspace, flags)
    if run.rebuilt:
        context.console.say("the record of finished tasks was not readable and was begun anew")
    reporter = run.reporter
    findings, failures = tuple(workspace.in_files(reporter.findings)), reporter.failures()
    exit_code = exit_code_of(reporter.errors)
    result: dict[str, Any] = {"workloads": len(project.index.workloads)}
    steps = tuple(reporter.steps)
    idle = all(step.status == "up-to-date" for step in steps)
    if not failures:
        outcome = read_outcome(context.root / project.paths.check)
        found, missing = (tuple(workspace.in_files(each)) for each in outcome)
        result["manifest"] = project.paths.manifest
        elapsed_s = time.perf_counter() - started
        note = counted(found)
        if not idle and not is_quiet:
            context.console.show([*found, *missing])
        context.console.say(
            snapshot.up_to_date(len(project.index.workloads), note, elapsed_s)
            if idle
            else _summary(steps, len(project.index.workloads), note, elapsed_s)
        )
        if missing:
            findings, failures = missing, (Failure.of(lacking(missing)),)
            exit_code = MissingReferenceValues.exit_code
        if not context.console.is_text:
            findings = sorted_findings([*found, *missing])
    report = Report(
        command="generate",
        exit_code=exit_code,
        findings=findings,
        failures=failures,
        steps=steps,
        result=result,
    )
    _remember(context, workspace, tasks, report, idle=idle and not always)
    return report


def _is_all_of(words: Sequence[str]) -> bool:
    """Return whether one `generate` that ends is all that a command line asks for, so that nothing else is left to do."""
    from contrast_tasks.cli.arguments import split_commands

    commands = [name for name, *_ in split_commands(words)]
    return commands == ["generate"] and "--watch" not in words


def _settle(context: Context, workspace: "Workspace", flags: dict[str, Any]) -> None:
    """Run again if sources annotated in place read otherwise now, as with a value of the settings in them.

    The next run then has nothing to do. Raises GraphError if it would write a source again: that is a fault of ours.
    """
    from contrast_tasks.tasks.face import load_tasks
    from contrast_tasks.tasks.run import run_tasks

    before = {source.file: source.digest for source in workspace.project.index.files}
    settled = context.workspace(**flags)
    now = {source.file: source.digest for source in settled.project.index.files}
    if now == before:
        return
    reporter = run_tasks(load_tasks(settled), ["manifest"]).reporter
    if reporter.errors:
        raise reporter.errors[0]
    changed = [path for step in reporter.steps for path in step.wrote if path in now]
    if changed:
        raise GraphError(
            f"{changed[0]} changed again when it was read back, expected the same bytes",
            hint="this is a bug: report it with the file as it was before",
        )


def _processes(tasks: Iterable[Any]) -> Callable[[Any], int]:
    """Return the function that chooses the number of processes from doit's record of earlier runs."""
    from contrast_tasks.tasks.run import processors

    def choose(record: Any) -> int:
        stale = 0
        for task in tasks:
            if task.subtask_of == "workload":
                ((rule, _, _),) = task.uptodate
                stale += rule.has_new_inputs(record.get(task.name, "_values_:") or {})
                if stale == _PARALLEL_FROM:
                    return min(processors(), _PROCESSES_AT_MOST)
        return 1

    return choose


def _summary(steps: Iterable[Step], workloads: int, note: str, elapsed_s: float) -> str:
    ran = [step for step in steps if step.status in ("changed", "unchanged")]
    derived = sum(step.name.startswith(_WORKLOAD) for step in ran)
    wrote = sum(len(step.wrote_outside_state) for step in ran)
    middle = f", {note}" if note else ""
    all_of_them = number_of(workloads, "workload")
    # What `lint` has derived is not derived again.
    begin = f"{all_of_them} up to date"
    if derived or wrote:
        begin = f"generated {f'{derived} of ' if derived else ''}{all_of_them}"
    return f"{begin}, {number_of(wrote, 'file')} written{middle} ({elapsed_s:.1f} s)"


def _remember(
    context: Context, workspace: "Workspace", tasks: Any, report: Report, *, idle: bool
) -> None:
    root, project = str(context.root), workspace.project
    usable = context.console.form == "text" and not context.console.quiet
    with contextlib.suppress(OSError):
        if not idle or report.exit_code != 0 or not usable:
            snapshot.forget(root)
            return
        if not _is_all_of(context.argv):
            return
        from contrast_tasks.tasks.footprint import footprint

        paths = footprint(workspace)
        for task in tasks:
            paths.update(task.file_dep, task.targets)
        snapshot.record(
            context.argv,
            root,
            paths,
            workloads=len(project.index.workloads),
            note=counted(read_outcome(context.root / project.paths.check)[0]),
            environ=context.environ,
            now_ns=time.time_ns(),
        )
