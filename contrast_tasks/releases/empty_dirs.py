"""How an emptyDir on disk reaches a guest, by the name of the runtime's shim and its configuration.

Policies and the model of the runtime read it here, and know nothing of each other.
"""

from collections.abc import Mapping
from typing import Final, Literal

EmptyDirs = Literal["block-encrypted", "block-plain", "local"]
"""Where its files are: on a disk of its own, whose key the guest makes or not, or in the guest's folders."""

# Kata itself configures encrypted disks for confidential guests since 3.28 (docs/internals/policy.md 8). No release of
# `table` uses them: the reference product keeps the folders of the guest, with emptydir_mode and settings of its own
# (docs/internals/releases.md 1.4, 4). So no setting leads to such a disk, but recordings of Kata's own runtime do.
_ON_DISKS: Final[Mapping[str, EmptyDirs]] = {"stock-4.1.0": "block-encrypted"}


def empty_dirs_of(shim: str) -> EmptyDirs:
    """Return where the files are with a shim of the runtime's model."""
    return _ON_DISKS.get(shim, "local")
