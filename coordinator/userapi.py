"""The user API's methods as functions of request, caller and guard; `transport` connects them to TLS and gRPC.

Each takes one snapshot of the state. Everything is checked before anything is written; a refused request changes nothing.
Source: docs/internals/coordinator.md 2.3, 4.3, 4.5, 6.1.
"""

import logging
from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING

from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.api.errors import (
    REASON_ANSWER_SIZE,
    REASON_ARGUMENT,
    REASON_CONFLICT,
    REASON_MANIFEST,
    REASON_NO_MANIFEST,
    REASON_PEERS,
    REASON_RECOVERED,
    REASON_SEED,
    REASON_SEEDSHARE_OWNERS,
)
from contrast_tasks.api.limits import MAX_ANSWER_BYTES, MAX_HISTORY_BYTES
from contrast_tasks.api.packs import Pack
from contrast_tasks.atls.types import PeerIdentity
from contrast_tasks.errors import ContrastError
from contrast_tasks.findings import FindingsError, Severity
from contrast_tasks.manifest.hashes import NO_TRANSITION
from coordinator.authorisation import (
    Approvals,
    actor_of,
    authorise_owner,
    authorise_recovery,
    authorise_update,
    signers_of,
)
from coordinator.ca import BadName, general_names
from coordinator.documents import Documents
from coordinator.history import HASH_BYTES
from coordinator.refusal import Refusal, invalid
from coordinator.seedengine import SALT_BYTES, SEED_BYTES, BadSeed, SeedEngine
from coordinator.seedshares import BadOwnerKey, EncryptedShare, encrypt_seed
from coordinator.sent import (
    Sent,
    check_history_size,
    check_policies,
    sent_packed,
    sent_plainly,
)
from coordinator.state import Guard, Keys, State, Stored
from coordinator.unavailable import ConcurrentUpdate, NoManifest

if TYPE_CHECKING:
    from contrast_tasks.manifest.model import Manifest

_log = logging.getLogger("coordinator.userapi")

# Anybody may set the first manifest.
_NOBODY = Approvals(given=(), missing=(), wanted=0)


def set_manifest(
    request: pb.SetManifestRequest, identity: PeerIdentity, guard: Guard
) -> pb.SetManifestResponse:
    """Put a manifest in force: any caller may set the first, an owner of the one in force each later one.

    A signature must be right, whoever sends it; it then takes the place of an owner's client key.
    """
    return _put_in_force(sent_plainly(request), identity, guard)


def set_packed(
    request: ext.PackedManifest, identity: PeerIdentity, guard: Guard
) -> pb.SetManifestResponse:
    """Put a manifest in force as `set_manifest` does."""
    old = _in_force(guard)
    if old is not None and not request.Signatures:
        # Packs take a while to read.
        authorise_update(identity.public_key_spki, old.manifest, frozenset())
    return _put_in_force(sent_packed(request), identity, guard)


def _put_in_force(sent: Sent, identity: PeerIdentity, guard: Guard) -> pb.SetManifestResponse:
    old, manifest = read_sent(sent, guard)
    approved = check_update(sent, identity, old, manifest)
    shares: tuple[EncryptedShare, ...] = ()
    if old is None:
        engine = SeedEngine(guard.random_bytes(SEED_BYTES), guard.random_bytes(SALT_BYTES))
        shares = _encrypt_seed(engine, manifest)
    else:
        engine = old.engine
    new = guard.update(
        old,
        engine=engine,
        manifest=manifest,
        manifest_bytes=sent.manifest,
        policies=sent.policies,
        packs=sent.packs,
    )
    transition = new.latest.transition_hash
    if approved.wanted > 1:
        for owner in approved.given:
            guard.audit.record("approved", actor=owner, transition=transition)
    guard.audit.record(
        "set",
        actor=actor_of(identity.public_key_spki),
        transition=transition,
        generation=new.generation,
        by="signature" if sent.signatures else "key",
    )
    _log.info(
        "SetManifest succeeded",
        extra={"generation": new.generation, "transition": transition.hex()},
    )
    return pb.SetManifestResponse(
        RootCA=new.ca.root_ca_pem,
        MeshCA=new.ca.mesh_ca_pem,
        SeedSharesDoc=_render_shares(engine, shares) if shares else None,
    )


def read_sent(sent: Sent, guard: Guard) -> tuple[State | None, "Manifest"]:
    """Return the state in force, None before the first manifest, and the manifest that was sent."""
    old = _in_force(guard)
    return old, _parse_manifest(sent.manifest, guard)


def check_update(
    sent: Sent, identity: PeerIdentity, old: State | None, manifest: "Manifest"
) -> Approvals:
    """Return who approves; raises Refusal unless the caller may put the manifest in force after `old`."""
    previous = NO_TRANSITION if old is None else old.latest.transition_hash
    # Before the signatures, which a newer transition makes wrong too.
    _check_previous(sent.previous, previous)
    signers = signers_of(
        sent.signatures, sent.manifest, previous, manifest if old is None else old.manifest
    )
    approved = _NOBODY
    if old is not None:
        approved = authorise_update(identity.public_key_spki, old.manifest, signers)
        _check_seedshare_owners(manifest, old.manifest)
    documents = Documents() if old is None else old.documents
    check_policies(sent, manifest, documents)
    _check_names(manifest)
    check_history_size(sent, documents)
    return approved


def get_seed_shares(
    _request: ext.GetSeedSharesRequest, identity: PeerIdentity, guard: Guard
) -> ext.GetSeedSharesResponse:
    """Return the seed for its owners once more: the answer of the first set may have been lost.

    They are encrypted anew, as the seed is at hand and each share is for one owner only.
    """
    state = guard.current()
    authorise_owner(identity.public_key_spki, state.manifest)
    shares = _encrypt_seed(state.engine, state.manifest)
    guard.audit.record("seed-shares", actor=actor_of(identity.public_key_spki))
    _log.info("GetSeedShares succeeded", extra={"generation": state.generation})
    return ext.GetSeedSharesResponse(SeedSharesDoc=_render_shares(state.engine, shares))


def get_manifests(_request: pb.GetManifestsRequest, _identity: PeerIdentity, guard: Guard) -> bytes:
    """Return all manifests up to the one in force, their policies, and the certificates of its generation.

    The answer is a GetManifestsResponse on the wire, where one message after the other means the same as one with all their
    members: so the documents, which may have 64 MiB, are in memory once. Source: protobuf, "Last One Wins".
    """
    state = guard.current()
    documents = state.documents
    check_answer_size(documents, "GetManifests")
    lost = [
        pb.LostManifest(Index=index, Hash=generation.manifest_hash)
        for index, generation in enumerate(documents.generations)
        if generation.is_lost
    ]
    rest = pb.GetManifestsResponse(
        LostManifests=lost,
        LostPolicies=[bytes.fromhex(name) for name in documents.lost_policies],
        LostBefore=documents.before.strip(b"\0") and documents.before,
        RootCA=state.ca.root_ca_pem,
        MeshCA=state.ca.mesh_ca_pem,
        LatestTransition=_latest(state),
    )
    answer = BytesIO()
    for manifest in documents.manifests:
        answer.write(pb.GetManifestsResponse(Manifests=[manifest]).SerializeToString())
    for policy in documents.policies:
        answer.write(pb.GetManifestsResponse(Policies=[policy]).SerializeToString())
    answer.write(rest.SerializeToString())
    return answer.getvalue()


def manifests_size(_request: pb.GetManifestsRequest, guard: Guard) -> int:
    """Return about how many bytes `get_manifests` returns."""
    return guard.current().documents.size


def packed_size(request: ext.GetPackedRequest, guard: Guard) -> int:
    """Return about how many bytes `get_packed` returns."""
    packs = _unknown(guard.current(), request)
    return min(sum(len(pack.content) for pack in packs), MAX_ANSWER_BYTES)


def _unknown(state: State, request: ext.GetPackedRequest) -> list[Pack]:
    known = frozenset(request.Known)
    return [pack for pack in state.documents.packs if pack.digest not in known]


def check_answer_size(documents: Documents, call: str) -> None:
    """Refuse a call whose answer would have the whole history, if that is too large."""
    if documents.size > MAX_HISTORY_BYTES:
        raise Refusal(
            REASON_ANSWER_SIZE,
            f"the history has {documents.size} bytes, {call} returns at most {MAX_HISTORY_BYTES}",
        )


def get_packed(
    request: ext.GetPackedRequest, _identity: PeerIdentity, guard: Guard
) -> ext.GetPackedResponse:
    """Return what `get_manifests` does, in packs, and of those only what the caller does not have."""
    state = guard.current()
    documents = state.documents
    packs: list[bytes] = []
    room = MAX_ANSWER_BYTES
    for pack in _unknown(state, request):
        room -= len(pack.content)
        if room < 0 and packs:
            break
        packs.append(pack.content)
    return ext.GetPackedResponse(
        Manifests=[each.manifest_hash for each in documents.generations],
        LostPolicies=[bytes.fromhex(name) for name in documents.lost_policies],
        LostBefore=documents.before.strip(b"\0") and documents.before,
        RootCA=state.ca.root_ca_pem,
        MeshCA=state.ca.mesh_ca_pem,
        LatestTransition=_latest(state),
        Hashes=[pack.digest for pack in documents.packs],
        Packs=packs,
    )


def recover(request: pb.RecoverRequest, identity: PeerIdentity, guard: Guard) -> pb.RecoverResponse:
    """Serve the newest manifest of the history again, by the seed that one of its seed share owners decrypted."""
    try:
        old = guard.unrecovered()
    except NoManifest as err:
        raise Refusal(REASON_NO_MANIFEST, "no state to recover from") from err
    except ConcurrentUpdate as err:
        raise Refusal(REASON_RECOVERED, "coordinator is already recovered") from err
    if request.KnownTransition and len(request.KnownTransition) != HASH_BYTES:
        found = len(request.KnownTransition)
        raise invalid(REASON_ARGUMENT, f"known transition has {found} bytes, wanted {HASH_BYTES}")
    # Before the caller is authorised, as the reference product has it: whoever asks learns no more than from verify.
    if not request.Force and guard.presence.others():
        raise Refusal(REASON_PEERS, "rejecting user recovery because recovered peers are available")

    def authorise(stored: Stored) -> Keys:
        # The caller is authorised before the seed is used.
        authorise_recovery(identity.public_key_spki, stored.manifest)
        return Keys(SeedEngine(request.Seed, request.Salt))

    try:
        new = guard.reset(old, authorise, known=request.KnownTransition)
    except BadSeed as err:
        raise invalid(REASON_SEED, str(err)) from err
    guard.audit.record(
        "recover",
        actor=actor_of(identity.public_key_spki),
        transition=new.latest.transition_hash,
        generation=new.generation,
    )
    _log.info("Recover succeeded", extra={"generation": new.generation})
    return pb.RecoverResponse()


def _latest(state: State) -> pb.LatestTransition:
    latest = state.latest
    return pb.LatestTransition(TransitionHash=latest.transition_hash, Signature=latest.signature)


def _in_force(guard: Guard) -> State | None:
    try:
        return guard.current()
    except NoManifest:
        return None


def _parse_manifest(content: bytes, guard: Guard) -> "Manifest":
    try:
        return guard.parse(content)
    except FindingsError as err:
        errors = [entry for entry in err.findings if entry.severity is Severity.ERROR]
        text = "unmarshaling manifest:\n" + "\n".join(map(str, errors))
        field = errors[0].where.pointer if errors else ""
        raise invalid(REASON_MANIFEST, text, field=field) from err
    except ContrastError as err:
        raise invalid(REASON_MANIFEST, f"unmarshaling manifest: {err}") from err


def _check_previous(expected: bytes, found: bytes) -> None:
    if not expected:
        return
    if len(expected) != HASH_BYTES:
        raise invalid(
            REASON_ARGUMENT,
            f"previous transition hash has {len(expected)} bytes, wanted {HASH_BYTES}",
        )
    if expected != found:
        raise Refusal(
            REASON_CONFLICT,
            f"previous transition {expected.hex()} does not match latest state {found.hex()}",
            found={"wanted": expected.hex(), "found": found.hex()},
        )


def _check_seedshare_owners(new: "Manifest", old: "Manifest") -> None:
    # The seed was encrypted once, for these keys in this order.
    if tuple(new.seedshare_owner_pub_keys or ()) != tuple(old.seedshare_owner_pub_keys or ()):
        raise Refusal(REASON_SEEDSHARE_OWNERS, "changes to seedshare owners are not allowed")


def _check_names(manifest: "Manifest") -> None:
    for policy_hash, entry in manifest.policies.items():
        try:
            general_names(entry.sans)
        except BadName as err:
            raise invalid(REASON_MANIFEST, f"policy {policy_hash}: {err}") from err


def _encrypt_seed(engine: SeedEngine, manifest: "Manifest") -> tuple[EncryptedShare, ...]:
    try:
        return encrypt_seed(engine.seed, manifest.seedshare_owner_pub_keys or ())
    except BadOwnerKey as err:
        raise invalid(REASON_MANIFEST, f"initializing seed engine: {err}") from err


def _render_shares(engine: SeedEngine, shares: Iterable[EncryptedShare]) -> pb.SeedShareDocument:
    return pb.SeedShareDocument(
        salt=engine.salt,
        SeedShares=[
            pb.SeedShare(PublicKey=share.public_key_hex, EncryptedSeed=share.ciphertext)
            for share in shares
        ],
    )
