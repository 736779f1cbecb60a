"""The tasks of a project, built from its index: static, one per workload, one per output file.

    lock ─┬> workload:<file>#<Kind>/<name> ─┐
          └> documents                       ├> check ─> output:<file> ─> manifest ─> generate
    keys, sources ───────────────────────────┘

Nothing under build/ changes before `check` has accepted everything, and the manifest changes last.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from contrast_tasks.files import canonical_json, sha256_hex
from contrast_tasks.stages.index import Workload
from contrast_tasks.stages.project import STATE, Project
from contrast_tasks.tasks.actions import action
from contrast_tasks.tasks.freshness import Fresh

TaskDict = dict[str, Any]

# Sources and workloads may be called what doit reserves: `=` in names, `*` in dependencies.
_RESERVED = str.maketrans({"=": "%3D", "*": "%2A", "?": "%3F", "[": "%5B", "]": "%5D"})


def _name(text: str) -> str:
    return text.replace("%", "%25").translate(_RESERVED)


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
    **members: Any,
) -> TaskDict:
    arguments = members.pop("arguments", {})
    return {
        "actions": [action(f"contrast_tasks.stages.{stage}", project=project.spec, **arguments)],
        # What lies in .contrast is nobody's target, and asking for it twice is a tenth of a run that does nothing.
        "targets": [path for path in outputs if not path.startswith(f"{STATE}/")],
        "uptodate": [Fresh(digest, outputs, settles=settles)],
        "io": {"capture": False},
        **members,
    }


class _Digests:
    """The digests of one project's tasks, as callables doit asks when it looks at a task."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def workload(self, workload: str) -> Callable[[], str]:
        return lambda: self._project.inputs_of_workload(workload)

    def output(self, file: str) -> Callable[[], str]:
        return lambda: self._project.inputs_of_output(file)


def generate_tasks(project: Project, *, before_lock: Sequence[str] = ()) -> Iterator[TaskDict]:
    """Yield the tasks of `generate`; before_lock: tasks that make what the lock is made from."""
    from contrast_tasks.stages import inputs

    paths, index, digests = project.paths, project.index, _Digests(project)
    yield _task(
        project,
        "check:check_sources",
        basename="sources",
        doc="check the sources as a whole",
        digest=lambda: inputs.of_sources(project),
        outputs=(paths.sources,),
    )
    yield _task(
        project,
        "images:lock",
        basename="lock",
        doc="complete the lock file from the layouts on disk",
        digest=lambda: inputs.of_lock(project),
        outputs=(),
        settles=True,
        task_dep=list(before_lock),
    )
    yield _task(
        project,
        "check:check_documents",
        basename="documents",
        doc="validate settings and lock file by their schemas",
        digest=lambda: inputs.of_documents(project),
        outputs=(),
        task_dep=["lock"],
    )
    yield _task(
        project,
        "keys:prepare_keys",
        basename="keys",
        doc="make the owner keys that are not there yet",
        digest=lambda: inputs.of_keys(project),
        outputs=(paths.keys,),
        settles=True,
    )
    yield {"basename": "workload", "name": None, "doc": "derive the policy of each workload"}
    for workload in index.workloads.values():
        yield _task(
            project,
            "policies:derive_workload",
            basename="workload",
            name=workload_name(workload),
            arguments={"workload": workload.id},
            digest=digests.workload(workload.id),
            outputs=(paths.work(workload.id),),
            task_dep=["lock"],
        )
    yield _task(
        project,
        "check:check_project",
        basename="check",
        doc="check everything before anything is written",
        digest=lambda: inputs.of_check(project),
        outputs=(paths.check, paths.candidate),
        task_dep=["sources", "documents", "keys", "workload"],
    )
    yield {"basename": "output", "name": None, "doc": "write annotated YAML, records and policies"}
    for source in index.files:
        workloads = project.workloads_in(source.file)
        confidential = [item for item in workloads if project.is_confidential(item)]
        yield _task(
            project,
            "annotate:write_outputs",
            basename="output",
            name=_name(source.file),
            arguments={"file": source.file},
            digest=digests.output(source.file),
            outputs=(
                paths.deployment(source),
                *(paths.record(item.id) for item in confidential),
                *(paths.policy(item.id) for item in confidential),
            ),
            task_dep=["check"],
        )
    yield _task(
        project,
        "manifest:write_manifest",
        basename="manifest",
        doc="write the manifest, and remove outputs of what is gone",
        digest=lambda: sha256_hex(canonical_json(inputs.of_manifest(project))),
        outputs=(paths.manifest,),
        task_dep=["output"],
    )
    yield {
        "basename": "generate",
        "actions": None,
        "doc": "annotated YAML, policies and the manifest",
        "task_dep": ["manifest"],
    }
