"""Packages as deb(5) and ar(5) describe them; the archives are made by tarfile, the outer one by hand."""

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.base.debian import read_deb
from contrast_tasks.images.pack import Entry
from tests.fakes.packages import CONTROL, ar, archive, deb, folder, member


def entries(*members: tuple[tarfile.TarInfo, bytes]) -> dict[str, Entry]:
    return {entry.path: entry for entry in read_deb(deb(*members), "package cart").entries}


def test_files_links_and_folders_come_without_owner_and_time() -> None:
    found = read_deb(
        deb(
            folder("./usr/bin/"),
            member("./usr/bin/cart", b"program", mode=0o4755),
            member("./usr/bin/till", kind=tarfile.SYMTYPE, link="cart"),
            folder("./tmp", mode=0o1777),
        ),
        "package cart",
    )

    assert found.control == CONTROL
    assert found.entries == (
        Entry(path="usr/bin", is_folder=True),
        Entry(path="usr/bin/cart", content=b"program", executable=True),
        Entry(path="usr/bin/till", link="cart"),
        Entry(path="tmp", is_folder=True, is_shared=True),
    )


def test_a_hard_link_becomes_a_copy() -> None:
    found = entries(
        member("./usr/sbin/mke2fs", b"program", mode=0o755),
        member("./usr/sbin/mkfs.ext4", kind=tarfile.LNKTYPE, link="./usr/sbin/mke2fs", mode=0o755),
    )

    assert found["usr/sbin/mkfs.ext4"] == Entry(
        path="usr/sbin/mkfs.ext4", content=b"program", executable=True
    )


def test_what_lies_beside_usr_goes_there_and_the_links_stay() -> None:
    found = entries(
        member("./lib/x86_64-linux-gnu/libc.so.6", b"library"),
        member("./bin", kind=tarfile.SYMTYPE, link="usr/bin"),
    )

    assert set(found) == {"usr/lib/x86_64-linux-gnu/libc.so.6", "bin"}


def test_manuals_are_left_out_and_copyright_notices_stay() -> None:
    found = entries(
        member("./usr/share/man/man1/cart.1.gz", b"manual"),
        member("./usr/share/doc/cart/changelog.gz", b"history"),
        member("./usr/share/doc/cart/copyright", b"licence"),
        member("./usr/share/locale/de/LC_MESSAGES/cart.mo", b"words"),
    )

    assert set(found) == {"usr/share/doc/cart/copyright"}


@pytest.mark.parametrize("name", ["../etc/passwd", "./usr/../../etc/passwd", "/../x"])
def test_a_path_out_of_the_root_is_refused(name: str) -> None:
    with pytest.raises(ImageError, match="package cart: layer contains a path outside of its root"):
        entries(member(name, b"x"))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(kind: bytes) -> None:
    with pytest.raises(ImageError, match=r"'\./dev/x' is neither file, folder nor link"):
        entries(member("./dev/x", kind=kind))


def test_a_hard_link_to_nothing_is_refused() -> None:
    with pytest.raises(ImageError, match="links to nothing"):
        entries(member("./a", kind=tarfile.LNKTYPE, link="./gone"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b"", "not a Debian package", id="empty"),
        pytest.param(b"!<arch>\nshort", "is damaged", id="no header"),
        pytest.param(ar({"debian-binary": b"3.0\n"}), "format 2.0", id="other format"),
        pytest.param(ar({"debian-binary": b"2.0\n"}), "0 members control.tar", id="no control"),
        pytest.param(
            ar(
                {
                    "debian-binary": b"2.0\n",
                    "control.tar.xz": archive(member("./control", b"x")),
                    "data.tar.xz": b"\xfd7zXZ\x00junk",
                }
            ),
            "data.tar.xz is damaged",
            id="damaged data",
        ),
        pytest.param(
            ar(
                {
                    "debian-binary": b"2.0\n",
                    "control.tar.xz": archive(member("./other", b"x")),
                    "data.tar.xz": archive(member("./a", b"x")),
                }
            ),
            "no control file",
            id="control without its file",
        ),
    ],
)
def test_what_is_no_package_is_refused(content: bytes, told: str) -> None:
    with pytest.raises(ImageError, match=told):
        read_deb(content, "package cart")


def test_a_member_that_ends_early_is_refused() -> None:
    with pytest.raises(ImageError, match="damaged"):
        read_deb(deb(member("./a", b"x"))[:-40], "package cart")


@pytest.mark.parametrize("compression", ["gz", "xz"])
def test_both_compressions_are_read(compression: str) -> None:
    content = ar(
        {
            "debian-binary": b"2.0\n",
            f"control.tar.{compression}": archive(
                member("./control", b"x"), compression=compression
            ),
            f"data.tar.{compression}": archive(member("./a", b"y"), compression=compression),
        }
    )

    assert read_deb(content, "p").entries == (Entry(path="a", content=b"y"),)


@pytest.mark.skipif(
    shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed (apt: dpkg)"
)
@pytest.mark.parametrize("compression", ["xz", "gzip", "zstd"])
def test_a_package_is_read_as_dpkg_deb_builds_it(tmp_path: Path, compression: str) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    control = b"Package: cart\nVersion: 1\nArchitecture: amd64\nMaintainer: me\nDescription: cart\n"
    (tree / "DEBIAN/control").write_bytes(control)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/cart").write_bytes(b"#!/bin/sh\n")
    (tree / "usr/bin/cart").chmod(0o755)
    (tree / "usr/bin/till").symlink_to("cart")
    built = tmp_path / "cart.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", str(tree), str(built)],
        check=True,
        capture_output=True,
    )

    found = read_deb(built.read_bytes(), "package cart")

    assert found.control == control
    assert {entry.path: entry for entry in found.entries if not entry.is_folder} == {
        "usr/bin/cart": Entry(path="usr/bin/cart", content=b"#!/bin/sh\n", executable=True),
        "usr/bin/till": Entry(path="usr/bin/till", link="cart"),
    }
