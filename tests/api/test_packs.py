"""Packs against streams that the test makes itself with zlib and struct; layout: docs/internals/coordinator.md 8.6."""

import contextlib
import hashlib
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.api import packs
from contrast_tasks.api.packs import BadPack, DocumentTooLarge, pack_documents, read_pack
from tests.fakes.packs import MAGIC, numbers, pack

RULES = b"package agent_policy\n" * 50
MIB = 1024 * 1024


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_documents_are_their_parts_one_after_the_other() -> None:
    content = pack([b"rules ", b"of web", b"of emoji"], [[0, 1], [0, 2], [2, 0, 0], []])

    read = read_pack(content)

    wanted = [b"rules of web", b"rules of emoji", b"of emojirules rules ", b""]
    assert list(read.documents()) == [(sha256(each), each) for each in wanted]
    assert read.sizes == {sha256(each): len(each) for each in wanted}
    assert read.digest == hashlib.sha256(content).digest()
    assert list(read.documents({sha256(b"rules of web")})) == [
        (sha256(b"rules of web"), b"rules of web")
    ]


def test_what_documents_begin_with_is_packed_once() -> None:
    (packed,) = pack_documents([RULES + b"web", RULES + b"emoji", b"other"])

    raw = zlib.decompress(packed.content)
    assert raw == (
        MAGIC
        + numbers(4, 3, 5, len(RULES), 5, 3)
        + numbers(1, 0, 2, 1, 2, 2, 1, 3)
        + b"other"
        + RULES
        + b"emoji"
        + b"web"
    )


def test_an_empty_pack_and_no_documents() -> None:
    assert pack_documents([]) == []
    assert read_pack(pack([], [])).sizes == {}


SHORT = pack([b"a"], [[0]])
RAW = zlib.decompress(SHORT)
BAD = {
    "empty": b"",
    "no stream": b"package agent_policy",
    "cut off": SHORT[:-1],
    "followed by something": SHORT + b"\0",
    "two streams": SHORT + SHORT,
    "checksum": SHORT[:-1] + bytes([SHORT[-1] ^ 1]),
    "gzip": zlib.compress(RAW, wbits=31),
    "nothing in it": zlib.compress(b""),
    "other magic": zlib.compress(b"contrast pack 2\n" + RAW[len(MAGIC) :]),
    "magic alone": zlib.compress(MAGIC),
    "one number": zlib.compress(MAGIC + numbers(0)),
    "lengths missing": zlib.compress(MAGIC + numbers(3, 0, 1)),
    "documents missing": zlib.compress(MAGIC + numbers(1, 2, 1, 1, 0) + b"a"),
    "indexes missing": zlib.compress(MAGIC + numbers(0, 1, 5)),
    "too many parts": zlib.compress(MAGIC + numbers(0xFFFFFFFF, 0)),
    "too many documents": zlib.compress(MAGIC + numbers(0, 0xFFFFFFFF)),
    "too many parts of a document": zlib.compress(MAGIC + numbers(0, 1, 0xFFFFFFFF)),
    "no such part": pack([b"a"], [[1]]),
    "part longer than the rest": zlib.compress(MAGIC + numbers(1, 1, 2, 1, 0) + b"a"),
    "part shorter than the rest": zlib.compress(MAGIC + numbers(1, 1, 1, 1, 0) + b"ab"),
    "huge part": zlib.compress(MAGIC + numbers(1, 1, 0xFFFFFFFF, 1, 0) + b"a"),
    "document twice": pack([b"a"], [[0], [0]]),
    "equal documents": pack([b"a", b"b", b"ab"], [[0, 1], [2]]),
    "bomb": zlib.compress(MAGIC + numbers(1, 1, 64 * MIB, 1, 0) + bytes(64 * MIB), 9),
    "parts again and again": pack([b"a", bytes(MIB)], [[0, *([1] * 17)]]),
    "many documents of one part": pack(
        [bytes(MIB), *(b"%d" % each for each in range(40))], [[n + 1, 0] for n in range(40)]
    ),
    "many references": pack([b"", b"a"], [[0] * 70_000]),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_what_is_no_pack_is_refused(content: bytes) -> None:
    with pytest.raises(BadPack):
        read_pack(content)


def test_a_beginning_in_common_counts_once_however_many_share_it() -> None:
    parts = [bytes(4 * MIB), *(b"%d" % each for each in range(1000))]

    read = read_pack(pack(parts, [[0, each] for each in range(1, 1001)]))

    assert sum(read.sizes.values()) > 4000 * MIB


@given(st.binary(max_size=200), st.integers(0, len(SHORT)))
def test_no_bytes_raise_anything_else(change: bytes, place: int) -> None:
    for content in (SHORT[:place] + change, zlib.compress(RAW[:place] + change)):
        with contextlib.suppress(BadPack):
            read_pack(content)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 1500), st.binary(max_size=20)), max_size=30
    )
)
def test_any_documents_come_out_as_they_went_in(kinds: list[tuple[int, int, bytes]]) -> None:
    heads = [random.Random(each).randbytes(1500) for each in range(4)]
    documents = {heads[kind][:length] + rest for kind, length, rest in kinds}

    packs = pack_documents(documents)

    found = [item for each in packs for item in read_pack(each.content).documents()]
    assert sorted(found) == sorted((sha256(each), each) for each in documents)
    assert [read_pack(each.content) for each in packs] == packs


def test_packs_do_not_depend_on_the_order_of_documents() -> None:
    documents = [RULES + b"%d" % each for each in range(50)]

    assert pack_documents(documents) == pack_documents(reversed(documents))


def test_what_does_not_fit_into_one_object_becomes_several() -> None:
    noise = random.Random(1)
    documents = [RULES + noise.randbytes(150_000) for _ in range(20)]

    packs = pack_documents(documents)

    assert 3 <= len(packs) <= 6
    assert max(len(each.content) for each in packs) < MIB
    assert sum(len(each.sizes) for each in packs) == 20


def test_more_raw_bytes_than_a_pack_may_hold_become_several() -> None:
    documents = [bytes([each]) * (MIB * 3) for each in range(5)]

    packs = pack_documents(documents)

    assert [len(read_pack(each.content).sizes) for each in packs] == [2, 2, 1]


@pytest.mark.parametrize("document", [random.Random(1).randbytes(MIB), bytes(9 * MIB)])
def test_a_document_that_fits_into_no_pack_is_named_by_its_size(document: bytes) -> None:
    with pytest.raises(DocumentTooLarge, match=f"a document of {len(document)} bytes"):
        pack_documents([b"small", document])


def test_all_readers_at_one_time_share_what_is_unpacked_and_nothing_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (packed,) = pack_documents([b"one", b"two"])
    unpacked: list[bytes] = []

    def parse(content: bytes) -> object:
        unpacked.append(content)
        return original(content)

    original = packs._parse
    monkeypatch.setattr(packs, "_parse", parse)
    readers = [packed.documents() for _ in range(3)]
    for reader in readers:
        next(reader)
    assert len(unpacked) == 1

    assert {content for reader in readers for _, content in reader} == {b"two"}
    assert not packs._in_use
    assert len([*packed.documents()]) == 2
    assert len(unpacked) == 2
