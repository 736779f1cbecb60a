"""Objects of the history that somebody removed or changed in the store, written back by a Coordinator that has them in memory.

What is missing is found by its name; content is read again for the newest manifest only, without which nobody can recover. A change
of older objects is found by whoever reads them. Source: docs/internals/coordinator.md 8.5.
"""

from collections.abc import Iterator

from coordinator.history import (
    CONTENT_FOLDERS,
    History,
    HistoryCorrupt,
    Transition,
    manifest_objects,
    pack_objects,
)
from coordinator.state import State


def repair(history: History, state: State) -> list[str]:
    """Return the keys of the objects that were missing or changed, sorted, after writing them back. Raises StoreError."""
    there = {
        f"{folder}/{name}" for folder in CONTENT_FOLDERS for name in history.store.names(folder)
    }
    newest = {
        state.transition.key: state.transition.render(),
        **manifest_objects(state.manifest_bytes),
        **pack_objects(state.documents.packs_with(state.manifest.policies)),
    }
    lost = {
        key: value
        for key, value in newest.items()
        if not (key in there and _is_intact(history, key))
    }
    lost |= {key: value for key, value in _older(state, there) if key not in there}
    if lost:
        history.store.set_all(lost)
    return sorted(lost)


def _older(state: State, there: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the objects of the whole history; manifests that are there stay packed."""
    documents = state.documents
    previous = documents.before
    for each in documents.generations:
        step = Transition(manifest_hash=each.manifest_hash, previous=previous)
        yield step.key, step.render()
        previous = each.transition
        name = each.manifest_hash.hex()
        if not each.is_lost and f"manifests/{name}" not in there:
            yield from manifest_objects(documents.contents({name})[name]).items()
    yield from pack_objects(documents.packs_with(documents.policy_names)).items()


def _is_intact(history: History, key: str) -> bool:
    try:
        history.check(key)
    except HistoryCorrupt:
        return False
    return True
