"""Observe an unknown machine through its Coordinator's evidence, and write the values that the user confirms.

The file records one machine at one time. Under its default name, next to contrast.toml, it is read like part of
contrast.toml, which has precedence and is never written.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks.errors import Location, SettingsError, UsageError
from contrast_tasks.files import write_atomic
from contrast_tasks.settings.load import OBSERVED_NAME, observed_values
from contrast_tasks.settings.model import FILE_NAME

if TYPE_CHECKING:
    from contrast_tasks.attestation.endorsements.fetch import Endorsements
    from contrast_tasks.attestation.observe import Observation
    from contrast_tasks.attestation.trust_roots import TrustRoots
    from contrast_tasks.records import Record
    from contrast_tasks.releases.table import Release

_MARK = "# Observed by 'contrast-tasks probe'"
_HEAD = (
    f"{_MARK} and confirmed.",
    f"# {OBSERVED_NAME} is read with {FILE_NAME}, which has precedence; lines of any other file can be copied there.",
)
# Each machine adds its own to these; of all other values the last observation replaces earlier ones.
_OF_EACH_MACHINE = ("allowed_chip_ids", "allowed_piids")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The observed values to write in addition to the firmware levels."""

    guest: bool = False
    machine: bool = False


def probe(
    host: str,
    port: int,
    *,
    endorsements: "Endorsements",
    now: datetime,
    timeout_s: float,
    roots: "TrustRoots | None" = None,
) -> "Observation":
    """Return what the Coordinator's machine proves about itself.

    Raises EvidenceRejected unless a genuine processor made the evidence for this connection; CoordinatorUnreachable.
    """
    from contrast_tasks.attestation.observe import observe
    from contrast_tasks.client.session import presented_evidence

    carried = presented_evidence(host, port, now=now, timeout_s=timeout_s)
    return observe(carried.evidence, endorsements, now=now, roots=roots)


def overrides_of(observation: "Observation", chosen: Chosen) -> dict[str, Any]:
    """Return the tables below [reference_values] that accept this machine; empty if there are no settings for it."""
    merged: dict[str, Any] = {}
    _merge(merged, observation.levels)
    if chosen.guest:
        _merge(merged, observation.guest)
    if chosen.machine:
        _merge(merged, observation.machine)
    return merged


def read_by(release: "Release", overrides: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the overrides that a release reads, and the names of the others, which it would ignore."""
    from contrast_tasks.trusted_guests import SnpReference, TdxReference

    kept: dict[str, Any] = {}
    ignored: list[str] = []
    for tee, values in overrides.items():
        if tee == "tdx":
            kept[tee] = _read_values(release, TdxReference, values, ignored)
        else:
            kept[tee] = {
                product: _read_values(release, SnpReference, each, ignored)
                for product, each in values.items()
            }
    return kept, list(dict.fromkeys(ignored))


def _read_values(
    release: "Release", record: "type[Record]", values: Mapping[str, Any], ignored: list[str]
) -> dict[str, Any]:
    from contrast_tasks.manifest.forms import members_of

    read = {entry.key for entry in members_of(record, release.manifest).values()}
    ignored += (key for key in values if key not in read)
    parts = {entry.key: entry.shape for entry in record.members}
    return {
        key: _read_values(release, parts[key], value, ignored)
        if isinstance(value, Mapping)
        else value
        for key, value in values.items()
        if key in read
    }


def with_earlier(path: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overrides merged with those of earlier probes: other kinds of machines, and IDs of other machines.

    Raises UsageError if no probe wrote the file, or it cannot be parsed.
    """
    require_own(path)
    if not path.exists():
        return dict(overrides)
    try:
        earlier = observed_values(path.read_bytes(), str(path))
    except SettingsError as err:
        raise UsageError(
            f"cannot be understood any more: {err}",
            where=Location(file=str(path)),
            hint="remove it, and probe again",
        ) from err
    merged: dict[str, Any] = {}
    for tee in dict.fromkeys((*earlier, *overrides)):
        before, now = earlier.get(tee, {}), overrides.get(tee, {})
        if tee == "snp":
            products = dict.fromkeys((*before, *now))
            merged[tee] = {
                product: _newer(before.get(product, {}), now.get(product, {}))
                for product in products
            }
        else:
            merged[tee] = _newer(before, now)
    return merged


def _newer(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the last observation of a kind of machine, with the pinned IDs of all observations."""
    if not now:
        return dict(before)
    ids = {
        name: list(dict.fromkeys((*before[name], *now[name])))
        for name in _OF_EACH_MACHINE
        if name in before and name in now
    }
    return {**now, **ids}


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


def render_overrides(overrides: Mapping[str, Any]) -> str:
    """Return the overrides as TOML that can be copied into contrast.toml unchanged."""
    lines = [*_HEAD, ""]
    for tee, table in overrides.items():
        for path, members in _tables(("reference_values", tee), table):
            lines.append(f"[{'.'.join(map(_key, path))}]")
            lines += [f"{_key(name)} = {_value(value)}" for name, value in members.items()]
            lines.append("")
    return "\n".join(lines)


def _tables(
    path: tuple[str, ...], table: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Yield path and members of each table: one per product of SEV-SNP, one for TDX. Deeper tables are written inline."""
    if path[-1] == "snp":
        for product, members in table.items():
            yield (*path, product), members
    else:
        yield path, table


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else f'"{name}"'


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(name)} = {_value(item)}" for name, item in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return f'"{value}"'


def require_own(path: Path) -> None:
    """Raise UsageError unless the file is absent or an earlier probe wrote it."""
    where = Location(file=str(path))
    if path.name == FILE_NAME:
        raise UsageError(
            "settings are never written by probe", where=where, hint="name another file with --out"
        )
    try:
        with path.open("rb") as stream:
            first = stream.readline().strip()
    except FileNotFoundError:
        return
    except OSError as err:
        raise UsageError(f"cannot be read: {(err.strerror or '').lower()}", where=where) from err
    if not first.startswith(_MARK.encode()):
        raise UsageError(
            "is there already, and no probe has written it", where=where, hint="name another file"
        )


def write_overrides(path: Path, text: str) -> bool:
    """Write the overrides and return whether the file changed. Raises UsageError if no probe wrote the file."""
    require_own(path)
    return write_atomic(path, text.encode())
