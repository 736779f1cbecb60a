"""Every file whose state decides whether `generate` has anything to do, absent ones included."""

from pathlib import Path

from contrast_tasks.settings.load import OBSERVED_NAME
from contrast_tasks.settings.outputs import PROCESSOR
from contrast_tasks.steps.index import COORDINATOR_SOURCE
from contrast_tasks.tasks.code import all_code_files, resource_files
from contrast_tasks.tasks.inputs import packed_places
from contrast_tasks.tasks.workspace import Workspace


def footprint(workspace: Workspace) -> set[str]:
    """Return the paths, relative to the project or absolute; a folder stands for the names in it."""
    project, inputs, results = workspace.project, workspace.inputs, workspace.results
    settings, root = project.settings, project.root
    whole = {"sources": inputs.sources(), "keys": inputs.keys(), "check": inputs.check()}
    found = {
        settings.file,
        OBSERVED_NAME,
        "dodo.py",
        settings.lock,
        project.paths.manifest,
        workspace.memo.path("index", project.code),
        *settings.workload_owner_keys,
        *settings.seedshare_owner_keys,
        *project.index.directories,
        *(source.file for source in project.index.files if source.file != COORDINATOR_SOURCE),
        *(results.path(kind, made.digest) for kind, made in whole.items()),
        *(
            results.path("workload", inputs.workload(workload).digest)
            for workload in project.index.workloads
        ),
        *(f"{layout}/index.json" for layout in settings.layouts),
        *project.expected_outputs,
        *(path for path, _ in all_code_files()),
        *(path for path, _ in resource_files()),
    }
    if settings.reference_values is not None:
        found.add(settings.reference_values)
    if settings.replacements is not None:
        found.add(settings.replacements)
    if settings.is_local:
        found |= _below(root, root / PROCESSOR)
    for place in packed_places(project):
        found |= _below(root, place)
    return found


def _below(root: Path, folder: Path) -> set[str]:
    places = [folder, *folder.rglob("*")] if folder.is_dir() else [folder]
    return {path.relative_to(root).as_posix() for path in places if "__pycache__" not in path.parts}
