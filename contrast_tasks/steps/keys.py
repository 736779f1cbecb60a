"""The keys that a deployment needs before it has a manifest: owner keys, and on platform `local` the processor's.

An owner key is made only when exactly one path of its kind is configured and nothing is there; an existing file is
never touched. A key that was there before is not made anew where shares of a seed wait for it. What the manifest needs of them is handed on, so that a change of one workload loads no cryptography.
Source: docs/internals/generate.md 2.6.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from contrast_tasks.decode import DecodeError, parse_json
from contrast_tasks.errors import Location, UsageError
from contrast_tasks.files import new_private_file
from contrast_tasks.records import Record
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.outputs import PROCESSOR, SEED_SHARES_FILE


class PublicKeys(Record):
    """The parts of the keys that enter the manifest; workload_owners, whole public keys, is None if updates are disabled.

    local_root_sha256: the simulated processor's root, "" on other platforms. All hex.
    """

    workload_owners: tuple[str, ...] | None
    seedshare_owners: tuple[str, ...]
    local_root_sha256: str

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "PublicKeys":
        """Return the keys from their JSON form."""
        owners = document["workload_owners"]
        return cls(
            workload_owners=None if owners is None else tuple(owners),
            seedshare_owners=tuple(document["seedshare_owners"]),
            local_root_sha256=document["local_root_sha256"],
        )


def prepare_keys(settings: Settings) -> tuple[PublicKeys, list[str]]:
    """Create the missing keys; return the public parts of all keys, and the files written.

    Raises UsageError for a file that is no key, and for a missing key that alone could open the seed shares that are here.
    """
    from contrast_tasks.manifest import keys

    root = settings.root
    _refuse_lost(root, settings.seedshare_owner_keys)
    made = [
        *_make_missing(root, settings.workload_owner_keys, keys.generate_workload_owner),
        *_make_missing(root, settings.seedshare_owner_keys, keys.generate_seedshare_owner),
    ]
    public = PublicKeys(
        workload_owners=None
        if settings.disable_updates
        else _public(root, settings.workload_owner_keys, keys.workload_owner_hex),
        seedshare_owners=_public(root, settings.seedshare_owner_keys, keys.seedshare_owner_hex),
        local_root_sha256=_local_root(settings),
    )
    return public, made


def _refuse_lost(root: Path, names: Sequence[str]) -> None:
    if len(names) != 1 or (root / names[0]).exists() or not (root / SEED_SHARES_FILE).exists():
        return
    raise UsageError(
        f"the key of the seed share owner is missing; a new one would not open {SEED_SHARES_FILE}, "
        "so the coordinator could not be recovered",
        hint=f"restore it from a backup, or list its public key under [owners]; if that coordinator is gone for good, "
        f"move {SEED_SHARES_FILE} away",
        where=Location(file=names[0]),
    )


def told_of_new(settings: Settings, made: Sequence[str]) -> list[str]:
    """Return a warning for each key that was made though the manifest on disk lists another owner."""
    try:
        listed = dict(parse_json((settings.root / settings.manifest).read_bytes()).members())
    except (OSError, DecodeError):
        return []
    kinds = (
        (
            settings.workload_owner_keys,
            ("WorkloadOwnerKeyDigests", "WorkloadOwnerPubKeys"),
            "updated",
        ),
        (settings.seedshare_owner_keys, ("SeedshareOwnerPubKeys",), "recovered"),
    )
    return [
        f"{name} was missing and was made anew; {settings.manifest} listed another key\n"
        f"  hint: a coordinator with that manifest is {verb} with the earlier key only: restore it before 'set'"
        for names, members, verb in kinds
        for name in names
        if name in made and any(member in listed and listed[member].value for member in members)
    ]


def _make_missing(root: Path, names: Sequence[str], generate: Callable[[], bytes]) -> list[str]:
    if len(names) != 1 or (root / names[0]).exists():
        return []
    path = root / names[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = generate()
    # Two runs at once: the second finds the first one's key and keeps it.
    with contextlib.suppress(FileExistsError), new_private_file(path) as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    return list(names)


def _public(root: Path, names: Sequence[str], encode: Callable[..., str]) -> tuple[str, ...]:
    found = []
    for name in names:
        try:
            pem = (root / name).read_bytes()
        except OSError as error:
            message = f"owner key cannot be read: {error.strerror}"
            hint = "create it, or name one path only so that it is created"
            raise UsageError(message, hint=hint, where=Location(file=name)) from error
        found.append(encode(pem, file=name))
    return tuple(sorted(set(found)))


def _local_root(settings: Settings) -> str:
    if not settings.is_local:
        return ""
    from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor

    return SimulatedProcessor.load_or_create(settings.root / PROCESSOR).root_sha256_hex
