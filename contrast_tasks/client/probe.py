"""Look at an unknown machine through its Coordinator's evidence, and write down what it proved once that is confirmed.

The file holds what one machine said of itself at one time. Under its default name, next to contrast.toml, it is read like lines of
contrast.toml, which wins and is never written.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks.errors import Location, SettingsError, UsageError
from contrast_tasks.files import write_atomic
from contrast_tasks.settings.load import FILE_NAME, OBSERVED_NAME, observed_values

if TYPE_CHECKING:
    from contrast_tasks.attestation.endorsements.fetch import Endorsements
    from contrast_tasks.attestation.observe import Observation
    from contrast_tasks.attestation.trust_roots import TrustRoots

_MARK = "# Observed by 'contrast-tasks probe'"
_HEAD = (
    f"{_MARK} and confirmed.",
    f"# {OBSERVED_NAME} is read beside {FILE_NAME}, which wins; in any other file these are lines for it.",
)
# Each machine of a kind adds its own to these; of everything else, what was observed last counts.
_OF_EACH_MACHINE = ("allowed_chip_ids", "allowed_piids")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The observed values that are written besides the levels of firmware."""

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
    """Return what the machine of a Coordinator proved about itself.

    Raises EvidenceRejected unless a genuine processor made the evidence for this connection; CoordinatorUnreachable.
    """
    from contrast_tasks.attestation.observe import observe
    from contrast_tasks.client.session import presented_evidence

    carried = presented_evidence(host, port, now=now, timeout_s=timeout_s)
    return observe(carried.evidence, endorsements, now=now, roots=roots)


def overrides_of(observation: "Observation", chosen: Chosen) -> dict[str, Any]:
    """Return the tables below [reference_values] that accept this machine; empty if settings know none for it."""
    merged: dict[str, Any] = {}
    _merge(merged, observation.levels)
    if chosen.guest:
        _merge(merged, observation.guest)
    if chosen.machine:
        _merge(merged, observation.machine)
    return merged


def with_earlier(path: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overrides, merged with what earlier probes wrote about other kinds of machines and ids of other machines.

    Raises UsageError for a file that is not ours or cannot be understood.
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
            merged[tee] = {one: _newer(before.get(one, {}), now.get(one, {})) for one in products}
        else:
            merged[tee] = _newer(before, now)
    return merged


def _newer(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return what holds for a kind of machine: what was observed last, and the ids of all that are pinned."""
    if not now:
        return dict(before)
    found = dict(now)
    for name in _OF_EACH_MACHINE:
        if name in before and name in now:
            found[name] = list(dict.fromkeys((*before[name], *now[name])))
    return found


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


def render_overrides(overrides: Mapping[str, Any]) -> str:
    """Return the overrides as TOML that can be put into contrast.toml as it is."""
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
    """Yield one table per product, or the only one of TDX; smaller tables are written in line."""
    if path[-1] == "snp":
        for product, members in table.items():
            yield (*path, product), members
    else:
        yield path, table


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else f'"{name}"'


def _value(value: Any) -> str:
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
    """Raise UsageError unless a file may be written: it is not there, or an earlier probe wrote it."""
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
    """Write the overrides and return whether anything changed; raises UsageError for a file that is not ours."""
    require_own(path)
    return write_atomic(path, text.encode())
