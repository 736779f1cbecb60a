import json
from typing import Any

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.documents import (
    Descriptor,
    ImageManifest,
    candidates,
    parse_config,
    parse_index_or_manifest,
    render_config,
)
from tests.fakes.images import make_image, make_index

DIGEST = "sha256:" + "1" * 64


def descriptor(**changes: Any) -> dict[str, Any]:
    return {"mediaType": "x", "digest": DIGEST, "size": 3} | changes


@pytest.mark.parametrize("docker", [False, True])
def test_manifest_of_either_kind_is_read(docker: bool) -> None:
    image = make_image([b"one", b"two"], docker=docker)

    manifest = parse_index_or_manifest(image.manifest, "image a")

    assert isinstance(manifest, ImageManifest)
    assert [layer.size_bytes for layer in manifest.layers] == [3, 3]


@pytest.mark.parametrize("docker", [False, True])
def test_index_of_either_kind_is_read_and_linux_amd64_chosen(docker: bool) -> None:
    image, other = make_image([b"one"]), make_image([b"two"])
    index = make_index({("linux", "arm64"): other, ("linux", "amd64"): image}, docker=docker)

    entries = parse_index_or_manifest(index.manifest, "image a")

    assert not isinstance(entries, ImageManifest)
    assert [entry.digest for entry in candidates(entries)] == [image.digest]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        pytest.param({"manifests": [], "layers": []}, "at once", id="index and image"),
        pytest.param({"manifests": [], "config": descriptor()}, "at once", id="index and config"),
        pytest.param({}, "unknown kind", id="empty"),
        pytest.param({"schemaVersion": 1, "fsLayers": []}, "schemaVersion 1", id="version 1"),
        pytest.param([], "found a list, wanted an object", id="list"),
        pytest.param(
            {"manifests": {}}, "/manifests: found an object, wanted a list", id="manifests"
        ),
        pytest.param({"config": descriptor()}, "/layers: missing", id="layers"),
        pytest.param({"layers": []}, "/config: missing", id="no config"),
        pytest.param(
            {"config": descriptor(), "layers": [1]}, "/layers/0: found an integer", id="layer"
        ),
        pytest.param(
            {"config": descriptor(digest="sha512:" + "0" * 128), "layers": []},
            "wanted a sha256 digest",
            id="other algorithm",
        ),
        pytest.param({"config": descriptor(size=-1), "layers": []}, "found -1", id="size"),
        pytest.param(
            {"config": descriptor(size="3"), "layers": []},
            "/config/size: found a string",
            id="size text",
        ),
        pytest.param(
            {"config": descriptor(size=True), "layers": []},
            "/config/size: found true or false",
            id="size true",
        ),
    ],
)
def test_malformed_manifest_is_refused(document: Any, problem: str) -> None:
    with pytest.raises(ImageError) as caught:
        parse_index_or_manifest(json.dumps(document).encode(), "image a")

    assert str(caught.value).startswith("image a: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000])
def test_manifest_that_is_not_json_is_refused(content: bytes) -> None:
    with pytest.raises(ImageError, match="image a: manifest: "):
        parse_index_or_manifest(content, "image a")


def test_config_reads_back_as_it_was_rendered() -> None:
    config = ImageConfig(
        entrypoint=("/bin/a",),
        cmd=("-x",),
        env=("A=1", "B=2"),
        working_dir="/app",
        user="65532",
        volumes=("/data", "/more"),
        exposed_ports=("80/tcp",),
    )

    content = json.dumps(render_config(config, [DIGEST], {})).encode()

    assert parse_config(content, "image a") == (config, (DIGEST,))


def test_absent_and_null_members_of_a_config_are_empty() -> None:
    document = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Cmd": None, "Volumes": None},
        "rootfs": {"diff_ids": []},
    }

    config, diff_ids = parse_config(json.dumps(document).encode(), "image a")

    assert config == ImageConfig()
    assert diff_ids == ()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param({"os": "windows"}, "image is for windows/amd64, wanted linux/amd64", id="os"),
        pytest.param({"architecture": "arm64"}, "image is for linux/arm64", id="architecture"),
        pytest.param(
            {"architecture": "arm64", "os": ""}, "image is for ?/arm64", id="architecture alone"
        ),
        pytest.param(
            {"architecture": "", "os": "windows"}, "image is for windows/?", id="os alone"
        ),
        pytest.param({"rootfs": None}, "/rootfs: found null", id="rootfs"),
        pytest.param(
            {"rootfs": {"diff_ids": ["x"]}}, "/rootfs/diff_ids/0: found 'x'", id="diff_id"
        ),
        pytest.param({"config": [1]}, "/config: found a list, wanted an object", id="config"),
        pytest.param(
            {"config": {"Env": "A=1"}}, "/config/Env: found a string, wanted a list", id="env"
        ),
        pytest.param(
            {"config": {"Cmd": [1]}}, "/config/Cmd/0: found an integer, wanted a string", id="cmd"
        ),
        pytest.param(
            {"config": {"User": 5}}, "/config/User: found an integer, wanted a string", id="user"
        ),
        pytest.param(
            {"config": {"Volumes": ["/a"]}},
            "/config/Volumes: found a list, wanted an object",
            id="vol",
        ),
    ],
)
def test_malformed_config_is_refused(change: dict[str, Any], problem: str) -> None:
    document = {
        "os": "linux",
        "architecture": "amd64",
        "config": {},
        "rootfs": {"diff_ids": []},
    } | change
    content = json.dumps(document).encode()

    with pytest.raises(ImageError, match="image a") as caught:
        parse_config(content, "image a")

    assert problem in str(caught.value)


def test_descriptor_is_written_as_the_specification_spells_it() -> None:
    found = Descriptor(
        media_type="x", digest=DIGEST, size_bytes=3, os="linux", architecture="amd64"
    )

    assert found.to_json() == {
        "mediaType": "x",
        "digest": DIGEST,
        "size": 3,
        "platform": {"architecture": "amd64", "os": "linux"},
    }


CONFIG = '{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[]},"config":{"Cmd":["a"]}}'


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        pytest.param('"Cmd"', '"Cmd":["b"],"Cmd"', "member 'Cmd' occurs twice", id="process"),
        pytest.param(
            '["a"]', '["\\ud800"]', "string holds an unpaired surrogate", id="half a pair"
        ),
        pytest.param('"os"', '"os":"x","os"', "member 'os' occurs twice", id="platform"),
        pytest.param(
            '"Cmd"', '"cmd":["b"],"Cmd"', "/config/cmd: wanted the spelling 'Cmd'", id="lower"
        ),
        pytest.param(
            '"Cmd"',
            '"U\u017fer":"b","Cmd"',
            "/config/U\u017fer: wanted the spelling 'User'",
            id="folded",
        ),
        pytest.param('"config"', '"Config"', "/Config: wanted the spelling 'config'", id="config"),
        pytest.param(
            '"rootfs"', '"RootFS":{},"rootfs"', "/RootFS: wanted the spelling", id="layers"
        ),
    ],
)
def test_a_config_that_readers_read_differently_is_refused(
    old: str, new: str, problem: str
) -> None:
    with pytest.raises(ImageError, match=problem):
        parse_config(CONFIG.replace(old, new, 1).encode(), "image a")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b'{"layers":[],"layers":[]}', "member 'layers' occurs twice", id="twice"),
        pytest.param(b'{"Manifests":[],"layers":[]}', "/Manifests: wanted the spelling", id="case"),
        pytest.param('{"layers":[]}'.encode("utf-16"), "not valid UTF-8", id="another encoding"),
    ],
)
def test_a_manifest_that_readers_read_differently_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(ImageError, match=problem):
        parse_index_or_manifest(content, "image a")


def test_labels_may_differ_in_case_only() -> None:
    content = CONFIG.replace('"Cmd"', '"Labels":{"A":"1","a":"2"},"Cmd"', 1).encode()

    config, _ = parse_config(content, "image a")

    assert config.cmd == ("a",)
