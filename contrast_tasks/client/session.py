"""One attested connection to a Coordinator: for calls of its user API, or only to read its evidence."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from contrast_tasks.addresses import joined
from contrast_tasks.attestation.carriers import Carried, evidence_of
from contrast_tasks.attestation.endorsements.edge import endorsements_folder
from contrast_tasks.attestation.endorsements.kept import KeptEndorsements
from contrast_tasks.attestation.errors import HardwareRejected
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.client.kept_packs import KeptPacks
from contrast_tasks.errors import (
    ContrastError,
    CoordinatorUnreachable,
    EvidenceRejected,
    MismatchError,
    UsageError,
)
from contrast_tasks.evidence_documents import OID_SNP, OID_TDX
from contrast_tasks.report.hints import command

if TYPE_CHECKING:
    import grpc

    from contrast_tasks.api.extension import AuditLog, CoordinatorStatus, ManifestPlan
    from contrast_tasks.api.packs import Pack
    from contrast_tasks.api.userapi import ManifestHistory, SetManifestResult
    from contrast_tasks.atls.client import AtlsChannel
    from contrast_tasks.atls.types import PrivateKey, Validators
    from contrast_tasks.manifest.model import Manifest

Result = TypeVar("Result")

HANDSHAKE_S = 30.0
CALL_LIMIT_S = 60.0
# Reasons that `endorsements fetch` can remove: a missing list or collateral, or the certificate that a host does not deliver.
_NOT_AT_HAND = frozenset({"collateral-unavailable", "chain-incomplete"})
_PORT_HINT = "name the port of the user API with -c HOST:PORT, usually 1313"


class NoCoordinator(CoordinatorUnreachable):
    """Another service listens at the address; waiting does not help."""

    is_passing = False


@dataclass(slots=True)
class Session:
    """The calls of the user API on one attested connection; `channel` is gRPC's.

    Manifests and policies travel in packs, unless the Coordinator does not know them, as that of the reference product.
    kept: the packs of earlier sessions, None if there are none.
    """

    channel: "grpc.Channel"
    kept: KeptPacks | None = None
    # None before the first call that could tell.
    _has_packs: bool | None = None
    _packs: "Mapping[bytes, Pack] | None" = None
    _policies: AbstractSet[str] = frozenset()

    def set_manifest(
        self,
        manifest: bytes,
        policies: Mapping[str, bytes],
        previous: bytes,
        signatures: Sequence[bytes],
    ) -> "SetManifestResult":
        """Put the manifest in force; policies: by hash; previous: the transition hash (32 bytes) it must follow, zeros for none.

        signatures: of owners over the next transition.
        """
        from contrast_tasks.api import packed, userapi

        def plainly() -> "SetManifestResult":
            _refuse_oversized(manifest, policies)
            return userapi.set_manifest(
                self.channel,
                manifest,
                list(policies.values()),
                CALL_LIMIT_S,
                previous_transition_hash=previous,
                signatures=signatures,
            )

        return self._call(
            lambda: packed.set_manifest(
                self.channel,
                manifest,
                self._new(policies),
                CALL_LIMIT_S,
                previous_transition_hash=previous,
                signatures=signatures,
            ),
            plainly,
        )

    def get_manifests(self) -> "ManifestHistory":
        """Return the whole history."""
        from contrast_tasks.api import packed, userapi

        def in_packs() -> "ManifestHistory":
            if self._packs is None:
                self._packs = {} if self.kept is None else self.kept.load()
            history, packs = packed.get_history(self.channel, self._packs, CALL_LIMIT_S)
            if self.kept is not None and packs.keys() != self._packs.keys():
                self.kept.keep(packs)
            self._packs, self._policies = packs, history.policy_hashes()
            return history

        return self._call(in_packs, lambda: userapi.get_manifests(self.channel, CALL_LIMIT_S))

    def plan_manifest(
        self, manifest: bytes, policies: Mapping[str, bytes], signatures: Sequence[bytes]
    ) -> "ManifestPlan":
        """Return what setting the manifest would do; policies: by hash."""
        from contrast_tasks.api import extension, packed

        return self._call(
            lambda: packed.plan_manifest(
                self.channel, manifest, self._new(policies), CALL_LIMIT_S, signatures=signatures
            ),
            lambda: extension.plan_manifest(
                self.channel,
                manifest,
                list(policies.values()),
                CALL_LIMIT_S,
                signatures=signatures,
            ),
        )

    def _new(self, policies: Mapping[str, bytes]) -> list[bytes]:
        """Return the policies that the Coordinator's history does not have."""
        return [content for name, content in policies.items() if name not in self._policies]

    def _call(self, in_packs: Callable[[], Result], plainly: Callable[[], Result]) -> Result:
        """Return the result of the first call, of the second if the Coordinator does not know the first one."""
        from contrast_tasks.api.errors import CoordinatorFailed

        if self._has_packs is not False:
            try:
                done = in_packs()
            except CoordinatorFailed as err:
                if self._has_packs or not err.is_unknown:
                    raise
                self._has_packs = False
            else:
                self._has_packs = True
                return done
        return plainly()

    def get_seed_shares(self) -> dict[str, Any]:
        """Return the content of seed-shares.json once more."""
        from contrast_tasks.api import userapi

        return userapi.get_seed_shares(self.channel, CALL_LIMIT_S)

    def get_status(self) -> "CoordinatorStatus":
        """Return what the Coordinator is doing."""
        from contrast_tasks.api import extension

        return extension.get_status(self.channel, CALL_LIMIT_S)

    def get_audit_log(self) -> "AuditLog":
        """Return its audit log."""
        from contrast_tasks.api import extension

        return extension.get_audit_log(self.channel, CALL_LIMIT_S)

    def recover(self, *, seed: bytes, salt: bytes, force: bool, known: bytes) -> None:
        """Give a restarted Coordinator its seed back; known: a transition seen before (32 bytes), empty for none."""
        from contrast_tasks.api import userapi

        userapi.recover(
            self.channel,
            seed=seed,
            salt=salt,
            timeout_s=CALL_LIMIT_S,
            force=force,
            known_transition=known,
        )


def _refuse_oversized(manifest: bytes, policies: Mapping[str, bytes]) -> None:
    """Raise UsageError for what a Coordinator without packs would refuse only after all was sent."""
    from contrast_tasks.manifest.sizes import excesses

    sizes = {name: len(content) for name, content in policies.items()}
    for text in excesses(len(manifest), sizes):
        raise UsageError(
            f"this coordinator does not take documents in packs: {text}",
            hint="give a part of the workloads a coordinator of their own, or deploy the coordinator of contrast-tasks",
        )


@contextmanager
def dial(
    host: str, port: int, *, manifest: "Manifest", client_key: "PrivateKey | None"
) -> Iterator[Session]:
    """Connect over attested TLS: the evidence must match a reference value and the Coordinator's policy of the manifest.

    client_key: an owner's private key; None: connect without ownership. Revocation lists and collateral are those kept by
    `endorsements fetch`; no vendor is asked during the handshake.
    Raises EvidenceRejected, MismatchError, CoordinatorUnreachable.
    """
    from contrast_tasks.atls.errors import OwnEvidenceRefused

    now = datetime.now(UTC)
    validators = coordinator_validators(manifest, now)
    with _connect(host, port, validators, now=now, client_key=client_key, trusted=manifest) as peer:
        try:
            yield Session(peer.channel)
        except CoordinatorUnreachable as err:
            # In TLS 1.3 a client that lacks evidence is refused only after the handshake.
            if isinstance(peer.refusal, OwnEvidenceRefused):
                raise NoCoordinator(
                    f"this is no coordinator's user api: {joined(host, port)}: {peer.refusal}",
                    hint=_PORT_HINT,
                ) from err
            raise


def coordinator_validators(manifest: "Manifest", now: datetime) -> "Validators":
    """Return what judges a Coordinator's evidence by a manifest: its reference values, and what vendors published.

    The kept revocation lists and collateral are those of `endorsements fetch`.
    """
    kept = KeptEndorsements.in_folder(endorsements_folder(os.environ), lambda: now)
    return validators_for(
        manifest,
        coordinator_only=True,
        crl=kept.crl,
        collateral=kept.collateral,
        certificate=kept.certificate,
    )


def presented_evidence(
    host: str, port: int, *, now: datetime, timeout_s: float = HANDSHAKE_S
) -> Carried:
    """Return the evidence that a Coordinator presents, without verifying that it is genuine.

    The handshake checks only that the evidence was made for this connection's key and nonce; the caller must verify the
    rest. Nothing is sent over the connection. Raises EvidenceRejected for absent evidence or evidence that was not made
    for this connection; CoordinatorUnreachable.
    """
    recorders = (_Recorder("snp", OID_SNP), _Recorder("tdx", OID_TDX))
    with _connect(host, port, recorders, now=now, timeout_s=timeout_s) as peer:
        presented = peer.evidence
    if not isinstance(presented, _Presented):
        raise EvidenceRejected(f"{joined(host, port)} presents no evidence")
    return presented.carried


def _connect(
    host: str,
    port: int,
    validators: "Validators",
    *,
    now: datetime,
    client_key: "PrivateKey | None" = None,
    timeout_s: float = HANDSHAKE_S,
    trusted: "Manifest | None" = None,
) -> "AtlsChannel":
    """Return an attested connection. Raises CoordinatorUnreachable, EvidenceRejected, MismatchError.

    trusted: the manifest of the validators, for the hints of errors.
    """
    from contrast_tasks.atls.client import connect
    from contrast_tasks.atls.errors import BadPeerCertificate, EvidenceMissing, OtherProtocol

    place = joined(host, port)
    stranger = f"this is no coordinator: {place}"
    try:
        return connect(
            host, port, validators=validators, client_key=client_key, now=now, timeout_s=timeout_s
        )
    except OtherProtocol as err:
        raise NoCoordinator(f"{stranger}: {err}", hint=_PORT_HINT) from err
    except (EvidenceRejected, MismatchError) as err:
        # Evidence of a type that the manifest does not know has a hint already.
        if isinstance(err, BadPeerCertificate | EvidenceMissing) and not err.hint:
            # The peer presents no evidence at all, as any web server.
            raise type(err)(f"{stranger}: {err}", hint=_PORT_HINT) from err
        if trusted is not None:
            explain(err, trusted, place, user_api=place)
        raise


def explain(error: ContrastError, trusted: "Manifest", place: str, *, user_api: str) -> None:
    """Add to an error of a validator what it does not know: the Coordinator's address, and what to do next."""
    error.hint = _hint_for(error, trusted, user_api)
    error.args = (f"coordinator {place}: {error}", *error.args[1:])


def _hint_for(error: ContrastError, trusted: "Manifest", user_api: str) -> str:
    if isinstance(error, MismatchError):
        return error.hint
    # No vendor publishes anything about a simulated processor.
    is_hardware = not trusted.reference_values.simulated
    if is_hardware and isinstance(error, HardwareRejected) and error.reason in _NOT_AT_HAND:
        fetch = command(f"endorsements fetch -c {user_api}")
        return f"run '{fetch}', then this again"
    return error.hint or (
        "is this manifest the one that the coordinator was deployed with, and of this version?"
    )


@dataclass(frozen=True, slots=True)
class _Presented:
    """Evidence that is bound to a connection, but not verified."""

    carried: Carried

    @property
    def host_data(self) -> bytes:
        """Return the claimed policy hash, 32 bytes."""
        return self.carried.evidence.host_data


@dataclass(frozen=True, slots=True)
class _Recorder:
    """A validator that accepts any well-formed evidence bound to the connection."""

    name: str
    oid: str

    def verify(self, document: bytes, report_data: bytes, now: datetime) -> _Presented:
        del now
        carried = evidence_of(self.oid, document, "document")
        if carried.evidence.report_data != report_data:
            raise EvidenceRejected(
                "the evidence was not made for this connection",
                hint="a replay, or a relay in between",
            )
        return _Presented(carried)
