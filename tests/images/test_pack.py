import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.documents import digest_of
from contrast_tasks.images.layout import Layout
from contrast_tasks.images.pack import Entry, PackedImage, pack_image, render_layer, write_layout
from contrast_tasks.images.unpack import unpack
from contrast_tasks.pods.references import parse_reference

ENTRIES = (
    Entry(path="usr/bin/run", content=b"#!/bin/sh\n", executable=True),
    Entry(path="etc/passwd", content=b"root:x:0:0::/:\n"),
)
CONFIG = ImageConfig(entrypoint=("/usr/bin/run",), env=("A=1",), user="65532")


def image(reference: str = "shop/cart:v1", content: bytes = b"1") -> PackedImage:
    own = Entry(path="app/file", content=content)
    return pack_image(reference, CONFIG, [ENTRIES, (own,)])


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_layer_shows_nothing_of_the_machine_it_was_made_on() -> None:
    with tarfile.open(fileobj=io.BytesIO(render_layer(ENTRIES))) as archive:
        members = archive.getmembers()

    assert [(member.name, oct(member.mode)) for member in members] == [
        ("etc", "0o755"),
        ("etc/passwd", "0o644"),
        ("usr", "0o755"),
        ("usr/bin", "0o755"),
        ("usr/bin/run", "0o755"),
    ]
    assert {(member.mtime, member.uid, member.gid) for member in members} == {(0, 0, 0)}
    assert {(member.uname, member.gname) for member in members} == {("", "")}


def test_the_order_of_entries_does_not_matter() -> None:
    assert render_layer(ENTRIES) == render_layer(tuple(reversed(ENTRIES)))


def test_the_digest_of_an_image_is_fixed() -> None:
    # A new value here means new digests, and new policies, for every user: say so in the change log.
    assert image().descriptor.digest == (
        "sha256:0ab51328272e86da94290b42f11e14c1abae560b31ce8f8d5c6e4f560a5c1dad"
    )


def test_two_layouts_made_under_different_circumstances_are_equal_byte_for_byte(
    tmp_path: Path,
) -> None:
    write_layout(tmp_path / "one", [image(), image("shop/till:v1", b"2")])
    before = os.umask(0o077)
    try:
        write_layout(tmp_path / "other" / "place", [image("shop/till:v1", b"2"), image()])
    finally:
        os.umask(before)

    assert files(tmp_path / "one") == files(tmp_path / "other" / "place")


def test_a_packed_image_is_found_read_and_unpacked_again(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", [image()])

    found = Layout(tmp_path / "layout").image(parse_reference("shop/cart:v1"))
    unpack(found, tmp_path / "root")

    assert found.config == CONFIG
    assert found.digest == image().descriptor.digest
    assert (tmp_path / "root/app/file").read_bytes() == b"1"
    assert os.access(tmp_path / "root/usr/bin/run", os.X_OK)
    assert not os.access(tmp_path / "root/app/file", os.X_OK)


def test_equal_layers_of_two_images_are_one_blob(tmp_path: Path) -> None:
    write_layout(tmp_path, [image(), image("shop/till:v1", b"2")])

    blobs = {path.name for path in (tmp_path / "blobs/sha256").iterdir()}

    # One shared layer, and of each image its own layer, config and manifest.
    assert len(blobs) == 1 + 2 * 3
    assert digest_of(render_layer(ENTRIES)).removeprefix("sha256:") in blobs


def test_writing_the_same_images_again_changes_nothing(tmp_path: Path) -> None:
    assert write_layout(tmp_path, [image()])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    assert not write_layout(tmp_path, [image()])

    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_blobs_of_former_images_and_other_leftovers_are_removed(tmp_path: Path) -> None:
    write_layout(tmp_path, [image(content=b"old")])
    (tmp_path / "blobs/sha256/.leftover").write_text("half a blob")

    assert write_layout(tmp_path, [image()])

    write_layout(tmp_path / "fresh", [image()])
    assert {name for name in files(tmp_path) if not name.startswith("fresh/")} == set(
        files(tmp_path / "fresh")
    )


def test_a_damaged_blob_is_written_again(tmp_path: Path) -> None:
    write_layout(tmp_path, [image()])
    blob = next((tmp_path / "blobs/sha256").iterdir())
    blob.write_bytes(b"damaged")

    assert write_layout(tmp_path, [image()])

    assert digest_of(blob.read_bytes()) == f"sha256:{blob.name}"


def test_the_index_names_images_by_their_reference(tmp_path: Path) -> None:
    write_layout(tmp_path, [image("b/b:1"), image("a/a:1")])

    index = json.loads((tmp_path / "index.json").read_bytes())

    names = [entry["annotations"] for entry in index["manifests"]]
    assert names == [
        {"org.opencontainers.image.ref.name": "a/a:1"},
        {"org.opencontainers.image.ref.name": "b/b:1"},
    ]


def test_an_image_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="image shop/cart:v1 is packed twice"):
        write_layout(tmp_path, [image(), image(content=b"2")])


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "./a", "a/../b", "..", "a/."], ids=repr)
def test_a_path_that_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(ImageError, match="wanted a plain relative path"):
        render_layer([Entry(path=path, content=b"")])


@pytest.mark.parametrize(
    ("paths", "problem"),
    [(("a", "a"), "'a': it occurs twice"), (("a", "a/b"), "'a': it is a file and a directory")],
)
def test_paths_in_each_others_way_are_refused(paths: tuple[str, str], problem: str) -> None:
    with pytest.raises(ImageError, match=problem):
        render_layer([Entry(path=path, content=b"") for path in paths])


def test_a_malformed_reference_is_refused() -> None:
    with pytest.raises(ImageError, match="image reference"):
        image("Shop")
