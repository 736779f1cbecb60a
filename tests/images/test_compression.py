"""Layers stored in gzip, read by Python's own reader and by what stands for the snapshotter of AKS."""

import gzip
import io

import pytest

from contrast_tasks.images.compression import stored_in_gzip
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.documents import digest_of
from contrast_tasks.images.pack import Entry, pack_image, render_layer
from contrast_tasks.images.tardev import layer_device


@pytest.mark.parametrize("size", [0, 1, 65534, 65535, 65536, 65535 * 3])
def test_what_is_stored_is_read_again(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]

    assert gzip.decompress(stored_in_gzip(content)) == content


def test_the_bytes_are_those_of_the_standards() -> None:
    # RFC 1952: magic, deflate, no flags, no time, no hint, unknown system; RFC 1951: one last stored block; CRC-32, size.
    assert stored_in_gzip(b"abc").hex() == (
        "1f8b08000000000000ff" + "010300fcff" + "616263" + "c2412435" + "03000000"
    )


def test_a_packed_layer_in_gzip_reaches_the_guest_on_aks() -> None:
    entries = (Entry(path="app/file", content=b"1" * 70_000),)

    image = pack_image("shop/cart:v1", ImageConfig(), [entries], in_gzip=True)
    plain = pack_image("shop/cart:v1", ImageConfig(), [entries])

    (blob,) = [each for each in image.blobs.values() if each.startswith(b"\x1f\x8b")]
    archive = render_layer(entries)
    assert layer_device(io.BytesIO(blob), "layer").diff_id == digest_of(archive)
    assert b'"application/vnd.oci.image.layer.v1.tar+gzip"' in image.blobs[image.descriptor.digest]
    assert archive in plain.blobs.values()
