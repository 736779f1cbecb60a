"""The keys that a deployment needs before it has a manifest: owner keys, and on platform `local` the processor's.

An owner key is made only when exactly one path of its kind is configured and nothing is there; an existing file is
never touched. What the manifest needs of them is handed on, so that a change of one workload loads no cryptography.
Source: docs/internals/generate.md 2.6.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from contrast_tasks.errors import Location, UsageError
from contrast_tasks.files import new_private_file
from contrast_tasks.records import Record
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.outputs import PROCESSOR


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
    """Create the missing keys; return the public parts of all keys, and the files written."""
    from contrast_tasks.manifest import keys

    root = settings.root
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
