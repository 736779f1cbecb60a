"""Layers made to exhaust the machine that reads them: each is refused by a process with little memory and little time."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from contrast_tasks.images.documents import digest_of
from tests.fakes.images import MadeImage, file, make_image, tar, write_images
from tests.images.test_archives import END, SPARSE_START, header, padded, pax

pytestmark = pytest.mark.e2e

# Both far above what an honest image needs, and far below what these want. The interpreter and its modules are in them.
MEMORY_BYTES = 768 << 20
CPU_S = 60

PROGRAM = f"""
import resource, sys
from pathlib import Path

resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES}, {MEMORY_BYTES}))
resource.setrlimit(resource.RLIMIT_CPU, ({CPU_S}, {CPU_S}))

from contrast_tasks.errors import ImageError
from contrast_tasks.images import layers
from contrast_tasks.images.describe import describe
from contrast_tasks.images.layout import Layout
from contrast_tasks.images.unpack import unpack
from contrast_tasks.pods.references import parse_reference

layers._ALWAYS_BYTES = 32 << 20  # usually 1 GiB, which takes a while
reference, layout = parse_reference("shop/cart:v1"), Layout(Path(sys.argv[1]), name="layout")
for act in (lambda: describe(reference, layout), lambda: unpack(layout.image(reference), Path(sys.argv[2]))):
    try:
        act()
        print("done")
    except ImageError as err:
        print(err)
"""


def many(start: bytes, piece: bytes, count: int, end: bytes = b"") -> bytes:
    """Return gzip of a piece so many times, quickly: as members one after the other."""
    return gzip.compress(start) + gzip.compress(piece, 1) * count + gzip.compress(end)


def refusals(tmp_path: Path, layer: bytes) -> list[str]:
    """Return what describing and unpacking an image of this layer, as it is stored, end with."""
    made = make_image([b""])
    stored = digest_of(layer)
    manifest = json.loads(made.manifest)
    manifest["layers"] = [{"mediaType": "x", "digest": stored, "size": len(layer)}]
    content = json.dumps(manifest).encode()
    blobs = {**made.blobs, stored: layer, digest_of(content): content}
    image = MadeImage(manifest=content, media_type=made.media_type, blobs=blobs)
    write_images(tmp_path / "layout", {"shop/cart:v1": image})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "layout"), str(tmp_path / "root")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "root").exists()
    return done.stdout.splitlines()


MEBIBYTE = 1 << 20
# zstd that wants a window of 2 GiB. Source: RFC 8878, 3.1.1.1.
ZSTD_OF_2_GIB = b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\x00\x00"


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        pytest.param(
            many(header(b"x", b"x", b"%o" % (700 * MEBIBYTE)), b"1" * MEBIBYTE, 700),
            "more than 1048576 bytes",
            id="PAX header of 700 MiB",
        ),
        pytest.param(
            many(header(b"L", b"L", b"%o" % (700 * MEBIBYTE)), b"a" * MEBIBYTE, 700),
            "more than 1048576 bytes",
            id="name of 700 MiB",
        ),
        pytest.param(
            many(SPARSE_START, b"\1" * MEBIBYTE, 700), "more than 1048576 bytes", id="sparse map"
        ),
        pytest.param(
            pax(("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("path", b"s")) + header(),
            "sparse file in the PAX form",
            id="sparse map in PAX",
        ),
        pytest.param(
            pax(("size", b"9" * 18)) + header(), "ends inside of a member", id="size without content"
        ),
        pytest.param(pax(("size", b"-1024")) + header(), "size that is none", id="negative size"),
        pytest.param(
            header(b"x", b"x", b"%o" % 900_000) + padded(b"1" * 900_000) + header(),
            "malformed",
            id="digits that a regular expression walks again and again",
        ),
        pytest.param(
            many(b"", b"", 200_000, header(size=b"7")), "ends inside of a member", id="empty members"
        ),
        pytest.param(
            many(END, bytes(MEBIBYTE), 80), "it unpacks to more than", id="zeros after the end"
        ),
        pytest.param(
            many(header(size=b"77777777777"), bytes(MEBIBYTE), 80),
            "it unpacks to more than",
            id="a file of zeros",
        ),
        pytest.param(ZSTD_OF_2_GIB, "zstd: ", id="zstd with a window of 2 GiB"),
        pytest.param(
            tar(file("/".join("d" * 1500))), "a path of 1500 components", id="1,500 components"
        ),
    ],
)  # fmt: skip
def test_it_is_refused_by_both_readers(tmp_path: Path, layer: bytes, problem: str) -> None:
    described, unpacked = refusals(tmp_path, layer)

    assert problem in described
    assert problem in unpacked
