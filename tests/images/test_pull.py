"""Images from a source into a layout: the same bytes, only what is missing, and nothing of what is damaged."""

import io
import json
from pathlib import Path
from typing import BinaryIO

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.documents import Descriptor
from contrast_tasks.images.layout import Layout
from contrast_tasks.images.pull import pull
from contrast_tasks.pods.references import ImageReference, parse_reference
from tests.fakes.images import file, make_image, tar, write_images


class Source:
    """A layout as a registry that counts what it is asked for; breaks: the number of the blob it breaks off at."""

    def __init__(self, layout: Layout, *, breaks: int = -1) -> None:
        self._layout = layout
        self._breaks = breaks
        self.asked: list[str] = []

    def manifest(self, reference: ImageReference) -> bytes:
        self.asked.append("manifest")
        return self._layout.manifest(reference)

    def open_blob(self, reference: ImageReference, descriptor: Descriptor) -> BinaryIO:
        self.asked.append(descriptor.digest)
        if len([each for each in self.asked if each != "manifest"]) == self._breaks:
            raise ImageError("the registry went away")
        with self._layout.open_blob(reference, descriptor) as stream:
            return io.BytesIO(stream.read())


@pytest.fixture
def registry(tmp_path: Path) -> Layout:
    images = {
        "shop/cart:v1": make_image([tar(file("a", b"a")), tar(file("b", b"b"))]),
        "shop/web:v1": make_image([tar(file("a", b"a")), tar(file("c", b"c"))]),
    }
    write_images(tmp_path / "registry", images)
    return Layout(tmp_path / "registry")


def pinned(registry: Layout, name: str) -> ImageReference:
    found = registry.find(parse_reference(name))
    assert found is not None
    return parse_reference(f"{name}@{found.digest}")


def test_an_image_has_the_same_digests_config_and_layers_as_where_it_came_from(
    registry: Layout, tmp_path: Path
) -> None:
    reference = pinned(registry, "shop/cart:v1")

    pull(reference, Source(registry), tmp_path / "pulled")

    here, there = Layout(tmp_path / "pulled").image(reference), registry.image(reference)
    assert (here.digest, here.config, here.layers) == (there.digest, there.config, there.layers)
    for layer in here.layers:
        with here.source.open_blob(reference, layer) as stream:
            assert stream.read()


def test_a_second_image_is_added_and_what_both_have_is_read_once(
    registry: Layout, tmp_path: Path
) -> None:
    folder = tmp_path / "pulled"
    cart, web = pinned(registry, "shop/cart:v1"), pinned(registry, "shop/web:v1")
    pull(cart, Source(registry), folder)
    second, third = Source(registry), Source(registry)

    pull(web, second, folder)
    pull(cart, third, folder)

    shared = registry.image(cart).layers[0].digest
    assert shared == registry.image(web).layers[0].digest
    assert shared not in second.asked
    assert third.asked == []
    assert {entry.digest for entry in Layout(folder).entries} == {cart.digest, web.digest}


def test_what_broke_off_leaves_no_image_and_is_taken_up_again(
    registry: Layout, tmp_path: Path
) -> None:
    folder, reference = tmp_path / "pulled", pinned(registry, "shop/cart:v1")

    with pytest.raises(ImageError, match="went away"):
        pull(reference, Source(registry, breaks=3), folder)
    left = (folder / "index.json").exists()
    again = Source(registry)
    pull(reference, again, folder)

    assert not left
    assert not list(folder.glob("blobs/sha256/.*"))
    assert again.asked == [registry.image(reference).layers[1].digest]
    assert json.loads((folder / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_a_damaged_blob_is_found_by_whoever_reads_the_layout(
    registry: Layout, tmp_path: Path
) -> None:
    folder, reference = tmp_path / "pulled", pinned(registry, "shop/cart:v1")
    pull(reference, Source(registry), folder)
    layer = Layout(folder).image(reference).layers[0]
    place = folder / "blobs" / layer.digest.replace(":", "/")
    place.write_bytes(b"x" * layer.size_bytes)

    with pytest.raises(ImageError):
        Layout(folder).open_blob(reference, layer)
