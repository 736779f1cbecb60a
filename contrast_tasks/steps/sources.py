"""The search for sources: which files there are, how they are named, and where their outputs go."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from contrast_tasks import catalogue
from contrast_tasks.errors import Location
from contrast_tasks.files import norm_path
from contrast_tasks.findings import Finding
from contrast_tasks.settings.outputs import SOURCE_SUFFIXES
from contrast_tasks.steps.kustomize import NAMES

CHART = "Chart.yaml"
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Found:
    """The sources: path below build/deployment by path as shown, and every folder searched."""

    def __init__(self) -> None:
        self.paths: dict[str, str] = {}
        self.directories: list[str] = []
        self.findings: list[Finding] = []


def find_sources(
    root: Path,
    sources: Sequence[str],
    rendered: Mapping[str, str] = _NOTHING,
    where: Location | None = None,
) -> Found:
    """Find the YAML and JSON files below the sources, in lexical order, each once by its real path.

    rendered: the file that stands for a source, as what a kustomization renders to; "" for none, which is told elsewhere.
    where: the place at which the sources are named, None if a finding about one of them has no other place than its name.

    The path below build/deployment is relative to the folder all sources have in common, so that equal names in two
    sources stay apart. Source: docs/internals/generate.md 3.
    """
    found = Found()
    tops = [os.path.normpath(root / source) for source in sources]
    folders = [top if os.path.isdir(top) else os.path.dirname(top) for top in tops]  # noqa: PTH112, PTH120
    common = os.path.commonpath(folders)
    names: list[str] = []
    outputs: dict[str, str] = {}
    for source, top in zip(sources, tops, strict=True):
        before, told = len(names), len(found.findings)
        if source in rendered:
            if not rendered[source]:
                continue
            names.append(os.path.normpath(root / rendered[source]))
            # Beside what other sources have in common, or named after its folder.
            folder = os.path.dirname(top)  # noqa: PTH120
            outputs[names[-1]] = (
                f"{os.path.relpath(folder, os.path.dirname(common) if folder == common else common)}.yml"  # noqa: PTH120
            )
        elif os.path.isdir(top):  # noqa: PTH112
            _walk(top, names, found)
        elif os.path.isfile(top) and top.endswith(SOURCE_SUFFIXES):  # noqa: PTH113
            names.append(top)
        if len(names) == before and len(found.findings) == told:
            found.findings.append(_nothing_in(source, exists=os.path.exists(top), where=where))  # noqa: PTH110
    seen: set[str] = set()
    inside, below = f"{root}{os.sep}", f"{common}{os.sep}"
    for name in names:
        real = os.path.realpath(name) if len(tops) > 1 or os.path.islink(name) else name  # noqa: PTH114
        if real not in seen:
            seen.add(real)
            shown = name.removeprefix(inside) if name.startswith(inside) else norm_path(name, root)
            output = outputs.get(name) or name.removeprefix(below)
            found.paths[shown.replace(os.sep, "/")] = output.replace(os.sep, "/")
    found.directories = [norm_path(path, root) for path in found.directories]
    return found


def _walk(folder: str, names: list[str], found: Found) -> None:
    found.directories.append(folder)
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    chart = next((entry for entry in ordered if entry.name == CHART), None)
    if chart is not None:
        # Its templates are no YAML, and its values are no objects.
        found.findings.append(_chart(chart.path))
        return
    for entry in ordered:
        if entry.name in NAMES:
            found.findings.append(_kustomization(entry.path))
            continue
        is_folder = entry.is_dir(follow_symlinks=False)
        if not is_folder and (not entry.name.endswith(SOURCE_SUFFIXES) or entry.is_dir()):
            continue
        if not _is_utf8(entry.name):
            found.findings.append(_unspeakable(entry.path))
        elif is_folder:
            _walk(entry.path, names, found)
        else:
            names.append(entry.path)


def _chart(path: str) -> Finding:
    shown = os.path.relpath(path)
    return Finding(
        catalogue.NOT_RENDERED,
        Location(file=shown),
        "found a chart, whose templates Helm renders, expected what it renders to",
        f"name as a source the file that 'helm template NAME {os.path.dirname(shown)} -f VALUES > FILE' writes",  # noqa: PTH120
    )


def _kustomization(path: str) -> Finding:
    shown = os.path.relpath(path)
    return Finding(
        catalogue.NOT_RENDERED,
        Location(file=shown),
        "found a kustomization in a folder of sources, expected it to be named as a source itself",
        f"name '{shown}' in sources instead of the folder, and it is rendered",
    )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unspeakable(path: str) -> Finding:
    # Paths are part of task names, digests and reports, all of which are UTF-8.
    shown = os.path.relpath(path).encode(errors="surrogateescape").decode(errors="backslashreplace")
    return Finding(
        catalogue.NO_SOURCES,
        Location(file=shown),
        "the name is not UTF-8, expected one that is",
        "rename it",
    )


def _nothing_in(source: str, *, exists: bool, where: Location | None) -> Finding:
    wanted = "a directory with .yml, .yaml or .json files, or such a file"
    return Finding(
        catalogue.NO_SOURCES,
        where or Location(file=source),
        f"found {'no YAML or JSON file' if exists else 'nothing'} at '{source}', expected {wanted}",
    )
