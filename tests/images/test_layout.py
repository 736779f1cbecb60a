import json
from pathlib import Path

import pytest

from contrast_tasks.errors import ImageError, Location
from contrast_tasks.images.describe import describe
from contrast_tasks.images.layout import Layout, contents, find_layout, open_layouts
from contrast_tasks.pods.references import parse_reference
from tests.fakes.images import file, make_image, make_index, tar, write_images

NAME = "shop/cart:v1"
REFERENCE = parse_reference(NAME)
LAYER = tar(file("etc/passwd", b"root:x:0:0::/:\n"), file("bin/cart", b"cart"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    image = make_image([LAYER], process={"Entrypoint": ["/bin/cart"]})
    return write_images(tmp_path / "layout", {NAME: image})


def blob_of(directory: Path, content: bytes) -> Path:
    return next(
        path for path in (directory / "blobs/sha256").iterdir() if path.read_bytes() == content
    )


@pytest.mark.parametrize(
    "spelling", [NAME, "docker.io/shop/cart:v1", f"shop/cart@{make_image([LAYER]).digest}"]
)
def test_an_image_is_found_under_every_spelling(tmp_path: Path, spelling: str) -> None:
    write_images(tmp_path, {NAME: make_image([LAYER])})

    assert Layout(tmp_path).find(parse_reference(spelling)) is not None


def test_other_names_and_digests_are_not_found(directory: Path) -> None:
    layout = Layout(directory)

    assert layout.find(parse_reference("shop/cart:v2")) is None
    assert layout.find(parse_reference("shop/cart@sha256:" + "0" * 64)) is None
    digest = layout.image(REFERENCE).digest
    assert layout.find(parse_reference(f"other/cart@{digest}")) is None
    with pytest.raises(ImageError, match="image shop/cart:v2: not in the layout"):
        layout.manifest(parse_reference("shop/cart:v2"))


def test_a_lock_entry_is_made_from_a_layout(directory: Path) -> None:
    layout = Layout(directory)

    entry = describe(REFERENCE, layout)

    assert entry.reference == NAME
    assert entry.digest == layout.image(REFERENCE).digest
    assert entry.manifest_digest is None
    assert entry.config.entrypoint == ("/bin/cart",)
    assert entry.passwd == "root:x:0:0::/:\n"
    assert entry.group == ""
    assert [(layer.size_bytes, layer.unpacked_bytes) for layer in entry.layers] == [
        (len(LAYER), len(LAYER))
    ]


def test_compressed_layers_have_both_sizes(tmp_path: Path) -> None:
    write_images(tmp_path, {NAME: make_image([LAYER], compress=True)})

    (layer,) = describe(REFERENCE, Layout(tmp_path)).layers

    assert layer.unpacked_bytes == len(LAYER)
    assert layer.size_bytes < len(LAYER)
    assert layer.digest != layer.diff_id


def test_of_an_index_the_linux_amd64_image_is_taken_and_both_digests_kept(tmp_path: Path) -> None:
    image = make_image([LAYER])
    index = make_index({("linux", "arm64"): make_image(), ("linux", "amd64"): image})
    write_images(tmp_path, {NAME: index})
    layout = Layout(tmp_path)

    entry = describe(REFERENCE, layout)

    assert (entry.digest, entry.manifest_digest) == (index.digest, image.digest)
    assert layout.image(REFERENCE).layers[0].size_bytes == len(LAYER)


AMD, ARM = ("linux", "amd64"), ("linux", "arm64")


@pytest.mark.parametrize("name", ["shop/cart", "shop/cart:v1", "shop/cart:other"])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_a_pin_to_an_image_inside_of_an_index_is_found(
    tmp_path: Path, name: str, levels: int
) -> None:
    image = inner = make_image([LAYER])
    for _ in range(levels):
        inner = make_index({AMD: inner})
    layout = Layout(write_images(tmp_path, {NAME: inner}))
    pinned = parse_reference(f"{name}@{image.digest}")

    entry = describe(pinned, layout)

    assert (entry.digest, entry.manifest_digest) == (image.digest, None)
    assert find_layout([layout], parse_reference(f"other/cart@{image.digest}")) is None


def test_a_pin_to_an_index_around_the_image_is_found_if_the_index_is_there(tmp_path: Path) -> None:
    image = make_image([LAYER])
    index = make_index({AMD: image})
    directory = write_images(tmp_path, {NAME: image})
    pinned = parse_reference(f"{NAME}@{index.digest}")
    assert Layout(directory).find(pinned) is None

    (directory / "blobs" / index.digest.replace(":", "/")).write_bytes(index.manifest)

    entry = describe(pinned, Layout(directory))
    assert (entry.digest, entry.manifest_digest) == (index.digest, image.digest)
    assert Layout(directory).find(parse_reference(f"other/cart@{index.digest}")) is None


def test_a_pin_to_the_image_of_another_platform_is_refused_as_such(tmp_path: Path) -> None:
    arm = make_image([LAYER], config={"architecture": "arm64"})
    index = make_index({AMD: make_image([LAYER]), ARM: arm})
    layout = Layout(write_images(tmp_path, {NAME: index}))

    with pytest.raises(ImageError, match="image is for linux/arm64, wanted linux/amd64"):
        describe(parse_reference(f"{NAME}@{arm.digest}"), layout)


def test_a_broken_index_spoils_no_other_image(tmp_path: Path) -> None:
    image, other = make_image([LAYER]), make_index({AMD: make_image([])})
    directory = write_images(tmp_path, {NAME: make_index({AMD: image}), "shop/other:v1": other})
    blob_of(directory, other.manifest).write_bytes(b"{")

    assert Layout(directory).find(parse_reference(f"shop/cart@{image.digest}")) is not None


def test_a_changed_layer_is_refused_by_digest(directory: Path) -> None:
    path = blob_of(directory, LAYER)
    path.write_bytes(LAYER[:-1] + b"x")

    with pytest.raises(ImageError, match=r"blob sha256:[0-9a-f]{64} has the digest sha256:"):
        describe(REFERENCE, Layout(directory))


def test_a_truncated_layer_is_refused_by_size(directory: Path) -> None:
    path = blob_of(directory, LAYER)
    path.write_bytes(LAYER[:-1])

    with pytest.raises(ImageError, match=f"has {len(LAYER) - 1} bytes, wanted {len(LAYER)}"):
        describe(REFERENCE, Layout(directory))


def test_a_changed_manifest_is_refused(directory: Path) -> None:
    digest = Layout(directory).image(REFERENCE).digest
    path = directory / "blobs/sha256" / digest.removeprefix("sha256:")
    path.write_bytes(path.read_bytes() + b"\n")

    with pytest.raises(ImageError, match=f"has other content under {digest}"):
        describe(REFERENCE, Layout(directory))


def test_a_missing_blob_is_named(directory: Path) -> None:
    blob_of(directory, LAYER).unlink()

    with pytest.raises(ImageError, match=r"blob sha256:[0-9a-f]{64} cannot be read: No such file"):
        describe(REFERENCE, Layout(directory))


def test_a_layer_that_unpacks_to_other_bytes_than_the_config_says_is_refused(
    tmp_path: Path,
) -> None:
    image = make_image(
        [LAYER], config={"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}}
    )
    write_images(tmp_path, {NAME: image})

    with pytest.raises(ImageError, match="layer unpacks to sha256:"):
        describe(REFERENCE, Layout(tmp_path))


def test_a_config_with_another_number_of_layers_is_refused(tmp_path: Path) -> None:
    image = make_image([LAYER], config={"rootfs": {"type": "layers", "diff_ids": []}})
    write_images(tmp_path, {NAME: image})

    with pytest.raises(ImageError, match="1 layers in the manifest, 0 diff_ids in the config"):
        describe(REFERENCE, Layout(tmp_path))


def test_a_config_said_to_be_huge_is_not_read(tmp_path: Path) -> None:
    config = {"mediaType": "x", "digest": "sha256:" + "0" * 64, "size": 1 << 40}
    write_images(tmp_path, {NAME: make_image([LAYER], manifest={"config": config})})

    with pytest.raises(ImageError, match="config has 1099511627776 bytes, at most 4194304"):
        describe(REFERENCE, Layout(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        pytest.param("oci-layout", None, "cannot read the image layout", id="no marker"),
        pytest.param("oci-layout", "oops", "not valid JSON", id="marker not JSON"),
        pytest.param("oci-layout", "{}", "/imageLayoutVersion: missing", id="no version"),
        pytest.param("oci-layout", "[]", "found a list, wanted an object", id="marker a list"),
        pytest.param("index.json", None, "cannot read the image layout", id="no index"),
        pytest.param("index.json", "oops", "not valid JSON", id="index not JSON"),
        pytest.param(
            "index.json", "[" * 100_000, "nested too deeply", id="index nested without end"
        ),
        pytest.param("index.json", "{}", "unknown kind", id="index empty"),
    ],
)
def test_a_broken_layout_is_refused(
    directory: Path, name: str, content: str | None, problem: str
) -> None:
    if content is None:
        (directory / name).unlink()
    else:
        (directory / name).write_text(content)

    with pytest.raises(ImageError) as caught:
        Layout(directory, name="build/images")

    assert problem in str(caught.value)
    assert str(directory) not in str(caught.value)


def renamed(directory: Path, *annotations: dict[str, str]) -> Layout:
    """Give the image of a layout these entries in its index, one for each set of annotations."""
    index = json.loads((directory / "index.json").read_text())
    entry = {key: value for key, value in index["manifests"][0].items() if key != "annotations"}
    index["manifests"] = [entry | {"annotations": each} for each in annotations]
    (directory / "index.json").write_text(json.dumps(index))
    return Layout(directory, name="layout")


REF, FULL = "org.opencontainers.image.ref.name", "io.containerd.image.name"


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param([{REF: NAME}], id="skopeo, whole name"),
        pytest.param([{REF: "v1", FULL: "docker.io/shop/cart:v1"}], id="docker save, buildx"),
        pytest.param([{REF: NAME, FULL: "docker.io/shop/cart:v1"}], id="both whole"),
        pytest.param([{FULL: "docker.io/shop/cart:v1"}], id="only containerd's"),
        pytest.param([{REF: "1.0-RC1"}, {REF: NAME}], id="a tag with capitals beside it"),
        pytest.param([{REF: "latest"}, {REF: NAME}], id="a tag beside it"),
        pytest.param([{}, {REF: NAME}], id="an entry without a name beside it"),
        pytest.param([{REF: "a b\n"}, {FULL: "!"}, {REF: NAME}], id="nonsense beside it"),
        pytest.param([{REF: NAME}, {REF: NAME}], id="twice the same"),
    ],
)
def test_an_image_is_found_whatever_program_wrote_the_layout(
    directory: Path, annotations: list[dict[str, str]]
) -> None:
    layout = renamed(directory, *annotations)

    assert layout.find(REFERENCE) is not None
    assert describe(REFERENCE, layout).config.entrypoint == ("/bin/cart",)


@pytest.mark.parametrize("annotations", [{REF: "v1"}, {}, {REF: "1.0-RC1"}, {REF: NAME}])
def test_a_pinned_image_is_found_by_its_digest_alone_where_its_entry_has_no_whole_name(
    directory: Path, annotations: dict[str, str]
) -> None:
    digest = Layout(directory).image(REFERENCE).digest
    layout = renamed(directory, annotations)

    assert layout.find(REFERENCE.pinned(digest)) is not None


def test_beside_a_whole_name_a_tag_is_no_name(directory: Path) -> None:
    layout = renamed(directory, {REF: "nginx", FULL: "docker.io/shop/cart:nginx"})

    assert layout.find(parse_reference("nginx")) is None
    assert layout.references == ("docker.io/shop/cart:nginx",)


def test_of_entries_with_one_name_the_one_for_linux_amd64_is_found(tmp_path: Path) -> None:
    arm, ours = make_image([]), make_image([LAYER])
    write_images(tmp_path, {NAME: arm, "other": ours})
    index = json.loads((tmp_path / "index.json").read_text())
    for entry, architecture in zip(index["manifests"], ("arm64", "amd64"), strict=True):
        entry["annotations"] = {REF: NAME}
        entry["platform"] = {"os": "linux", "architecture": architecture}
    (tmp_path / "index.json").write_text(json.dumps(index))

    found = Layout(tmp_path).find(REFERENCE)

    assert found is not None
    assert found.digest == ours.digest


def test_a_name_of_two_images_is_refused_where_it_is_asked_for(directory: Path) -> None:
    index = json.loads((directory / "index.json").read_text())
    other = index["manifests"][0] | {"digest": "sha256:" + "0" * 64}
    index["manifests"] += [other, index["manifests"][0] | {"annotations": {REF: "shop/till:v1"}}]
    (directory / "index.json").write_text(json.dumps(index))
    layout = Layout(directory, name="layout")

    with pytest.raises(ImageError, match="two images have the name shop/cart:v1") as caught:
        layout.find(REFERENCE)

    assert str(caught.value.where) == "layout/index.json"
    assert layout.find(parse_reference("shop/till:v1")) is not None


@pytest.mark.parametrize(
    ("annotations", "reference"),
    [
        pytest.param({REF: "v1"}, "registry.example/shop/app:v1", id="its tag alone"),
        pytest.param({REF: "1.0-RC1"}, "registry.example/shop/app:1.0-RC1", id="with capitals"),
        pytest.param({REF: NAME}, "shop/cart:v2", id="another tag"),
        pytest.param({REF: "v1", FULL: "a.example/b:v1"}, "a.example/b", id="no tag"),
    ],
)
def test_a_layout_is_meant_that_has_the_repository_or_the_tag(
    directory: Path, annotations: dict[str, str], reference: str
) -> None:
    layout = renamed(directory, annotations)

    assert layout.find(parse_reference(reference)) is None
    assert layout.is_meant(parse_reference(reference))


@pytest.mark.parametrize(
    ("annotations", "reference"),
    [
        pytest.param({REF: NAME}, "nginx:v1", id="tag of a whole name"),
        pytest.param({REF: "v1", FULL: "a.example/b:v1"}, "nginx:v1", id="tag beside one"),
        pytest.param({REF: "v2"}, "nginx:v1", id="another tag"),
        pytest.param({REF: NAME}, "other.example/shop/cart:v1", id="another registry"),
        pytest.param({}, "nginx:v1", id="no name"),
        pytest.param({}, "nginx", id="no name, no tag"),
    ],
)
def test_other_images_are_not_taken_for_those_of_a_layout(
    directory: Path, annotations: dict[str, str], reference: str
) -> None:
    assert not renamed(directory, annotations).is_meant(parse_reference(reference))


def test_what_layouts_have_is_told(directory: Path) -> None:
    names = [{REF: f"shop/cart:v{number}"} for number in range(9)]

    assert contents([renamed(directory, {}, {REF: "v1"}, {REF: "\x1b[31m"})]) == (
        "layout has '\\x1b[31m', v1, 1 without a name"
    )
    assert contents([renamed(directory, *names)]) == (
        "layout has shop/cart:v0, shop/cart:v1, shop/cart:v2, shop/cart:v3, shop/cart:v4, shop/cart:v5, 3 more"
    )
    assert contents([renamed(directory)]) == "layout has no image"
    assert contents([]) == ""


def test_an_archive_of_docker_save_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("[]")

    with pytest.raises(ImageError, match="found an archive of docker save, wanted an OCI layout"):
        Layout(tmp_path)


def test_the_first_layout_that_has_an_image_is_found(directory: Path) -> None:
    layouts = open_layouts(directory.parent, ["packed", "layout"], optional="packed")

    assert [layout.name for layout in layouts] == ["layout"]
    assert find_layout(layouts, REFERENCE) is layouts[0]
    assert find_layout(layouts, parse_reference("shop/cart:v2")) is None
    assert layouts[0].references == (NAME,)


def test_a_layout_that_is_not_there_is_refused(directory: Path) -> None:
    (directory.parent / "images.tar").write_text("")

    with pytest.raises(ImageError, match="image layout absent: there is no such folder") as caught:
        open_layouts(directory.parent, ["absent"], where=Location(file="contrast.toml", line=3))
    assert str(caught.value.where) == "contrast.toml:3"
    with pytest.raises(
        ImageError, match=r"image layout images\.tar: found a file, wanted a folder"
    ):
        open_layouts(directory.parent, ["images.tar"])
