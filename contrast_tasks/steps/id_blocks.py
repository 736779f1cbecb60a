"""The ID blocks of a project's pods: their annotations, and the pods for which no reference value holds.

They follow from the reference values and the number of virtual processors, so they are made when outputs are written, and
another measurement makes no policy again. Source: docs/internals/releases.md 3.
"""

from collections.abc import Mapping

from contrast_tasks import catalogue
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding
from contrast_tasks.platforms import platform
from contrast_tasks.records import Record
from contrast_tasks.steps.manifest import reference_values
from contrast_tasks.steps.project import Project
from contrast_tasks.steps.work import Head
from contrast_tasks.trusted_guests import SnpReference


class _Known(Record, kw_only=False):
    """A project, the reference values of its platform, and the annotations made of them by number of processors."""

    project: Project
    entries: tuple[SnpReference, ...]
    annotations: dict[int, Mapping[str, str]]


# The outputs of a project are written one after the other, and most need the same annotations.
_last: list[_Known] = []


def id_block_annotations(project: Project, vcpus: int) -> Mapping[str, str]:
    """Return the annotations of a pod whose guest has so many virtual processors; {} where pods bring no ID block.

    Raises SettingsError if the reference values cannot be read.
    """
    settings = project.settings
    form = settings.release.id_blocks_on(settings.platform)
    if form is None:
        return {}
    from contrast_tasks.attestation.snp.id_annotations import id_annotations

    known = _known(project)
    if vcpus not in known.annotations:
        known.annotations[vcpus] = id_annotations(known.entries, vcpus, form)
    return known.annotations[vcpus]


def without_id_block(project: Project, heads: Mapping[str, Head]) -> list[Finding]:
    """Return a G033 finding for each confidential workload for whose number of processors no reference value holds.

    heads: by workload id. Values that are missing or malformed are for the checks of the manifest to report.
    """
    settings = project.settings
    form = settings.release.id_blocks_on(settings.platform)
    if form is None:
        return []
    from contrast_tasks.attestation.snp.id_annotations import launch_digest

    entries = _known(project).entries
    known = {
        entry.cpus or 1
        for entry in entries
        if launch_digest(entry, entry.cpus or 1, form) is not None
    }
    awaited = {entry.cpus or 1 for entry in entries if not entry.trusted_measurement_hex}
    findings = []
    for name, head in heads.items():
        count = head.vcpus
        if not head.policy_sha256 or not known or count in awaited:
            continue
        if id_block_annotations(project, count):
            continue
        workload = project.index.workloads[name]
        numbers = ", ".join(map(str, sorted(known)))
        every = " ".join(f"--vcpus {number}" for number in sorted({*known, count}))
        option = every if form.by_entry else "--any-vcpus"
        findings.append(
            Finding(
                catalogue.CPU_REFERENCE,
                Location(file=workload.file, line=workload.line),
                f"the guest of {workload.key} has {count} virtual CPUs, and the reference values of"
                f" {settings.platform} hold for {numbers} only, expected one for {count}: without an ID"
                " block its evidence is refused",
                f"measure the runtime with 'contrast-tasks measure {option}', or change the CPU limits",
            )
        )
    return findings


def refuse_without_id_block(project: Project, heads: Mapping[str, Head]) -> None:
    """Raise UsageError naming the first workload that generate writes without the ID block that it needs.

    heads: by workload id. It writes such pods while a measurement is missing; deploy and set refuse them.
    """
    settings = project.settings
    if settings.release.id_blocks_on(settings.platform) is None:
        return
    for name, head in heads.items():
        if head.policy_sha256 and not id_block_annotations(project, head.vcpus):
            workload = project.index.workloads[name]
            from contrast_tasks.kube.annotated import no_id_block

            where = Location(file=workload.file, line=workload.line)
            raise no_id_block(workload.key, where, settings)


def _known(project: Project) -> _Known:
    if not _last or _last[0].project is not project:
        wanted = platform(project.settings.platform).canonical.lower()
        found = tuple(
            entry
            for entry in reference_values(project).snp
            if (entry.platform or wanted).lower() == wanted
        )
        _last[:] = [_Known(project, found, {})]
    return _last[0]
