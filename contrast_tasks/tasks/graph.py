"""The tasks of a project, built from its index: static, one per workload, one per output file.

    lock ─┬> workload:<file>#<Kind>/<name> ─┐
          └> documents                       ├> check ─> output:<file> ─> manifest ─> generate
    keys, sources ───────────────────────────┘

Nothing under build/ changes before `check` has accepted everything, and the manifest changes last.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from doit.task import Task

from contrast_tasks.files import canonical_json, sha256_hex
from contrast_tasks.steps import inputs, parts
from contrast_tasks.steps.index import Workload
from contrast_tasks.steps.paths import STATE
from contrast_tasks.steps.project import Project
from contrast_tasks.tasks.actions import action
from contrast_tasks.tasks.freshness import Fresh

TaskDict = dict[str, Any]
_MUTABLE = (list, set, dict)

# Sources and workloads may be called what doit reserves: `=` in names, `*` in dependencies.
_RESERVED = str.maketrans({"%": "%25", "=": "%3D", "*": "%2A", "?": "%3F", "[": "%5B", "]": "%5D"})


def _name(text: str) -> str:
    return text.translate(_RESERVED)


def workload_name(workload: Workload) -> str:
    """Return the name of a workload's task below `workload:`."""
    return _name(f"{workload.file}#{workload.key}")


def _task(
    project: Project,
    stage: str,
    *,
    digest: Callable[[], str],
    outputs: Sequence[str],
    settles: bool = False,
    made_from: Callable[[], Mapping[str, str]] = dict,
    **members: Any,
) -> TaskDict:
    arguments = members.pop("arguments", {})
    return {
        "actions": [action(f"contrast_tasks.steps.{stage}", project=project.spec, **arguments)],
        # What lies in .contrast is nobody's target, and asking for it twice is a tenth of a run that does nothing.
        "targets": [path for path in outputs if not path.startswith(f"{STATE}/")],
        "uptodate": [Fresh(digest, outputs, settles=settles, parts=made_from)],
        "io": {"capture": False},
        "clean": True,
        **members,
    }


class _Many:
    """Makes many tasks that differ in names and files only.

    doit checks each of the twenty members of every task it makes; here one is checked, and the others are its copies.
    """

    def __init__(self, project: Project, stage: str, *, basename: str, task_dep: list[str]) -> None:
        self._spec = project.spec
        self._stage = f"contrast_tasks.steps.{stage}"
        self._basename = basename
        model = Task(basename, [], task_dep=task_dep, clean=True, io={"capture": False})
        self._common = {
            name: value for name, value in vars(model).items() if type(value) not in _MUTABLE
        }
        self._own = [
            (name, value) for name, value in vars(model).items() if type(value) in _MUTABLE
        ]

    def task(
        self,
        name: str,
        digest: Callable[[], str],
        outputs: Sequence[str],
        targets: Sequence[str],
        made_from: Callable[[], Mapping[str, str]],
        **arguments: str,
    ) -> Task:
        """Return one task; name: below the common one."""
        task = Task.__new__(Task)
        members = vars(task)
        members.update(self._common)
        for member, value in self._own:
            members[member] = value.copy()
        task.name = f"{self._basename}:{name}"
        task.subtask_of = self._basename
        task._actions = [action(self._stage, project=self._spec, **arguments)]  # noqa: SLF001  # as Task does
        task.uptodate = [(Fresh(digest, outputs, parts=made_from), [], {})]
        task.targets = list(targets)
        return task


def _group(basename: str, doc: str, tasks: Sequence[Task]) -> TaskDict:
    names = [task.name for task in tasks]
    return {"basename": basename, "name": None, "doc": doc, "task_dep": names}


def _workloads(project: Project) -> list[Task]:
    many = _Many(project, "policies:derive_workload", basename="workload", task_dep=["lock"])
    return [
        many.task(
            workload_name(workload),
            partial(project.inputs_of_workload, workload.id, look=False),
            (project.paths.work(workload.id),),
            (),
            partial(parts.of_workload, project, workload.id),
            workload=workload.id,
        )
        for workload in project.index.workloads.values()
    ]


def _outputs(project: Project) -> list[Task]:
    many = _Many(project, "write:write_outputs", basename="output", task_dep=["check"])
    tasks = []
    for source in project.index.files:
        outputs = project.outputs_of(source)
        digest = partial(project.inputs_of_output, source.file, look=False)
        made_from = partial(parts.of_output, project, source.file)
        task = many.task(_name(source.file), digest, outputs, outputs, made_from, file=source.file)
        tasks.append(task)
    return tasks


def generate_tasks(
    project: Project, *, before_lock: Sequence[str] = ()
) -> Iterator[TaskDict | Task]:
    """Yield the tasks of `generate`; before_lock: tasks that make what the lock is made from."""
    paths = project.paths
    yield _task(
        project,
        "check:check_sources",
        basename="sources",
        doc="check the sources as a whole",
        digest=lambda: inputs.of_sources(project),
        made_from=lambda: parts.of_sources(project),
        outputs=(paths.sources,),
    )
    before = list(before_lock)
    if project.own_components:
        yield _task(
            project,
            "images:pack_components",
            basename="components",
            doc="pack our own images for platform local",
            digest=lambda: inputs.of_components(project),
            outputs=(),
            settles=True,
            task_dep=before,
        )
        before = [*before, "components"]
    yield _task(
        project,
        "images:lock",
        basename="lock",
        doc="complete the lock file from the layouts on disk",
        digest=lambda: inputs.of_lock(project),
        made_from=lambda: parts.of_lock(project),
        outputs=(),
        settles=True,
        task_dep=before,
    )
    yield _task(
        project,
        "check:check_documents",
        basename="documents",
        doc="validate settings, lock file and index by their schemas",
        digest=lambda: inputs.of_documents(project),
        made_from=lambda: parts.of_documents(project),
        outputs=(),
        task_dep=["lock"],
    )
    yield _task(
        project,
        "keys:prepare_keys",
        basename="keys",
        doc="make the owner keys that are not there yet",
        digest=lambda: inputs.of_keys(project),
        made_from=lambda: parts.of_keys(project),
        outputs=(paths.keys,),
        settles=True,
    )
    workloads = _workloads(project)
    yield _group("workload", "derive the policy of each workload", workloads)
    yield from workloads
    yield _task(
        project,
        "check:check_project",
        basename="check",
        doc="check everything before anything is written",
        digest=lambda: inputs.of_check(project),
        made_from=lambda: parts.of_check(project),
        outputs=(paths.check, paths.candidate),
        task_dep=["sources", "documents", "keys", "workload"],
    )
    outputs = _outputs(project)
    yield _group("output", "write annotated YAML, records and policies", outputs)
    yield from outputs
    yield _task(
        project,
        "manifest:write_manifest",
        basename="manifest",
        doc="write the manifest, and remove outputs of what is gone",
        digest=lambda: sha256_hex(canonical_json(inputs.of_manifest(project))),
        made_from=lambda: parts.of_manifest(project),
        outputs=(paths.manifest,),
        task_dep=["output"],
    )
    yield {
        "basename": "generate",
        "actions": None,
        "doc": "annotated YAML, policies and the manifest",
        "task_dep": ["manifest"],
    }
