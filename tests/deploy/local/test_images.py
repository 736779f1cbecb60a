"""What is remembered of an unpacked image, whatever its files are called."""

import os
import tarfile
from pathlib import Path

from contrast_tasks.deploy.local.images import ensure_unpacked
from contrast_tasks.images.layout import Layout
from contrast_tasks.images.resolve import ResolvedImage
from contrast_tasks.pods.references import parse_reference
from tests.fakes.images import file, make_image, symlink, tar, write_images

NAME = "shop/cart:v1"


def image_of(directory: Path, *members: tuple[tarfile.TarInfo, bytes]) -> ResolvedImage:
    write_images(directory, {NAME: make_image([tar(*members)])})
    return Layout(directory, name="layout").image(parse_reference(NAME))


def test_names_that_are_not_utf_8_are_unpacked_once_and_watched(tmp_path: Path) -> None:
    said: list[str] = []
    latin, greek = os.fsdecode(b"a\xff"), "\u03b1"
    image = image_of(tmp_path / "layout", file(latin, b"1"), file(greek), symlink("link", latin))

    first = ensure_unpacked(image, tmp_path / "image", said.append)
    again = ensure_unpacked(image, tmp_path / "image", said.append)
    (tmp_path / "image" / "rootfs" / latin).unlink()
    anew = ensure_unpacked(image, tmp_path / "image", said.append)

    assert again == first
    assert anew != first
    assert [line.partition(" in ")[0] for line in said] == [f"image {NAME} was changed"]
    assert (tmp_path / "image" / "rootfs" / latin).read_bytes() == b"1"
