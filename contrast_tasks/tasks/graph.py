"""The tasks of a project, built from its index: static, one per workload, one per output file.

    lock ─> workload:<file>#<Kind>/<name> ─┐
                                           ├> check ─> output:<file> ─> combined ─> manifest ─> generate
    keys, sources ─────────────────────────┘

Nothing under build/ changes before `check` has accepted everything, and the manifest changes last.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from doit.task import Task

from contrast_tasks.steps.index import Workload
from contrast_tasks.tasks.actions import action
from contrast_tasks.tasks.freshness import Fresh
from contrast_tasks.tasks.inputs import Inputs
from contrast_tasks.tasks.workspace import Workspace

TaskDict = dict[str, Any]

# Names of sources and workloads may have characters that doit reserves: `=` in names, `*` in dependencies.
_RESERVED = str.maketrans({"%": "%25", "=": "%3D", "*": "%2A", "?": "%3F", "[": "%5B", "]": "%5D"})


def _name(text: str) -> str:
    return text.translate(_RESERVED)


def workload_name(workload: Workload) -> str:
    """Return the name of a workload's task below `workload:`."""
    return _name(f"{workload.file}#{workload.key}")


class _Tasks:
    """Makes the tasks of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._results = workspace.results
        self._spec = workspace.project.spec

    def task(
        self,
        name: str,
        function: str,
        inputs: Callable[[], Inputs],
        *,
        outputs: Sequence[str] = (),
        sources: Sequence[str] = (),
        result: str = "",
        settles: bool = False,
        task_dep: Sequence[str] = (),
        doc: str = "",
        subtask_of: str | None = None,
        **arguments: str,
    ) -> Task:
        """Return one task; function: of `tasks.pipeline`; result: the kind of its entry in the store.

        sources: outputs that are the user's own files, which `clean` must not remove.
        """
        path = f"contrast_tasks.tasks.pipeline:{function}"
        rule = Fresh(inputs, outputs, results=self._results, kind=result, settles=settles)
        return Task(
            name,
            [action(path, project=self._spec, **arguments)],
            targets=[name for name in outputs if name not in sources],
            task_dep=task_dep,
            uptodate=[rule],
            clean=True,
            subtask_of=subtask_of,
            doc=doc,
            io={"capture": False},
        )


def _group(basename: str, doc: str, tasks: Sequence[Task]) -> TaskDict:
    names = [task.name for task in tasks]
    return {"basename": basename, "name": None, "doc": doc, "task_dep": names}


def generate_tasks(
    workspace: Workspace, *, before_lock: Sequence[str] = ()
) -> Iterator[TaskDict | Task]:
    """Yield the tasks of `generate`; before_lock: tasks that make inputs of the lock."""
    project, inputs = workspace.project, workspace.inputs
    make = _Tasks(workspace).task
    yield make(
        "sources",
        "check_sources",
        inputs.sources,
        result="sources",
        doc="check the sources as a whole",
    )
    before = list(before_lock)
    if project.own_components:
        yield make(
            "components",
            "pack_components",
            inputs.components,
            settles=True,
            task_dep=before,
            doc="pack our own images for platform local",
        )
        before = [*before, "components"]
    yield make(
        "lock",
        "complete_lock",
        inputs.lock,
        settles=True,
        task_dep=before,
        doc="complete the lock file from the layouts on disk",
    )
    yield make(
        "keys",
        "prepare_keys",
        inputs.keys,
        result="keys",
        settles=True,
        doc="make the owner keys that are not there yet",
    )
    workloads = [
        make(
            f"workload:{workload_name(workload)}",
            "derive_workload",
            partial(inputs.workload, workload.id),
            result="workload",
            task_dep=["lock"],
            subtask_of="workload",
            workload=workload.id,
        )
        for workload in project.index.workloads.values()
    ]
    yield _group("workload", "derive the policy of each workload", workloads)
    yield from workloads
    yield make(
        "check",
        "check_project",
        inputs.check,
        outputs=(project.paths.check,),
        result="check",
        task_dep=["sources", "lock", "keys", "workload"],
        doc="check everything before anything is written",
    )
    outputs = [
        make(
            f"output:{_name(source.file)}",
            "write_outputs",
            partial(inputs.output, source.file),
            outputs=project.outputs[source.file],
            sources=(source.file,),
            task_dep=["check"],
            subtask_of="output",
            file=source.file,
        )
        for source in project.index.files
    ]
    yield _group("output", "write annotated YAML, records and policies", outputs)
    yield from outputs
    written = ["output"]
    if project.combined is not None:
        yield make(
            "combined",
            "write_combined",
            inputs.combined,
            outputs=(project.combined,),
            task_dep=written,
            doc="write all annotated YAML to one file",
        )
        written = ["combined"]
    yield make(
        "manifest",
        "write_manifest",
        inputs.manifest,
        outputs=(project.paths.manifest,),
        task_dep=written,
        doc="write the manifest, and remove outputs of what is gone",
    )
    # Plain doit ends with it; our own command line tells the same with the manifest.
    yield make(
        "generate",
        "require_values",
        inputs.manifest,
        task_dep=["manifest"],
        doc="annotated YAML, policies and the manifest",
    )
