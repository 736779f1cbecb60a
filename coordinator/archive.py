"""An archive of a store: what the head leads to, as a tar file of the store's layout, the head last.

The same history gives the same bytes, so two exports can be compared. A store holds no secret, and neither does an archive.
An archive is checked like a store before anything of it is written. Source: docs/internals/coordinator.md 8.7.
"""

import contextlib
import io
import tarfile
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.errors import MismatchError, UsageError
from contrast_tasks.manifest.sizes import MAX_OBJECT_BYTES
from coordinator.fsck import FOLDERS, Inspection, inspect
from coordinator.history import LATEST_KEY, History
from coordinator.store.base import InvalidKey, Store, StoreError, split_key
from coordinator.store.memory import MemoryStore

_MODE = 0o644


class BadArchive(UsageError):
    """A file is no archive of a store."""


class NotEmpty(MismatchError):
    """The store to import into holds something else than the archive does."""


def render_archive(objects: Mapping[str, bytes]) -> bytes:
    """Return the tar file (ustar) with the objects in the given order; no names of users, no times."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for key, value in objects.items():
            member = tarfile.TarInfo(key)
            member.size, member.mode = len(value), _MODE
            archive.addfile(member, io.BytesIO(value))
    return file.getvalue()


def read_archive(content: bytes) -> dict[str, bytes]:
    """Return the objects of an archive by key. Raises BadArchive, whose text names the member."""
    objects: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for member in archive:
                name = member.name
                file = archive.extractfile(member) if member.isreg() else None
                if file is None or not _is_key(name) or name in objects:
                    raise BadArchive(f"{name!r} is no object of a store, or there twice")
                if member.size > MAX_OBJECT_BYTES:
                    raise BadArchive(f"{name} has more than {MAX_OBJECT_BYTES} bytes")
                objects[name] = file.read()
    except (tarfile.TarError, OSError, ValueError) as err:
        raise BadArchive("is no tar file, or a damaged one") from err
    return objects


def inspect_archive(
    objects: Mapping[str, bytes], key: ec.EllipticCurvePublicKey | None = None
) -> Inspection:
    """Return what an archive holds; key: as for a store. Raises BadArchive if it has no head."""
    found = inspect(History(MemoryStore(objects)), key)
    if not found.generations:
        raise BadArchive("has no manifest that is in force")
    return found


def restore(objects: Mapping[str, bytes], store: Store, *, is_replacing: bool = False) -> int:
    """Write an archive's objects into a store, the head last, and return how many were not there.

    The store must be empty, or hold a part of the archive, as after an import that was interrupted. is_replacing: whatever it
    holds; its head is then replaced, and its other objects stay. Raises NotEmpty, StoreConflict if the head moves meanwhile,
    StoreError.
    """
    present = {
        key: store.get(key)
        for folder in FOLDERS
        for key in (f"{folder}/{name}" for name in store.names(folder))
    }
    others = sorted(key for key, value in present.items() if objects.get(key) != value)
    if others and not is_replacing:
        raise NotEmpty(
            f"the store holds {_relation(present, objects)}: {len(others)} objects that are not the archive's, "
            f"among them {others[0]}",
            hint="import into an empty store, or --replace the head of this one",
        )
    missing = {key: value for key, value in objects.items() if present.get(key) != value}
    head = objects[LATEST_KEY]
    store.set_all({key: value for key, value in missing.items() if key != LATEST_KEY})
    if LATEST_KEY in missing:
        store.compare_and_swap(LATEST_KEY, present.get(LATEST_KEY, b""), head)
    written = History(store).finished_head()
    if written is None or written.render() != head:
        raise StoreError("the store has another head after the import: somebody else wrote")
    return len(missing)


def _relation(present: Mapping[str, bytes], archived: Mapping[str, bytes]) -> str:
    there, ours = _chain(present), _chain(archived)
    if there and there[0] in ours:
        return "an earlier state of this history"
    if ours[0] in there:
        return "a later state of this history, whose manifest would no longer be in force"
    return "another history" if there else "no head"


def _chain(objects: Mapping[str, bytes]) -> list[bytes]:
    """Return the transition hashes from the head on, as far as they can be read."""
    history, chain = History(MemoryStore(objects)), list[bytes]()
    with contextlib.suppress(StoreError):
        head = history.latest_unverified()
        if head is not None:
            chain.append(head.transition_hash)
            chain += [step.previous for _, step in history.walk(head.transition_hash)]
    return chain


def _is_key(name: str) -> bool:
    try:
        return split_key(name)[0] in FOLDERS
    except InvalidKey:
        return False
