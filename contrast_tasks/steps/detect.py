"""The sources of a new project: what in its folder is of the deployment, and what other programs have beside it."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.outputs import SOURCE_SUFFIXES
from contrast_tasks.steps.index import read_facts
from contrast_tasks.steps.kustomize import inputs_of, is_kustomization
from contrast_tasks.steps.sources import CHART

if TYPE_CHECKING:
    from contrast_tasks.kube.index import DocIndex

# What every object has, also one that cannot be read: it is a source, and `lint` says what is wrong with it.
_KEYS = [
    re.compile(rf"""(?m)(?:^|[\s{{,"'])(?:{key})["']?\s*:""")
    for key in ("apiVersion", "kind", "metadata|items")
]
# Other groups have a dot. Source: Kubernetes, apiextensions-apiserver, the validation of custom resources.
_GROUPS_WITHOUT_DOT = frozenset({"", "apps", "autoscaling", "batch", "extensions", "policy"})


class Detected(NamedTuple):
    """What was found, as paths relative to the project.

    plain: folders and files to name. kustomizations: those that no other one here is made of. charts: folders.
    has_workload: whether anything plain runs pods. others: files that hold no object. without_workload: folders beside those of the deployment, whose objects run no pods.
    """

    has_workload: bool
    plain: list[str]
    kustomizations: list[str]
    charts: list[str]
    others: list[str]
    without_workload: list[str]


class _Place(NamedTuple):
    """A file or folder. sources: what to name of it. is_whole: it can be named itself, or holds nothing at all."""

    sources: list[Path]
    is_whole: bool
    has_workload: bool


_EMPTY = _Place([], is_whole=True, has_workload=False)
_NOT_PLAIN = _Place([], is_whole=False, has_workload=False)


class _Search:
    """One look through the folders below a project; what is hidden, generated or a link to a folder is not looked at."""

    def __init__(self, root: Path, build: Path, tops: list[Path]) -> None:
        self._root = root
        self._build = build
        self.charts: list[Path] = []
        self.others: list[Path] = []
        found = [path for top in tops for path in _files_below(top, self._build)]
        every = [path for path in found if is_kustomization(path.name)]
        of_others = {
            path for each in every for path in inputs_of(each.parent) if path not in (each, *every)
        }
        used = {path for each in every for path in inputs_of(each.parent) if path != each}
        self.kustomizations = [each for each in every if each not in used or each in tops]
        self._rendered = {each.parent for each in every} | of_others

    def look(self, path: Path) -> _Place:
        """Return what is to be named of a file or folder."""
        if not path.is_dir():
            return self._file(path)
        if (path / CHART).exists():
            self.charts.append(path)
            return _NOT_PLAIN
        if path in self._rendered:
            return _NOT_PLAIN
        places = [self.look(each) for each in _children(path, self._build)]
        sources = [source for place in places for source in place.sources]
        # Of a folder that is named, `lint` reads hidden files too.
        is_whole = all(place.is_whole for place in places) and not _has_hidden(path)
        has_workload = any(place.has_workload for place in places)
        return _Place([path] if is_whole and sources else sources, is_whole, has_workload)

    def _file(self, path: Path) -> _Place:
        if not path.name.endswith(SOURCE_SUFFIXES):
            return _EMPTY
        if path in self._rendered or is_kustomization(path.name):
            return _NOT_PLAIN
        content = path.read_bytes()
        if not content.strip():
            return _EMPTY
        documents = _objects_in(content, path.name)
        if documents is None:
            self.others.append(path)
            return _NOT_PLAIN
        has_workload = not documents or any(each.is_workload for each in documents)
        return _Place([path], is_whole=True, has_workload=has_workload)

    def shown(self, paths: list[Path]) -> list[str]:
        """Return paths relative to the project, each once."""
        named = (Path(os.path.relpath(path, self._root)).as_posix() for path in paths)
        return list(dict.fromkeys(named))


def detect_sources(root: Path, paths: Sequence[Path] = ()) -> Detected:
    """Look through what the user names, or else the project's folder; the sources are as few folders as hold nothing else.

    Of the project's folder its files and the folders with workloads are sources.
    """
    named = [Path(os.path.normpath(path)) for path in paths] or [root]
    build = root / str(Settings.defaults["build_dir"])
    search = _Search(root, build, named)
    plain: list[Path] = []
    without: list[Path] = []
    has_workload = False
    for top in named:
        for each in _children(root, build) if top == root else [top]:
            place = search.look(each)
            has_workload |= place.has_workload
            is_source = place.has_workload or top != root or not each.is_dir()
            (plain if is_source else without).extend(place.sources)
    return Detected(
        has_workload=has_workload,
        plain=search.shown(plain),
        kustomizations=search.shown(search.kustomizations),
        charts=search.shown(search.charts),
        others=search.shown(search.others),
        without_workload=search.shown(without),
    )


def _children(folder: Path, build: Path) -> list[Path]:
    return [
        each
        for each in sorted(folder.iterdir())
        if not each.name.startswith(".")
        and each != build
        and not (each.is_symlink() and each.is_dir())
    ]


def _has_hidden(folder: Path) -> bool:
    return any(
        path.name.endswith(SOURCE_SUFFIXES)
        for hidden in folder.glob(".*")
        for path in (hidden, *hidden.rglob("*"))
    )


def _files_below(place: Path, build: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    return [path for each in _children(place, build) for path in _files_below(each, build)]


def _objects_in(content: bytes, file: str) -> "Sequence[DocIndex] | None":
    """Return the objects of a file, none if it cannot be read, and None if there is nothing for a cluster in it."""
    from contrast_tasks.kube.documents import KubeError, decode

    try:
        text = decode(content, file)
    except KubeError:
        return ()
    if not all(key.search(text) for key in _KEYS):
        return None
    found = read_facts(content, file).documents
    groups = {each.api_version.rpartition("/")[0] for each in found}
    is_known = any("." in each or each in _GROUPS_WITHOUT_DOT for each in groups)
    return found if is_known or not found else None
