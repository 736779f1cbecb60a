"""The documents of a history in memory: what GetManifests returns, read from the store once and not for each caller.

They stay packed, as most of their bytes are the same. An old object may have been removed or changed in the store. The history
then has a gap, which is told to every caller, and goes on: the manifest in force does not need what came before it.
"""

import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property

from contrast_tasks.api.limits import PACK_BYTES
from contrast_tasks.api.packs import MAX_RAW_BYTES, DocumentTooLarge, Pack, pack_documents
from contrast_tasks.manifest.hashes import NO_TRANSITION
from coordinator.history import Folder, History, HistoryCorrupt, Transition, sha256

_log = logging.getLogger("coordinator.documents")


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One manifest that was in force. transition: its hash (32 bytes); is_lost: the manifest cannot be read."""

    transition: bytes
    manifest_hash: bytes
    is_lost: bool = False


@dataclass(frozen=True, kw_only=True, repr=False)
class Documents:
    """All manifests, oldest first, and the policies that they name, as far as they can be read, in packs.

    before: the transition that precedes the oldest, zeros if there is none; anything else means that what came before is lost.
    policy_names: hashes of policies in hex. lost_policies: sorted hashes of those that a manifest names and that cannot be read.
    places: the pack of each document by its hash.
    """

    before: bytes = NO_TRANSITION
    generations: tuple[Generation, ...] = ()
    packs: tuple[Pack, ...] = ()
    policy_names: frozenset[str] = frozenset()
    lost_policies: tuple[str, ...] = ()
    places: Mapping[str, Pack] = field(default_factory=dict, compare=False)

    @property
    def transitions(self) -> list[bytes]:
        """Return all transition hashes, oldest first."""
        return [generation.transition for generation in self.generations]

    @property
    def manifest_names(self) -> list[str]:
        """Return the hashes (hex) of the manifests, oldest first, without those that are lost."""
        return [each.manifest_hash.hex() for each in self.generations if not each.is_lost]

    @property
    def manifests(self) -> Iterator[bytes]:
        """Yield the manifests, oldest first, without those that are lost."""
        for name in self.manifest_names:
            yield from self.contents({name}).values()

    @property
    def policies(self) -> Iterator[bytes]:
        """Yield the policies, in the order of the packs."""
        return (content for _, content in self._items(self.policy_names))

    @property
    def is_whole(self) -> bool:
        """Return whether nothing is lost."""
        are_all_there = not any(each.is_lost for each in self.generations)
        return self.before == NO_TRANSITION and are_all_there and not self.lost_policies

    @cached_property
    def size(self) -> int:
        """Return the bytes of all documents as GetManifests returns them."""
        return sum(self.sizes((*self.manifest_names, *self.policy_names)))

    @cached_property
    def packed_size(self) -> int:
        """Return the bytes that all packs take."""
        return sum(PACK_BYTES + len(pack.content) for pack in self.packs)

    def sizes(self, names: Iterable[str]) -> list[int]:
        """Return how many bytes the documents with these hashes (hex) have."""
        return [self.places[name].sizes[name] for name in names]

    def contents(self, names: Collection[str]) -> dict[str, bytes]:
        """Return the documents with these hashes (hex) that are there; each pack is unpacked once."""
        return dict(self._items(names))

    def _items(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for pack in sorted(self.packs_with(names), key=lambda pack: pack.digest):
            for name, content in pack.documents(names):
                if self.places[name] is pack:
                    yield name, content

    def packs_with(self, names: Iterable[str]) -> list[Pack]:
        """Return the packs that hold the documents with these hashes (hex)."""
        packs = {pack.digest: pack for name in names if (pack := self.places.get(name))}
        return list(packs.values())

    def packs_of_new(self, documents: Iterable[bytes]) -> list[Pack]:
        """Return packs with those documents that are not here yet. Raises DocumentTooLarge."""
        return pack_documents(each for each in documents if sha256(each).hex() not in self.places)

    def followed_by(
        self,
        transition: Transition,
        manifest: bytes,
        policy_names: Iterable[str],
        packs: Sequence[Pack],
    ) -> "Documents":
        """Return the documents after one more manifest. packs: with what is not here yet."""
        return _collected(
            before=self.before,
            steps=[
                *((each.transition, each.manifest_hash) for each in self.generations),
                (transition.digest, transition.manifest_hash),
            ],
            packs=[*self.packs, *packs],
            manifests=[manifest],
            named=self.policy_names.union(self.lost_policies, policy_names),
        )


def read_documents(history: History, head: bytes) -> Documents:
    """Return the documents of the chain that ends in transition `head` (32 bytes); each gap is logged.

    Raises HistoryCorrupt if the newest manifest or its transition is damaged, StoreError if the store cannot be read.
    """
    chain: list[tuple[bytes, Transition]] = []
    try:
        # What comes before an error is kept.
        chain.extend(history.walk(head))
    except HistoryCorrupt as err:
        if not chain:
            raise
        _log.error("The history has a gap: %s", err)
    chain.reverse()
    packs = [pack for name in history.pack_names() if (pack := _read_pack(history, name))]
    places = _places(packs)
    manifests: dict[str, bytes] = {}
    named: set[str] = set()
    for digest in {step.manifest_hash: None for _, step in chain}:
        name = digest.hex()
        if name in places:
            content = dict(places[name].documents({name}))[name]
        else:
            is_needed = digest == chain[-1][1].manifest_hash
            read = _read(history, "manifests", name, is_needed=is_needed)
            if read is None:
                continue
            content = manifests[name] = read
        named.update(json.loads(content)["Policies"])
    # Of stores that earlier versions wrote.
    loose = (_read(history, "policies", name) for name in sorted(named - places.keys()))
    policies = [content for content in loose if content is not None]
    if policies:
        _log.info(
            "The history has policies of an earlier version; one that still runs does not find those of the next sets",
            extra={"count": len(policies)},
        )
    return _collected(
        before=chain[0][1].previous,
        steps=[(digest, step.manifest_hash) for digest, step in chain],
        packs=[*packs, *_loose_packs(policies)],
        manifests=manifests.values(),
        named=named,
    )


def _collected(
    *,
    before: bytes,
    steps: Sequence[tuple[bytes, bytes]],
    packs: Sequence[Pack],
    manifests: Iterable[bytes],
    named: AbstractSet[str],
) -> Documents:
    """Return the documents of a chain. steps: of each its hash and its manifest's; manifests: some that may be in no pack."""
    places = _places(packs)
    # Each by itself, so that a restart finds the same packs as the updates before it.
    for content in manifests:
        if sha256(content).hex() not in places:
            places |= _places(pack_documents([content], MAX_RAW_BYTES))
    wanted = named | {manifest.hex() for _, manifest in steps}
    kept = {places[name].digest: places[name] for name in wanted & places.keys()}
    return Documents(
        before=before,
        generations=tuple(
            Generation(
                transition=transition,
                manifest_hash=manifest,
                is_lost=manifest.hex() not in places,
            )
            for transition, manifest in steps
        ),
        packs=tuple(kept[digest] for digest in sorted(kept)),
        policy_names=frozenset(named & places.keys()),
        lost_policies=tuple(sorted(named - places.keys())),
        places={name: places[name] for name in wanted & places.keys()},
    )


def _loose_packs(policies: Sequence[bytes]) -> list[Pack]:
    try:
        return pack_documents(policies)
    except DocumentTooLarge:
        # They fitted into an object of their own, and stay there.
        return pack_documents(policies, MAX_RAW_BYTES)


def _places(packs: Iterable[Pack]) -> dict[str, Pack]:
    """Return the pack of each document; of several the one with the least digest."""
    by_digest = sorted(packs, key=lambda pack: pack.digest, reverse=True)
    return {name: pack for pack in by_digest for name in pack.sizes}


def _read_pack(history: History, name: str) -> Pack | None:
    try:
        return history.pack(name)
    except HistoryCorrupt as err:
        _log.error("The history has a gap: %s", err)
        return None


def _read(history: History, folder: Folder, name: str, *, is_needed: bool = False) -> bytes | None:
    try:
        return history.content(folder, bytes.fromhex(name))
    except HistoryCorrupt as err:
        if is_needed:
            raise
        _log.error("The history has a gap: %s", err)
        return None
