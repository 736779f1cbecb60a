import contextlib
import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.errors import ImageError
from contrast_tasks.images.documents import digest_of
from contrast_tasks.images.layers import member_path, open_layer, whiteout_target
from tests.fakes.images import file, tar

LAYER = tar(file("a", b"content of a"), file("b/c", b"x" * 5000))


def names(content: bytes, diff_id: str) -> list[str]:
    stream = io.BytesIO(content)
    with open_layer(stream, diff_id=diff_id, subject="image a") as (_, members):
        return [member.name for member in members]


def test_tar_and_gzip_layers_are_read() -> None:
    assert names(LAYER, digest_of(LAYER)) == ["a", "b/c"]
    assert names(gzip.compress(LAYER), digest_of(LAYER)) == ["a", "b/c"]


def test_bytes_after_the_archive_count_for_the_diff_id() -> None:
    longer = LAYER + b"\0" * 512

    assert names(longer, digest_of(longer)) == ["a", "b/c"]
    with pytest.raises(ImageError, match="layer unpacks to"):
        names(longer, digest_of(LAYER))


def test_gzip_members_one_after_the_other_and_zeros_after_the_last_are_read() -> None:
    content = gzip.compress(LAYER[:900]) + gzip.compress(b"") + gzip.compress(LAYER[900:])

    assert names(content, digest_of(LAYER)) == ["a", "b/c"]
    assert names(content + b"\0" * 100_000, digest_of(LAYER)) == ["a", "b/c"]


def test_a_layer_that_unpacks_to_far_more_than_it_has_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("contrast_tasks.images.layers._ALWAYS_BYTES", 10_000)
    large = tar(file("zeros", bytes(3_000_000)))
    stored = gzip.compress(large)

    with pytest.raises(ImageError, match=f"more than the {10_000 + 100 * len(stored)} bytes"):
        names(stored, digest_of(large))
    assert names(large, digest_of(large)) == ["zeros"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(LAYER[:700], id="truncated tar"),
        pytest.param(gzip.compress(LAYER)[:-20], id="truncated gzip"),
        pytest.param(gzip.compress(LAYER)[:-8] + b"12345678", id="wrong checksum"),
        pytest.param(gzip.compress(LAYER)[:10] + b"\xff" * 50, id="bad deflate"),
        pytest.param(b"", id="empty"),
        pytest.param(gzip.compress(LAYER) + b"more", id="something after gzip"),
        pytest.param(b"not a tar archive" * 100, id="text"),
    ],
)
def test_a_damaged_layer_is_refused(content: bytes) -> None:
    with pytest.raises(ImageError, match="image a: layer"):
        names(content, digest_of(LAYER))


@given(st.binary(max_size=2000))
def test_any_bytes_give_members_or_an_image_error(content: bytes) -> None:
    with contextlib.suppress(ImageError):
        names(content, digest_of(content))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a/b", ("a", "b")),
        ("./a/", ("a",)),
        (".", ()),
        ("", ()),
        ("a//./b", ("a", "b")),
        ("/etc/passwd", ("etc", "passwd")),
        ("//a", ("a",)),
        ("/", ()),
        ("/./a", ("a",)),
        ("..a/b..", ("..a", "b..")),
        ("/".join("x" * 256), ("x",) * 256),
    ],
)
def test_a_member_name_becomes_path_components(name: str, parts: tuple[str, ...]) -> None:
    assert member_path(name, "image a") == parts


@pytest.mark.parametrize("name", ["..", "a/../b", "../a", "/..", "/../a", "a/..", "a\0b"])
def test_a_member_name_outside_of_the_root_is_refused(name: str) -> None:
    with pytest.raises(ImageError, match="a path outside of its root"):
        member_path(name, "image a")


@pytest.mark.parametrize("name", ["/".join("x" * 257), "x" * 4097, "a/" * 1500])
def test_a_path_that_is_too_deep_or_too_long_is_refused(name: str) -> None:
    with pytest.raises(ImageError, match=r"layer contains a path of \d+ components and"):
        member_path(name, "image a")


@pytest.mark.parametrize(
    ("parts", "target"),
    [
        (("a", ".wh.b"), ("a", "b")),
        ((".wh.b",), ("b",)),
        (("a", ".wh..wh..opq"), ("a", "")),
        ((".wh..wh..opq",), ("",)),
        (("a", "b"), None),
        ((".whb",), None),
        ((), None),
    ],
)
def test_whiteouts_are_told_from_members(
    parts: tuple[str, ...], target: tuple[str, ...] | None
) -> None:
    assert whiteout_target(parts, "image a") == target


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh..."])
def test_a_whiteout_of_no_name_is_refused(name: str) -> None:
    with pytest.raises(ImageError, match="layer contains a whiteout of"):
        whiteout_target(("a", name), "image a")
