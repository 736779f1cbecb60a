"""The reasons why tasks last ran, and why they will run next; nothing is run or recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doit.task import Task

from contrast_tasks.tasks.database import DATABASE, Database
from contrast_tasks.tasks.freshness import Fresh


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReasons:
    """One task of the pipeline.

    about: what it can be called by beside its name: the workload, source and outputs. workload: its key, "" for other tasks. ran: why it ran last, empty if
    that was never recorded; stale: why it will run next; waits_for: the tasks that run before it and may change what it
    is made from. It is up to date if both are empty.
    """

    name: str
    about: tuple[str, ...]
    workload: str
    ran: tuple[str, ...]
    stale: tuple[str, ...]
    waits_for: tuple[str, ...]


def reasons_of(tasks: Sequence[Task], *, database: str = DATABASE) -> list[TaskReasons]:
    """Return the reasons of every task of the pipeline, in the order they run."""
    recorded = _recorded(tasks, database)
    runs: dict[str, bool] = {}
    found = []
    for task in _ordered(tasks):
        waits_for = [name for name in task.task_dep if runs.get(name)]
        rule = task.uptodate[0][0] if task.uptodate else None
        values = recorded.get(task.name, {})
        why: list[str] = []
        # What plain doit ends with makes nothing, and our own command line never runs it.
        if isinstance(rule, Fresh) and task.name != "generate":
            why = rule.reasons(values)
            found.append(
                TaskReasons(
                    name=task.name,
                    about=_about(task, rule),
                    workload=task.name.partition("#")[2],
                    ran=tuple(values.get("why", ())),
                    stale=tuple(why),
                    waits_for=tuple(waits_for),
                )
            )
        runs[task.name] = bool(why or waits_for)
    return found


def _about(task: Task, rule: Fresh) -> tuple[str, ...]:
    basename, _, rest = task.name.partition(":")
    source, _, key = rest.partition("#")
    names = [basename, source, key, *rule.outputs]
    return tuple(name for name in dict.fromkeys(names) if name and name != task.name)


def _recorded(tasks: Sequence[Task], database: str) -> dict[str, dict[str, Any]]:
    if not Path(database).is_file():
        return {}
    record = Database(database)
    try:
        return {task.name: record.get(task.name, "_values_:") or {} for task in tasks}
    finally:
        record.close()


def _ordered(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks with each after its dependencies, otherwise in the given order."""
    by_name = {task.name: task for task in tasks}
    ordered: dict[str, Task] = {}

    def visit(task: Task) -> None:
        if task.name in ordered:
            return
        for name in task.task_dep:
            if name in by_name:
                visit(by_name[name])
        ordered[task.name] = task

    for task in tasks:
        visit(task)
    return list(ordered.values())
