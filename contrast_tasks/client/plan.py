"""What `set` would change: the manifest in force at the Coordinator against the planned one."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from contrast_tasks.client.before_set import load_owner_key, with_key_files
from contrast_tasks.client.coordinator import USUAL_REACH, Coordinator, Reach
from contrast_tasks.client.deployed import Given
from contrast_tasks.client.input_files import load_manifest
from contrast_tasks.client.session import Session
from contrast_tasks.errors import ClusterError, ContrastError, CoordinatorUnreachable
from contrast_tasks.manifest.hashes import policy_hash_hex
from contrast_tasks.report.hints import command
from contrast_tasks.report.model import number_of
from contrast_tasks.settings.model import Settings
from contrast_tasks.steps.plan import Change, Difference

if TYPE_CHECKING:
    from contrast_tasks.api.extension import ManifestPlan
    from contrast_tasks.manifest.model import Manifest


def running_difference(
    settings: Settings,
    planned: bytes,
    *,
    say: Callable[[str], None],
    policies: Callable[[], Sequence[bytes]] = tuple,
    coordinator: Given = None,
    signatures: Sequence[bytes] = (),
    reach: Reach = USUAL_REACH,
) -> Difference | None:
    """Return what setting the planned manifest would change at the Coordinator, None if it is in force already.

    policies: returns those of the planned manifest, for the Coordinator to say what it would refuse; without any it is not asked.
    signatures: approvals of the planned manifest. coordinator: host:port; what finds that of a cluster, and None for the local
    deployment's, need not find one. Connects once, without waiting. Raises CoordinatorUnreachable (40), EvidenceRejected (41) or
    MismatchError (42), but only for a host:port.
    """
    if coordinator is None and not settings.is_local:
        return None
    try:
        target = Coordinator.find(settings, coordinator, say=say, reach=reach)
    except ClusterError:
        return None
    try:
        return _difference(
            settings, planned, target, policies=policies, signatures=signatures, say=say
        )
    except ContrastError as err:
        if isinstance(coordinator, str):
            raise
        say(f"the coordinator that runs was not compared: {err}")
        return None


def _difference(
    settings: Settings,
    planned: bytes,
    coordinator: Coordinator,
    *,
    policies: Callable[[], Sequence[bytes]],
    signatures: Sequence[bytes],
    say: Callable[[str], None],
) -> Difference | None:
    from contrast_tasks.api.errors import REASON_NO_MANIFEST

    key, _ = load_owner_key(settings, None, "")
    plan = None
    with coordinator.session(_trusted(settings, planned), key) as session:
        try:
            manifests = session.get_manifests().manifests
        except CoordinatorUnreachable as err:
            if err.reason != REASON_NO_MANIFEST:
                raise
            manifests = ()
        if manifests[-1:] != (planned,) and (documents := policies()):
            plan = _plan(session, planned, documents, signatures)
    name = coordinator.subject
    for line in () if plan is None else _warnings(plan):
        say(f"warning: {name}: {line}")
    for line in () if plan is None else _approvals(plan):
        say(f"{name}: {with_key_files(line, settings)}")
    answers = () if plan is None else tuple(_answers(plan))
    if not manifests:
        detail = "set gives it its first manifest"
        return Difference(what="changed", name=name, detail=detail, changes=answers)
    if manifests[-1] == planned:
        return None
    detail = "another manifest is in force; set replaces it and rotates the mesh CA"
    if plan is not None and plan.restart:
        detail += f", then restart {', '.join(plan.restart)}"
    return Difference(what="changed", name=name, detail=detail, changes=answers)


def _answers(plan: "ManifestPlan") -> Iterator[Change]:
    """Yield what the Coordinator says of the planned manifest, for programs too."""
    if plan.refusal:
        yield Change(f"refused, {plan.reason or 'without a reason'}", "", plan.refusal)
    if plan.approvals_wanted > 1:
        wanted = f"{len(plan.approved_by)} of {plan.approvals_wanted}"
        yield Change("approvals", "", wanted)


def _plan(
    session: Session, planned: bytes, policies: Sequence[bytes], signatures: Sequence[bytes]
) -> "ManifestPlan | None":
    """Return what the Coordinator says about the planned manifest, None if it has no such call."""
    from contrast_tasks.api.errors import CoordinatorFailed

    try:
        documents = {policy_hash_hex(each): each for each in policies}
        return session.plan_manifest(planned, documents, signatures)
    except CoordinatorFailed as err:
        if not err.is_unknown:
            raise
        return None


def _warnings(plan: "ManifestPlan") -> Iterator[str]:
    from contrast_tasks.api.errors import REASON_APPROVALS

    # Only that owners are missing is no fault of the manifest.
    if plan.refusal and plan.reason != REASON_APPROVALS:
        yield f"it would refuse the planned manifest: {plan.refusal}"
    if plan.locks_out_caller:
        yield "the planned manifest does not list our owner key: this locks us out of updates"
    if plan.lost_secret_ids:
        yield f"nobody gets these workload secrets any more: {', '.join(plan.lost_secret_ids)}"


def _approvals(plan: "ManifestPlan") -> Iterator[str]:
    """Yield how many owners have to approve, which ones do and which could; nothing if one is enough before and after."""
    if plan.approvals_wanted > 1:
        found = f"{len(plan.approved_by)} of {plan.approvals_wanted} approvals are there"
        yield f"{found}: {', '.join(plan.approved_by)}" if plan.approved_by else found
        if len(plan.approved_by) < plan.approvals_wanted:
            yield f"these owners can approve it with '{command('sign')}': {', '.join(plan.not_approved_by)}"
    if plan.next_approvals_wanted != max(plan.approvals_wanted, 1):
        wanted = number_of(plan.next_approvals_wanted, "owner")
        yield f"the manifest after the planned one needs the approval of {wanted}"


def _trusted(settings: Settings, planned: bytes) -> "Manifest":
    """Return the manifest to attest the Coordinator against: the project's own, or the planned one if there is none."""
    from contrast_tasks.manifest.codec import parse_manifest

    if (settings.root / settings.manifest).is_file():
        return load_manifest(settings, None).manifest
    return parse_manifest(planned, file=settings.manifest)
