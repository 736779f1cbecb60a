"""The collector that all manifest rules write into, and the rules they have in common."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.catalogue import Entry
from contrast_tasks.findings import Findings
from contrast_tasks.platforms import did_you_mean
from contrast_tasks.pointers import Path

MISSING_PREFIX = "missing-"
_HEX = re.compile(r"[0-9a-f]*")
_HEX_ANY_CASE = re.compile(r"[0-9A-Fa-f]*")
_SHOWN = 40
# The reference product reads counts into such integers and refuses larger ones.
_INT64_MAX = 2**63 - 1


def shown(value: Any) -> str:
    """Return how a JSON value is quoted in a message, cut to a readable length."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if len(text) > _SHOWN:
        text = f"{text[:_SHOWN]}... ({len(text)} characters)"
    if not text.isprintable():
        text = text.encode("unicode_escape").decode()
    return f"'{text}'" if isinstance(value, str) else text


def dotted(path: Path) -> str:
    """Return a path as people read it: `ReferenceValues.snp[0].MinimumTCB`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """The rules that parts of a manifest have in common, and what they found in one manifest."""

    findings: Findings[Path]
    lenient: bool = False

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

    def missing(self, entry: Entry, path: Path, hint: str | None = None) -> None:
        """Add a finding of the class that generate tolerates: a value only the user can know is not there yet."""
        self.report(entry, path, "is missing, expected a value", hint)

    def wrong_type(self, path: Path, value: Any, wanted: str) -> None:
        """Add M003: a value has another type than the format knows."""
        self.report(catalogue.MEMBER_TYPE, path, f"is {shown(value)}, expected {wanted}")

    def members(
        self,
        value: Any,
        path: Path,
        *,
        known: Collection[str],
        required: Collection[str] = (),
        aliases: Mapping[str, str] | None = None,
    ) -> dict[str, Any] | None:
        """Return the members of an object under their proper names; None, with M003, if it is no object.

        Unknown members, among them known ones with other capitals, are M002: an error, or a warning when lenient.
        An alias is a warning, and an error beside its proper name. A required member that is absent is M004.
        """
        if not isinstance(value, dict):
            self.wrong_type(path, value, "an object")
            return None
        found: dict[str, Any] = {}
        for name, member in value.items():
            proper = (aliases or {}).get(name, "")
            if name in known:
                found[name] = member
            elif proper and proper in value:
                reason = f"is another spelling of '{proper}', which is there too"
                self.report(catalogue.TWO_SPELLINGS, (*path, name), reason)
            elif proper:
                reason = f"is an old spelling of '{proper}'"
                self.report(catalogue.OLD_SPELLING, (*path, name), reason)
                found[proper] = member
            else:
                self._unknown(name, path, tuple(known))
        for name in required:
            if name not in found:
                self.report(catalogue.ABSENT_MEMBER, path, f"has no '{name}'")
        return found

    def _unknown(self, name: str, path: Path, known: tuple[str, ...]) -> None:
        same = next((entry for entry in known if entry.lower() == name.lower()), None)
        if same is None:
            hint = did_you_mean(name, known)
            reason = f"unknown member, expected one of {', '.join(known)}"
            self.report(
                catalogue.UNKNOWN_MEMBER, (*path, name), reason, hint, is_milder=self.lenient
            )
        else:
            reason = f"wrong capitals, expected '{same}'"
            self.report(catalogue.WRONG_CAPITALS, (*path, name), reason, is_milder=self.lenient)

    def elements(self, value: Any, path: Path) -> list[Any]:
        """Return the elements of an array; an empty list for null, and with M003 for anything else."""
        if value is None:
            return []
        if not isinstance(value, list):
            self.wrong_type(path, value, "an array or null")
            return []
        return value

    def hex(
        self,
        value: Any,
        path: Path,
        size_bytes: int,
        *,
        entry: Entry,
        any_case: bool = False,
    ) -> bool:
        """Return whether `value` is hex of `size_bytes` bytes, adding a finding of `entry` if it is not.

        any_case: for what is compared as bytes with evidence; tools print chip ids in capitals (docs/internals/attestation.md 8, row 75).
            Hashes are compared as text, so theirs has to be lower case.
        """
        digits = 2 * size_bytes
        wanted = f"expected {digits} {'' if any_case else 'lower-case '}hex digits"
        if not isinstance(value, str):
            reason = f"is {shown(value)}, {wanted}"
        elif not _HEX_ANY_CASE.fullmatch(value):
            reason = f"is {shown(value)}, which is not hex, {wanted}"
        elif len(value) != digits:
            reason = f"has {len(value)} hex digits, {wanted}"
        elif not any_case and not _HEX.fullmatch(value):
            reason = f"has upper-case hex digits, {wanted}"
        else:
            return True
        self.report(entry, path, reason)
        return False

    def integer(self, value: Any, path: Path, high: int, *, entry: Entry) -> bool:
        """Return whether `value` is an integer, not written as a fraction, from 0 to `high`."""
        if type(value) is int and 0 <= value <= high:
            return True
        self.report(entry, path, f"is {shown(value)}, expected an integer from 0 to {high}")
        return False

    def optional(
        self,
        members: Mapping[str, Any],
        path: Path,
        name: str,
        kind: type[bool | int | str],
    ) -> None:
        """Add M003 if a member is there and is not of `kind`; integers are those of 64 bits that are not negative."""
        if name not in members:
            return
        value: Any = members[name]
        is_number = type(value) is int
        if type(value) is not kind or (is_number and not 0 <= int(value) <= _INT64_MAX):
            words = {
                bool: "true or false",
                str: "a string",
                int: f"an integer from 0 to {_INT64_MAX}",
            }
            self.wrong_type((*path, name), value, words[kind])
