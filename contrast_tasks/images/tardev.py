"""Layers as the tardev snapshotter of AKS attaches them: each a device with dm-verity.

The device holds the archive, an index of it and a tree of hashes; the guest checks every block that it reads against the root
hash, which the policy names. Source: docs/internals/aks.md 1.4, 2.
"""

import hashlib
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from contrast_tasks.errors import ImageError
from contrast_tasks.images.tar_headers import DamagedTar, TarPieces
from contrast_tasks.images.tar_index import TarIndex
from contrast_tasks.images.verity import VerityTree

_PIECE_BYTES = 1 << 20
_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_GZIP = 31  # zlib's window bits for one gzip member
_COMPRESSION_HINT = "push the image with layers that are compressed with gzip, by docker push or buildx with compression=gzip"


class LayerDevice(NamedTuple):
    """What a layer becomes. diff_id: `sha256:<64 hex>` of the archive of `size` bytes; tail: what follows it before the tree.

    root: of dm-verity, 64 hex digits. lost: what of the layer does not reach the guest, as in `TarIndex.lost`.
    """

    diff_id: str
    size: int
    tail: bytes
    root: str
    lost: tuple[str, ...]


class LayerScanner:
    """An archive that is given piece by piece."""

    def __init__(self) -> None:
        self._index = TarIndex()
        self._members = TarPieces(self._index.add)
        self._digest = hashlib.sha256()
        self._tree = VerityTree()
        self._size = 0

    def update(self, piece: bytes) -> None:
        """Take the next bytes; raises DamagedTar."""
        self._digest.update(piece)
        self._members.update(piece)
        self._tree.update(piece)
        self._size += len(piece)

    def finish(self) -> LayerDevice:
        """Return the device; raises DamagedTar if the archive ends inside a member."""
        self._members.finish()
        tail = self._index.tail(self._size)
        self._tree.update(tail)
        return LayerDevice(
            diff_id=f"sha256:{self._digest.hexdigest()}",
            size=self._size,
            tail=tail,
            root=self._tree.finish(),
            lost=self._index.lost(),
        )


def layer_device(stream: BinaryIO, subject: str, *, may_be_plain: bool = False) -> LayerDevice:
    """Return what the snapshotter makes of a layer as it is stored; raises ImageError with `subject` in front.

    The snapshotter reads one gzip member. Layers in other forms, or of several members, do not reach the guest whole.
    may_be_plain: accept one that is not compressed, since it will be when it is pushed.
    """
    scanner = LayerScanner()
    try:
        for piece in _archive(stream, may_be_plain=may_be_plain):
            scanner.update(piece)
        return scanner.finish()
    except _OtherForm as err:
        raise ImageError(f"{subject}: {err}", hint=_COMPRESSION_HINT) from err
    except (DamagedTar, zlib.error) as err:
        raise ImageError(f"{subject}: layer is damaged: {err}") from err


class _OtherForm(ValueError):
    pass


def _archive(stream: BinaryIO, *, may_be_plain: bool) -> Iterator[bytes]:
    start = stream.read(4)
    stream.seek(0)
    if start.startswith(_GZIP_MAGIC):
        yield from _unzipped(stream)
    elif start != _ZSTD_MAGIC and may_be_plain:
        yield from iter(lambda: stream.read(_PIECE_BYTES), b"")
    else:
        found = "zstd" if start == _ZSTD_MAGIC else "no compression"
        raise _OtherForm(f"the snapshotter of AKS reads layers with gzip only, found {found}")


def _unzipped(stream: BinaryIO) -> Iterator[bytes]:
    unzip = zlib.decompressobj(_GZIP)
    while not unzip.eof:
        packed = unzip.unconsumed_tail or stream.read(_PIECE_BYTES)
        if not packed:
            raise zlib.error("the gzip stream ends early")
        if piece := unzip.decompress(packed, _PIECE_BYTES):
            yield piece
    if unzip.unused_data or stream.read(1):
        raise _OtherForm(
            "the snapshotter of AKS reads one gzip member of a layer, found several, as eStargz has them"
        )
