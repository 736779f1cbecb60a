"""Layers that are compressed with zstd. Source: OCI image specification 1.1, "layer"; RFC 8878."""

import sys

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.documents import digest_of
from tests.fakes.images import file, tar
from tests.fakes.testdata import REPORTS
from tests.images.test_layers import names

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LAYER = tar(file("a", b"content of a"), file("b/c", b"x" * 5000))
SKIPPED = b"\x52\x2a\x4d\x18\x05\0\0\0other"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(zstd.compress(LAYER), id="one frame"),
        pytest.param(zstd.compress(LAYER[:900]) + zstd.compress(LAYER[900:]), id="two frames"),
        # Source: RFC 8878, 3.1.2; archives with a table of contents have one at the end.
        pytest.param(zstd.compress(LAYER) + SKIPPED, id="a skippable frame after it"),
        pytest.param(SKIPPED + zstd.compress(LAYER), id="a skippable frame before it"),
    ],
)
def test_zstd_layers_are_read(content: bytes) -> None:
    assert names(content, digest_of(LAYER)) == ["a", "b/c"]


def test_the_layer_of_another_tools_zstd_is_read() -> None:
    blobs = REPORTS / "36-zstd-layer" / "oci" / "blobs" / "sha256"
    layer = blobs / "236701800cde09e6e306cacd0d6bc1ba699be7b50e1b5e34bc428e5456096346"

    found = names(
        layer.read_bytes(),
        "sha256:4a24b2fd8cc2c83bc04858e6855db36c06b78710cb9fffe8db915afd91d963c5",
    )

    assert found == ["etc/", "etc/passwd", "etc/group", "bin/app"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(zstd.compress(LAYER)[:-10], id="truncated"),
        pytest.param(zstd.compress(LAYER)[:10] + b"\xff" * 50, id="bad"),
        pytest.param(zstd.compress(LAYER) + b"more", id="something after it"),
        pytest.param(b"\x28\xb5\x2f\xfd" + b"\0" * 100, id="zeros"),
    ],
)
def test_a_damaged_layer_is_refused(content: bytes) -> None:
    with pytest.raises(ImageError, match="image a: layer is damaged: zstd: "):
        names(content, digest_of(LAYER))
