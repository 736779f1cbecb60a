"""Layers on AKS: against what the node's own tools made of archives, and what its policies were published with."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.errors import ImageError
from contrast_tasks.images.tar_headers import MAX_EXTENSION_BYTES, DamagedTar
from contrast_tasks.images.tardev import LayerDevice, LayerScanner, layer_device
from contrast_tasks.pods.layer_names import layer_names
from tests.fakes.images import file, folder, hardlink, symlink, tar
from tests.fakes.testdata import AKS

AT_HAND = pytest.mark.skipif(not AKS.is_dir(), reason="the recorded layers are not at hand")
# docs/internals/aks.md 1.4; the same in published policies.
PAUSE = "9760f55e20e3f4eb6b837e1b323b3c6f29b1ef4a4617fe98625ead879e91b1c1"
PAUSE_NAME = "5a5aad80055ff20012a50dc25f8df7a29924474324d65f7d5306ee8ee27ff71d"


def scanned(content: bytes, piece: int = 1 << 20) -> LayerDevice:
    scanner = LayerScanner()
    for start in range(0, len(content), piece):
        scanner.update(content[start : start + piece])
    return scanner.finish()


def header(kind: bytes, size: int = 0, name: bytes = b"a", **fields: tuple[int, bytes]) -> bytes:
    """Return an old-style header; fields: (offset, bytes) written over it before the checksum."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = b"%011o\0" % size
    block[156:157] = kind
    for offset, content in fields.values():
        block[offset : offset + len(content)] = content
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


USTAR = (257, b"ustar\x0000")
GNU = (257, b"ustar  \0")
END = bytes(1024)


@AT_HAND
@pytest.mark.parametrize("piece", [777, 1 << 20])
def test_archives_become_what_the_nodes_own_tools_make_of_them(piece: int) -> None:
    for name, expected in json.loads((AKS / "layers/roots.json").read_text()).items():
        content = gzip.decompress((AKS / "layers" / f"{name}.tar.gz").read_bytes())

        device = scanned(content, piece)

        found = (device.diff_id, device.size, device.root)
        assert found == (expected["diff_id"], expected["size"], expected["root"]), name


@AT_HAND
def test_published_policies_name_layers_as_we_do() -> None:
    """Every image whose layers have a published pair of diff_id and root; the names follow from the diff_ids."""
    roots = json.loads((AKS / "vectors-diffid-to-root.json").read_text())
    diff_ids = {root: diff_id for diff_id, root in roots.items()}
    images = json.loads((AKS / "vectors-images.json").read_text())
    known = {
        name: image
        for name, image in images.items()
        if all(root in diff_ids for root in image["roots_top_to_base"])
    }

    for name, image in known.items():
        upwards = [diff_ids[root] for root in reversed(image["roots_top_to_base"])]
        assert [*reversed(layer_names(upwards))] == image["layers_top_to_base"], name

    assert len(known) >= 39


def test_the_names_of_layers_are_digests_of_their_chains() -> None:
    base = "sha256:70e9981e63e185cd1ae8c397f948a032bfc51c7f4889e355c01fb301534801da"
    empty = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"

    assert layer_names([f"sha256:{PAUSE}"]) == (PAUSE_NAME,)
    assert layer_names([base, empty]) == (
        "071f05685dd12af80e46a6ef5c7cefd6c574e1e1452f2af5dc35fd1253f182bd",
        "d38720eac1b07928e7c8b9fc8b72032877472760e78be29957e77c8b25f8b293",
    )


def test_the_worked_example_has_its_three_times_checked_values() -> None:
    # Found by the node's tools, by veritysetup and by an independent program.
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo("a")
        member.size = 6
        archive.addfile(member, io.BytesIO(b"hello\n"))

    device = scanned(buffer.getvalue())

    assert device.size == 10240
    assert device.tail[:2].hex() == "6d41"
    assert device.tail[16:32] == (32).to_bytes(8, "little") + (0x2840).to_bytes(8, "little")
    assert device.tail[-512:][:16] == (0x2800).to_bytes(8, "little") + (2).to_bytes(8, "little")
    assert device.root == "760c2ee6504841ae8a97af4b944e711c3ea601d5b7c15310d5c2a4a3b62372bd"


@given(st.integers(1, 2000))
def test_the_pieces_do_not_matter(piece: int) -> None:
    content = tar(folder("a/"), file("a/" + "b" * 300, b"x" * 3000), symlink("l", "c" * 200))

    assert scanned(content, piece) == scanned(content)


@pytest.mark.parametrize(
    ("content", "lost"),
    [
        pytest.param(tar(folder("a/"), file("a/b", b"x")), (), id="nothing"),
        pytest.param(tar(file("a/b", b"x")), ("hidden",), id="no-entry"),
        pytest.param(tar(file("a/b", b"x"), folder("a/")), ("hidden",), id="late-entry"),
        pytest.param(tar(file("su", b"x", mode=0o4755)), ("setuid",), id="setuid"),
        pytest.param(tar(file("wall", b"x", mode=0o2755)), ("setuid",), id="setgid"),
        pytest.param(tar(symlink("a", "x" * 200)), (), id="one-long-link"),
        pytest.param(tar(symlink("a", "x" * 200), symlink("b", "y" * 200)), ("links",), id="two"),
        pytest.param(tar(hardlink("b", "lower")), ("hidden",), id="link-to-a-lower-layer"),
    ],
)
def test_what_does_not_reach_the_guest_is_said(content: bytes, lost: tuple[str, ...]) -> None:
    assert scanned(content).lost == lost


EXTENSION = header(b"L", 2, magic=USTAR) + b"bb".ljust(512, b"\0")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (header(b"0", 5)[:300], "it ends inside a member"),
        (header(b"0", 5), "it ends inside a member"),
        (header(b"0", 600) + bytes(700), "it ends inside a member"),
        (header(b"0")[:148] + b"0000001\0" + header(b"0")[156:], "a header has a wrong checksum"),
        (header(b"0", size=0, field=(124, b"9" * 11)), "a member has an unreadable size"),
        (header(b"0", field=(124, b"\x80" + b"\0" * 3 + b"\xff" * 8)), "an unreadable size"),
        (EXTENSION * 2 + header(b"0") + END, "a member has two long names"),
        (EXTENSION + END, "it ends where a member should follow its long name"),
        (EXTENSION, "it ends where a member should follow its long name"),
        (header(b"x", 2 << 20, magic=USTAR), f"at most {MAX_EXTENSION_BYTES} are read"),
        (header(b"S", magic=USTAR), "a sparse file has no GNU header"),
        (header(b"S", magic=GNU, real=(483, b"00000000007\0")), "contradicts its size"),
        (
            header(b"S", magic=GNU, first=(386, b"00000000000\x0000000000007\0")),
            "pieces that overlap or are longer than its data",
        ),
    ],
)
def test_an_archive_that_the_node_cannot_read_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(DamagedTar, match=problem):
        scanned(content)


def test_an_old_header_has_no_long_names() -> None:
    # docs/internals/aks.md 2.6: `L` counts in ustar and GNU headers only; elsewhere it is a kind that is left out.
    content = header(b"L", 2) + b"bb".ljust(512, b"\0") + header(b"0", name=b"short") + END

    assert b"short" in scanned(content).tail


def test_a_sparse_file_is_left_out_with_its_map() -> None:
    data = b"12345".ljust(512, b"\0")
    first = header(
        b"S",
        5,
        magic=GNU,
        piece=(386, b"00000001000\x0000000000005\0"),
        more=(482, b"\1"),
        real=(483, b"00000001005\0"),
    )

    device = scanned(first + bytes(512) + data + header(b"0", name=b"next") + END)

    # The root and `next`, whose data is behind the map, the data and its own header.
    assert int.from_bytes(device.tail[-512:][8:16], "little") == 2
    assert int.from_bytes(device.tail[32 + 24 : 64], "little") == 4 * 512


def zipped(content: bytes) -> bytes:
    return gzip.compress(content)


LAYER = tar(file("a", b"content"))


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        (lambda: LAYER, "reads layers with gzip only, found no compression"),
        (lambda: b"\x28\xb5\x2f\xfd" + LAYER, "found zstd"),
        (lambda: zipped(LAYER[:1000]) + zipped(LAYER[1000:]), "found several, as eStargz"),
        (lambda: zipped(LAYER) + b"\0", "found several"),
        (lambda: zipped(LAYER)[:-9], "layer is damaged: the gzip stream ends early"),
        (lambda: zipped(LAYER)[:12] + b"\xff" * 50, "layer is damaged"),
        (lambda: b"", "found no compression"),
    ],
)
def test_a_layer_that_the_snapshotter_does_not_read_whole_is_refused(
    stored: Callable[[], bytes], problem: str
) -> None:
    with pytest.raises(ImageError, match=f"image a: .*{problem}"):
        layer_device(io.BytesIO(stored()), "image a")


def test_a_plain_archive_is_read_where_a_push_will_compress_it() -> None:
    plain = layer_device(io.BytesIO(LAYER), "image a", may_be_plain=True)

    assert plain == layer_device(io.BytesIO(zipped(LAYER)), "image a")


def test_a_directory_with_two_names_in_itself_is_refused() -> None:
    # Each name of a file is a visit; two names on every level double them.
    members = [file("d0", b"x")]
    for level in range(25):
        members += [hardlink(f"e{level}", f"d{level}"), folder(f"d{level}")]
        members += [file(f"d{level}/x", b""), hardlink(f"d{level}/y", f"d{level}/x")]
        members += [hardlink(f"d{level + 1}", f"d{level}/x")]

    with pytest.raises(DamagedTar, match="more than 1000000 files and folders"):
        scanned(tar(*members))
