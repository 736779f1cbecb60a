"""What whoever keeps a store can do to it: `fsck`, `export` and `import`, of a folder or, by kubectl, of ConfigMaps.

Results go to standard output, errors to standard error.
Exit codes: 0 done, or nothing is damaged; 2 command line, or no such store or archive; 12 something is damaged or missing;
30 the store cannot be read or written; 42 the store holds something else than the archive. Source: docs/internals/coordinator.md 8.7.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from contrast_tasks import variables
from contrast_tasks.errors import ContrastError, Location, UsageError
from contrast_tasks.files import write_atomic
from coordinator.archive import (
    BadArchive,
    inspect_archive,
    read_archive,
    render_archive,
    restore,
)
from coordinator.fsck import Inspection, inspect
from coordinator.history import History
from coordinator.kubernetes.kubectl import KubectlStore
from coordinator.options import DEFAULT_STATE
from coordinator.store.base import Store
from coordinator.store.file import FileStore

_CLUSTER = ("context", "namespace", "kubeconfig")
_DAMAGED = "use --damaged to go on with what is left"


class Damaged(ContrastError):
    """Something of a store or an archive is damaged or missing."""

    exit_code = 12


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Carry out a command and return the exit code."""
    given = _parser(environ).parse_args(arguments)
    try:
        text, code = given.carry_out(given)
    except ContrastError as err:
        where = f"{err.where}: " if err.where is not None else ""
        hint = f"\n  hint: {err.hint}" if err.hint else ""
        sys.stderr.write(_shown(f"contrast-coordinator: error: {where}{err}{hint}"))
        return err.exit_code
    sys.stdout.write(_shown(text))
    return int(code)


def _fsck(given: argparse.Namespace) -> tuple[str, int]:
    found = inspect(History(_store(given)), _key(given))
    text = _render_json(found) if given.output == "json" else "\n".join(_lines(found))
    return text, 0 if found.is_whole else Damaged.exit_code


def _export(given: argparse.Namespace) -> tuple[str, int]:
    history = History(_store(given))
    found = inspect(history, _key(given))
    _require_whole(found, given)
    if not found.generations:
        raise UsageError("the store has no manifest in force, so there is nothing to export")
    objects = {key: history.store.get(key) for key in found.needed}
    try:
        write_atomic(given.file, render_archive(objects))
    except OSError as err:
        raise UsageError(f"cannot be written: {err.strerror}", where=_where(given.file)) from err
    return f"{len(objects)} objects are in {given.file}: {_summary(found)}", 0


def _import(given: argparse.Namespace) -> tuple[str, int]:
    try:
        objects = read_archive(_read(given.file))
        found = inspect_archive(objects, _key(given))
    except BadArchive as err:
        err.where = _where(given.file)
        raise
    _require_whole(found, given)
    kept = {key: objects[key] for key in found.needed}
    added = restore(kept, _store(given), is_replacing=given.replace)
    return f"{added} of {len(kept)} objects were written: {_summary(found)}", 0


def _require_whole(found: Inspection, given: argparse.Namespace) -> None:
    """Raise Damaged unless nothing is, or the user goes on with what is left; a head of another key is nobody's history."""
    if found.is_signed is False:
        raise Damaged(
            "the head is not signed by the given transaction key",
            hint="take the key that 'audit --log' wrote for this Coordinator, or another copy of its store",
        )
    if found.is_whole or given.damaged:
        return
    told = "\n".join(f"  {line}" for line in _problems(found))
    raise Damaged(f"something is damaged or missing\n{told}", hint=_DAMAGED)


def _problems(found: Inspection) -> Iterator[str]:
    for each in found.problems:
        yield f"{each.place}: {each.severity}: {each.message}"


def _lines(found: Inspection) -> Iterator[str]:
    yield from _problems(found)
    yield "the store is empty" if found.is_empty else _summary(found)


def _summary(found: Inspection) -> str:
    head = "no head" if found.head is None else f"head {found.head.transition_hash.hex()[:12]}"
    signed = {None: "not verified, since no key was given", True: "verified", False: "not valid"}
    counts = (
        f"{number} {name if number == 1 else name + 's'}"
        for number, name in (
            (found.generations, "manifest"),
            (len(found.needed), "object"),
            (len(found.orphans), "orphan"),
        )
    )
    return f"{', '.join(counts)}, {head}, its signature {signed[found.is_signed]}"


def _render_json(found: Inspection) -> str:
    document = {
        "version": 1,
        "whole": found.is_whole,
        "head": None if found.head is None else found.head.transition_hash.hex(),
        "signed": found.is_signed,
        "manifests": found.generations,
        "objects": found.needed,
        "orphans": found.orphans,
        "problems": [each._asdict() for each in found.problems],
    }
    return json.dumps(document, indent=2)


def _shown(text: str) -> str:
    # Names of objects are by whoever can write to the store, and must not control a terminal.
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in f"{text}\n")


def _store(given: argparse.Namespace) -> Store:
    options = [f"--{name}={value}" for name in _CLUSTER if (value := getattr(given, name))]
    if given.kubectl or options:
        if given.state:
            raise UsageError("--state names a folder, and the other options a cluster")
        return KubectlStore(options)
    folder = Path(given.state or given.usual_state)
    if given.carry_out is not _import and not folder.is_dir():
        raise UsageError("there is no such folder", where=_where(folder))
    return FileStore(folder)


def _key(given: argparse.Namespace) -> ec.EllipticCurvePublicKey | None:
    path = given.transaction_key
    if path is None:
        return None
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as err:
        raise UsageError("is no public key in PEM form", where=_where(path)) from err
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise UsageError("holds no elliptic curve key", where=_where(path))
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise UsageError(f"cannot be read: {err.strerror}", where=_where(path)) from err


def _where(path: Path) -> Location:
    return Location(file=str(path))


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="contrast-coordinator")
    commands = parser.add_subparsers(required=True)
    for name, carry_out, text in (
        ("fsck", _fsck, "check every object of a store, and write nothing"),
        ("export", _export, "write all that the head of a store leads to into an archive"),
        ("import", _import, "write an archive into an empty store, after checking it"),
    ):
        command = commands.add_parser(name, help=text, description=f"{text.capitalize()}.")
        usual = environ.get(variables.STATE) or DEFAULT_STATE
        command.set_defaults(carry_out=carry_out, usual_state=usual)
        if carry_out is not _fsck:
            command.add_argument("file", type=Path, metavar="FILE", help="the archive, a tar file")
            command.add_argument(
                "--damaged", action="store_true", help="go on although something is damaged"
            )
        _add_places(command)
        if carry_out is _fsck:
            command.add_argument("--output", choices=("text", "json"), default="text")
        if carry_out is _import:
            command.add_argument(
                "--replace",
                action="store_true",
                help="put the archive's head in the place of another one; other objects stay",
            )
    return parser


def _add_places(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--state",
        metavar="DIR",
        help=f"the store is a folder (default {DEFAULT_STATE}, or {variables.STATE})",
    )
    command.add_argument(
        "--kubectl", action="store_true", help="the store is ConfigMaps of kubectl's cluster"
    )
    for name in _CLUSTER:
        text = "the store is ConfigMaps of a cluster: kubectl's option"
        command.add_argument(f"--{name}", metavar=name.upper(), help=text)
    command.add_argument(
        "--transaction-key",
        type=Path,
        metavar="FILE",
        help="public key that the head must be signed by; `contrast-tasks audit --log` writes it",
    )
