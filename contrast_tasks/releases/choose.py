"""Which row of the table a setting means. Source: docs/internals/releases.md 9."""

import re
from collections.abc import Callable
from typing import NamedTuple

from contrast_tasks.errors import did_you_mean
from contrast_tasks.releases.table import LOCAL, RELEASE_NAMES, RELEASES, UNSUPPORTED, Release

_PARTS = 3
_NAME = re.compile(r"v?(1\.(0|[1-9][0-9]*))(?:\.(0|[1-9][0-9]*))?")


class Unsupported(NamedTuple):
    """Why a release cannot be chosen, and what to do."""

    reason: str
    hint: str


def newest_with(platform: str) -> Release:
    """Return the newest release that has a platform."""
    return rows_with(platform)[-1]


def default_for(platform: str) -> Release:
    """Return the release to assume where none is set: the newest with the platform.

    No release has `local`, which can stand for each of them; there it is the last whose policies are plain text, so that
    what a host would see can be read.
    """
    rows = rows_with(platform)
    return [row for row in rows if platform != LOCAL or row.channel == "plain"][-1]


def releases_with(platform: str) -> tuple[str, ...]:
    """Return the releases that have a platform, oldest first."""
    return tuple(row.name for row in rows_with(platform))


def rows_with(platform: str) -> tuple[Release, ...]:
    """Return the rows of the releases that have a platform, oldest first."""
    return tuple(row for row in RELEASES if platform in row.platforms)


def first_with(has: Callable[[Release], bool]) -> str:
    """Return the name of the first release of which something holds."""
    return next(row.name for row in RELEASES if has(row))


def row_of(name: str) -> Release | Unsupported:
    """Return the row of a release, written as v1.13.0, 1.13.0 or v1.13; a patch release has the row of its minor release.

    `Release.name` differs from the given name then, and the formats are assumed to be the same.
    """
    known = f"expected one of {', '.join(RELEASE_NAMES)}"
    found = _NAME.fullmatch(name)
    if found is None:
        return Unsupported(f"'{name}' is no release, {known}", did_you_mean(name, RELEASE_NAMES))
    minor = f"v{found[1]}"
    for row in RELEASES:
        if row.name == f"{minor}.0":
            return row
    reason = dict(UNSUPPORTED).get(minor, "this version of the tool does not know its formats")
    return Unsupported(f"release {name} is not supported: {reason}", f"{known}")


def full_name(name: str) -> str:
    """Return the name of a release with all its parts, v1.13.0 for 1.13."""
    parts = name.removeprefix("v").split(".")
    return "v" + ".".join([*parts, "0"][:_PARTS])


def is_exact(name: str) -> bool:
    """Return whether a release has a row of its own, so that nothing about it is assumed."""
    return name in RELEASE_NAMES
