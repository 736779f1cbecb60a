"""The storages of a container's image whose layers the node attaches as disks (docs/internals/aks.md 1.4)."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from contrast_tasks.agent_messages import filled_storage

_FSTYPE = "fuse3.kata-overlay"
_OPTION = "io.katacontainers.fs-opt."
_LAYER = f"{_OPTION}layer="
_LAYERS = "/run/kata-containers/sandbox/layers"


def layer_storages(
    rootfs: Sequence[Mapping[str, Any]], root: str, address: Callable[[str], str]
) -> tuple[dict[str, Any], ...]:
    """Return a storage for each layer, the top one first, then the overlay of them at `root`.

    rootfs: the one mount that the snapshotter hands over. address: the PCI address of the disk of a layer.
    """
    (overlay,) = rootfs
    layers = tuple(_layers(overlay["options"], address))
    return (
        *layers,
        filled_storage(
            driver="overlayfs",
            source="none",
            fstype=overlay["type"],
            options=list(overlay["options"]),
            mount_point=root,
        ),
    )


def snapshot_mount(layers: Sequence[tuple[str, str]], snapshots: str) -> dict[str, Any]:
    """Return what the snapshotter hands over for an image.

    layers: name and root hash of each, the top one first. snapshots: the folder of the snapshotter.
    """
    options = [",".join((name, "tar", "ro", *_block_options(root)[1:])) for name, root in layers]
    return {
        "type": _FSTYPE,
        "source": snapshots,
        "options": [
            f"{_OPTION}layer-src-prefix={snapshots}/layers",
            *(f"{_LAYER}{base64.b64encode(each.encode()).decode()}" for each in options),
            f"{_OPTION}overlay-rw",
            f"lowerdir={':'.join(name for name, _ in layers)}",
        ],
    }


def _block_options(root: str) -> list[str]:
    flags = ("block_device=file", "is-layer", f"root-hash={root}")
    return ["ro", *(f"{_OPTION}{each}" for each in flags)]


def _layers(options: Sequence[str], address: Callable[[str], str]) -> Iterator[dict[str, Any]]:
    for option in options:
        if option.startswith(_LAYER):
            described = base64.b64decode(option.removeprefix(_LAYER)).decode()
            name, fstype, *own = described.split(",")
            yield filled_storage(
                driver="blk",
                source=address(name),
                fstype=fstype,
                options=own,
                mount_point=f"{_LAYERS}/{name}",
            )
