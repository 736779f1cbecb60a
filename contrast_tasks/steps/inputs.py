"""What the tasks that are not about one workload are made from, as digests.

Asked when doit looks at a task, so after the tasks it depends on have run.
"""

import tomllib
from pathlib import Path
from typing import Any

from contrast_tasks.files import canonical_json, norm_path, sha256_hex
from contrast_tasks.steps.code import signature_of_all_code
from contrast_tasks.steps.paths import PROCESSOR
from contrast_tasks.steps.project import Project


def _content(path: Path) -> str:
    try:
        return sha256_hex(path.read_bytes())
    except OSError:
        return "absent"


def _digest(*parts: Any) -> str:
    return sha256_hex(canonical_json(parts))


def of_lock(project: Project) -> str:
    """Return the digest of what `lock` is made from: references in use, layouts, and the lock file itself."""
    settings = project.settings
    project.look_at_lock()
    lock = _content(project.root / settings.lock)
    return _digest("lock", project.code, project.used_images(), _layouts(project), lock)


def _layouts(project: Project) -> list[list[str]]:
    names = project.settings.layouts
    return [[name, _content(project.root / name / "index.json")] for name in names]


def of_components(project: Project) -> str:
    """Return the digest of what our own images are packed from, and of the layouts that may have them already."""
    return _digest("components", signature_of_all_code(), _layouts(project))


def of_keys(project: Project) -> str:
    """Return the digest of the owner keys and, on platform `local`, of the processor's certificates."""
    settings = project.settings
    names = (*settings.workload_owner_keys, *settings.seedshare_owner_keys)
    keys = [[name, _content(project.root / name)] for name in names]
    return _digest("keys", project.code, keys, settings.disable_updates, of_processor(project))


def of_processor(project: Project) -> str:
    """Return the digest of the simulated processor's certificates, which only platform `local` has."""
    folder = project.root / PROCESSOR
    paths = sorted(folder.glob("*")) if project.settings.platform == "local" else []
    return _digest([[path.name, _content(path)] for path in paths if path.is_file()])


def of_documents(project: Project) -> str:
    """Return the digest of the JSON and TOML files people and other commands write."""
    root = project.root
    names = (project.settings.file, project.settings.lock)
    return _digest("documents", project.code, [[name, _content(root / name)] for name in names])


def packed_places(project: Project) -> list[Path]:
    """Return what images are packed from: each images.toml beside the sources, and the files and folders it names.

    What else lies beside it counts for nothing; it may be what generate writes itself.
    """
    places: list[Path] = []
    for folder in sorted({(project.root / source).parent for source in project.settings.sources}):
        recipe = folder / "images.toml"
        if recipe.is_file():
            places += [recipe, *(folder / name for name in sorted(_named_by(recipe)))]
    return places


def _named_by(recipe: Path) -> set[str]:
    # A recipe that is not understood names nothing; packing it says what is wrong.
    try:
        images = tomllib.loads(recipe.read_text(encoding="utf-8"))["images"].values()
        return {
            str(name)
            for image in images
            for key in ("executables", "files", "modules")
            for name in (image.get(key, {}) if key == "modules" else image.get(key, {}).values())
        }
    except (OSError, ValueError, KeyError, AttributeError):
        return set()


def of_pack(project: Project) -> str:
    """Return the digest of what images are packed from: our own code, and what images.toml names."""
    files = [
        [norm_path(path, project.root), _content(path)]
        for place in packed_places(project)
        for path in (sorted(place.rglob("*")) if place.is_dir() else [place])
        if not path.is_dir() and "__pycache__" not in path.parts
    ]
    return _digest("pack", signature_of_all_code(), files)


def of_sources(project: Project) -> str:
    """Return the digest of what checks over all sources look at: settings, and every document's facts."""
    index = project.index
    return _digest(
        "sources",
        project.code,
        project.settings.digest,
        [[source.file, source.facts] for source in index.files],
        [finding.to_json() for finding in index.findings],
    )


def of_check(project: Project) -> str:
    """Return the digest of everything the checks look at."""
    index, paths, own = project.index, project.paths, project.settings.reference_values
    return _digest(
        "check",
        of_sources(project),
        list(index.workloads),
        project.inputs_of_workloads(index.workloads.values()),
        _content(project.root / paths.keys),
        None if own is None else _content(project.root / own),
    )


def of_manifest(project: Project) -> str:
    """Return the digest of the manifest's bytes and of the set of outputs."""
    return _digest(
        "manifest",
        project.code,
        _content(project.root / project.paths.candidate),
        project.paths.manifest,
        sorted(expected_outputs(project)),
    )


def expected_outputs(project: Project) -> set[str]:
    """Return every file below the build directory that a finished `generate` leaves there."""
    expected = {project.paths.check}
    for source in project.index.files:
        expected.update(project.outputs_of(source))
    return expected
