"""The manifest as one release of the runtime writes and reads it: which members there are, in which order and spelling.

The members are declared once, for all releases; a release's row lists those that it knows. Members that no release lists are
ours: they are written only if they have a value. Source: docs/internals/releases.md 2.1.
"""

from collections.abc import Mapping
from typing import Any

from contrast_tasks.declare.documents import to_json
from contrast_tasks.manifest.model import Manifest
from contrast_tasks.records import Member, Record
from contrast_tasks.releases.table import RELEASES, ManifestForm
from contrast_tasks.trusted_guests import (
    GuestPolicy,
    PlatformInfo,
    ReferenceValues,
    SimulatedReference,
    SnpReference,
    TdxReference,
)

Names = Mapping[str, Member]


class _Facts(Record, kw_only=False):
    """What holds for a record in all releases; see the functions of the same names."""

    spellings: Names
    releases_with: Mapping[str, tuple[str, ...]]
    ours: tuple[str, ...]


_FACTS: dict[type[Record], _Facts] = {}


def spellings(record: type[Record]) -> Names:
    """Return every name that a member of a record has in any release, with the member."""
    return _facts(record).spellings


def releases_with(record: type[Record]) -> Mapping[str, tuple[str, ...]]:
    """Return the releases that have each member, oldest first, by name; empty if no release differs in this record."""
    return _facts(record).releases_with


def ours(record: type[Record]) -> tuple[str, ...]:
    """Return the members that no release of the reference product has."""
    return _facts(record).ours


def members_of(record: type[Record], form: ManifestForm) -> Names:
    """Return the members of a record in a release, in the order of its file and by its names; ours are the last."""
    listed, facts = _listed(record, form), _facts(record)
    if listed is None:
        return facts.spellings
    return {name: facts.spellings[name] for name in (*listed, *facts.ours)}


def _facts(record: type[Record]) -> _Facts:
    facts = _FACTS.get(record)
    if facts is None:
        known = {name: entry for entry in record.members for name in (entry.name, *entry.old)}
        found: dict[str, tuple[str, ...]] = {}
        for row in RELEASES:
            for name in _listed(record, row.manifest) or ():
                found[name] = (*found.get(name, ()), row.name)
        own = [
            entry for entry in record.members if found.keys().isdisjoint((entry.name, *entry.old))
        ]
        facts = _Facts(known, found, tuple(entry.name for entry in own) if found else ())
        _FACTS[record] = facts
    return facts


def _listed(record: type[Record], form: ManifestForm) -> tuple[str, ...] | None:
    """Return the names that a release's row lists for a record, None if they are the same in all releases."""
    if record is SnpReference:
        return form.snp
    if record is TdxReference:
        return form.tdx
    if record is GuestPolicy:
        return form.guest_policy
    if record is PlatformInfo:
        return form.platform_info
    if record is Manifest:
        return ("Policies", "ReferenceValues", form.owners, "SeedshareOwnerPubKeys")
    return None


def manifest_document(manifest: Manifest, form: ManifestForm) -> dict[str, Any]:
    """Return the JSON document that a release's own code would write, with our members where they have a value."""
    document = {
        name: to_json(getattr(manifest, entry.attribute))
        for name, entry in members_of(Manifest, form).items()
        if entry.shape is not ReferenceValues
    }
    # The reference product writes the policies of a new manifest as null, never as an empty object.
    document["Policies"] = document["Policies"] or None
    values = manifest.reference_values
    document["ReferenceValues"] = {
        entry.name: [_document(guest, form) for guest in guests]
        for entry in ReferenceValues.members
        if (guests := getattr(values, entry.attribute))
    }
    own = {entry.name: entry.absent for entry in Manifest.members if entry.name in ours(Manifest)}
    return {
        name: document[name]
        for name in members_of(Manifest, form)
        if name not in own or document[name] != own[name]
    }


def _document(value: Record, form: ManifestForm) -> dict[str, Any]:
    kind = type(value)
    # Simulated evidence is ours, so its entries do not change with the release.
    if kind is SimulatedReference or _listed(kind, form) is None:
        whole: dict[str, Any] = to_json(value)
        return whole
    own = ours(kind)
    written = {}
    for name, entry in members_of(kind, form).items():
        part = getattr(value, entry.attribute)
        if part is not None or name not in own:
            part = entry.zero if part is None else part
            written[name] = _document(part, form) if isinstance(part, Record) else to_json(part)
    return written
