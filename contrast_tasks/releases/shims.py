"""What policies and the model of the runtime both must know of a shim, by its name in the rows of releases.

The two know nothing of each other, so here is the one place of these facts.
"""

from collections.abc import Mapping
from typing import Final, Literal

EmptyDirs = Literal["block-encrypted", "block-plain", "local"]
"""Where the files of an emptyDir on disk are: on a disk of its own, whose key the guest makes or not, or in the guest's folders."""
CopyForm = Literal["typed", "bytes", "link"]
"""What a CopyFile request shows to a policy: type and target of the file, its bytes, or the target of a link alone."""

# Kata itself configures encrypted disks for confidential guests since 3.28 (docs/internals/policy.md 8). No release of
# `table` uses them: the reference product keeps the folders of the guest, with emptydir_mode and settings of its own
# (docs/internals/releases.md 1.4, 4). So no setting leads to such a disk, but recordings of Kata's own runtime do.
_ON_DISKS: Final[Mapping[str, EmptyDirs]] = {"stock-4.1.0": "block-encrypted"}
# Agents show the type since 3.30 (docs/internals/policy.md 3.6); those of AKS show links (docs/internals/aks.md 1.6).
_OLDER_FORMS: Final[Mapping[str, CopyForm]] = {
    "contrast-3.17.0": "bytes",
    "contrast-3.18.0": "bytes",
    "contrast-3.22.0": "bytes",
    "aks-3.2": "link",
    "aks-3.15": "link",
}


def empty_dirs_of(shim: str) -> EmptyDirs:
    """Return where the files of an emptyDir on disk are."""
    return _ON_DISKS.get(shim, "local")


def copy_form_of(shim: str) -> CopyForm:
    """Return what the shim's agent shows of a copied file."""
    return _OLDER_FORMS.get(shim, "typed")
