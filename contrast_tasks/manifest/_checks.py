"""Checks of a manifest's members, one by one, by their declarations.

Source: docs/internals/manifest.md 2.1 (what the reference product lets pass), 2.2.
"""

import re
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.catalogue import Entry
from contrast_tasks.declare.problems import dotted
from contrast_tasks.declare.shapes import Leaf, List
from contrast_tasks.errors import did_you_mean
from contrast_tasks.findings import Findings
from contrast_tasks.json_text import shown
from contrast_tasks.pointers import Path
from contrast_tasks.records import REFUSED, REQUIRED, Member, Record


class Collector:
    """Collects the findings about one manifest; lenient: unknown members are warnings instead of errors.

    setting: key in contrast.toml of the minimum TCB of the entry that is being checked, "" if there is none.
    """

    def __init__(self, findings: Findings[Path], *, lenient: bool = False) -> None:
        self.findings = findings
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
        """Return the members of an object under their current names; None, with M003, for any other value.

        An unknown member, or a known one in other capitals, is M002: an error, or a warning if lenient. An old spelling is
        a warning, or an error if the current one occurs too. An absent required member is M004.
        """
        if not isinstance(value, dict):
            self.wrong_type(path, value, "an object")
            return None
        known = tuple(member.name for member in record.members)
        aliases = {old: member.name for member in record.members for old in member.old}
        found: dict[str, Any] = {}
        for name, element in value.items():
            current = aliases.get(name, "")
            if name in known:
                found[name] = element
            elif current and current in value:
                reason = f"is an old spelling of '{current}', which occurs too"
                self.report(catalogue.TWO_SPELLINGS, (*path, name), reason)
            elif current:
                reason = f"is an old spelling of '{current}'"
                self.report(catalogue.OLD_SPELLING, (*path, name), reason)
                found[current] = element
            else:
                self._unknown(name, path, known)
        for member in record.members:
            if member.name not in found and member.absent is REQUIRED:
                self.report(catalogue.ABSENT_MEMBER, path, f"has no '{member.name}'")
        return found

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
        """Check an object and each of its members; return the members."""
        found = self.members(value, path, record)
        for member in record.members if found is not None else ():
            if found and member.name in found:
                self.member(member, found[member.name], (*path, member.name))
            elif isinstance(member.absent, Record) or (member.missing and member.blank is None):
                self.member(member, None, (*path, member.name))
        return found or {}

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


def _fault(member: Member) -> Entry:
    return member.fault or catalogue.MEMBER_TYPE


def _reason(leaf: Leaf, value: Any) -> str:
    """Return what is wrong with a value, and what was expected."""
    if leaf.explain is not None:
        return leaf.explain(value)
    wanted = f"expected {leaf.wanted}"
    if not leaf.size_bytes or not isinstance(value, str):
        return f"is {shown(value)}, {wanted}"
    if not re.fullmatch(r"[0-9A-Fa-f]*", value):
        return f"is {shown(value)}, which is not hex, {wanted}"
    if len(value) != 2 * leaf.size_bytes:
        return f"has {len(value)} hex digits, {wanted}"
    return f"has upper-case hex digits, {wanted}"
