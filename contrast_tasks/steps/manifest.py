"""The manifest from the workloads' heads, the owner keys and the reference values; and the last step of `generate`.

`compose` is what the check step calls; `prune` removes outputs that are no longer generated.
"""

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from contrast_tasks.errors import Location, SettingsError
from contrast_tasks.files import remove_empty_parents
from contrast_tasks.findings import Finding
from contrast_tasks.manifest.entries import WorkloadEntry, merge_entries
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.manifest.owners import owner_lists
from contrast_tasks.manifest.reference_values import (
    ProvidedValues,
    defaults_for,
    parse_reference_values,
)
from contrast_tasks.manifest.unread import own_member, unread_values
from contrast_tasks.platforms import platform as find_platform
from contrast_tasks.steps.keys import PublicKeys
from contrast_tasks.steps.project import Project
from contrast_tasks.steps.work import Head
from contrast_tasks.trusted_guests import ReferenceValues


def compose(
    project: Project, heads: Mapping[str, Head], keys: PublicKeys
) -> tuple[Manifest, list[Finding]]:
    """Return the manifest of the workloads, and the findings about equal policies and reference values without effect.

    heads: by workload id; those without a policy do not appear in the manifest.
    """
    entries = []
    for name, head in heads.items():
        if not head.policy_sha256:
            continue
        workload = project.index.workloads[name]
        entry = PolicyEntry(
            sans=head.sans, workload_secret_id=head.workload_secret_id, role=head.role
        )
        entries.append(
            WorkloadEntry(workload.key, head.policy_sha256, entry, workload.file, workload.line)
        )
    policies, findings = merge_entries(entries)
    settings, provided = project.settings, _provided(project)
    findings += unread_values(
        find_platform(settings.platform),
        settings.release,
        settings.reference_overrides,
        provided,
        where=settings.where,
        is_reference=settings.components.are_reference,
    )
    if settings.approvals > 1:
        findings.append(
            own_member(
                settings.where("owners.approvals"),
                "owners.approvals",
                is_reference=settings.components.are_reference,
            )
        )
    manifest = Manifest(
        policies=policies,
        reference_values=_values(project, provided, keys.local_root_sha256),
        seedshare_owner_pub_keys=keys.seedshare_owners,
        workload_owner_approvals=settings.approvals,
        **owner_lists(keys.workload_owners, settings.release.manifest),
    )
    return manifest, findings


def reference_values(project: Project) -> ReferenceValues:
    """Return the reference values of a project on a platform other than `local`.

    Raises SettingsError if their file cannot be read.
    """
    return _values(project, _provided(project))


def _values(
    project: Project, provided: ProvidedValues | None, local_root_sha256: str = ""
) -> ReferenceValues:
    settings = project.settings
    return defaults_for(
        settings.platform,
        release=settings.release,
        overrides=settings.reference_overrides,
        local_root_sha256_hex=local_root_sha256 or None,
        provided=provided,
    )


def _provided(project: Project) -> ProvidedValues | None:
    name = project.settings.reference_values
    if name is None:
        return None
    return parse_reference_values(
        _read(project.root, name),
        file=name,
        platform=project.settings.platform,
        release=project.settings.release,
    )


def _read(root: Path, name: str) -> bytes:
    try:
        return (root / name).read_bytes()
    except OSError as err:
        raise SettingsError(
            f"the reference values cannot be read: {(err.strerror or '').lower()}",
            where=Location(file=name),
            hint="'contrast-tasks measure --out' writes such a file",
        ) from err


def not_generated(project: Project) -> list[str]:
    """Return the files in the folders of outputs that are no outputs, sorted."""
    expected, root, build = project.expected_outputs, str(project.root), project.paths.build
    return sorted(
        name
        for folder in ("deployment", "policies", "workloads")
        for name in _others_below(root, f"{build}/{folder}", expected)
    )


def prune(project: Project) -> list[str]:
    """Remove outputs that are no longer generated from the build directory; return their names."""
    root, build = project.root, project.paths.build
    removed = not_generated(project)
    for name in removed:
        (root / name).unlink()
        remove_empty_parents(root / name, root / build)
    return removed


def _others_below(root: str, folder: str, expected: Collection[str]) -> Iterator[str]:
    """Yield the files below a folder that are not expected, relative to the root, with `/`."""
    with contextlib.suppress(FileNotFoundError):
        names = os.listdir(f"{root}/{folder}")  # noqa: PTH208  # thousands
        # Hardly any is another one, so only those are looked at.
        for name in set(map(f"{folder}/".__add__, names)).difference(expected):
            path = Path(root, name)
            if path.is_dir() and not path.is_symlink():
                yield from _others_below(root, name, expected)
            else:
                yield name
