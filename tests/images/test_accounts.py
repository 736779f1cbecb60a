import io
import tarfile

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.accounts import Accounts
from contrast_tasks.images.documents import digest_of
from tests.fakes.images import file, folder, hardlink, symlink, tar

PASSWD = b"root:x:0:0::/:\n"
OTHER = b"app:x:7:7::/:\n"


def read(*layers: tuple[tuple[tarfile.TarInfo, bytes], ...]) -> tuple[str, str]:
    accounts = Accounts()
    is_first = True
    while is_first or accounts.starts_again():
        is_first = False
        for members in layers:
            content = tar(*members)
            accounts.add_layer(io.BytesIO(content), diff_id=digest_of(content), subject="image a")
    return accounts.passwd, accounts.group


def test_the_files_are_read_from_the_topmost_layer_that_has_them() -> None:
    lower = (file("etc/passwd", PASSWD), file("etc/group", b"lower"))

    assert read(lower, (file("etc/passwd", OTHER),)) == (OTHER.decode(), "lower")


def test_an_image_without_the_files_has_empty_text() -> None:
    assert read((file("bin/a", b""),)) == ("", "")


@pytest.mark.parametrize("name", ["./etc/passwd", "/etc/passwd", "etc//passwd", "etc/./passwd"])
def test_other_spellings_of_the_path_count(name: str) -> None:
    assert read((file(name, PASSWD),))[0] == PASSWD.decode()


@pytest.mark.parametrize(
    "whiteout", ["etc/.wh.passwd", "/etc/.wh.passwd", ".wh.etc", "etc/.wh..wh..opq", ".wh..wh..opq"]
)
def test_a_whiteout_hides_the_lower_file(whiteout: str) -> None:
    assert read((file("etc/passwd", PASSWD),), (file(whiteout),))[0] == ""


@pytest.mark.parametrize("whiteout", ["etc/.wh.passwd", ".wh.etc", "etc/.wh..wh..opq"])
def test_a_whiteout_leaves_the_file_of_its_own_layer(whiteout: str) -> None:
    upper = (file("etc/passwd", OTHER), file(whiteout))

    assert read((file("etc/passwd", PASSWD),), upper)[0] == OTHER.decode()


def test_a_whiteout_of_one_file_leaves_the_other() -> None:
    lower = (file("etc/passwd", PASSWD), file("etc/group", b"lower"))

    assert read(lower, (file("etc/.wh.passwd"),)) == ("", "lower")


@pytest.mark.parametrize(
    "member",
    [
        symlink("etc/passwd", "/nix/passwd"),
        symlink("etc/passwd", "passwd"),
        symlink("etc/passwd", "../etc/passwd/x"),
        hardlink("etc/passwd", "nix/passwd"),
        folder("etc/passwd"),
        symlink("etc", "usr"),
        symlink("etc", "etc"),
    ],
)
def test_what_is_no_file_and_leads_to_none_reads_as_absent(
    member: tuple[tarfile.TarInfo, bytes],
) -> None:
    assert read((file("etc/passwd", PASSWD),), (member,))[0] == ""


def test_text_that_is_not_utf_8_is_read_all_the_same() -> None:
    assert read((file("etc/passwd", b"m\xfcller:x:5:5::/:\n"),))[0] == "m\ufffdller:x:5:5::/:\n"


def test_a_huge_file_is_refused() -> None:
    with pytest.raises(ImageError, match="'etc/passwd' has 1048577 bytes, at most 1048576"):
        read((file("etc/passwd", b"x" * ((1 << 20) + 1)),))


def test_a_path_outside_of_the_root_is_refused() -> None:
    with pytest.raises(ImageError, match="image a: layer contains a path outside of its root"):
        read((file("../etc/passwd", PASSWD),))


USR = file("usr/share/accounts", OTHER)


@pytest.mark.parametrize(
    "members",
    [
        (USR, symlink("etc/passwd", "/usr/share/accounts")),
        (symlink("etc/passwd", "../usr/share/accounts"), USR),
        (symlink("etc/passwd", "../../../usr/./share//accounts"), USR),
        (USR, hardlink("etc/passwd", "usr/share/accounts")),
        (USR, hardlink("etc/passwd", "./usr/share/accounts")),
        (USR, symlink("mid", "/usr/share/accounts"), hardlink("etc/passwd", "mid")),
        (USR, hardlink("mid", "usr/share/accounts"), symlink("etc/passwd", "/mid")),
        (USR, symlink("mid", "/usr/share/accounts"), symlink("etc/passwd", "/mid")),
        (symlink("etc", "usr/etc"), file("usr/etc/passwd", OTHER)),
        (symlink("etc", "usr/etc"), folder("usr/etc"), file("etc/passwd", OTHER)),
        (
            symlink("usr/share", "/data"),
            file("data/accounts", OTHER),
            symlink("etc/passwd", "/usr/share/accounts"),
        ),
    ],
)
def test_links_lead_to_a_file_inside_of_the_root(
    members: tuple[tuple[tarfile.TarInfo, bytes], ...],
) -> None:
    assert read(members)[0] == OTHER.decode()
    assert read(*((each,) for each in members))[0] == OTHER.decode()


def test_a_hard_link_shares_the_file_of_its_time_and_a_symbolic_one_the_last() -> None:
    later = (file("usr/share/accounts", PASSWD),)

    assert read((USR, hardlink("etc/passwd", "usr/share/accounts")), later)[0] == OTHER.decode()
    assert read((USR, symlink("etc/passwd", "/usr/share/accounts")), later)[0] == PASSWD.decode()


def test_a_file_in_place_of_a_link_is_read() -> None:
    lower = (USR, symlink("etc/passwd", "/usr/share/accounts"))

    assert read(lower, (file("etc/passwd", PASSWD),))[0] == PASSWD.decode()


def test_a_folder_in_place_of_a_link_to_one_has_only_its_own_files() -> None:
    lower = (symlink("etc", "usr/etc"), file("usr/etc/passwd", OTHER))

    assert read(lower, (folder("etc"), file("etc/group", b"g:x:5:")))[:] == ("", "g:x:5:")


def test_a_whiteout_hides_what_a_link_leads_to() -> None:
    lower = (USR, symlink("etc/passwd", "/usr/share/accounts"))

    assert read(lower, (file("usr/share/.wh.accounts"),))[0] == ""
    assert read(lower, (file(".wh.usr"),))[0] == ""
    assert read(lower, (file("usr/.wh..wh..opq"),))[0] == ""


def test_both_files_may_be_links() -> None:
    members = (USR, symlink("etc/passwd", "/usr/share/accounts"), symlink("etc/group", "passwd"))

    assert read(members) == (OTHER.decode(), OTHER.decode())


def test_links_that_lead_on_and_on_end() -> None:
    chain = [symlink(f"l{number}", f"/d{number}/l{number + 1}") for number in range(30)]
    hard = [hardlink(f"d{number}/l{number + 1}", f"l{number + 1}") for number in range(29)]

    assert read((*reversed(chain), *hard, symlink("etc/passwd", "/l0")))[0] == ""
