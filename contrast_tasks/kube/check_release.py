"""Checks on our annotations against the runtime's release: where it reads them, and which it reads at all (G110).

An annotation that the release does not read would be ignored, and the pod left without what it asks for.
Source: docs/internals/releases.md 6.
"""

from typing import Final

from contrast_tasks import annotations, catalogue
from contrast_tasks.findings import Finding
from contrast_tasks.kube import workloads
from contrast_tasks.kube.documents import Document
from contrast_tasks.kube.subject import Subject
from contrast_tasks.pointers import Path
from contrast_tasks.releases.choose import rows_with
from contrast_tasks.releases.table import Release

# The pod's role, its secret id and the size of its image store are on the pod template in every release.
_MOVED: Final = (
    *annotations.MESH_KEYS,
    annotations.INGRESS_PEERS,
    annotations.EGRESS_PEERS,
    annotations.SKIP_INITIALIZER,
    annotations.SECURE_PV,
)


def check_release(document: Document, release: Release, platform: str) -> list[Finding]:
    """Return the findings on a workload's annotations; platform: restricts the releases that a finding offers instead."""
    subject = Subject(document, document.obj)
    read_at = workloads.read_place(subject.obj, release.annotations_at)
    for place in workloads.annotation_places(subject.obj):
        for key in workloads.annotations_at(subject.obj, place):
            if key in _MOVED and place != read_at and release.ignores_other_places(platform):
                _misplaced(subject, (*place, key), read_at, release, platform)
            elif key == annotations.WORKLOAD_SECRET_ID and not release.has_secret_id:
                _unread_secret_id(subject, (*place, key), release, platform)
    return subject.findings


def _misplaced(
    subject: Subject, path: Path, read_at: Path, release: Release, platform: str
) -> None:
    *place, key = path
    wanted = ".".join(map(str, read_at))
    others = [
        row.name
        for row in rows_with(platform)
        if [*workloads.read_place(subject.obj, row.annotations_at)] == place
    ]
    other = f', or set release = "{others[-1]}" under [runtime]' if others else ""
    subject.report(
        catalogue.ANNOTATION_RELEASE,
        path,
        f"the annotation {key} is in {'.'.join(map(str, place))}, where release {release.name} does not read"
        f" it; expected in {wanted}",
        f"move it to {wanted}{other}",
    )


def _unread_secret_id(subject: Subject, path: Path, release: Release, platform: str) -> None:
    first = next((row.name for row in rows_with(platform) if row.has_secret_id), "")
    other = f', or set release = "{first}" or later under [runtime]' if first else ""
    subject.report(
        catalogue.ANNOTATION_RELEASE,
        path,
        f"the annotation {path[-1]} is not read by release {release.name}, expected none: the pod would get the"
        " secret of its default id",
        f"remove it{other}",
    )
