"""Checks of a manifest's members, one by one, by their declarations.

Source: docs/internals/manifest.md 2.1 (what the reference product lets pass), 2.2.
"""

import re
from collections.abc import Mapping
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.catalogue import Entry
from contrast_tasks.declare.problems import dotted
from contrast_tasks.declare.shapes import Leaf, List
from contrast_tasks.errors import did_you_mean
from contrast_tasks.findings import Findings
from contrast_tasks.json_text import shown
from contrast_tasks.manifest.forms import Names, members_of, releases_with, spellings
from contrast_tasks.pointers import Path
from contrast_tasks.records import REFUSED, REQUIRED, Member, Record
from contrast_tasks.releases.table import Release


class Collector:
    """Collects the findings about one manifest; lenient: unknown members are warnings instead of errors.

    release: the one that reads the manifest, None for any. setting: key in contrast.toml of the minimum TCB of the entry that
    is being checked, "" if there is none.
    """

    def __init__(
        self, findings: Findings[Path], *, release: Release | None = None, lenient: bool = False
    ) -> None:
        self.findings = findings
        self.release = release
        self.lenient = lenient
        self.setting = ""

    def report(
        self,
        entry: Entry,
        path: Path,
        reason: str,
        hint: str | None = None,
        *,
        is_milder: bool = False,
    ) -> None:
        """Add one finding; the message is the dotted path, a colon and the reason."""
        message = f"{dotted(path)}: {reason}" if path else reason
        self.findings.report(entry, path, message, hint, is_milder=is_milder)

    def wrong_type(self, path: Path, value: Any, wanted: str) -> None:
        """Add M003: a value is of the wrong type."""
        self.report(catalogue.MEMBER_TYPE, path, f"is {shown(value)}, expected {wanted}")

    def members(self, value: Any, path: Path, record: type[Record]) -> dict[str, Any] | None:
        """Return the members of an object by the names that they have there; None, with M003, for any other value.

        Of two spellings of a member one is returned; different values are M002. An unknown member, or a known one in other
        capitals, is M002 too: an error, or a warning if lenient. A member that the release does not read is left out with
        M005, a warning. An absent required member is M004.
        """
        if not isinstance(value, dict):
            self.wrong_type(path, value, "an object")
            return None
        known = spellings(record)
        read = self._read(record)
        found: dict[str, Any] = {}
        for name, element in value.items():
            place = (*path, name)
            entry = known.get(name)
            if entry is None:
                self._unknown(name, path, tuple(entry.name for entry in record.members))
                continue
            kept = name if not entry.old and name in read else _kept(entry, value, read)
            if kept is None:
                self._ignored(name, place, record)
            elif kept != name:
                if value[kept] != element:
                    reason = f"differs from '{kept}', which is another spelling of it"
                    self.report(catalogue.TWO_SPELLINGS, place, reason)
            else:
                found[name] = element
                if name != entry.name and name not in releases_with(record):
                    reason = f"is an old spelling of '{entry.name}'"
                    self.report(catalogue.OLD_SPELLING, place, reason)
        for entry in record.members:
            if entry.absent is REQUIRED and _spelling(entry, found) is None:
                wanted = next((name for name in read if read[name] is entry), entry.name)
                self.report(catalogue.ABSENT_MEMBER, path, f"has no '{wanted}'")
        return found

    def _read(self, record: type[Record]) -> Names:
        return members_of(record, self.release.manifest) if self.release else spellings(record)

    def _ignored(self, name: str, place: Path, record: type[Record]) -> None:
        readers = releases_with(record).get(name, ())
        which = f"releases that do: {', '.join(readers)}" if readers else "no release does"
        reason = f"release {self.release.name if self.release else ''} does not read it, {which}"
        self.report(catalogue.IGNORED_MEMBER, place, reason)

    def _unknown(self, name: str, path: Path, known: tuple[str, ...]) -> None:
        same = next((entry for entry in known if entry.lower() == name.lower()), None)
        place = (*path, name)
        if same is None:
            hint = did_you_mean(name, known)
            reason = f"unknown member, expected one of {', '.join(known)}"
            self.report(catalogue.UNKNOWN_MEMBER, place, reason, hint, is_milder=self.lenient)
        else:
            reason = f"wrong capitals, expected '{same}'"
            self.report(catalogue.WRONG_CAPITALS, place, reason, is_milder=self.lenient)

    def record(self, record: type[Record], value: Any, path: Path) -> dict[str, Any]:
        """Check an object and each of its members; return the members by their current names."""
        found = self.members(value, path, record)
        if found is None:
            return {}
        current = {}
        for member in record.members:
            name = _spelling(member, found)
            if name is not None:
                current[member.name] = found[name]
                self.member(member, found[name], (*path, name))
            elif isinstance(member.absent, Record) or (member.missing and member.blank is None):
                self.member(member, None, (*path, member.name))
            elif member.needed and self.release and member.name in self._read(record):
                self._absent(member, path)
        return current

    def _absent(self, member: Member, path: Path) -> None:
        """Report a member that the release demands, though others do without."""
        if member.missing:
            self.member(member, member.blank, (*path, member.name))
        else:
            self.report(catalogue.ABSENT_MEMBER, path, f"has no '{member.name}'")

    def member(self, member: Member, value: Any, path: Path) -> None:
        """Check one member."""
        shape = member.shape
        if isinstance(shape, Leaf):
            self._leaf(member, shape, value, path)
        elif isinstance(shape, List):
            self._list(member, shape, value, path)
        elif value is not None or member.absent is REQUIRED:
            self.record(shape, value, path)
        elif member.absent is not None:
            self.record(shape, {}, path)

    def _list(self, member: Member, shape: List, value: Any, path: Path) -> None:
        if shape.most is not None and (not isinstance(value, list) or len(value) != shape.most):
            found = f"has {len(value)} elements" if isinstance(value, list) else "is no array"
            self.report(_fault(member), path, f"{found}, expected {shape.most}")
        elif isinstance(value, list):
            for index, element in enumerate(value):
                place = (*path, index)
                if not isinstance(shape.element, Leaf):
                    self.record(shape.element, element, place)
                elif self._leaf(member, shape.element, element, place) and (
                    shape.unique and element in value[:index]
                ):
                    self.report(_fault(member), place, "occurs before")
        elif value is not None or shape.null is REFUSED:
            self.wrong_type(path, value, "an array or null")

    def _leaf(self, member: Member, leaf: Leaf, value: Any, path: Path) -> bool:
        """Return whether a value is accepted; a value that no machine has is reported and refused."""
        suspect = member.suspect
        if member.missing and value == member.blank:
            hint = self._hint(member.missing)
            self.report(member.missing, path, "is missing, expected a value", hint)
        elif not leaf.accepts(value):
            self.report(_fault(member), path, _reason(leaf, value))
        elif suspect and (value.lower() if isinstance(value, str) else value) == suspect.value:
            self.report(suspect.fault, path, suspect.reason, self._hint(suspect.fault))
        else:
            return True
        return False

    def _hint(self, entry: Entry) -> str | None:
        if self.setting and entry in (catalogue.MISSING_MINIMUM_TCB, catalogue.SVN_PLACEHOLDER):
            return f"{entry.hint}, and set it in contrast.toml: {self.setting}"
        return None


def _spelling(entry: Member, found: Mapping[str, Any]) -> str | None:
    """Return the name under which a member was found, None if it is absent."""
    return next((name for name in (entry.name, *entry.old) if name in found), None)


def _kept(entry: Member, value: Mapping[str, Any], read: Names) -> str | None:
    """Return the spelling of a member that counts: the first that is present and read."""
    names = (entry.name, *entry.old)
    return next((name for name in names if name in value and name in read), None)


def _fault(member: Member) -> Entry:
    return member.fault or catalogue.MEMBER_TYPE


def _reason(leaf: Leaf, value: Any) -> str:
    """Return what is wrong with a value, and what was expected."""
    if leaf.explain is not None and (reason := leaf.explain(value)):
        return reason
    wanted = f"expected {leaf.wanted}"
    if not leaf.size_bytes or not isinstance(value, str):
        return f"is {shown(value)}, {wanted}"
    if not re.fullmatch(r"[0-9A-Fa-f]*", value):
        return f"is {shown(value)}, which is not hex, {wanted}"
    if len(value) != 2 * leaf.size_bytes:
        return f"has {len(value)} hex digits, {wanted}"
    return f"has upper-case hex digits, {wanted}"
