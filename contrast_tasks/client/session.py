"""One attested session with a Coordinator, and how long set and verify wait for one."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from contrast_tasks.client.deployed import is_local
from contrast_tasks.errors import (
    ContrastError,
    CoordinatorUnreachable,
    EvidenceRejected,
    Location,
    MismatchError,
    UsageError,
)
from contrast_tasks.files import norm_path
from contrast_tasks.report.hints import command, recovery_hint
from contrast_tasks.settings.load import Settings

if TYPE_CHECKING:
    from contrast_tasks.api.userapi import ManifestHistory, SetManifestResult
    from contrast_tasks.manifest.model import Manifest

RETRY_S = 1.0
LIMIT_S = 180.0
CALL_LIMIT_S = 60.0
# What `endorsements fetch` can bring: a list or collateral, and the certificate of a host that delivers none.
_NOT_AT_HAND = frozenset({"collateral-unavailable", "chain-incomplete"})
# OpenSSL's words for a peer that speaks something else than TLS 1.3, ours for one without HTTP/2.
_OTHER_PROTOCOL = ("wrong version number", "protocol version", "does not speak the protocol h2")
_PORT_HINT = "name the port of the user API with -c HOST:PORT, usually 1313"

Result = TypeVar("Result")


class Session(Protocol):
    """The calls of the user API on one attested connection."""

    def set_manifest(
        self, manifest: bytes, policies: Sequence[bytes], previous: bytes
    ) -> "SetManifestResult":
        """Make the manifest the one in force; previous: the transition hash (32 bytes) it must follow, zeros for none."""

    def get_manifests(self) -> "ManifestHistory":
        """Return the whole history."""

    def recover(self, *, seed: bytes, salt: bytes, force: bool) -> None:
        """Give a restarted Coordinator its seed back."""


class Dial(Protocol):
    """Connects to a Coordinator that must satisfy the manifest; `client_key` proves ownership."""

    def __call__(
        self, host: str, port: int, *, manifest: "Manifest", client_key: Any
    ) -> AbstractContextManager[Session]:
        """Return the session; raise EvidenceRejected or CoordinatorUnreachable."""


class _ApiSession:
    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def set_manifest(
        self, manifest: bytes, policies: Sequence[bytes], previous: bytes
    ) -> "SetManifestResult":
        from contrast_tasks.api import userapi

        return userapi.set_manifest(
            self._channel, manifest, policies, CALL_LIMIT_S, previous_transition_hash=previous
        )

    def get_manifests(self) -> "ManifestHistory":
        from contrast_tasks.api import userapi

        return userapi.get_manifests(self._channel, CALL_LIMIT_S)

    def recover(self, *, seed: bytes, salt: bytes, force: bool) -> None:
        from contrast_tasks.api import userapi

        userapi.recover(self._channel, seed=seed, salt=salt, timeout_s=CALL_LIMIT_S, force=force)


@contextmanager
def dial(host: str, port: int, *, manifest: "Manifest", client_key: Any) -> Iterator[Session]:
    """Connect over attested TLS: a reference value of the manifest and its Coordinator's policy must match.

    Revocation lists and collateral come from what `endorsements fetch` has kept; no vendor is asked during the handshake.
    """
    from contrast_tasks.atls.client import connect
    from contrast_tasks.atls.errors import HandshakeFailed, OwnEvidenceRefused
    from contrast_tasks.attestation.endorsements.edge import open_endorsements
    from contrast_tasks.attestation.endorsements.kept import KeptEndorsements
    from contrast_tasks.attestation.validators import validators_for

    now = datetime.now(UTC)
    kept = KeptEndorsements(endorsements=open_endorsements(offline=True), clock=lambda: now)
    validators = validators_for(
        manifest,
        coordinator_only=True,
        crl=kept.crl,
        collateral=kept.collateral,
        certificate=kept.certificate,
    )
    place = f"{host}:{port}"
    try:
        peer = connect(host, port, validators=validators, client_key=client_key, now=now)
    except HandshakeFailed as err:
        if not any(reason in str(err) for reason in _OTHER_PROTOCOL):
            raise
        raise NoCoordinator(f"this is no coordinator: {place}: {err}", hint=_PORT_HINT) from err
    except EvidenceRejected as err:
        if _has_no_evidence(err):
            raise type(err)(f"this is no coordinator: {place}: {err}", hint=_PORT_HINT) from err
        # No vendor publishes anything about a simulated processor.
        is_hardware = not manifest.reference_values.simulated
        if is_hardware and getattr(err, "reason", "") in _NOT_AT_HAND:
            fetch = command(f"endorsements fetch -c {place}")
            err.hint = f"run '{fetch}', then this again"
        err.hint = err.hint or (
            "is this manifest the one that the coordinator was deployed with, and of this version?"
        )
        _name_coordinator(err, place)
        raise
    except MismatchError as err:
        _name_coordinator(err, place)
        raise
    with peer:
        try:
            yield _ApiSession(peer.channel)
        except CoordinatorUnreachable as err:
            # In TLS 1.3 a client without evidence learns only afterwards that it should have had some.
            if isinstance(peer.refusal, OwnEvidenceRefused):
                raise NoCoordinator(
                    f"this is no coordinator's user api: {place}: {peer.refusal}", hint=_PORT_HINT
                ) from err
            raise


def _name_coordinator(error: ContrastError, place: str) -> None:
    """Put in front of a verdict whose evidence was judged; what judges knows no addresses."""
    error.args = (f"coordinator {place}: {error}", *error.args[1:])


def _has_no_evidence(error: EvidenceRejected) -> bool:
    """Return whether the peer does not even speak of evidence, as any web server does not."""
    from contrast_tasks.atls.errors import BadPeerCertificate, EvidenceMissing

    # Evidence of a type that the manifest does not know comes with a hint of its own.
    return isinstance(error, (BadPeerCertificate, EvidenceMissing)) and not error.hint


class NoCoordinator(CoordinatorUnreachable):
    """Somebody else listens there; waiting does not help."""

    reason = "no-coordinator"


@contextmanager
def advice(settings: Settings, coordinator: str | None) -> Iterator[None]:
    """Give errors of a Coordinator that cannot serve the next command, and the file to look into.

    coordinator: as given on the command line; None is the local deployment's.
    """
    from contrast_tasks.api.errors import REASON_RECOVERY, CoordinatorFailed

    try:
        yield
    except CoordinatorUnreachable as err:
        if getattr(err, "reason", "") == REASON_RECOVERY:
            err.hint = recovery_hint()
        elif isinstance(err, CoordinatorFailed) and coordinator is None and is_local(settings):
            err.hint = _failure_hint(settings, is_damage=_status(err) == "DATA_LOSS")
        raise


def _failure_hint(settings: Settings, *, is_damage: bool) -> str:
    from contrast_tasks.local.paths import local_paths

    paths = local_paths(settings.root)
    logs = sorted(paths.logs.glob("coordinator*.log"))
    log = norm_path(logs[0] if logs else paths.logs, settings.root)
    if not is_damage:
        return f"its log is {log}"
    return (
        f"its log is {log}; restore the object below {norm_path(paths.state, settings.root)} from a backup, "
        f"or begin a new history with '{command('deploy --fresh')}'"
    )


def _status(error: CoordinatorUnreachable) -> str:
    """Return the gRPC status behind an error, "" if there is none."""
    code = getattr(error.__cause__, "code", None)
    return str(code().name) if callable(code) else ""


def is_passing(error: CoordinatorUnreachable) -> bool:
    """Return whether waiting may help: not when the Coordinator itself said why it cannot serve."""
    from contrast_tasks.api.errors import CoordinatorFailed

    reason: object = getattr(error, "reason", "")
    if isinstance(error, CoordinatorFailed) or reason:
        return False
    # A failed precondition is an answer, an unavailable service is none.
    return _status(error) != "FAILED_PRECONDITION"


def patiently(
    attempt: Callable[[], Result],
    *,
    limit_s: float,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Result:
    """Return what `attempt` returns; while the Coordinator is not there, try again every second.

    Raises the last CoordinatorUnreachable after `limit_s` seconds, any other error at once.
    """
    deadline = clock() + limit_s
    told = False
    while True:
        try:
            return attempt()
        except CoordinatorUnreachable as err:
            if not is_passing(err) or clock() + RETRY_S > deadline:
                raise
            if not told:
                say(f"waiting for the coordinator: {err}")
                told = True
        pause(RETRY_S)


def load_manifest(settings: Settings, path: Path | None) -> tuple[bytes, "Manifest", str]:
    """Return the manifest's bytes, its meaning, and its name for messages.

    path: as given on the command line; None is the project's own. Raises UsageError if it cannot be read,
    ManifestError with findings if it is not a valid manifest.
    """
    from contrast_tasks.manifest.codec import parse_manifest

    place = settings.root / settings.manifest if path is None else path
    name = norm_path(place, settings.root) if place.is_relative_to(settings.root) else str(place)
    try:
        content = place.read_bytes()
    except OSError as err:
        raise UsageError(
            f"cannot read the manifest: {(err.strerror or '').lower()}",
            where=Location(file=name),
            hint=f"run '{command('generate')}' first" if path is None else "",
        ) from err
    return content, parse_manifest(content, file=name), name


def say_simulated(manifest: "Manifest", name: str, say: Callable[[str], None]) -> None:
    """Tell in one line that a manifest proves nothing about hardware."""
    if manifest.trusts_simulated:
        say(f"{name} trusts evidence of a simulated processor: for development only")
