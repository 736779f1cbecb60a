"""The sources of settings: each is checked on its own, so that a problem names its place, and then they are merged."""

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from contrast_tasks.declare.problems import Problem, dotted, problems
from contrast_tasks.declare.shapes import Leaf, List
from contrast_tasks.errors import Location, SettingsError
from contrast_tasks.pointers import Path
from contrast_tasks.records import REQUIRED, Record
from contrast_tasks.settings.lines import key_lines
from contrast_tasks.settings.model import SHAPE, fixed_members
from contrast_tasks.settings.workloads import workload_key

_AT = r" \(at (?:line (\d+), column (\d+)|end of document)\)$"
_OBSERVED = ("snp", "tdx")
_TOO_DEEP = "arrays or tables are nested too deep, expected a few levels"
_SWITCH = {"true": True, "1": True, "false": False, "0": False}


class Layer(Record, kw_only=False):
    """One source of settings: its document, and the place and origin of each path in words."""

    document: dict[str, Any]
    place: Callable[[Path], Location]
    origin: Callable[[Path], str]


class InvalidSettings(SettingsError):
    """Some settings are not valid; `problems` has all with their places.

    The message has a line for each problem, and below it its hint, unless the next problem has the same; the last is `hint`.
    """

    def __init__(self, problems: Sequence[tuple[Location, Problem]]) -> None:
        lines, hint = [], ""
        for place, problem in problems:
            if hint not in ("", problem.hint):
                lines.append(f"  hint: {hint}")
            lines.append(f"{place}: {problem.message}" if lines else problem.message)
            hint = problem.hint
        super().__init__("\n".join(lines), hint=hint, where=problems[0][0])
        self.problems = tuple(problems)


def _syntax_error(error: tomllib.TOMLDecodeError, text: str, file: str) -> SettingsError:
    """Return the error about a text that is not TOML; the place is taken from tomllib's message."""
    match = re.search(_AT, str(error))
    reason = re.sub(_AT, "", str(error))
    line, column = (match[1], match[2]) if match else (None, None)
    where = Location(
        file=file,
        line=int(line) if line else text.count("\n", 0, len(text.rstrip())) + 1,
        column=int(column) if column else None,
    )
    message = f"not valid TOML: {reason[:1].lower()}{reason[1:]}"
    hint = 'check quotes, brackets and = here and above; a line reads as platform = "local"'
    return SettingsError(message, hint=hint, where=where)


def file_layer(content: bytes, file: str) -> Layer:
    """Return the layer of a settings file; raises SettingsError if it is not UTF-8 or not TOML."""
    try:
        text = content.decode()
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        message = f"byte 0x{content[err.start]:02x} is not valid UTF-8"
        raise SettingsError(message, where=Location(file=file, line=line)) from err
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        document = tomllib.loads(text)
        lines = key_lines(text)
    except tomllib.TOMLDecodeError as err:
        raise _syntax_error(err, text, file) from err
    except RecursionError as err:
        raise SettingsError(_TOO_DEEP, where=Location(file=file)) from err

    def place(path: Path) -> Location:
        while path and path not in lines:
            path = path[:-1]
        return Location(file=file, line=lines.get(path, 1))

    return Layer(document=document, place=place, origin=lambda path: str(place(path)))


def observed_layer(content: bytes, file: str) -> Layer:
    """Return the layer of what `probe` observed; raises InvalidSettings for other keys than snp and tdx reference values."""
    layer = file_layer(content, file)
    found: list[tuple[Location, Problem]] = []
    for key, value in layer.document.items():
        inner = value if key == "reference_values" and isinstance(value, dict) else {}
        paths = [(key, name) for name in inner if name not in _OBSERVED] if inner else [(key,)]
        for path in paths:
            message = f"{dotted(path)} is not allowed here, expected reference_values.snp and reference_values.tdx only"
            hint = "move your own settings to contrast.toml"
            found.append((layer.place(path), Problem(path, message, hint)))
    if found:
        raise InvalidSettings(found)
    return layer


def override_layer(line: str) -> Layer:
    """Return the layer of one `--set` argument: a line of TOML."""
    place = Location(file=f"--set {line}")
    try:
        document = tomllib.loads(line)
    except tomllib.TOMLDecodeError as err:
        reason = re.sub(_AT, "", str(err))
        message = f"not valid TOML: {reason[:1].lower()}{reason[1:]}"
        hint = "write it as in contrast.toml, as --set 'defaults.memory=\"700Mi\"'"
        raise SettingsError(message, hint=hint, where=place) from err
    except RecursionError as err:
        raise SettingsError(_TOO_DEEP, where=Location(file="--set")) from err
    return Layer(document=document, place=lambda _: place, origin=lambda _: "flag")


def flag_layer(flags: Mapping[str, object]) -> Layer:
    """Return the layer of command line flags: dotted key to value, None for a flag that was not given."""
    document: dict[str, Any] = {}
    for key, value in flags.items():
        if value is not None:
            _put(document, key.split("."), as_toml(value))
    return Layer(
        document=document,
        place=lambda _: Location(file="command line"),
        origin=lambda _: "flag",
    )


def variable(path: Iterable[str]) -> str:
    """Return the name of the environment variable for a key, as CONTRAST_DEFAULTS_MEMORY."""
    return "CONTRAST_" + "_".join(path).upper()


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """Return the layer of CONTRAST_* variables; arrays are split at the path separator, an empty variable is unset."""
    document: dict[str, Any] = {}
    for path, entry in fixed_members():
        if text := environ.get(variable(path), ""):
            _put(document, path, _from_text(text, entry.shape))
    return Layer(
        document=document,
        place=lambda path: Location(file=f"environment {variable(map(str, path))}"),
        origin=lambda path: f"environment {variable(map(str, path))}",
    )


def _from_text(text: str, shape: Leaf | List) -> object:
    """Return the first reading of a variable that its key accepts, else the text itself."""
    readings: list[object] = [text]
    if text.lower() in _SWITCH:
        readings.append(_SWITCH[text.lower()])
    if text.isascii() and text.isdecimal():
        readings.append(int(text))
    readings.append([part for part in text.split(os.pathsep) if part])
    return next((reading for reading in readings if shape.accepts(reading)), text)


def put_defaults(document: dict[str, Any], origins: dict[str, str]) -> None:
    """Add the defaults of keys that no layer sets, except None and ""."""
    for path, entry in fixed_members():
        key = ".".join(path)
        if key not in origins and entry.default not in (REQUIRED, None, ""):
            _put(document, path, as_toml(entry.default))
            origins[key] = "default"


def as_toml(value: object) -> object:
    """Return a value in the form of TOML and JSON, which have no tuples."""
    return list(value) if isinstance(value, tuple) else value


def _put(document: dict[str, Any], path: Sequence[str], value: object) -> None:
    for part in path[:-1]:
        document = document.setdefault(part, {})
    document[path[-1]] = value


def _two_spellings(layer: Layer) -> Iterable[tuple[Location, Problem]]:
    workloads = layer.document.get("workloads")
    seen: dict[str, str] = {}
    for key in workloads if isinstance(workloads, dict) else ():
        first = seen.setdefault(workload_key(key), key)
        if first != key:
            path: Path = ("workloads", key)
            message = (
                f"'{key}' is the same workload as '{first}' "
                f"at {layer.place(('workloads', first))}, expected one entry for it"
            )
            yield layer.place(path), Problem(path, message)


def problems_of(layer: Layer) -> list[tuple[Location, Problem]]:
    """Return the problems of one layer, by line."""
    found = [(layer.place(problem.path), problem) for problem in problems(layer.document, SHAPE)]
    found.extend(_two_spellings(layer))
    return sorted(found, key=lambda item: item[0].line or 0)


def _normal(document: dict[str, Any]) -> dict[str, Any]:
    workloads = document.get("workloads")
    if workloads is None:
        return document
    return {**document, "workloads": {workload_key(key): entry for key, entry in workloads.items()}}


def merge(ordered: Sequence[Layer]) -> tuple[dict[str, Any], dict[str, str], dict[Path, Location]]:
    """Return the merged document, the origins by dotted key, and the places by path; a later layer wins.

    Tables are merged key by key, so `--set workloads."Deployment/web".env={A="1"}` adds one variable.
    """
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    places: dict[Path, Location] = {}

    def visit(
        source: dict[str, Any], target: dict[str, Any], layer: Layer, path: Path, prefix: str = ""
    ) -> None:
        for key, value in source.items():
            inner = (*path, key)
            name = prefix + dotted((key,))
            spelled = _spelled(layer, inner)
            if isinstance(value, dict):
                places.setdefault(inner, layer.place(spelled))
                visit(value, target.setdefault(key, {}), layer, inner, f"{name}.")
            else:
                places[inner] = layer.place(spelled)
                target[key] = value
                origins[name] = layer.origin(spelled)

    for layer in ordered:
        visit(_normal(layer.document), merged, layer, ())
    return merged, origins, places


def _spelled(layer: Layer, path: Path) -> Path:
    """Return a path as the layer spells it, which may include the namespace `default`."""
    if len(path) > 1 and path[0] == "workloads" and path[1] not in layer.document["workloads"]:
        return ("workloads", f"default/{path[1]}", *path[2:])
    return path
