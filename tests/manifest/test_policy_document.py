import base64
import gzip
import hashlib
import zlib

import pytest

from contrast_tasks.annotations import INITDATA, POLICY
from contrast_tasks.manifest.compression import compress, decompress
from contrast_tasks.manifest.policy_document import (
    DocumentError,
    annotation_of,
    document_in,
    make_document,
    parse_document,
)
from contrast_tasks.releases.table import Channel

TEXT = b'package agent_policy\n\n# a "text" with \\ and\ttab\n'
CHANNELS: tuple[Channel, ...] = ("plain", "gzip", "initdata")


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(TEXT, id="text"),
        pytest.param(bytes(range(128)) * 2, id="control characters"),
        pytest.param(b"package x\n" + bytes(range(32)) * 5000, id="longer than the shared head"),
        pytest.param("package x # ä\u2028\n".encode(), id="not ASCII"),
    ],
)
def test_a_policy_survives_its_channel(policy: bytes, channel: Channel) -> None:
    document = make_document(policy, channel)
    key, value = annotation_of(document, channel)

    read = document_in({key: value, "other": "x"})

    assert read is not None
    assert (read.channel, read.content, read.policy) == (channel, document, policy)
    assert read.key_hex == hashlib.sha256(document).hexdigest()


def test_the_annotation_of_initdata_is_gzip_with_the_header_of_the_reference_product() -> None:
    _, value = annotation_of(make_document(TEXT, "initdata"), "initdata")

    # The first ten bytes in the fixtures: `gz hdr 1f8b08000000000000ff`.
    assert base64.b64decode(value)[:10].hex() == "1f8b08000000000000ff"


@pytest.mark.parametrize("size", [0, 1, 32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 200_000])
def test_compression_in_two_parts_gives_the_bytes_of_one(size: int) -> None:
    content = (TEXT * (size // len(TEXT) + 1))[:size]
    whole = zlib.compressobj(4, zlib.DEFLATED, -15)

    compressed = compress(content)

    assert compressed[10:-8] == whole.compress(content) + whole.flush()
    assert compress(content) == compressed
    assert gzip.decompress(compressed) == content


def test_gzip_is_read_up_to_the_limit_and_not_beyond() -> None:
    assert decompress(compress(bytes(1000)), 1000) == bytes(1000)
    with pytest.raises(ValueError, match="more than 999 bytes"):
        decompress(compress(bytes(1000)), 999)


def test_a_bomb_is_refused_before_it_unfolds() -> None:
    bomb = base64.b64encode(gzip.compress(bytes(64 * 1024 * 1024))).decode()

    for key in (POLICY, INITDATA):
        with pytest.raises(DocumentError, match="more than 8388608 bytes"):
            document_in({key: bomb})


def _flipped(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1
    return bytes(changed)


PACKED = compress(TEXT)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        pytest.param(
            PACKED + PACKED, f"{len(PACKED)} bytes after the end of gzip", id="two members"
        ),
        pytest.param(PACKED + b"\0", "1 bytes after the end of gzip", id="trailing zero"),
        pytest.param(PACKED[:-1], "cut off", id="one byte short"),
        pytest.param(PACKED[:10], "cut off", id="header alone"),
        pytest.param(_flipped(PACKED, -5), "incorrect data check", id="check sum"),
        pytest.param(_flipped(PACKED, -1), "incorrect length check", id="length"),
        pytest.param(_flipped(PACKED, 2), "unknown compression method", id="method"),
        pytest.param(_flipped(PACKED, 20), "damaged gzip", id="bit of the content"),
    ],
)
def test_damaged_gzip_is_refused(content: bytes, fault: str) -> None:
    value = base64.b64encode(content).decode()

    with pytest.raises(DocumentError, match=fault) as caught:
        document_in({POLICY: value})

    assert str(caught.value).startswith(f"annotation {POLICY}: found ")
    with pytest.raises(DocumentError, match=fault):
        parse_document(content)


@pytest.mark.parametrize("position", range(0, 400, 13))
def test_a_flipped_bit_of_initdata_is_another_document_or_none(position: int) -> None:
    document = make_document(TEXT * 10, "initdata")

    try:
        read = parse_document(_flipped(document, position))
    except DocumentError:
        return

    assert read.key_hex != parse_document(document).key_hex


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        pytest.param("cGFja2Fn!", "found no base64", id="foreign character"),
        pytest.param("cGFja2FnZQ", "found no base64", id="no padding"),
        pytest.param("cGFja2FnZQ==cGFj", "found no base64", id="more after padding"),
        pytest.param("cGFj\na2Fn", "found no base64", id="two lines"),
        pytest.param("cGFjä", "found no base64", id="not ASCII"),
        pytest.param(5, "found int, expected a string", id="number"),
        pytest.param(["x"], "found list, expected a string", id="list"),
    ],
)
def test_a_value_that_is_no_base64_is_refused(value: object, fault: str) -> None:
    with pytest.raises(DocumentError, match=fault):
        document_in({POLICY: value})


def test_initdata_that_is_not_compressed_is_refused() -> None:
    value = base64.b64encode(make_document(TEXT, "initdata")).decode()

    with pytest.raises(DocumentError, match=r"cc_init_data: found damaged gzip \(incorrect header"):
        document_in({INITDATA: value})


def test_two_annotations_are_refused() -> None:
    both = dict(annotation_of(make_document(TEXT, channel), channel) for channel in CHANNELS)

    with pytest.raises(
        DocumentError, match=r"found the annotations .* and .*, expected one of them"
    ):
        document_in(both)


@pytest.mark.parametrize("annotations", [{}, {POLICY: ""}, {INITDATA: None}, {"other": "x"}])
def test_a_pod_without_annotation_has_no_document(annotations: dict[str, object]) -> None:
    assert document_in(annotations) is None


def test_rego_may_begin_with_comments() -> None:
    assert parse_document(b"# version = '0.1.0'\n\n#\npackage agent_policy\n").channel == "plain"


@pytest.mark.parametrize("content", [b"", b"# package agent_policy\n", b"packages = 1\n", b"\x1f"])
def test_what_is_neither_policy_nor_initdata_is_refused(content: bytes) -> None:
    with pytest.raises(DocumentError, match="neither a policy nor initdata"):
        parse_document(content)


@pytest.mark.parametrize(
    ("algorithm", "size", "snp", "tdx"),
    [("sha256", 32, 32, 32), ("sha384", 48, 32, 48), ("sha512", 64, 32, 48)],
)
def test_host_data_is_the_digest_cut_or_padded_to_the_field(
    algorithm: str, size: int, snp: int, tdx: int
) -> None:
    content = f"version='0.1.0'\nalgorithm='{algorithm}'\n[data]\n'policy.rego'='x'\n".encode()
    digest = hashlib.new(algorithm, content).digest()

    document = parse_document(content)

    assert len(digest) == size
    assert document.host_data(32) == digest[:snp]
    assert document.host_data(48) == digest[:tdx] + bytes(48 - tdx)
