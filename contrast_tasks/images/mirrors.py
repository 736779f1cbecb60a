"""Where the images of a registry are read instead, or first: the user's registries.conf, as skopeo and Podman read it.

Files: $CONTAINERS_REGISTRIES_CONF alone; or else that of the user and those in the folder registries.conf.d beside it;
without one, those of the system before these. Of equal prefixes the last counts. They are read once a registry is asked.

`insecure` is left out on purpose: it weakens nothing here. Search lists and aliases are too: a short name means docker.io,
as on the node. Source: containers-registries.conf(5) and containers-registries.conf.d(5).
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from contrast_tasks.errors import ImageError, Location
from contrast_tasks.pods.references import ImageReference
from contrast_tasks.records import Record

_SYSTEM = Path("/etc/containers")
_FILE, _FOLDER = "registries.conf", "registries.conf.d"
_PULLS = ("all", "digest-only", "tag-only")


class Place(Record):
    """A repository of a registry; registry: host with its port, `docker.io` for Docker's own."""

    registry: str
    repository: str


class _Mirror(Record):
    location: str
    pulls: str


class _Entry(Record):
    prefix: str
    location: str
    is_blocked: bool
    mirrors: tuple[_Mirror, ...]
    file: str


class Mirrors:
    """The places of images by what the user's files say."""

    def __init__(self, files: tuple[Path, ...] = ()) -> None:
        self._files = files
        self._read: dict[str, _Entry] | None = None

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], home: Path, *, system: Path = _SYSTEM
    ) -> Self:
        """Return what the files of this machine and user say; absent files say nothing."""
        if named := environ.get("CONTAINERS_REGISTRIES_CONF"):
            return cls((Path(named),))
        user = home / ".config" / "containers"
        folders = (user,) if (user / _FILE).is_file() else (system, user)
        more = [file for each in folders for file in sorted((each / _FOLDER).glob("*.conf"))]
        return cls((folders[0] / _FILE, *more))

    def places(self, reference: ImageReference) -> tuple[Place, ...]:
        """Return where to look for an image, mirrors first; raises ImageError if a file forbids it or is malformed."""
        own = Place(registry=reference.registry, repository=reference.repository)
        entry = self._entry_of(reference)
        if entry is None:
            return (own,)
        if entry.is_blocked:
            message = f"image {reference}: {entry.prefix} is blocked"
            raise ImageError(message, where=Location(file=entry.file))
        name = f"{own.registry}/{own.repository}"
        rest = "" if entry.prefix.startswith("*.") else name[len(_name(entry.prefix)) :]
        wanted = "tag-only" if reference.digest is None else "digest-only"
        locations = [mirror.location for mirror in entry.mirrors if mirror.pulls in {"all", wanted}]
        found = [_place(location + rest, entry) for location in locations]
        return (*found, _place(entry.location + rest, entry) if entry.location else own)

    def _entry_of(self, reference: ImageReference) -> _Entry | None:
        if self._read is None:
            entries = (entry for file in self._files for entry in _entries(file))
            self._read = {entry.prefix: entry for entry in entries}
        found = [entry for entry in self._read.values() if _fits(entry.prefix, reference)]
        return max(found, key=lambda entry: len(entry.prefix), default=None)


def _fits(prefix: str, reference: ImageReference) -> bool:
    if prefix.startswith("*."):
        return reference.registry.partition(":")[0].endswith(prefix[1:])
    full = reference.canonical
    return full == prefix or (full.startswith(prefix) and full[len(prefix)] in "/:@")


def _name(prefix: str) -> str:
    """Return a prefix without a tag or digest."""
    head, slash, last = prefix.partition("@")[0].rpartition("/")
    return f"{head}/{last.partition(':')[0]}" if slash else last


def _place(location: str, entry: _Entry) -> Place:
    registry, _, repository = location.partition("/")
    if not registry or not repository:
        message = f"{entry.prefix}: {location!r} is no registry and repository"
        raise ImageError(message, where=Location(file=entry.file))
    return Place(registry=registry, repository=repository)


def _entries(file: Path) -> list[_Entry]:
    """Return the entries of a file, none if it is absent; raises ImageError."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except OSError as err:
        raise _refusal(file, f"cannot be read: {err.strerror}") from err
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise _refusal(file, f"not valid TOML: {err}") from err
    return [_entry(table, file) for table in _tables(document, "registry", file)]


def _entry(table: Mapping[str, Any], file: Path) -> _Entry:
    prefix, location = _text(table, "prefix", file), _text(table, "location", file)
    if not prefix and not location:
        raise _refusal(file, "a registry has neither prefix nor location")
    usual = "digest-only" if table.get("mirror-by-digest-only") is True else "all"
    return _Entry(
        prefix=prefix or location,
        location=location,
        is_blocked=table.get("blocked") is True,
        mirrors=tuple(_mirror(each, usual, file) for each in _tables(table, "mirror", file)),
        file=str(file),
    )


def _mirror(table: Mapping[str, Any], usual: str, file: Path) -> _Mirror:
    pulls = _text(table, "pull-from-mirror", file) or usual
    if pulls not in _PULLS:
        raise _refusal(file, f"pull-from-mirror is {pulls!r}, expected one of {', '.join(_PULLS)}")
    return _Mirror(location=_text(table, "location", file), pulls=pulls)


def _text(table: Mapping[str, Any], key: str, file: Path) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise _refusal(file, f"{key} is {value!r}, expected a string")
    return value.rstrip("/")


def _tables(table: Mapping[str, Any], key: str, file: Path) -> list[dict[str, Any]]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise _refusal(file, f"{key} is no array of tables")
    return found


def _refusal(file: Path, problem: str) -> ImageError:
    return ImageError(problem, where=Location(file=str(file)))
