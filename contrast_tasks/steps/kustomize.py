"""Kustomizations named as sources: rendered by kubectl or kustomize into a file of the build folder, which is then the source.

It is rendered again when a file changes that the kustomization names, or that those name that it names. What it fetches from
elsewhere is fetched again only then, or when the rendered file is removed.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from contrast_tasks.errors import GraphError, Location
from contrast_tasks.files import canonical_json, sha256_hex, write_atomic

# Source: kustomize, the file names that `kustomize build` looks for.
NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_PROGRAMS = (("kubectl", "kustomize"), ("kustomize", "build"))
_HEAD = "# rendered from {}, inputs sha256:{}, sha256:{}\n"
_LONGEST_PATH = 4096
# A JSON string stands at the end. Source: kubectl 1.30 and later, `kubectl kustomize` of a broken file.
_LOGGED = re.compile(r'E\d{4} .* err=("(?:[^"\\]|\\["\\/bfnrt])*")\s*\Z')


class Rendered(NamedTuple):
    """A rendered kustomization. file, inputs: paths relative to the project or absolute; a folder stands for the names in it."""

    file: str
    inputs: tuple[str, ...]


def is_kustomization(source: str) -> bool:
    """Return whether a source is a kustomization file by its name."""
    return os.path.basename(source) in NAMES  # noqa: PTH119  # called for each source of a run


def render(root: Path, source: str, build_dir: str) -> Rendered:
    """Have the file that a kustomization renders to, and return it.

    Raises GraphError if there is neither kubectl nor kustomize, or if it refuses the kustomization.
    """
    folder = (root / source).parent
    inputs = sorted(inputs_of(folder))
    shown = [_relative(path, root) for path in inputs]
    digests = [
        [name, sha256_hex(path.read_bytes()) if path.is_file() else _names_in(path)]
        for name, path in zip(shown, inputs, strict=True)
    ]
    digest = sha256_hex(canonical_json(digests))
    file = rendered_file(root, source, build_dir)
    if not _is_current(root / file, source, digest):
        content = _rendered(folder, source)
        head = _HEAD.format(source, digest, sha256_hex(content))
        write_atomic(root / file, head.encode() + content)
    return Rendered(file=file, inputs=tuple(shown))


def rendered_file(root: Path, source: str, build_dir: str) -> str:
    """Return the file that a kustomization is rendered to."""
    name = _relative((root / source).parent, root).replace("..", "up").strip("./")
    return f"{build_dir}/rendered/{name or 'kustomization'}.yml"


def _names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def inputs_of(folder: Path) -> set[Path]:
    """Return the files below or beside `folder` that its kustomization is made of, and the folders that it names."""
    found: set[Path] = set()
    waiting = [folder]
    while waiting:
        place = Path(os.path.normpath(waiting.pop()))
        if place in found:
            continue
        found.add(place)
        if place.is_dir():
            waiting += [place / name for name in NAMES if (place / name).is_file()]
        elif place.name in NAMES:
            waiting += _named_by(place)
    return found


def _named_by(kustomization: Path) -> Iterator[Path]:
    """Yield what is there under a path that any string of a kustomization may be, alone or as `name=path`."""
    for text in _strings(_parsed(kustomization)):
        for path in (text, text.partition("=")[2]):
            if path and len(path) < _LONGEST_PATH and not any(each in path for each in "\0\n"):
                place = kustomization.parent / path
                if place.exists():
                    yield place


def _parsed(file: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(file.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError):
        # The program that renders says what is wrong with it.
        return None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)


def _is_current(file: Path, source: str, digest: str) -> bool:
    try:
        head, _, content = file.read_bytes().partition(b"\n")
    except OSError:
        return False
    return head + b"\n" == _HEAD.format(source, digest, sha256_hex(content)).encode()


def _rendered(folder: Path, source: str) -> bytes:
    for program, verb in _PROGRAMS:
        found = shutil.which(program)
        if found is None:
            continue
        done = subprocess.run(
            [found, verb, str(folder)], capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode == 0:
            return done.stdout
        said = _reason(done.stderr.decode(errors="replace"))
        raise GraphError(
            f"'{program} {verb}' refuses it: {said or f'it ended with status {done.returncode}'}",
            where=Location(file=source),
        )
    raise GraphError(
        "found neither kubectl nor kustomize, expected one of them to render it",
        hint="install kubectl, or render it yourself and name the result as a source",
        where=Location(file=source),
    )


def _reason(said: str) -> str:
    """Return what a program said, on one line; of a line of kubectl's log only the error in it."""
    logged = _LOGGED.match(said)
    return " ".join((json.loads(logged[1]) if logged else said).split())


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()
