"""What `set` would change at the Coordinator in force: its manifest against the one `generate` would make."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from contrast_tasks.client.deployed import coordinator_address, is_local
from contrast_tasks.client.session import Dial, advice, dial, load_manifest
from contrast_tasks.errors import ClusterError, ContrastError, CoordinatorUnreachable
from contrast_tasks.settings.load import Settings
from contrast_tasks.steps.plan import Difference

if TYPE_CHECKING:
    from contrast_tasks.manifest.model import Manifest


def running_difference(
    settings: Settings,
    planned: bytes,
    *,
    say: Callable[[str], None],
    coordinator: str | None = None,
    connect: Dial = dial,
) -> Difference | None:
    """Return what setting the planned manifest would change at the Coordinator, None if it is in force already.

    coordinator: host:port; None asks the local deployment's, and is content when none runs or answers.
    Raises CoordinatorUnreachable (40), EvidenceRejected (41) or MismatchError (42) for a Coordinator that was given.
    """
    if coordinator is not None:
        host, port = coordinator_address(settings, coordinator)
        return _difference(settings, planned, host, port, coordinator=coordinator, connect=connect)
    if not is_local(settings):
        return None
    try:
        host, port = coordinator_address(settings, None)
    except ClusterError:
        return None
    try:
        return _difference(settings, planned, host, port, coordinator=None, connect=connect)
    except ContrastError as err:
        say(f"the coordinator that runs here was not compared: {err}")
        return None


def _difference(
    settings: Settings,
    planned: bytes,
    host: str,
    port: int,
    *,
    coordinator: str | None,
    connect: Dial,
) -> Difference | None:
    name = f"coordinator {host}:{port}"
    try:
        with (
            advice(settings, coordinator),
            connect(host, port, manifest=_trusted(settings, planned), client_key=None) as session,
        ):
            manifests = session.get_manifests().manifests
    except CoordinatorUnreachable as err:
        from contrast_tasks.api.errors import REASON_NO_MANIFEST

        if getattr(err, "reason", "") != REASON_NO_MANIFEST:
            raise
        manifests = ()
    if not manifests:
        return Difference(what="changed", name=name, detail="set gives it its first manifest")
    if manifests[-1] == planned:
        return None
    detail = "another manifest is in force; set replaces it and rotates the mesh CA"
    return Difference(what="changed", name=name, detail=detail)


def _trusted(settings: Settings, planned: bytes) -> "Manifest":
    """Return the manifest that says which Coordinator is genuine: the project's own, before the first one the planned."""
    from contrast_tasks.manifest.codec import parse_manifest

    if (settings.root / settings.manifest).is_file():
        _, manifest, _ = load_manifest(settings, None)
        return manifest
    return parse_manifest(planned, file=settings.manifest)
