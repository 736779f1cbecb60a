"""The sources of a project that does not name any: what in its folder looks like a deployment."""

from pathlib import Path
from typing import NamedTuple

from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.outputs import SOURCE_SUFFIXES
from contrast_tasks.steps.index import read_facts
from contrast_tasks.steps.kustomize import NAMES, inputs_of
from contrast_tasks.steps.sources import CHART, find_sources


class Detected(NamedTuple):
    """What was found, as paths relative to the project.

    plain: folders and files with workloads. kustomizations: those that no other one here is made of. charts: folders.
    """

    plain: list[str]
    kustomizations: list[str]
    charts: list[str]


def detect_sources(root: Path) -> Detected:
    """Look through a project's folder, but not at what is hidden or generated; nothing in a chart or a kustomization is plain."""
    plain: list[str] = []
    kustomizations: list[Path] = []
    charts: list[Path] = []
    for place in sorted(root.iterdir()):
        if (
            place.name.startswith(".")
            or place.name == Settings.defaults["build_dir"]
            or place.is_symlink()
        ):
            continue
        rendered = sorted(_named(place, NAMES))
        packed = sorted(_named(place, (CHART,)))
        kustomizations += rendered
        charts += (path.parent for path in packed)
        is_source = place.is_dir() or place.name.endswith(SOURCE_SUFFIXES)
        if is_source and not rendered and not packed and _has_workload(root, place.name):
            plain.append(place.name)
    used = {path for each in kustomizations for path in inputs_of(each.parent) if path != each}
    tops = [each for each in kustomizations if each not in used]
    return Detected(
        plain=plain,
        kustomizations=[each.relative_to(root).as_posix() for each in tops],
        charts=[each.relative_to(root).as_posix() for each in charts],
    )


def _named(place: Path, names: tuple[str, ...]) -> list[Path]:
    if not place.is_dir():
        return [place] if place.name in names else []
    return [path for name in names for path in place.rglob(name)]


def _has_workload(root: Path, source: str) -> bool:
    return any(
        document.is_workload
        for path in find_sources(root, [source]).paths
        for document in read_facts((root / path).read_bytes(), path).documents
    )
