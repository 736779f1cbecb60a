"""What a manifest changes about the one before it: workloads, owners, reference values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from contrast_tasks.manifest.model import Manifest, PolicyEntry


class Workload(NamedTuple):
    """An entry of a manifest with its policy hash (lower-case hex)."""

    policy: str
    entry: "PolicyEntry"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadDifference:
    """One workload; before: None if it is added, after: None if it is removed."""

    name: str
    before: Workload | None
    after: Workload | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestDifference:
    """All differences. Removed workloads come first, then added ones, then changed ones, each sorted by name.

    owners: digests (hex) of the keys whose owners may update. approvals: how many of them have to approve
    an update, before and after. lost_secret_ids: of workload secrets that nobody gets any more.
    """

    workloads: tuple[WorkloadDifference, ...]
    are_reference_values_changed: bool
    owners_added: tuple[str, ...]
    owners_removed: tuple[str, ...]
    approvals: tuple[int, int]
    are_seedshare_owners_changed: bool
    lost_secret_ids: tuple[str, ...]


def compare(before: "Manifest", after: "Manifest") -> ManifestDifference:
    """Return the differences; workloads are the same if their first SANs are."""
    old, new = before.workload_owner_digests, after.workload_owner_digests
    return ManifestDifference(
        workloads=tuple(_workloads(before, after)),
        are_reference_values_changed=before.reference_values != after.reference_values,
        owners_added=tuple(sorted(set(new) - set(old))),
        owners_removed=tuple(sorted(set(old) - set(new))),
        approvals=(before.workload_owner_approvals, after.workload_owner_approvals),
        are_seedshare_owners_changed=(
            tuple(before.seedshare_owner_pub_keys or ())
            != tuple(after.seedshare_owner_pub_keys or ())
        ),
        lost_secret_ids=tuple(sorted(_secret_ids(before) - _secret_ids(after))),
    )


def staying(before: "Manifest", after: "Manifest") -> list[str]:
    """Return the names of the workloads of both, sorted; the Coordinators among them are left out.

    With a new mesh CA they have to be restarted, while Coordinators need no certificate.
    """
    old, new = _by_name(before), _by_name(after)
    return sorted({key[0] for key in old.keys() & new.keys() if not new[key].entry.role})


def name_of(entry: "PolicyEntry") -> str:
    """Return the name that people know a workload by."""
    return entry.sans[0] if entry.sans else "(no name)"


def _workloads(before: "Manifest", after: "Manifest") -> Iterator[WorkloadDifference]:
    old, new = _by_name(before), _by_name(after)
    pairs = {name: (old.get(name), new.get(name)) for name in sorted(old.keys() | new.keys())}
    removed = [name for name, (_, there) in pairs.items() if there is None]
    added = [name for name, (was, _) in pairs.items() if was is None]
    both = [name for name, (was, there) in pairs.items() if was and there and was != there]
    for name in (*removed, *added, *both):
        was, there = pairs[name]
        yield WorkloadDifference(name=name[0], before=was, after=there)


def _by_name(manifest: "Manifest") -> Mapping[tuple[str, int], Workload]:
    """Return the workloads by name; further ones of the same name are numbered, by policy."""
    found: dict[tuple[str, int], Workload] = {}
    counts: dict[str, int] = {}
    for policy, entry in sorted(manifest.policies.items()):
        name = name_of(entry)
        number = counts.get(name, 0)
        counts[name] = number + 1
        found[name, number] = Workload(policy, entry)
    return found


def _secret_ids(manifest: "Manifest") -> set[str]:
    ids = {entry.workload_secret_id for entry in manifest.policies.values()}
    return ids - {""}
