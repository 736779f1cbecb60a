"""What `set` would change: the manifest in force at the Coordinator against the planned one."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from contrast_tasks.client.coordinator import USUAL_REACH, Coordinator, Reach
from contrast_tasks.client.input_files import load_manifest
from contrast_tasks.errors import ClusterError, ContrastError, CoordinatorUnreachable
from contrast_tasks.settings.model import Settings
from contrast_tasks.steps.plan import Difference

if TYPE_CHECKING:
    from contrast_tasks.manifest.model import Manifest


def running_difference(
    settings: Settings,
    planned: bytes,
    *,
    say: Callable[[str], None],
    coordinator: str | None = None,
    reach: Reach = USUAL_REACH,
) -> Difference | None:
    """Return what setting the planned manifest would change at the Coordinator, None if it is in force already.

    coordinator: host:port; None: the local deployment's, which need not run. Connects once, without waiting.
    Raises CoordinatorUnreachable (40), EvidenceRejected (41) or MismatchError (42), but only if `coordinator` is given.
    """
    if coordinator is None and not settings.is_local:
        return None
    try:
        target = Coordinator.find(settings, coordinator, say=say, reach=reach)
    except ClusterError:
        return None
    try:
        return _difference(settings, planned, target)
    except ContrastError as err:
        if coordinator is not None:
            raise
        say(f"the coordinator that runs here was not compared: {err}")
        return None


def _difference(settings: Settings, planned: bytes, coordinator: Coordinator) -> Difference | None:
    from contrast_tasks.api.errors import REASON_NO_MANIFEST

    try:
        with coordinator.session(_trusted(settings, planned)) as session:
            manifests = session.get_manifests().manifests
    except CoordinatorUnreachable as err:
        if err.reason != REASON_NO_MANIFEST:
            raise
        manifests = ()
    name = coordinator.subject
    if not manifests:
        return Difference(what="changed", name=name, detail="set gives it its first manifest")
    if manifests[-1] == planned:
        return None
    detail = "another manifest is in force; set replaces it and rotates the mesh CA"
    return Difference(what="changed", name=name, detail=detail)


def _trusted(settings: Settings, planned: bytes) -> "Manifest":
    """Return the manifest to attest the Coordinator against: the project's own, or the planned one if there is none."""
    from contrast_tasks.manifest.codec import parse_manifest

    if (settings.root / settings.manifest).is_file():
        return load_manifest(settings, None).manifest
    return parse_manifest(planned, file=settings.manifest)
