"""From workloads to the manifest's policies: default names and secret ids, and the merging of equal policies.

Source: docs/internals/manifest.md 1.1 (defaults), 6 (collisions).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from contrast_tasks import catalogue
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding
from contrast_tasks.manifest.model import PolicyEntry
from contrast_tasks.sans import san_kind

WILDCARD = "*"


class WorkloadEntry(NamedTuple):
    """One workload's identity; name: for messages; file, line: its place in the sources."""

    name: str
    policy_hash_hex: str
    entry: PolicyEntry
    file: str
    line: int

    @property
    def where(self) -> Location:
        """Return the place in the sources."""
        return Location(file=self.file, line=self.line)


def default_secret_id(api_version: str, kind: str, namespace: str, name: str) -> str:
    """Return `<group or core>/<version>/<Kind>/<namespace or default>/<name>`, as `apps/v1/Deployment/default/web`.

    api_version: as in YAML, `v1` or `apps/v1`.
    """
    group, _, version = api_version.rpartition("/")
    return f"{group or 'core'}/{version}/{kind}/{namespace or 'default'}/{name}"


def transit_name(secret_id: str) -> str:
    """Return the id whose transit key is the first half of this id's secret: `web` for `0_web`, "" for `web`.

    Source: docs/internals/coordinator.md 5, 11.
    """
    version, _, name = secret_id.partition("_")
    return name if version.isascii() and version.isdecimal() else ""


def default_sans(name: str, more: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the resource's name, `*` and the names that the user declares, without repeats.

    Names of objects may be longer than a label of DNS, all digits, or the beginning of a generated one. No certificate
    can have such a name, and no Service, so nobody can ask for it.
    """
    own = () if san_kind(name) is None else (name,)
    return tuple(dict.fromkeys((*own, WILDCARD, *more)))


def merge_entries(
    workloads: Iterable[WorkloadEntry],
) -> tuple[dict[str, PolicyEntry], list[Finding]]:
    """Return the policies, sorted by hash, and the findings of merging them.

    Workloads with the same policy become one entry with all their SANs, sorted and `*` last: M018, a warning. If their roles
    or secret ids differ: M019, an error.
    """
    groups: dict[str, list[WorkloadEntry]] = {}
    for workload in workloads:
        groups.setdefault(workload.policy_hash_hex, []).append(workload)
    policies: dict[str, PolicyEntry] = {}
    findings: list[Finding] = []
    for policy_hash_hex in sorted(groups):
        first, *others = groups[policy_hash_hex]
        policies[policy_hash_hex] = _united(first, others) if others else first.entry
        findings.extend([_collision(first, other) for other in others])
    return policies, findings


def _united(first: WorkloadEntry, others: Sequence[WorkloadEntry]) -> PolicyEntry:
    names = {san for workload in (first, *others) for san in workload.entry.sans}
    wildcard = (WILDCARD,) if WILDCARD in names else ()
    return first.entry.replace(sans=(*sorted(names - {WILDCARD}), *wildcard))


def _collision(first: WorkloadEntry, other: WorkloadEntry) -> Finding:
    place = f"{first.name} at {first.where}"
    for what, one, two in (
        ("role", first.entry.role, other.entry.role),
        ("secret id", first.entry.workload_secret_id, other.entry.workload_secret_id),
    ):
        if one != two:
            return Finding(
                catalogue.POLICY_CONFLICT,
                other.where,
                f"{other.name} has the policy of {place}, but the {what} '{two}' instead of "
                f"'{one}', expected the same or another policy",
            )
    return Finding(
        catalogue.POLICY_SHARED,
        other.where,
        f"{other.name} has the policy of {place}, so the two are one identity",
    )
