"""The settings of one project: contrast.toml, CONTRAST_* variables and flags, merged, each value with its origin.

Precedence: flag, environment, file, default. Every start loads settings, so only the standard library is imported. Source: docs/internals/graph.md 4.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from contrast_tasks.declare.documents import to_record
from contrast_tasks.declare.problems import Problem
from contrast_tasks.errors import Location, SettingsError
from contrast_tasks.files import canonical_json, sha256_hex
from contrast_tasks.platforms import HANDLER_PREFIX, handlers_among
from contrast_tasks.pointers import Path as KeyPath
from contrast_tasks.releases.choose import Unsupported, default_for, releases_with, row_of
from contrast_tasks.settings import layers
from contrast_tasks.settings.layers import InvalidSettings
from contrast_tasks.settings.model import FILE_NAME, Settings
from contrast_tasks.settings.outputs import output_problems
from contrast_tasks.settings.workloads import ElsewhereSettings, WorkloadSettings

# Written by `probe` once the user has confirmed its values; contrast.toml wins over it.
OBSERVED_NAME = "observed.toml"
_EMPTY: Mapping[str, Any] = MappingProxyType({})


def load_settings(
    root: Path,
    *,
    environ: Mapping[str, str],
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] = _EMPTY,
    is_project: bool = True,
) -> Settings:
    """Return the effective settings of the project in `root`; a missing contrast.toml counts as an empty one.

    Reference values that `probe` observed are in a file beside it, which is read like contrast.toml.
    overrides: lines of TOML, from `--set`. flags: dotted key to value, None for a flag that was not given.
    is_project: False for commands that work without a project: platform may then be "" and sources empty.
    Raises SettingsError, and InvalidSettings with every problem of all sources, each with its place.
    """
    ordered = []
    content = _content_of(root, FILE_NAME)
    if content is not None:
        observed = _content_of(root, OBSERVED_NAME)
        if observed is not None:
            ordered.append(layers.observed_layer(observed, OBSERVED_NAME))
        ordered.append(layers.file_layer(content, FILE_NAME))
    ordered.append(layers.environment_layer(environ))
    ordered.extend(layers.override_layer(line) for line in overrides)
    ordered.append(layers.flag_layer(flags))
    problems = [problem for layer in ordered for problem in layers.problems_of(layer)]
    if problems:
        raise InvalidSettings(problems)
    document, origins, places = layers.merge(ordered)
    if not is_project and content is None:
        document = {"platform": "", "sources": [], **document}
    found = list(_missing(document, has_file=content is not None))
    found += _release_problems(document, origins, places)
    found += _class_problems(document, places)
    found += _owner_problems(document, origins, places)
    found += _ignore_problems(document, places)
    layers.put_defaults(document, origins)
    for problem in output_problems(root, document):
        where = places.get(problem.path, Location(file=FILE_NAME))
        found.append((where, problem))
    if found:
        raise InvalidSettings(found)
    return _build(root, document, origins, places)


def observed_values(content: bytes, file: str) -> Mapping[str, Any]:
    """Return the tables below [reference_values] of a file that `probe` wrote; raises SettingsError for other content."""
    layer = layers.observed_layer(content, file)
    if problems := layers.problems_of(layer):
        raise InvalidSettings(problems)
    found: Mapping[str, Any] = layer.document.get("reference_values", {})
    return found


def _content_of(root: Path, name: str) -> bytes | None:
    try:
        return (root / name).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as err:
        raise SettingsError(f"cannot be read: {err.strerror}", where=Location(file=name)) from err


def _missing(document: Mapping[str, Any], *, has_file: bool) -> Iterator[tuple[Location, Problem]]:
    """Yield a problem for each absent key that has no default."""
    for key, example in (("platform", '"local"'), ("sources", '["deployment"]')):
        if key not in document:
            hint = "" if has_file else f"'contrast-tasks init' writes {FILE_NAME}"
            message = f"{key} is not set, expected as in {key} = {example}"
            yield Location(file=FILE_NAME), Problem((key,), message, hint)


def _release_problems(
    document: dict[str, Any], origins: dict[str, str], places: Mapping[KeyPath, Location]
) -> Iterator[tuple[Location, Problem]]:
    """Put in the release that follows from the platform if none is set; yield a problem if the two do not fit."""
    name = document.get("platform", "").lower()
    runtime = document.setdefault("runtime", {})
    if "release" not in runtime:
        if name:
            runtime["release"] = default_for(name).name
            origins["runtime.release"] = "default"
        return
    path = ("runtime", "release")
    row = row_of(runtime["release"])
    if isinstance(row, Unsupported):
        yield places[path], Problem(path, f"runtime.release: {row.reason}", row.hint)
    elif name and name not in row.platforms:
        message = f"runtime.release is {runtime['release']}, which has no platform '{name}', expected one that has it"
        hint = f"releases with it: {', '.join(releases_with(name))}; or choose another platform"
        yield places[path], Problem(path, message, hint)


def _class_problems(
    document: Mapping[str, Any], places: Mapping[KeyPath, Location]
) -> Iterator[tuple[Location, Problem]]:
    """Yield a problem if the runtime class is of another platform; `local` has none."""
    name, found = document.get("platform", "").lower(), document.get("runtime", {}).get("class")
    if found and name not in ("", "local") and not handlers_among([found], name):
        path = ("runtime", "class")
        message = f"runtime.class is {found}, expected one of platform {name}: {HANDLER_PREFIX}{name}-<8 hex digits>"
        yield (
            places[path],
            Problem(path, message, "'kubectl get runtimeclass' shows those of the cluster"),
        )


def _owner_problems(
    document: Mapping[str, Any], origins: Mapping[str, str], places: Mapping[KeyPath, Location]
) -> Iterator[tuple[Location, Problem]]:
    """Yield a problem if a flag names owners of a manifest that nobody may update: they would be left out."""
    owners = document.get("owners", {})
    path, denied = ("owners", "workload"), ("owners", "disable_updates")
    if (
        owners.get("workload")
        and owners.get("disable_updates")
        and origins[".".join(path)] == "flag"
    ):
        message = f"owners.workload names keys, but owners.disable_updates is true at {places[denied]}, expected one of the two"
        hint = "a manifest without updates lists no owner: remove disable_updates, or name no key"
        yield places[path], Problem(path, message, hint)


def _ignore_problems(
    document: Mapping[str, Any], places: Mapping[KeyPath, Location]
) -> Iterator[tuple[Location, Problem]]:
    """Yield a problem for each entry of lint.ignore that does not say what it is for, or why."""
    path = ("lint", "ignore")
    for number, entry in enumerate(document.get("lint", {}).get("ignore", ())):
        for key, example in (
            ("rule", '"memory-request"'),
            ("reason", '"why it need not be answered"'),
        ):
            if key not in entry:
                message = f"lint.ignore[{number}] has no {key}, expected as in {key} = {example}"
                yield places[path], Problem((*path, number), message)


def _build(
    root: Path,
    document: dict[str, Any],
    origins: dict[str, str],
    places: Mapping[KeyPath, Location],
) -> Settings:
    document["platform"] = document["platform"].lower()
    settings = to_record(
        Settings,
        document,
        root=root,
        file=FILE_NAME,
        workloads={
            key: to_record(
                WorkloadSettings, entry, where=places["workloads", key], _places=places, _key=key
            )
            for key, entry in document.get("workloads", {}).items()
        },
        elsewhere={
            key: to_record(ElsewhereSettings, entry, where=places["elsewhere", key])
            for key, entry in document.get("elsewhere", {}).items()
        },
        digests=_digests(document),
        origins=origins,
        _places=places,
    )
    return settings.replace(workload_owner_keys=()) if settings.disable_updates else settings


def _digests(document: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}

    def visit(name: str, value: Any) -> None:
        if isinstance(value, dict) and name not in ("workloads", "elsewhere"):
            for key, each in value.items():
                visit(f"{name}.{key}" if name else key, each)
        else:
            found[name] = sha256_hex(canonical_json(value))

    visit("", document)
    return found
