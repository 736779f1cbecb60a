"""Where outputs may be written: apart from each other and from every file that generate does not write.

A manifest named like a source, the settings or a key would replace that file, so such names are refused.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from contrast_tasks.declare.problems import Problem

STATE = ".contrast"
# Of the local platform; the simulated processor has its keys and certificates there.
LOCAL_STATE = f"{STATE}/local"
PROCESSOR = f"{LOCAL_STATE}/processor"
# The seed, encrypted for each of its owners: `set` writes it, `recover` reads it.
SEED_SHARES_FILE = "seed-shares.json"
_READ = ("contrast.toml", "observed.toml", "dodo.py")
YAML_SUFFIXES = (".yml", ".yaml")
# Of sources, as kubectl reads them from a folder.
SOURCE_SUFFIXES = (*YAML_SUFFIXES, ".json")
# Written below the build directory, by generate and the images task.
_BUILT = ("check.json", "deployment", "images", "policies", "workloads")
_EXAMPLES = {
    "manifest": "manifest.json",
    "lock": "contrast.lock",
    "output.combined": "annotated.yml",
}
_OWNERS = ("workload", "seedshare")


def output_problems(root: Path, document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every output that would replace something else; document: the merged settings with defaults."""

    def at(name: str) -> Path:
        return Path(os.path.realpath(root / name))

    build = at(document["build_dir"])
    sources = {name: at(name) for name in document.get("sources", ())}
    owners = {(kind, name): at(name) for kind in _OWNERS for name in document["owners"][kind]}
    taken = {at(name): f"which is {name}" for name in _READ}
    taken |= dict.fromkeys(owners.values(), "which is an owner's key")
    values = document.get("reference_values", {}).get("file")
    if values is not None:
        taken[at(values)] = "which is the file of reference values"
    yield from _of_build(document["build_dir"], build, sources, taken)
    generated = [build / part for part in _BUILT]
    for (kind, name), path in owners.items():
        if any(part in path.parents for part in generated):
            message = f"owners.{kind} has '{name}', expected a place where no outputs go"
            yield Problem(path=("owners", kind), message=message)
    output = document.get("output", {})
    files: list[tuple[tuple[str, ...], str]] = [(("lock",), document["lock"])]
    files.append((("manifest",), document["manifest"]))
    if output.get("combined") is not None:
        files.append((("output", "combined"), output["combined"]))
    for key, name in files:
        path = at(name)
        reason = "which is build_dir" if path == build else _within(path, taken)
        if key == ("output", "combined") and path.is_dir():
            reason = reason or "which is a folder"
        reason = reason or _reason(path, generated, sources.values())
        yield from _of_file(key, name, reason)
        taken[path] = f"which is {'.'.join(key)} too"
    if output.get("in_place"):
        yield from _outside(Path(os.path.realpath(root)), sources)


def _outside(root: Path, sources: Mapping[str, Path]) -> Iterator[Problem]:
    """Yield each source that generate must not write in place."""
    for source, path in sources.items():
        if path != root and root not in path.parents:
            message = f"sources has '{source}' and output.in_place is true, expected a place inside the project"
            hint = "run in a folder that has the sources below it"
            yield Problem(path=("sources",), message=message, hint=hint)


def _of_build(
    name: str, build: Path, sources: Mapping[str, Path], taken: Mapping[Path, str]
) -> Iterator[Problem]:
    if reason := _within(build, taken):
        yield Problem(
            path=("build_dir",), message=f"build_dir is '{name}', {reason}, expected a folder"
        )
    for source, path in sources.items():
        if build == path or build in path.parents or path in build.parents:
            found = f"sources has '{source}' and build_dir is '{name}'"
            message = f"{found}, expected neither inside the other"
            yield Problem(path=("sources",), message=message)
    yield from _in_state(("build_dir",), name)


def _of_file(key: tuple[str, ...], name: str, reason: str) -> Iterator[Problem]:
    dotted = ".".join(key)
    if not reason:
        yield from _in_state(key, name)
        return
    message = f"{dotted} is '{name}', {reason}, expected a file of its own"
    yield Problem(path=key, message=message, hint=f'as {dotted} = "{_EXAMPLES[dotted]}"')


def _within(path: Path, files: Mapping[Path, str]) -> str:
    """Return why no output may have a path: it is one of the files, or below one; empty if neither."""
    return next((files[part] for part in (path, *path.parents) if part in files), "")


def _reason(path: Path, generated: Iterable[Path], sources: Iterable[Path]) -> str:
    around = (path, *path.parents)
    if any(part in around for part in generated):
        return "which is where other outputs go"
    is_read = path.suffix in SOURCE_SUFFIXES
    if any(path == source or (is_read and source in around) for source in sources):
        return "which is among the sources"
    return ""


def _in_state(key: tuple[str, ...], name: str) -> Iterator[Problem]:
    parts = Path(name).parts
    if parts[0] == STATE:
        message = f"{'.'.join(key)} is '{name}', expected a place outside {STATE}, where contrast-tasks keeps its state"
        yield Problem(path=key, message=message)
