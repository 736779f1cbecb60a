"""The documents of a history in memory: what GetManifests returns, read from the store once and not for each caller.

An old object may have been removed or changed in the store. The history then has a gap, which is told to every caller, and
goes on: the manifest in force does not need what came before it.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from contrast_tasks.manifest.hashes import NO_TRANSITION, policy_hash_hex
from coordinator.history import Folder, History, HistoryCorrupt, Transition

_log = logging.getLogger("coordinator.documents")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Generation:
    """One manifest that was in force. transition: its hash (32 bytes); manifest: the bytes, None if they are lost."""

    transition: bytes
    manifest_hash: bytes
    manifest: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Documents:
    """All manifests, oldest first, and the policies that they name, by hash in hex and sorted, as far as they can be read.

    before: the transition that precedes the oldest, zeros if there is none; anything else means that what came before is lost.
    lost_policies: sorted hashes of those that a manifest names and that cannot be read.
    """

    before: bytes = NO_TRANSITION
    generations: tuple[Generation, ...] = ()
    policies: Mapping[str, bytes] = field(default_factory=dict)
    lost_policies: tuple[str, ...] = ()

    @property
    def transitions(self) -> list[bytes]:
        """Return all transition hashes, oldest first."""
        return [generation.transition for generation in self.generations]

    @property
    def manifests(self) -> list[bytes]:
        """Return the manifests, oldest first, without those that are lost."""
        return [each.manifest for each in self.generations if each.manifest is not None]

    @property
    def is_whole(self) -> bool:
        """Return whether nothing is lost."""
        is_complete = len(self.manifests) == len(self.generations)
        return self.before == NO_TRANSITION and is_complete and not self.lost_policies

    @property
    def size(self) -> int:
        """Return the bytes of all documents."""
        return sum(map(len, (*self.manifests, *self.policies.values())))

    def followed_by(
        self, transition: Transition, manifest: bytes, policies: Iterable[bytes]
    ) -> "Documents":
        """Return the documents after one more manifest."""
        newest = Generation(
            transition=transition.digest,
            manifest_hash=transition.manifest_hash,
            manifest=manifest,
        )
        more = {policy_hash_hex(each): each for each in policies}
        return Documents(
            before=self.before,
            generations=(*self.generations, newest),
            policies=dict(sorted({**self.policies, **more}.items())),
            lost_policies=tuple(name for name in self.lost_policies if name not in more),
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
    generations = [
        Generation(
            transition=digest,
            manifest_hash=step.manifest_hash,
            manifest=_read(history, "manifests", step.manifest_hash, is_needed=digest == head),
        )
        for digest, step in reversed(chain)
    ]
    named = sorted(_named(generations))
    policies = {
        name: content
        for name in named
        if (content := _read(history, "policies", bytes.fromhex(name))) is not None
    }
    return Documents(
        before=chain[-1][1].previous,
        generations=tuple(generations),
        policies=policies,
        lost_policies=tuple(name for name in named if name not in policies),
    )


def _read(
    history: History, folder: Folder, digest: bytes, *, is_needed: bool = False
) -> bytes | None:
    try:
        return history.content(folder, digest)
    except HistoryCorrupt as err:
        if is_needed:
            raise
        _log.error("The history has a gap: %s", err)
        return None


def _named(generations: Iterable[Generation]) -> set[str]:
    manifests = (each.manifest for each in generations if each.manifest is not None)
    return {name for content in manifests for name in json.loads(content)["Policies"]}
