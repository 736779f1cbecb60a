"""The reader of tar archives, held against archives that Python's tarfile writes and against hostile ones made by hand."""

import contextlib
import io
import tarfile
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.images.archives import ArchiveError, Kind, read_members

FORMATS = [
    pytest.param(tarfile.USTAR_FORMAT, id="ustar"),
    pytest.param(tarfile.GNU_FORMAT, id="gnu"),
    pytest.param(tarfile.PAX_FORMAT, id="pax"),
]
END = bytes(1024)


def header(
    name: bytes = b"a", flag: bytes = b"0", size: bytes = b"0", *, rest: bytes = b""
) -> bytes:
    """Return a header with its checksum; rest: from the magic on."""
    start = (
        name.ljust(100, b"\0")
        + b"0000644\0"
        + b"0000000\0" * 2
        + size.rjust(11, b"0").ljust(12, b"\0")
    )
    start += b"00000000000\0" + b" " * 8 + flag + bytes(100)
    block = (start + (rest or b"ustar\00000")).ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def pax(*records: tuple[str, bytes], flag: bytes = b"x") -> bytes:
    content = b""
    for key, value in records:
        rest = b" %s=%s\n" % (key.encode(), value)
        length = len(rest) + next(n for n in range(1, 9) if len(str(len(rest) + n)) == n)
        content += b"%d" % length + rest
    return header(b"pax", flag, b"%o" % len(content)) + padded(content)


def read(content: bytes) -> list[tuple[str, Kind, bytes]]:
    stream = io.BufferedReader(io.BytesIO(content))  # type: ignore[arg-type]  # it has what is used
    return [(each.name, each.kind, each.content.read()) for each in read_members(stream)]


def refusal(content: bytes) -> str:
    with pytest.raises(ArchiveError) as caught:
        read(content)
    return str(caught.value)


def written(members: Iterable[tuple[tarfile.TarInfo, bytes]], form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member(
    name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size, made.mode = kind, link, size, 0o6755
    return made


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_is_read(form: int) -> None:
    archive = written(
        [
            (member("d/", tarfile.DIRTYPE), b""),
            (member("d/" + "long/" * 30 + "a", size=700), b"x" * 700),
            (member("s", tarfile.SYMTYPE, link="/else/where"), b""),
            (member("h", tarfile.LNKTYPE, link="s"), b""),
            (member("null", tarfile.CHRTYPE), b""),
        ],
        form,
    )

    stream = io.BufferedReader(io.BytesIO(archive))  # type: ignore[arg-type]  # it has what is used
    found = [
        (each.name, each.kind, each.size_bytes, each.mode, each.link)
        for each in read_members(stream)
    ]

    assert found == [
        ("d/", Kind.FOLDER, 0, 0o6755, ""),
        ("d/" + "long/" * 30 + "a", Kind.FILE, 700, 0o6755, ""),
        ("s", Kind.SYMLINK, 0, 0o6755, "/else/where"),
        ("h", Kind.HARDLINK, 0, 0o6755, "s"),
        ("null", Kind.OTHER, 0, 0o6755, ""),
    ]


NAMES = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=300
)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=1200)), max_size=5), st.sampled_from([1, 2]))
def test_names_and_contents_are_those_that_were_written(
    files: list[tuple[str, bytes]], form: int
) -> None:
    archive = written([(member(name, size=len(content)), content) for name, content in files], form)

    # The writer leaves out slashes at the end, and the short form of a name is cut at the first NUL.
    assert [(name.rstrip("/"), content) for name, _, content in read(archive)] == [
        (name.rstrip("/"), content) for name, content in files
    ]


@given(st.binary(max_size=3000))
def test_any_bytes_give_members_or_an_error(content: bytes) -> None:
    with contextlib.suppress(ArchiveError):
        read(content)


@given(st.data())
def test_any_change_of_a_header_gives_members_or_an_error(data: st.DataObject) -> None:
    archive = bytearray(pax(("path", b"b"), ("size", b"4")) + header() + padded(b"1234") + END)
    for _ in range(data.draw(st.integers(1, 4))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))

    with contextlib.suppress(ArchiveError):
        read(bytes(archive))


@pytest.mark.parametrize(
    ("archive", "found"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(END, [], id="empty"),
        pytest.param(header(), [("a", Kind.FILE, b"")], id="no end"),
        pytest.param(header() + bytes(512), [("a", Kind.FILE, b"")], id="half an end"),
        pytest.param(header() + END + b"more", [("a", Kind.FILE, b"")], id="more after the end"),
        pytest.param(header(b"a/", b"\0"), [("a/", Kind.FOLDER, b"")], id="folder of old"),
        pytest.param(header(b"a/", b"0"), [("a/", Kind.FILE, b"")], id="slash after a file"),
        pytest.param(
            header(rest=b"ustar\00000".ljust(88, b"\0") + b"deep"),
            [("deep/a", Kind.FILE, b"")],
            id="prefix",
        ),
        pytest.param(
            header(rest=b"other\00000".ljust(88, b"\0") + b"deep"),
            [("a", Kind.FILE, b"")],
            id="no prefix in the oldest form",
        ),
        pytest.param(
            header(rest=b"ustar  \0".ljust(88, b"\0") + b"14567654321\0" * 2),
            [("a", Kind.FILE, b"")],
            id="GNU's times are no prefix",
        ),
        pytest.param(
            header(rest=b"ustar  \0".ljust(88, b"\0") + b"deep"),
            [("deep/a", Kind.FILE, b"")],
            id="prefix of old Go",
        ),
        pytest.param(
            pax(("path", b"b"), ("size", b"3")) + header() + padded(b"123"),
            [("b", Kind.FILE, b"123")],
            id="PAX",
        ),
        pytest.param(pax(("path", b"")) + header(), [("a", Kind.FILE, b"")], id="empty PAX path"),
        pytest.param(
            pax(("path", b"etc/passwd"), flag=b"g") + header(),
            [("a", Kind.FILE, b"")],
            id="global PAX is ignored",
        ),
        pytest.param(
            pax(("path", b"b")) + pax(("uname", b"me")) + header(),
            [("a", Kind.FILE, b"")],
            id="the last PAX header counts",
        ),
        pytest.param(
            header(b"././@LongLink", b"L", b"2") + padded(b"b\0") + pax(("path", b"c")) + header(),
            [("b", Kind.FILE, b"")],
            id="GNU's long name before PAX",
        ),
        pytest.param(
            header(b"a", b"0", b"\x80" + bytes(10) + b"\x03") + padded(b"123"),
            [("a", Kind.FILE, b"123")],
            id="base 256",
        ),
        pytest.param(header(b"a", b"7", b"1") + padded(b"1"), [("a", Kind.OTHER, b"1")], id="other"),
        pytest.param(header(b"m\xfc"), [("m\udcfc", Kind.FILE, b"")], id="no UTF-8"),
    ],
)  # fmt: skip
def test_rare_forms_are_read_as_runtimes_read_them(
    archive: bytes, found: list[tuple[str, Kind, bytes]]
) -> None:
    assert read(archive) == found


def sparse(entries: int) -> bytes:
    """Return a sparse file of GNU's form with so many blocks that continue its map."""
    rest = b"ustar  \0".ljust(225, b"\0") + (b"\1" if entries else b"\0") + b"00000000001\0"
    more = [
        bytes(504) + (b"\1" if number < entries - 1 else b"\0") + bytes(7)
        for number in range(entries)
    ]
    return header(b"s", b"S", b"3", rest=rest) + b"".join(more) + padded(b"123") + header(b"next")


@pytest.mark.parametrize("entries", [0, 1, 5])
def test_what_follows_a_sparse_file_is_found(entries: int) -> None:
    assert [name for name, _, _ in read(sparse(entries))] == ["s", "next"]


@pytest.mark.parametrize(
    ("archive", "problem"),
    [
        pytest.param(b"x" * 512, "a number that is none", id="no archive"),
        pytest.param(header().replace(b"a", b"b", 1), "another checksum", id="checksum"),
        pytest.param(header()[:300], "inside of a header", id="half a header"),
        pytest.param(bytes(512) + header(), "after a block of zeros", id="one block of zeros"),
        pytest.param(header(size=b"7"), "inside of a member", id="content cut off"),
        pytest.param(header(size=b"7") + b"1234567", "inside of a member", id="no padding"),
        pytest.param(header(size=b"9"), "a number that is none", id="no octal"),
        pytest.param(header(size=b"-7"), "a number that is none", id="negative octal"),
        pytest.param(header(size=b"\xff" * 12), "negative", id="negative in base 256"),
        pytest.param(header(size=b"\x80" + b"\xff" * 11), "too large", id="huge in base 256"),
        pytest.param(header(size=b"77777777777"), "inside of a member", id="8 GiB of nothing"),
        pytest.param(pax(("size", b"-512")) + header(), "size that is none", id="PAX: negative"),
        pytest.param(pax(("size", b"9" * 30)) + header(), "size that is none", id="PAX: huge"),
        pytest.param(pax(("size", b"9" * 5000)) + header(), "size that is none", id="PAX: digits"),
        pytest.param(pax(("size", b"%d" % 2**63)) + header(), "size that is none", id="PAX: 2^63"),
        pytest.param(
            pax(("size", b"%d" % (2**63 - 1))) + header(), "inside of a member", id="PAX: largest"
        ),
        pytest.param(pax(("size", b"1e3")) + header(), "size that is none", id="PAX: no digits"),
        pytest.param(pax(("path", b"b")), "after the header of a member", id="PAX alone"),
        pytest.param(
            pax(("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")) + header(),
            "'a' is a sparse file in the PAX form",
            id="sparse in PAX",
        ),
        pytest.param(header(b"d", b"5", b"1") + padded(b"1"), "is no file and has", id="folder"),
        pytest.param(header(b"l", b"1", b"1") + padded(b"1"), "is no file and has", id="hard link"),
        pytest.param(
            header(b"x", b"x", b"4") + padded(b"9 ab") + header(), "malformed", id="PAX: short"
        ),
        pytest.param(
            header(b"x", b"x", b"6") + padded(b"6 a=b ") + header(), "malformed", id="PAX: no end"
        ),
        pytest.param(
            header(b"x", b"x", b"6") + padded(b"6 abc\n") + header(), "malformed", id="PAX: no key"
        ),
        pytest.param(
            header(b"x", b"x", b"6") + padded(b"0 a=b\n") + header(), "malformed", id="PAX: zero"
        ),
        pytest.param(
            header(b"x", b"x", b"6") + padded(b"x a=b\n") + header(), "is none", id="PAX: no length"
        ),
    ],
)  # fmt: skip
def test_a_damaged_archive_is_refused(archive: bytes, problem: str) -> None:
    assert problem in refusal(archive)


class Endless(io.RawIOBase):
    """A start, and then the same bytes again and again; counts what was taken."""

    def __init__(self, start: bytes, again: bytes) -> None:
        self._waiting, self._again = start, again
        self.taken_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        while len(self._waiting) < len(buffer):
            self._waiting += self._again
        buffer[:], self._waiting = self._waiting[: len(buffer)], self._waiting[len(buffer) :]
        self.taken_bytes += len(buffer)
        return len(buffer)


PAX_OF_700_MB = header(b"x", b"x", b"%o" % 700_000_000)
CHAINED = pax(("comment", b"x" * 900))
SPARSE_START = header(b"s", b"S", b"0", rest=b"ustar  \0".ljust(225, b"\0") + b"\1")


@pytest.mark.parametrize(
    ("start", "again"),
    [
        pytest.param(PAX_OF_700_MB, b"1" * 512, id="a PAX header of 700 MB"),
        pytest.param(header(b"g", b"g", b"%o" % 700_000_000), b"1" * 512, id="a global one"),
        pytest.param(header(b"L", b"L", b"%o" % 700_000_000), b"a" * 512, id="a name of 700 MB"),
        pytest.param(header(b"K", b"K", b"%o" % 700_000_000), b"a" * 512, id="a link of 700 MB"),
        pytest.param(b"", CHAINED, id="PAX headers without end"),
        pytest.param(b"", pax(("a", b"b"), flag=b"g"), id="global PAX headers without end"),
        pytest.param(SPARSE_START, b"\1" * 512, id="a sparse map without end"),
    ],
)
def test_of_headers_without_end_one_mebibyte_is_read(start: bytes, again: bytes) -> None:
    endless = Endless(start, again)

    with pytest.raises(ArchiveError, match="the headers of a member have more than 1048576 bytes"):
        list(read_members(io.BufferedReader(endless, buffer_size=8192)))

    assert endless.taken_bytes < 2 << 20
