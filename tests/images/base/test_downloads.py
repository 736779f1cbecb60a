from pathlib import Path

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.base.downloads import Downloads, pip_arguments
from tests.fakes.packages import debian_package, mirror, pins, wheel_package

CONTENT = b"a package"
PACKAGE = debian_package(CONTENT, version="1.0+deb13u1")
PINS = pins((PACKAGE,))


def test_a_package_is_downloaded_once_and_then_read_from_disk(tmp_path: Path) -> None:
    with mirror(lambda _: (200, CONTENT, "")) as (address, asked):
        for _ in range(2):
            with Downloads(tmp_path, mirror=f"{address}/{{archive}}") as downloads:
                downloads.fetch(PINS, PINS.debian, ())
                assert downloads.read(PACKAGE) == CONTENT

    assert asked == ["/debian/pool/main/c/cart/cart_1.0+deb13u1_amd64.deb"]


def test_a_mirror_without_the_place_of_the_archive_gets_it_at_its_end(tmp_path: Path) -> None:
    with (
        mirror(lambda _: (200, CONTENT, "")) as (address, asked),
        Downloads(tmp_path, mirror=f"{address}/mirrors/") as downloads,
    ):
        downloads.fetch(PINS, PINS.debian, ())

    assert asked == ["/mirrors/debian/pool/main/c/cart/cart_1.0+deb13u1_amd64.deb"]


def test_redirects_are_followed(tmp_path: Path) -> None:
    def answer(path: str) -> tuple[int, bytes, str]:
        return (200, CONTENT, "") if path == "/there" else (302, b"", "/there")

    with mirror(answer) as (address, asked), Downloads(tmp_path, mirror=address) as downloads:
        downloads.fetch(PINS, PINS.debian, ())

    assert asked[-1] == "/there"


def test_endless_redirects_end(tmp_path: Path) -> None:
    with (
        mirror(lambda _: (302, b"", "/again")) as (address, asked),
        Downloads(tmp_path, mirror=address) as downloads,
        pytest.raises(ImageError, match="more than 5 redirects"),
    ):
        downloads.fetch(PINS, PINS.debian, ())

    assert len(asked) == 6


def test_another_file_than_the_pinned_one_is_refused_and_not_kept(tmp_path: Path) -> None:
    with (
        mirror(lambda _: (200, b"b package", "")) as (address, _),
        Downloads(tmp_path, mirror=address) as downloads,
        pytest.raises(
            ImageError, match=r"cart 1\.0\+deb13u1: .* another file than the one that is"
        ),
    ):
        downloads.fetch(PINS, PINS.debian, ())

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with (
        mirror(lambda _: (200, CONTENT * 9, "")) as (address, _),
        Downloads(tmp_path, mirror=address) as downloads,
        pytest.raises(ImageError, match="more than the 9 bytes wanted"),
    ):
        downloads.fetch(PINS, PINS.debian, ())


def test_a_package_that_left_the_mirror_is_named_with_the_archive_of_snapshots(
    tmp_path: Path,
) -> None:
    with (
        mirror(lambda _: (404, b"", "")) as (address, _),
        Downloads(tmp_path, mirror=address) as downloads,
        pytest.raises(ImageError, match=r"package cart 1.0\+deb13u1: .* has it no more") as caught,
    ):
        downloads.fetch(PINS, PINS.debian, ())

    assert (
        "--mirror 'https://snapshot.debian.org/archive/{archive}/20260102T030405Z'"
        in caught.value.hint
    )


def test_another_answer_is_told(tmp_path: Path) -> None:
    with (
        mirror(lambda _: (403, b"", "")) as (address, _),
        Downloads(tmp_path, mirror=address) as downloads,
        pytest.raises(ImageError, match="answered 403"),
    ):
        downloads.fetch(PINS, PINS.debian, ())


def test_a_mirror_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with mirror(lambda _: (200, b"", "")) as (address, _):
        pass
    with (
        Downloads(tmp_path, mirror=address) as downloads,
        pytest.raises(ImageError, match=r"127\.0\.0\.1:[0-9]+: connection refused"),
    ):
        downloads.fetch(PINS, PINS.debian, ())


def test_offline_a_missing_package_is_named_and_nothing_is_asked(tmp_path: Path) -> None:
    with (
        mirror(lambda _: (200, CONTENT, "")) as (address, asked),
        Downloads(tmp_path, mirror=address, offline=True) as downloads,
        pytest.raises(ImageError, match=r"package cart .* is not in .*, nor are 0 more"),
    ):
        downloads.fetch(PINS, PINS.debian, ())

    assert asked == []


def test_a_file_on_disk_that_was_changed_is_downloaded_again(tmp_path: Path) -> None:
    (tmp_path / f"{PACKAGE.sha256}-{PACKAGE.file}").write_bytes(b"something else")

    with (
        mirror(lambda _: (200, CONTENT, "")) as (address, asked),
        Downloads(tmp_path, mirror=address) as downloads,
    ):
        downloads.fetch(PINS, PINS.debian, ())
        assert downloads.read(PACKAGE) == CONTENT

    assert len(asked) == 1


def test_a_mirror_that_is_no_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="expected an address of http or https"):
        Downloads(tmp_path, mirror="/srv/mirror")


def test_pip_is_asked_for_the_images_python_and_the_pinned_hashes(tmp_path: Path) -> None:
    wheel = wheel_package(b"x").replace(file="till-2.0-cp313-cp313-manylinux_2_28_x86_64.whl")

    words = pip_arguments(tmp_path / "r.txt", tmp_path, [wheel], "3.13")

    assert words[words.index("--python-version") + 1] == "3.13"
    assert words[words.index("--platform") + 1] == "manylinux_2_28_x86_64"
    assert {"--require-hashes", "--no-deps", ":all:"} <= set(words)


def test_of_pip_that_fails_the_last_error_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = wheel_package(b"x")
    pip = tmp_path / "python"
    pip.write_text("#!/bin/sh\necho 'ERROR: No matching distribution found for till' >&2\nexit 1\n")
    pip.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(pip))

    with (
        Downloads(tmp_path / "cache") as downloads,
        pytest.raises(ImageError, match="No matching distribution found for till"),
    ):
        downloads.fetch(pins((), (wheel,)), (), (wheel,))
