"""Reference values that somebody set although the Coordinator of the release would ignore them.

Nobody would notice: the manifest would be accepted, and evidence would be judged without them. Source:
docs/internals/releases.md 2.1 (readers ignore members that they do not know).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding
from contrast_tasks.manifest.forms import members_of, ours, releases_with
from contrast_tasks.manifest.reference_values import ProvidedValues
from contrast_tasks.platforms import Platform
from contrast_tasks.records import Record
from contrast_tasks.releases.table import Release
from contrast_tasks.settings.model import ReferenceOverrides
from contrast_tasks.trusted_guests import SnpReference, TdxReference

_TABLE = "reference_values"
_Set = tuple[type[Record], str, str, Location]


def unread_values(
    platform: Platform,
    release: Release,
    overrides: ReferenceOverrides,
    provided: ProvidedValues | None,
    *,
    where: Callable[[str], Location],
    is_reference: bool,
) -> list[Finding]:
    """Return M006 for each value that the release does not read, and M007 for each that only our Coordinator honours.

    where: returns the place of a dotted key of the settings. is_reference: the Coordinator is the reference product's, so that
    M007 is an error; otherwise it is a note.
    """
    findings = []
    for record, name, shown, place in _all_set(platform, overrides, provided, where):
        if name in ours(record):
            findings.append(own_member(place, shown, is_reference=is_reference))
        elif not _is_read(record, name, release):
            message = f"{shown} is set, which release {release.name} does not read; releases that do: {_readers(record, name)}"
            findings.append(Finding(catalogue.IGNORED_VALUE, place, message))
    return findings


def own_member(where: Location, shown: str, *, is_reference: bool) -> Finding:
    """Return M007 for a value that only our Coordinator honours; arguments as of `unread_values`."""
    message = f"{shown} is honoured by our Coordinator only, not by one of the reference product"
    return Finding(catalogue.OWN_MEMBER, where, message, is_milder=not is_reference)


def _is_read(record: type[Record], name: str, release: Release) -> bool:
    return any(entry.name == name for entry in members_of(record, release.manifest).values())


def _readers(record: type[Record], name: str) -> str:
    return ", ".join(releases_with(record).get(name, ()))


def _all_set(
    platform: Platform,
    overrides: ReferenceOverrides,
    provided: ProvidedValues | None,
    where: Callable[[str], Location],
) -> Iterator[_Set]:
    """Yield record, member, name for messages and place of each value that settings or file set for the platform."""
    if platform.tee == "tdx":
        yield from _declared(TdxReference, overrides.tdx, f"{_TABLE}.tdx", where)
    elif platform.tee == "snp":
        for product, values in overrides.snp.items():
            yield from _declared(SnpReference, values, f"{_TABLE}.snp.{product}", where)
    if provided is None:
        return
    for record, key, entries in (
        (SnpReference, "snp", provided.snp),
        (TdxReference, "tdx", provided.tdx),
    ):
        for index, entry in enumerate(entries if platform.tee == key else ()):
            yield from _provided(record, entry, (key, index), provided)


def _declared(
    record: type[Record],
    values: Mapping[str, Any],
    above: str,
    where: Callable[[str], Location],
) -> Iterator[_Set]:
    for member in record.members:
        value = values.get(member.key) if member.settable else None
        key = f"{above}.{member.key}"
        if isinstance(value, Mapping):
            yield from _declared(member.shape, value, key, where)
        elif value is not None:
            yield record, member.name, key, where(key)


def _provided(
    record: type[Record],
    values: Mapping[str, Any],
    path: tuple[str | int, ...],
    provided: ProvidedValues,
) -> Iterator[_Set]:
    for member in record.members:
        value, inner = values.get(member.name), (*path, member.name)
        if isinstance(value, Mapping):
            yield from _provided(member.shape, value, inner, provided)
        # A file may write null or "" for values that it does not set.
        elif value not in (None, ""):
            yield record, member.name, member.name, provided.place(inner)
