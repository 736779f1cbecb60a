"""The history of manifests: content-addressed documents, a chain of transitions, one signed head.

    manifests/<sha256>    manifest bytes, if they fit into one object
    packs/<sha256>        not of the reference product: policies, and manifests that do not fit
    policies/<sha256>     policy bytes, which earlier versions wrote
    transitions/<sha256>  manifest hash (32) and previous transition hash (32, zeros for the first)
    transitions/latest    newest transition hash (32) and the Coordinator's signature over it
    metadata/<sha256>     not of the reference product: when the first transition was made, signed
    metadata/unfinished   not of the reference product: 32 random bytes of the newest first set, then the first transitions of
                          those that have not ended, so that nobody has got an answer; earlier versions wrote these transitions
                          alone, and answered also if they could not note the end

An attacker who can write to the store can delete objects but not change them unnoticed: every read hashes the content
again, every hash is linked to the head, and the head is signed. Source: docs/internals/coordinator.md 8.1.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contrast_tasks.api.packs import BadPack, Pack, pack_documents, read_pack
from contrast_tasks.errors import Location
from contrast_tasks.manifest.hashes import NO_TRANSITION, transition_digest
from contrast_tasks.manifest.sizes import MAX_OBJECT_BYTES
from coordinator.store.base import NotFound, Store, StoreConflict, StoreError

Folder = Literal["manifests", "policies"]
CONTENT_FOLDERS = ("manifests", "packs", "policies", "transitions")
"""What is in them is named by its hash, but for the head."""

HASH_BYTES = 32
LATEST_KEY = "transitions/latest"
_PACKS = "packs"
UNFINISHED_KEY = "metadata/unfinished"

# A cycle would need a collision; the bound turns one into an error instead of a loop.
_MAX_CHAIN = 100_000
_RESTORE = "restore the object from a backup of the state"
_TIME_BYTES = 8
# Interrupted first sets leave one each.
_MAX_TIMES = 1000
HASH = re.compile(r"[0-9a-f]{64}")
_TIME_LABEL = b"contrast-tasks first transition time"


class HistoryCorrupt(StoreError):
    """A stored object does not match its name, length or signature; it was changed from outside."""


class ObjectMissing(HistoryCorrupt, NotFound):
    """An object that the history names is missing; it was removed from outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One step: which manifest (SHA-256, 32 bytes) came after which transition (32 bytes, zeros for none)."""

    manifest_hash: bytes
    previous: bytes

    def render(self) -> bytes:
        """Return the 64 bytes that are stored and hashed."""
        return self.manifest_hash + self.previous

    @property
    def digest(self) -> bytes:
        """Return the transition hash, 32 bytes."""
        return transition_digest(self.manifest_hash, self.previous)

    @property
    def key(self) -> str:
        """Return the key of its object."""
        return f"transitions/{self.digest.hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestTransition:
    """The head: the newest transition hash (32 bytes) and the signature over it (ASN.1 DER)."""

    transition_hash: bytes
    signature: bytes

    def render(self) -> bytes:
        """Return the stored form."""
        return self.transition_hash + self.signature

    def is_signed_by(self, key: ec.EllipticCurvePublicKey) -> bool:
        """Return whether the signature verifies under the transaction key."""
        return is_signed(key, self.signature, self.transition_hash)


class Beginning(NamedTuple):
    """A first set that has begun. mark: tells it from others; dead_head: of one that broke off, None if there is none."""

    mark: bytes
    dead_head: LatestTransition | None


def sign_latest(key: ec.EllipticCurvePrivateKey, transition_hash: bytes) -> LatestTransition:
    """Return the signed head; the 32 bytes are signed as the message digest and not hashed again."""
    return LatestTransition(
        transition_hash=transition_hash, signature=sign_digest(key, transition_hash)
    )


class History:
    """Typed, verified access to a store. Every method raises StoreError, and HistoryCorrupt for a changed object."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def content(self, folder: Folder, digest: bytes) -> bytes:
        """Return the manifest or policy with this SHA-256."""
        return self._content(f"{folder}/{digest.hex()}", digest)

    def put(self, folder: Folder, contents: Iterable[bytes]) -> None:
        """Store manifests or policies, each under its hash."""
        self.store.set_all({f"{folder}/{sha256(content).hex()}": content for content in contents})

    def put_packs(self, packs: Iterable[Pack]) -> None:
        """Store packs, each under its hash, but for those of documents that have objects of their own."""
        self.store.set_all(pack_objects(packs))

    def pack_names(self) -> list[str]:
        """Return the hashes (hex) of all packs, sorted."""
        return [name for name in self.store.names(_PACKS) if HASH.fullmatch(name)]

    def pack(self, name: str) -> Pack:
        """Return the pack with this SHA-256 (hex)."""
        key = f"{_PACKS}/{name}"
        try:
            return read_pack(self._content(key, bytes.fromhex(name)))
        except BadPack as err:
            raise self._corrupt(key, str(err)) from err

    def manifest(self, digest: bytes) -> bytes:
        """Return the manifest with this SHA-256, which has an object of its own or is in a pack."""
        try:
            return self.content("manifests", digest)
        except HistoryCorrupt:
            if (found := self._packed(digest.hex())) is not None:
                return found
            raise

    def put_manifest(self, content: bytes) -> None:
        """Store a manifest, in packs if it does not fit into one object."""
        self.store.set_all(manifest_objects(content))

    def transition(self, digest: bytes) -> Transition:
        """Return the transition with this hash."""
        key = f"transitions/{digest.hex()}"
        raw = self._content(key, digest)
        if len(raw) != 2 * HASH_BYTES:
            raise self._corrupt(key, f"found {len(raw)} bytes, wanted {2 * HASH_BYTES}")
        return Transition(manifest_hash=raw[:HASH_BYTES], previous=raw[HASH_BYTES:])

    def put_transition(self, transition: Transition) -> None:
        """Store a transition under its hash."""
        self.store.set(transition.key, transition.render())

    def latest_unverified(self) -> LatestTransition | None:
        """Return the head without verifying its signature, None if there is none."""
        try:
            raw = self.store.get(LATEST_KEY)
        except NotFound:
            return None
        return self.parse_latest(raw)

    def parse_latest(self, raw: bytes) -> LatestTransition:
        """Return the head from its stored form; raises HistoryCorrupt unless that is a hash and a signature."""
        if len(raw) <= HASH_BYTES:
            wanted = f"wanted more than {HASH_BYTES}"
            raise self._corrupt(LATEST_KEY, f"found {len(raw)} bytes, {wanted}")
        head = LatestTransition(transition_hash=raw[:HASH_BYTES], signature=raw[HASH_BYTES:])
        try:
            utils.decode_dss_signature(head.signature)
        except ValueError as err:
            found = f"found {len(head.signature)} bytes after the transition hash"
            raise self._corrupt(LATEST_KEY, f"{found}, wanted an ecdsa signature in der") from err
        return head

    def swap_latest(self, old: LatestTransition | None, new: LatestTransition) -> None:
        """Move the head from `old` to `new`; raises StoreConflict if the stored head is another."""
        expected = b"" if old is None else old.render()
        self.store.compare_and_swap(LATEST_KEY, expected, new.render())

    def walk(self, digest: bytes) -> Iterator[tuple[bytes, Transition]]:
        """Yield (transition hash, transition) from `digest` back to the first."""
        for _ in range(_MAX_CHAIN):
            if digest == NO_TRANSITION:
                return
            transition = self.transition(digest)
            yield digest, transition
            digest = transition.previous
        raise self._corrupt(f"transitions/{digest.hex()}", f"chain longer than {_MAX_CHAIN}")

    def begin(self, first_transition: bytes) -> "Beginning":
        """Note that a first set begins: until `end` nobody can have got an answer.

        Raises StoreConflict if another one has ended.
        """
        found, dead_head = self._unfinished(), self.latest_unverified()
        if dead_head is not None and not self._is_dead(dead_head, found):
            raise StoreConflict("another coordinator has set the first manifest")
        earlier = _hashes_in(found if self._is_of_earlier_version(found) else found[HASH_BYTES:])
        transitions = earlier | {first_transition}
        # Random, so that of two that set the same manifest at once only one can end.
        mark = secrets.token_bytes(HASH_BYTES) + b"".join(sorted(transitions))
        self.store.compare_and_swap(UNFINISHED_KEY, found, mark)
        return Beginning(mark, dead_head)

    def end(self, beginning: "Beginning") -> None:
        """Note that the first set has its head; raises StoreConflict if another one has begun since."""
        # The random bytes stay: whoever read the value before this set began must not find it again.
        self.store.compare_and_swap(UNFINISHED_KEY, beginning.mark, beginning.mark[:HASH_BYTES])

    def finished_head(self) -> LatestTransition | None:
        """Return the head without verifying its signature, None if there is none or its first set has not ended."""
        head = self.latest_unverified()
        return None if head is None or self._is_dead(head, self._unfinished()) else head

    def orphans(self) -> set[str]:
        """Return the hashes (hex) of transitions that had a head which is missing now, an empty set if there is one.

        First sets that broke off leave transitions too, which are not orphans.
        """
        names = set(self.store.names("transitions"))
        if not names or "latest" in names:
            return set()
        return names - {digest.hex() for digest in _hashes_in(self._unfinished())}

    def _is_dead(self, head: LatestTransition, unfinished: bytes) -> bool:
        """Return whether nobody can have got an answer that rests on a head."""
        is_listed = head.transition_hash in _hashes_in(unfinished)
        return is_listed and not self._is_of_earlier_version(unfinished)

    def _is_of_earlier_version(self, unfinished: bytes) -> bool:
        """Return whether it begins with a transition, whose time was stored before, and not with random bytes."""
        try:
            return bool(unfinished and self.store.get(f"metadata/{unfinished[:HASH_BYTES].hex()}"))
        except NotFound:
            return False

    def _unfinished(self) -> bytes:
        try:
            return self.store.get(UNFINISHED_KEY)
        except NotFound:
            return b""

    def put_first_time(
        self, key: ec.EllipticCurvePrivateKey, first_transition: bytes, moment: datetime
    ) -> None:
        """Store when the first transition was made (whole seconds), signed, beside it."""
        seconds = int(moment.timestamp()).to_bytes(_TIME_BYTES)
        signature = sign_digest(key, sha256(_TIME_LABEL + first_transition + seconds))
        self.store.set(f"metadata/{first_transition.hex()}", seconds + signature)

    def first_time(self, key: ec.EllipticCurvePublicKey) -> datetime | None:
        """Return when the first transition was made, None if that is not stored or not signed by `key`.

        The first transition itself may be lost; no other has a time signed by this key.
        """
        for name in self.store.names("metadata")[:_MAX_TIMES]:
            if not HASH.fullmatch(name):
                continue
            if (found := self.first_time_of(name, key)) is not None:
                return found
        return None

    def first_time_of(self, name: str, key: ec.EllipticCurvePublicKey) -> datetime | None:
        """Return when the transition with this hash (hex) was made as the first, None if that is not signed by `key`."""
        raw = self.store.get(f"metadata/{name}")
        seconds, signature = raw[:_TIME_BYTES], raw[_TIME_BYTES:]
        if not is_signed(key, signature, sha256(_TIME_LABEL + bytes.fromhex(name) + seconds)):
            return None
        return datetime.fromtimestamp(int.from_bytes(seconds), UTC)

    def check(self, key: str) -> None:
        """Raise HistoryCorrupt unless an object of CONTENT_FOLDERS has the hash that its name says."""
        self._content(key, bytes.fromhex(key.partition("/")[2]))

    def _packed(self, name: str) -> bytes | None:
        for each in self.pack_names():
            try:
                pack = self.pack(each)
            except HistoryCorrupt:
                # Whether anything is lost with it is found out when the documents are read.
                continue
            if name in pack.sizes:
                return dict(pack.documents({name}))[name]
        return None

    def _content(self, key: str, digest: bytes) -> bytes:
        try:
            raw = self.store.get(key)
        except NotFound as err:
            raise ObjectMissing(
                f"history object {key} is missing",
                hint=_RESTORE,
                where=Location(file=self.store.describe(key)),
            ) from err
        found = sha256(raw)
        if found != digest:
            raise self._corrupt(
                key, f"found content with sha256 {found.hex()}, wanted {digest.hex()}"
            )
        return raw

    def _corrupt(self, key: str, detail: str) -> HistoryCorrupt:
        return HistoryCorrupt(
            f"history object {key} was changed: {detail}",
            hint=_RESTORE,
            where=Location(file=self.store.describe(key)),
        )


def pack_objects(packs: Iterable[Pack]) -> dict[str, bytes]:
    """Return the objects of packs by key, without those of documents that have objects of their own."""
    return {
        f"{_PACKS}/{pack.digest.hex()}": pack.content
        for pack in packs
        if len(pack.content) <= MAX_OBJECT_BYTES
    }


def manifest_objects(content: bytes) -> dict[str, bytes]:
    """Return the objects of a manifest by key: itself, or packs if it does not fit into one."""
    if len(content) <= MAX_OBJECT_BYTES:
        return {f"manifests/{sha256(content).hex()}": content}
    return pack_objects(pack_documents([content]))


def sha256(content: bytes) -> bytes:
    """Return the 32-byte digest."""
    return hashlib.sha256(content).digest()


def _hashes_in(content: bytes) -> set[bytes]:
    starts = range(0, len(content), HASH_BYTES)
    return {content[start : start + HASH_BYTES] for start in starts}


def sign_digest(key: ec.EllipticCurvePrivateKey, digest: bytes) -> bytes:
    """Return the signature (ASN.1 DER) over 32 bytes, which are not hashed again."""
    return key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


def is_signed(key: ec.EllipticCurvePublicKey, signature: bytes, digest: bytes) -> bool:
    """Return whether the signature over these 32 bytes verifies."""
    try:
        key.verify(signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except InvalidSignature:
        return False
    return True


def not_signed(head: LatestTransition, key: ec.EllipticCurvePublicKey) -> str:
    """Return what is wrong with a head that another key signed."""
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return (
        f"history object {LATEST_KEY} is not signed by the key of this seed: found a signature over "
        f"{head.transition_hash.hex()} that does not verify, wanted one by the key with sha256 "
        f"{sha256(spki).hex()}; the object was changed, or the seed belongs to another history"
    )
