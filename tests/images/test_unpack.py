import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contrast_tasks.errors import ImageError
from contrast_tasks.images.layout import Layout
from contrast_tasks.images.resolve import ResolvedImage
from contrast_tasks.images.unpack import unpack
from contrast_tasks.pods.references import parse_reference
from tests.fakes.images import (
    file,
    folder,
    hardlink,
    make_image,
    special,
    symlink,
    tar,
    write_images,
)

NAME = "shop/cart:v1"
Member = tuple[tarfile.TarInfo, bytes]


def image_of(directory: Path, *layers: tuple[Member, ...], compress: bool = False) -> ResolvedImage:
    made = make_image([tar(*members) for members in layers], compress=compress)
    write_images(directory, {NAME: made})
    return Layout(directory, name="layout").image(parse_reference(NAME))


def unpacked(tmp_path: Path, *layers: tuple[Member, ...]) -> Path:
    root = tmp_path / "root"
    unpack(image_of(tmp_path / "layout", *layers), root)
    return root


def for_container(tmp_path: Path, *layers: tuple[Member, ...]) -> Path:
    root = tmp_path / "container"
    use = "container" if os.geteuid() == 0 else "container of one user"
    unpack(image_of(tmp_path / "layout", *layers), root, use=use)
    return root


def tree(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_text()
    return found


@pytest.mark.parametrize("compress", [False, True])
def test_layers_are_unpacked_on_top_of_each_other(tmp_path: Path, compress: bool) -> None:
    lower = (folder("a"), file("a/b", b"lower"), file("a/c", b"lower"))
    upper = (file("a/b", b"upper"), file("deep/er/d", b"upper"))

    unpack(image_of(tmp_path / "layout", lower, upper, compress=compress), tmp_path / "root")

    assert tree(tmp_path / "root") == {"a/b": "upper", "a/c": "lower", "deep/er/d": "upper"}


def test_modes_keep_the_executable_bit_and_lose_the_dangerous_ones(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path,
        (file("run", mode=0o6755), file("data", mode=0o666), file("locked", mode=0o000)),
    )

    modes = {path.name: path.stat().st_mode & 0o7777 for path in root.iterdir()}

    assert modes == {"run": 0o755, "data": 0o644, "locked": 0o600}


def test_a_container_keeps_modes_times_and_links_as_they_are(tmp_path: Path) -> None:
    timed, data = file("run", mode=0o6755)
    timed.mtime = 1_234_567_890
    sticky, _ = folder("tmp")
    sticky.mode = 0o1777

    root = for_container(
        tmp_path,
        (
            (timed, data),
            file("data", mode=0o666),
            (sticky, b""),
            symlink("etc/rc", "/usr/rc"),
            symlink("up", "../../outside"),
        ),
    )

    assert (root / "run").stat().st_mode & 0o7777 == 0o6755
    assert (root / "run").stat().st_mtime == 1_234_567_890
    assert (root / "data").stat().st_mode & 0o7777 == 0o666
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    # The kernel resolves them inside the container's root, whatever they say.
    assert (root / "etc" / "rc").readlink() == Path("/usr/rc")
    assert (root / "up").readlink() == Path("../../outside")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_container_keeps_owners_and_capabilities(tmp_path: Path) -> None:
    owned, data = file("data", mode=0o4755)
    owned.uid, owned.gid = 999, 998
    link, _ = symlink("link", "data")
    link.uid = link.gid = 7
    capable, program = file("ping", mode=0o755)
    # cap_net_raw=ep in revision 2. Source: linux/capability.h, vfs_cap_data.
    value = bytes.fromhex("01000002 00200000 00000000 00000000 00000000")
    capable.pax_headers = {
        "SCHILY.xattr.security.capability": value.decode("utf-8", "surrogateescape")
    }

    root = for_container(tmp_path, ((owned, data), (link, b""), (capable, program)))

    status = (root / "data").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (999, 998, 0o4755)
    assert (root / "link").lstat().st_uid == 7
    assert os.getxattr(root / "ping", "security.capability") == value


def test_in_a_container_a_folder_is_written_through_a_link_of_a_lower_layer(tmp_path: Path) -> None:
    lower = (folder("usr/lib"), symlink("lib", "/usr/lib"), symlink("out", "/nowhere"))
    upper = (folder("lib"), file("lib/a", b"a"), folder("out"), file("out/b", b"b"))

    root = for_container(tmp_path, lower, upper)

    assert tree(root) == {"lib": "-> /usr/lib", "usr/lib/a": "a", "out/b": "b"}


def test_a_link_above_the_root_stays_inside_for_a_container(tmp_path: Path) -> None:
    lower = (symlink("up", "../../.."), folder("inside"))

    root = for_container(tmp_path, lower, (file("up/inside/a", b"a"),))

    assert tree(root) == {"up": "-> ../../..", "inside/a": "a"}
    assert [path.name for path in tmp_path.iterdir()] == ["layout", "container"]


def test_devices_of_a_container_are_left_out_below_dev_and_refused_elsewhere(
    tmp_path: Path,
) -> None:
    root = for_container(tmp_path, (special("dev/null", tarfile.CHRTYPE), file("a", b"a")))
    other = image_of(tmp_path / "other", (special("etc/null", tarfile.CHRTYPE),))

    with pytest.raises(ImageError, match="neither a file, a directory nor a link"):
        unpack(other, tmp_path / "refused", use="container")

    assert tree(root) == {"a": "a"}


def test_a_whiteout_removes_a_file_of_a_lower_layer(tmp_path: Path) -> None:
    lower = (file("a/b", b"1"), file("a/c", b"1"), file("d/e", b"1"))

    root = unpacked(tmp_path, lower, (file("a/.wh.b"), file(".wh.d")))

    assert tree(root) == {"a/c": "1"}


def test_an_opaque_whiteout_removes_the_lower_files_and_leaves_its_own(tmp_path: Path) -> None:
    lower = (file("a/b", b"1"), file("a/c/d", b"1"), file("e", b"1"))
    upper = (file("a/f", b"2"), file("a/.wh..wh..opq"), file("a/g", b"2"))

    assert tree(unpacked(tmp_path, lower, upper)) == {"a/f": "2", "a/g": "2", "e": "1"}


def test_a_whiteout_of_nothing_is_harmless(tmp_path: Path) -> None:
    assert tree(unpacked(tmp_path, (file("no/such/.wh.thing"), file("a", b"1")))) == {"a": "1"}


def test_a_whiteout_through_a_link_stays_inside(tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.write_text("kept")
    lower = (folder("d"), file("d/precious", b"1"), symlink("link", "d"))

    root = unpacked(tmp_path, lower, (file("link/.wh.precious"),))

    assert not (root / "d/precious").exists()
    assert outside.read_text() == "kept"


def test_a_file_replaces_a_directory_and_the_other_way_round(tmp_path: Path) -> None:
    lower = (file("a/b", b"1"), file("c", b"1"))
    upper = (file("a", b"2"), folder("c"), file("c/d", b"2"))

    assert tree(unpacked(tmp_path, lower, upper)) == {"a": "2", "c/d": "2"}


def test_a_file_replaces_a_link_and_does_not_write_through_it(tmp_path: Path) -> None:
    lower = (file("real", b"1"), symlink("link", "real"))

    root = unpacked(tmp_path, lower, (file("link", b"2"),))

    assert tree(root) == {"link": "2", "real": "1"}


def test_relative_links_inside_are_kept_and_absolute_ones_made_relative(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path,
        (
            file("usr/bin/dash", b"sh"),
            symlink("bin", "usr/bin"),
            symlink("usr/bin/sh", "/usr/bin/dash"),
            symlink("opt/deep/self", "/"),
            symlink("dangling", "/no/such"),
        ),
    )

    assert (root / "bin/sh").read_text() == "sh"
    assert (root / "opt/deep/self").resolve() == root.resolve()
    assert str((root / "dangling").readlink()) == "no/such"


def test_a_path_through_a_link_is_followed_inside_of_the_root(tmp_path: Path) -> None:
    lower = (folder("usr/lib"), symlink("lib", "/usr/lib"))

    root = unpacked(tmp_path, lower, (file("lib/a", b"1"), folder("lib"), file("lib/b", b"1")))

    assert tree(root) == {"lib": "-> usr/lib", "usr/lib/a": "1", "usr/lib/b": "1"}


def test_absolute_names_are_below_the_root(tmp_path: Path) -> None:
    lower = (file("/a/b", b"1"), file("/a/c", b"1"), hardlink("d", "/a/c"))

    assert tree(unpacked(tmp_path, lower, (file("/a/.wh.b"),))) == {"a/c": "1", "d": "1"}


def test_links_cannot_make_folders_too_deep_to_remove_again(tmp_path: Path) -> None:
    deep = "/".join("d" * 200)
    members = [folder(deep)]
    for number in range(8):
        target = f"link{number - 1}/{deep}" if number else deep
        members += [folder(target), symlink(f"link{number}", target)]

    with pytest.raises(ImageError, match="links lead to too deep a folder"):
        unpack(image_of(tmp_path / "layout", tuple(members)), tmp_path / "in" / "root")

    assert list((tmp_path / "in").iterdir()) == []


def test_a_directory_that_is_written_again_stays(tmp_path: Path) -> None:
    root = unpacked(tmp_path, (folder("./"), folder("a"), file("a/b", b"1")), (folder("a"),))

    assert tree(root) == {"a/b": "1"}


def test_a_link_up_and_down_again_is_followed_inside(tmp_path: Path) -> None:
    lower = (folder("usr/lib"), folder("opt/x"), symlink("usr/lib/x", "../../opt/x"))

    root = unpacked(tmp_path, lower, (file("usr/lib/x/a", b"1"),))

    assert (root / "opt/x/a").read_text() == "1"


def test_hard_links_inside_are_kept(tmp_path: Path) -> None:
    root = unpacked(tmp_path, (file("a", b"1"), hardlink("b/c", "a"), hardlink("d", "./b/c")))

    assert (root / "d").read_text() == "1"
    assert (root / "d").stat().st_ino == (root / "a").stat().st_ino


ATTACKS = [
    pytest.param((file("../evil"),), "outside of its root", id="parent"),
    pytest.param((file("a/../../evil"),), "outside of its root", id="parent inside"),
    pytest.param((file("/../evil"),), "outside of its root", id="absolute parent"),
    pytest.param((file("/".join("d" * 1500)),), "a path of 1500 components", id="deep path"),
    pytest.param((folder(".."),), "outside of its root", id="parent folder"),
    pytest.param((symlink("a", "../evil"),), "a link out of the root", id="link out"),
    pytest.param((symlink("a/b", "../../evil"),), "a link out of the root", id="link out, deeper"),
    pytest.param((symlink("a", "/../evil"),), "a link out of the root", id="absolute link out"),
    pytest.param(
        (symlink("a", "."), symlink("b", "a/a/../../evil")),
        "a link out of the root",
        id="link through a link to the root",
    ),
    pytest.param(
        (symlink("a", "."), symlink("b", "a/a/../.."), file("b/evil")),
        "a link out of the root",
        id="file through a link through a link",
    ),
    pytest.param(
        (folder("d/e"), symlink("d/e/up", ".."), hardlink("up", "d/e/up"), file("up/evil")),
        "a link out of the root",
        id="hard link of a link to a place where it points out",
    ),
    pytest.param((hardlink("a", "../../etc/passwd"),), "outside of its root", id="hard link out"),
    pytest.param(
        (hardlink("a", "/etc/passwd"),), "etc is not a directory", id="absolute hard link"
    ),
    pytest.param((hardlink("a", "etc/passwd"),), "is not a directory", id="hard link to nothing"),
    pytest.param(
        (folder("d"), hardlink("a", "d")), "which is not a file", id="hard link to a folder"
    ),
    pytest.param((hardlink("a", "."),), "which is not a file", id="hard link to the root"),
    pytest.param((special("a", tarfile.CHRTYPE),), "neither a file", id="character device"),
    pytest.param((special("a", tarfile.BLKTYPE),), "neither a file", id="block device"),
    pytest.param((special("a", tarfile.FIFOTYPE),), "neither a file", id="fifo"),
    pytest.param((file("a/.wh..."),), "whiteout of '..'", id="whiteout of the parent"),
    pytest.param((file("."),), "the root is not a directory", id="root a file"),
    pytest.param((symlink(".", "/etc"),), "the root is not a directory", id="root a link"),
    pytest.param((symlink("a", "\u00e9\0b"),), "which is not a file name", id="NUL in a link"),
    pytest.param((file("\u00e9\0b"),), "a path outside of its root", id="NUL in a name"),
    pytest.param((file("a"), file("a/b")), "a is not a directory", id="file below a file"),
    pytest.param(
        (symlink("a", "b"), symlink("b", "a"), file("a/c")), "too many links", id="link loop"
    ),
]


@pytest.mark.parametrize(("members", "problem"), ATTACKS)
def test_an_attack_is_refused_and_leaves_nothing_behind(
    tmp_path: Path, members: tuple[Member, ...], problem: str
) -> None:
    image = image_of(tmp_path / "layout", members)

    with pytest.raises(ImageError, match=f"image {NAME}") as caught:
        unpack(image, tmp_path / "inner" / "root")

    assert problem in str(caught.value)
    assert list((tmp_path / "inner").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inner", "layout"]


def test_more_members_than_allowed_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contrast_tasks.images.unpack.MAX_MEMBERS", 2)
    image = image_of(tmp_path / "layout", (file("a"), file("b"), file("c")))

    with pytest.raises(ImageError, match="cannot unpack 'c': more than 2 members"):
        unpack(image, tmp_path / "root")


def test_more_bytes_than_allowed_are_refused(tmp_path: Path) -> None:
    image = image_of(tmp_path / "layout", (file("a", b"x" * 600), file("b", b"x" * 600)))

    with pytest.raises(ImageError, match="unpacks to more bytes than allowed"):
        unpack(image, tmp_path / "root", max_bytes=1000)

    assert not (tmp_path / "root").exists()


def test_a_directory_that_is_there_is_left_alone(tmp_path: Path) -> None:
    image = image_of(tmp_path / "layout", (file("a", b"new"),))
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_text("old")

    with pytest.raises(ImageError, match="root already exists"):
        unpack(image, root)

    assert tree(root) == {"a": "old"}


def test_a_layer_changed_after_the_image_was_opened_is_refused(tmp_path: Path) -> None:
    image = image_of(tmp_path / "layout", (file("a", b"1"),))
    path = tmp_path / "layout/blobs/sha256" / image.layers[0].digest.removeprefix("sha256:")
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))

    with pytest.raises(ImageError, match="has the digest"):
        unpack(image, tmp_path / "root")

    assert not (tmp_path / "root").exists()


def test_a_file_name_the_system_does_not_take_is_an_image_error(tmp_path: Path) -> None:
    image = image_of(tmp_path / "layout", (file("a" * 300, b"1"),))

    with pytest.raises(ImageError, match="cannot unpack image shop/cart:v1: File name too long"):
        unpack(image, tmp_path / "root")


NAMES = st.sampled_from(["a", "b", "a/b", "a/b/c", "b/a", "./a", "a/.wh.b", ".wh.a"])
TARGETS = st.sampled_from([".", "..", "a", "b", "../a", "../..", "/a", "/", "a/b", "b/../.."])
MEMBERS = st.one_of(
    st.builds(file, NAMES, st.just(b"x")),
    st.builds(folder, NAMES),
    st.builds(symlink, NAMES, TARGETS),
    st.builds(hardlink, NAMES, NAMES),
)


@pytest.mark.sweep
@settings(max_examples=150, deadline=None)
@given(layers=st.lists(st.lists(MEMBERS, max_size=6), min_size=1, max_size=3))
def test_whatever_an_image_holds_nothing_outside_of_the_root_is_touched(
    tmp_path_factory: pytest.TempPathFactory, layers: list[list[Member]]
) -> None:
    place = tmp_path_factory.mktemp("place")
    image = image_of(place / "layout", *map(tuple, layers))
    root = place / "in" / "ner" / "root"
    try:
        unpack(image, root)
    except ImageError:
        assert not root.exists()
    else:
        for path in root.rglob("*"):
            real = os.path.realpath(path)
            assert real == str(root) or real.startswith(f"{root}/")
    assert sorted(path.name for path in place.iterdir()) == ["in", "layout"]
    assert [path.name for path in (place / "in").iterdir()] == ["ner"]
