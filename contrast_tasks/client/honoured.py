"""What the Coordinator at hand would not honour of a manifest, found before it is set.

A Coordinator ignores members that its release does not know. If that is the list of workload owners, nobody can ever update the
deployment; if it is a bound on evidence, evidence is accepted that the manifest refuses. Ours honours everything.
Source: docs/internals/releases.md 2.1, 8.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.errors import MismatchError
from contrast_tasks.kube import workloads
from contrast_tasks.kube.annotated import Annotated
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.releases.choose import Unsupported, row_of
from contrast_tasks.releases.table import Release
from contrast_tasks.settings.components import is_reference_image
from contrast_tasks.settings.model import Settings

if TYPE_CHECKING:
    from contrast_tasks.client.input_files import ManifestFile
    from contrast_tasks.client.session import Session
    from contrast_tasks.manifest.model import Manifest

# They say what an entry is for, and no evidence is judged by them.
_DESCRIPTIVE = ("Platform", "CPUs")
_OWNERS = ("WorkloadOwnerKeyDigests", "WorkloadOwnerPubKeys")
_LOST = "updates would be lost"


class _Known(NamedTuple):
    """The reference product's Coordinator in a deployment: its image, and its release."""

    image: str
    release: Release | Unsupported


def refuse_unhonoured(
    given: "ManifestFile",
    settings: Settings,
    objects: Sequence[Annotated],
    say: Callable[[str], None],
) -> None:
    """Raise MismatchError if the deployment has the reference product's Coordinator, and its release ignores or refuses a value.

    say: is told if the formats of its release are not known.
    """
    known = _reference_coordinator(settings, objects)
    if known is None:
        return
    if isinstance(known.release, Unsupported):
        say(
            f"warning: whether {known.image} honours the manifest is not known: {known.release.reason}"
        )
        return
    name = f"{known.image}, which is release {known.release.name} of the reference product,"
    lines = [*_lost(given.manifest, known.release), *_unhonoured(given, known.release)]
    if lines:
        raise MismatchError(
            f"{name} cannot honour {given.name}\n" + "\n".join(f"  {line}" for line in lines),
            hint=f'set runtime.release = "{known.release.name}" in contrast.toml and generate again, '
            "or deploy the Coordinator of the release that the manifest is for",
        )


def refuse_lost_owners(manifest: "Manifest", name: str, coordinator: str) -> None:
    """Raise MismatchError unless a Coordinator that reads owners by digest only would know all owners.

    It presents no latest transition, as releases from v1.18 on do. Source: docs/internals/releases.md 7.
    """
    listed = manifest.workload_owner_key_digests or ()
    if lost := [owner for owner in manifest.workload_owner_digests if owner not in listed]:
        raise MismatchError(
            f"{coordinator} is of a release before v1.18, which reads {_OWNERS[0]} only: {_LOST}\n"
            f"  {name} lists {len(lost)} of its owners in {_OWNERS[1]} only",
            hint="set the release of the Coordinator in contrast.toml, runtime.release, and generate again",
        )


def refuse_ignored_approvals(
    session: "Session", manifest: "Manifest", name: str, coordinator: str
) -> None:
    """Raise MismatchError if several owners have to approve updates, and the Coordinator would ignore that.

    One without our extension does; one of ours either knows the member or refuses the manifest.
    """
    from contrast_tasks.api.errors import CoordinatorFailed

    if manifest.workload_owner_approvals == 1:
        return
    try:
        session.get_status()
    except CoordinatorFailed as err:
        if not err.is_unknown:
            raise
        wanted = manifest.workload_owner_approvals
        raise MismatchError(
            f"coordinator {coordinator} is not ours and would let each owner alone replace the manifest\n"
            f"  {name} demands the approval of {wanted} owners, which it ignores",
            hint="set owners.approvals = 1 in contrast.toml and generate again, or deploy our Coordinator",
        ) from err


def _reference_coordinator(settings: Settings, objects: Iterable[Annotated]) -> _Known | None:
    """Return the Coordinator of the deployment if it is the reference product's, known by the name and tag of its image."""
    for item in objects:
        if item.role != ROLE_COORDINATOR:
            continue
        for _, container in workloads.mappings_at(workloads.pod_spec(item.obj), "containers"):
            image = str(container.get("image"))
            if container.get("name") == ROLE_COORDINATOR and _is_theirs(image, settings):
                tag = parse_reference(image).tag
                found = row_of(tag or "")
                is_unnamed = isinstance(found, Unsupported) and settings.components.are_reference
                return _Known(image, settings.release if is_unnamed else found)
    return None


def _is_theirs(image: str, settings: Settings) -> bool:
    """Return whether an image is the reference product's."""
    components = settings.components
    if image.partition("@")[0] == components.coordinator.partition("@")[0]:
        return components.are_reference
    return is_reference_image(image)


def _lost(manifest: "Manifest", release: Release) -> Iterator[str]:
    by_digest = release.manifest.owners == _OWNERS[0]
    read = manifest.replace(
        **{"workload_owner_pub_keys" if by_digest else "workload_owner_key_digests": None}
    )
    if lost := set(manifest.workload_owner_digests) - set(read.workload_owner_digests):
        yield f"it reads {release.manifest.owners} only, which lacks {len(lost)} of the owners: {_LOST}"


def _unhonoured(given: "ManifestFile", release: Release) -> Iterator[str]:
    """Yield a line for each value that the release refuses or ignores, and for each that only we honour."""
    from contrast_tasks import catalogue
    from contrast_tasks.findings import Severity
    from contrast_tasks.json_text import read_json
    from contrast_tasks.manifest.codec import check_manifest

    document = read_json(given.content).document
    for finding in check_manifest(given.content, release=release, file=given.name)[1]:
        path = finding.where.pointer.split("/")[1:]
        ignored = finding.entry is catalogue.IGNORED_MEMBER
        if ignored and (path[0] in _OWNERS or not _matters(path[-1], _value(document, path))):
            continue
        if ignored or finding.severity is Severity.ERROR:
            yield f"{finding.where}: {finding.message}"
    if given.manifest.workload_owner_approvals > 1:
        yield "WorkloadOwnerApprovals is honoured by our Coordinator only"
    values = given.manifest.reference_values
    for own, entries in (("allow_vlek", values.snp), ("allow_quote_v5", values.tdx)):
        if any(getattr(entry, own) for entry in entries):
            member = next(each.name for each in type(entries[0]).members if each.attribute == own)
            yield f"{member} is honoured by our Coordinator only"


def _value(document: Any, path: Sequence[str]) -> Any:
    for step in path:
        document = document[int(step) if isinstance(document, list) else step]
    return document


def _matters(name: str, value: Any) -> bool:
    """Return whether something changes if a value is ignored; the attributes of a TD are fixed where they are not listed."""
    from contrast_tasks.manifest.reference_values import TD_ATTRIBUTES

    if isinstance(value, str) and not value.strip("0"):
        return False
    return bool(value) and name not in _DESCRIPTIVE and value != TD_ATTRIBUTES
