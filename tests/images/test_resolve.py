"""Which image of an index is taken. The right ones are those that containerd's own code takes (its packages platforms and
images), and testdata/reports 30 and 33."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.layout import Layout
from contrast_tasks.images.resolve import ResolvedImage
from contrast_tasks.pods.references import parse_reference
from tests.fakes.images import MadeImage, make_image, make_index_of, write_images

NAME = "shop/cart:v1"
PLAIN = {"os": "linux", "architecture": "amd64"}
ARM = {"os": "linux", "architecture": "arm64"}
# What builders put beside an image. Source: BuildKit, attestation storage.
ATTESTATION = {"os": "unknown", "architecture": "unknown"}

Entry = tuple[Mapping[str, str] | None, MadeImage]


def image(level: str, **config: str) -> MadeImage:
    return make_image([], process={"Env": [f"LEVEL={level}"]}, config=config)


def resolved(directory: Path, top: MadeImage) -> ResolvedImage:
    return Layout(write_images(directory, {NAME: top})).image(parse_reference(NAME))


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([(PLAIN, image("right"))], id="one"),
        pytest.param(
            [(PLAIN | {"variant": "v3"}, image("v3")), (PLAIN, image("right"))], id="v3 first"
        ),
        pytest.param(
            [(PLAIN | {"variant": "v2"}, image("v2")), (PLAIN | {"variant": "v1"}, image("right"))],
            id="v1 named",
        ),
        pytest.param([(PLAIN, image("right")), (PLAIN, image("second"))], id="two alike"),
        pytest.param([(None, image("right"))], id="no platform"),
        pytest.param([(None, image("right")), (ARM, image("arm"))], id="no platform, arm64"),
        pytest.param([(None, image("other")), (PLAIN, image("right"))], id="no platform first"),
        pytest.param(
            [(None, image("arm", architecture="arm64")), (None, image("right"))],
            id="no platforms, arm64 first",
        ),
        pytest.param([({}, image("right"))], id="empty platform"),
        pytest.param(
            [(ATTESTATION, image("a", os="unknown")), (PLAIN, image("right"))], id="attestation"
        ),
        pytest.param(
            [(None, make_image([], config={"os": "", "architecture": ""})), (None, image("right"))],
            id="something without a platform anywhere",
        ),
        pytest.param([(PLAIN, image("right", os="", architecture=""))], id="config without both"),
        pytest.param([(PLAIN, image("right", os=""))], id="config without os"),
        pytest.param(
            [({"os": "Linux", "architecture": "x86_64"}, image("right", architecture="x86_64"))],
            id="other spelling",
        ),
        pytest.param([(None, make_index_of((PLAIN, image("right"))))], id="nested"),
        pytest.param([(PLAIN, make_index_of((PLAIN, image("right"))))], id="nested, named"),
        pytest.param(
            [(None, make_index_of((ARM, image("arm")))), (None, make_index_of((None, image("right"))))],
            id="the second nested one",
        ),
        pytest.param(
            [(None, make_index_of((None, make_index_of((PLAIN, image("right"))))))], id="twice nested"
        ),
    ],
)  # fmt: skip
def test_the_image_that_a_node_takes_is_taken(tmp_path: Path, entries: list[Entry]) -> None:
    index = make_index_of(*entries)

    found = resolved(tmp_path, index)

    assert found.config.env == ("LEVEL=right",)
    assert found.digest == index.digest
    assert found.manifest_digest not in {None, index.digest}


def test_a_config_without_a_platform_is_taken_where_no_index_names_one(tmp_path: Path) -> None:
    assert resolved(tmp_path, image("right", os="", architecture="")).manifest_digest is None


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        pytest.param([], "found an empty index", id="empty"),
        pytest.param(
            [(ARM, image("a")), ({"os": "windows", "architecture": "amd64"}, image("b"))],
            "found linux/arm64, windows/amd64",
            id="others",
        ),
        pytest.param(
            [(PLAIN | {"variant": "v3"}, image("v3"))], "found linux/amd64/v3", id="v3 only"
        ),
        pytest.param(
            [(None, image("a", architecture="arm64"))], "found ?/?", id="no platform, for arm64"
        ),
        pytest.param(
            [(PLAIN, image("a", architecture="arm64"))], "image is for linux/arm64", id="contradiction"
        ),
        pytest.param([(None, make_index_of((ARM, image("a"))))], "found ?/?", id="nested"),
    ],
)  # fmt: skip
def test_an_index_without_a_linux_amd64_image_is_refused_with_what_it_has(
    tmp_path: Path, entries: list[Entry], problem: str
) -> None:
    with pytest.raises(ImageError) as caught:
        resolved(tmp_path, make_index_of(*entries))

    assert problem in str(caught.value)
    assert f"image {NAME}" in str(caught.value)


def test_indexes_are_not_followed_without_end(tmp_path: Path) -> None:
    top = make_index_of((PLAIN, image("right")))
    for _ in range(4):
        top = make_index_of((None, top))

    with pytest.raises(ImageError, match="more than 4 indexes inside each other"):
        resolved(tmp_path, top)


def test_of_an_index_of_many_images_without_platforms_few_are_read(tmp_path: Path) -> None:
    entries = [(None, image(str(number), os="plan9")) for number in range(40)]

    with pytest.raises(ImageError, match="names more than 32 images that could be meant"):
        resolved(tmp_path, make_index_of(*entries))


def test_a_manifest_of_more_than_four_mebibytes_is_not_read(tmp_path: Path) -> None:
    huge = make_image([], manifest={"annotations": {"a": "x" * (4 << 20)}})

    with pytest.raises(ImageError, match="has more than the 4194304 bytes that are read"):
        resolved(tmp_path, huge)


def test_the_digest_of_the_chosen_manifest_is_kept(tmp_path: Path) -> None:
    chosen = image("right")
    found = resolved(tmp_path, make_index_of((None, make_index_of((PLAIN, chosen)))))

    assert found.manifest_digest == chosen.digest
