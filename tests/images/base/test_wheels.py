import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.base.wheels import read_wheel
from tests.fakes.packages import wheel


def files(content: bytes) -> dict[str, bytes]:
    return {entry.path: entry.content for entry in read_wheel(content, "lib", "package till")}


def test_modules_and_metadata_are_installed() -> None:
    assert files(wheel({"till/__init__.py": b"1", "till-2.0.dist-info/METADATA": b"2"})) == {
        "lib/till/__init__.py": b"1",
        "lib/till-2.0.dist-info/METADATA": b"2",
    }


def test_of_its_data_only_modules_are_installed() -> None:
    found = files(
        wheel(
            {
                "till-2.0.data/platlib/fast.so": b"1",
                "till-2.0.data/scripts/till": b"#!python",
                "till-2.0.data/headers/till.h": b"3",
            }
        )
    )

    assert found == {"lib/fast.so": b"1"}


def test_programs_come_where_they_are_asked_for() -> None:
    content = wheel({"till-2.0.data/scripts/till": b"\x7fELF", "till-2.0.data/data/x": b"2"})

    found = read_wheel(content, "", "package till", has_programs=True)

    assert [(each.path, each.content) for each in found] == [("scripts/till", b"\x7fELF")]


def test_a_path_out_of_the_folder_is_refused() -> None:
    with pytest.raises(ImageError, match="outside of its root"):
        files(wheel({"../evil.py": b"1"}))


def test_what_is_no_wheel_is_refused() -> None:
    with pytest.raises(ImageError, match="package till: not a wheel"):
        files(b"junk")


def test_a_damaged_member_is_refused() -> None:
    content = wheel({"till.py": b"some text"})

    with pytest.raises(ImageError, match=r"'till\.py' is damaged"):
        files(content.replace(b"some text", b"same text", 1))
