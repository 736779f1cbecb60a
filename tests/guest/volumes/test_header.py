"""What is accepted as a header, and every way to make it another one; the list is that of docs/internals/runtime.md 7.4."""

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.guest.volumes.errors import VolumeNotOpened
from contrast_tasks.guest.volumes.header import secondary_of, verify_header
from tests.fakes import luks

NOT_OURS = "the volume's header is none that was written for this pod: "
DAMAGED = "the volume's header is damaged: "
CRYPTSETUP = shutil.which("cryptsetup", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
needs_cryptsetup = pytest.mark.skipif(CRYPTSETUP is None, reason="cryptsetup is not installed")

KEYSLOT, SEGMENT, DIGEST = ("keyslots", "0"), ("segments", "0"), ("digests", "0")
# path, another value, what the message says of it
TAMPERED: Sequence[tuple[tuple[str, ...], Any, str]] = (
    ((*KEYSLOT, "type"), "reencrypt", "'reencrypt', wanted 'luks2'"),
    ((*KEYSLOT, "key_size"), 64, "64, wanted 96"),
    ((*KEYSLOT, "key_size"), 96.0, "96.0, wanted 96"),
    ((*KEYSLOT, "key_size"), "96", "'96', wanted 96"),
    ((*KEYSLOT, "area", "type"), "none", "'none', wanted 'raw'"),
    (
        (*KEYSLOT, "area", "encryption"),
        "cipher_null-ecb",
        "'cipher_null-ecb', wanted 'aes-xts-plain64'",
    ),
    ((*KEYSLOT, "area", "key_size"), 32, "32, wanted 64"),
    ((*KEYSLOT, "area", "offset"), 32768, "32768, wanted a multiple of 4096 as text"),
    ((*KEYSLOT, "area", "offset"), "32769", "'32769', wanted a multiple of 4096 as text"),
    ((*KEYSLOT, "area", "offset"), "032768", "'032768', wanted a multiple of 4096 as text"),
    ((*KEYSLOT, "area", "offset"), "-4096", "'-4096', wanted a multiple of 4096 as text"),
    ((*KEYSLOT, "area", "offset"), "9" * 5000, "wanted a multiple of 4096 as text"),
    ((*KEYSLOT, "af", "type"), "none", "'none', wanted 'luks1'"),
    ((*KEYSLOT, "af", "stripes"), 1, "1, wanted 4000"),
    ((*KEYSLOT, "af", "hash"), "sha1", "'sha1', wanted 'sha256'"),
    ((*KEYSLOT, "kdf", "type"), "pbkdf2", "'pbkdf2', wanted 'argon2id'"),
    ((*KEYSLOT, "kdf", "type"), "argon2i", "'argon2i', wanted 'argon2id'"),
    ((*KEYSLOT, "kdf", "time"), 0, "0, wanted a positive integer"),
    ((*KEYSLOT, "kdf", "memory"), -1, "-1, wanted a positive integer"),
    ((*KEYSLOT, "kdf", "cpus"), True, "true, wanted a positive integer"),
    ((*KEYSLOT, "kdf", "salt"), "", "'', wanted base64"),
    ((*KEYSLOT, "kdf", "salt"), "no base64!", "'no base64!', wanted base64"),
    ((*SEGMENT, "type"), "linear", "'linear', wanted 'crypt'"),
    ((*SEGMENT, "iv_tweak"), "8", "'8', wanted '0'"),
    ((*SEGMENT, "size"), "1048576", "'1048576', wanted 'dynamic'"),
    ((*SEGMENT, "encryption"), "cipher_null-ecb", "'cipher_null-ecb', wanted 'aes-xts-plain64'"),
    ((*SEGMENT, "encryption"), "aes-cbc-plain64", "'aes-cbc-plain64', wanted 'aes-xts-plain64'"),
    ((*SEGMENT, "sector_size"), 512, "512, wanted 4096"),
    ((*SEGMENT, "offset"), "4096", "'4096', wanted 16777216 to 67108864"),
    ((*SEGMENT, "offset"), "1073741824", "'1073741824', wanted 16777216 to 67108864"),
    ((*SEGMENT, "integrity"), None, "null, wanted an object"),
    ((*SEGMENT, "integrity", "type"), "none", "'none', wanted 'hmac(sha256)'"),
    ((*SEGMENT, "integrity", "journal_encryption"), "cipher_null", "'cipher_null', wanted 'none'"),
    ((*SEGMENT, "integrity", "journal_integrity"), "crc32", "'crc32', wanted 'none'"),
    ((*DIGEST, "type"), "none", "'none', wanted 'pbkdf2'"),
    ((*DIGEST, "keyslots"), [], "an array, wanted an array"),
    ((*DIGEST, "segments"), ["0", "1"], "an array, wanted an array"),
    ((*DIGEST, "hash"), "sha1", "'sha1', wanted 'sha256'"),
    ((*DIGEST, "iterations"), 2**31, "2147483648, wanted a positive integer"),
    ((*DIGEST, "salt"), "", "'', wanted base64"),
    ((*DIGEST, "digest"), "", "'', wanted base64"),
    (("config", "json_size"), "16384", "'16384', wanted '12288'"),
    (("config", "keyslots_size"), "67108864", "67108864, wanted at most 16744448"),
)
ADDED: Sequence[tuple[tuple[str, ...], Any]] = (
    (("extra",), {}),
    (("keyslots", "1"), {"type": "luks2"}),
    ((*KEYSLOT, "priority"), 2),
    ((*KEYSLOT, "area", "hash"), "sha256"),
    ((*KEYSLOT, "kdf", "hash"), "sha256"),
    (("tokens", "0"), {"type": "luks2-keyring", "keyslots": ["0"], "key_description": "a"}),
    (("segments", "1"), {"type": "linear"}),
    ((*SEGMENT, "flags"), ["backup-moved-segment"]),
    ((*SEGMENT, "integrity", "key_size"), 32),
    (("digests", "1"), {}),
    (("config", "flags"), ["allow-discards", "no-journal"]),
    (("config", "requirements"), {"mandatory": ["online-reencrypt-v2"]}),
)
REMOVED: Sequence[tuple[str, ...]] = (
    *(("keyslots",), ("tokens",), ("segments",), ("digests",), ("config",)),
    *(KEYSLOT, SEGMENT, DIGEST, (*KEYSLOT, "kdf"), (*KEYSLOT, "kdf", "salt")),
    *((*SEGMENT, "integrity"), (*SEGMENT, "sector_size"), ("config", "keyslots_size")),
)


def refusal(header: bytes) -> str:
    with pytest.raises(VolumeNotOpened) as caught:
        verify_header(header)
    return str(caught.value)


def changed(path: Sequence[str], value: Any) -> bytes:
    whole = luks.document()
    place = whole
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return luks.with_document(whole)


def test_the_header_that_cryptsetup_wrote_is_accepted() -> None:
    assert verify_header(luks.RECORDED) == 1 << 20


def test_it_is_accepted_with_the_sizes_that_cryptsetup_chooses_itself() -> None:
    assert verify_header(changed(("config", "keyslots_size"), "16744448")) == 16744448


@pytest.mark.parametrize(
    ("path", "value", "message"),
    TAMPERED,
    ids=["/".join(row[0]) + f"={row[1]!s:.20}" for row in TAMPERED],
)
def test_another_value_is_refused(path: Sequence[str], value: Any, message: str) -> None:
    said = refusal(changed(path, value))

    assert said.startswith(f"{NOT_OURS}/{'/'.join(path)} is ")
    assert said.endswith(message)


@pytest.mark.parametrize(("path", "value"), ADDED, ids=["/".join(row[0]) for row in ADDED])
def test_a_member_too_many_is_refused(path: Sequence[str], value: Any) -> None:
    said = refusal(changed(path, value))

    assert said.startswith(f"{NOT_OURS}/{'/'.join(path)} is ")
    assert said.endswith("wanted no such member")


@pytest.mark.parametrize("path", REMOVED, ids="/".join)
def test_a_missing_member_is_refused(path: Sequence[str]) -> None:
    whole = luks.document()
    place = whole
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]

    assert refusal(luks.with_document(whole)).startswith(f"{NOT_OURS}/{'/'.join(path)} is absent")


@pytest.mark.parametrize(
    ("offset", "size"), [("4096", "385024"), ("1048576", "385024"), ("32768", "4194304")]
)
def test_a_keyslot_outside_of_its_area_is_refused(offset: str, size: str) -> None:
    whole = copy.deepcopy(luks.document())
    whole["keyslots"]["0"]["area"] |= {"offset": offset, "size": size}

    said = refusal(luks.with_document(whole))

    assert (
        said
        == f"{NOT_OURS}/keyslots/0/area/size is {size} at {offset}, wanted between 32768 and 1081344"
    )


@pytest.mark.parametrize(
    ("header", "message"),
    [
        pytest.param(luks.with_bytes(0, b"SKUL\xba\xbe"), f"{DAMAGED}it does not begin with the magic of LUKS", id="magic"),
        pytest.param(luks.with_bytes(6, b"\0\1"), f"{NOT_OURS}version is 1, wanted 2", id="version-1"),
        pytest.param(luks.with_bytes(6, b"\2\0"), f"{NOT_OURS}version is 512, wanted 2", id="little-endian"),
        pytest.param(luks.with_bytes(8, b"\0" * 6 + b"\x80\0"), f"{NOT_OURS}header size is 32768, wanted 16384", id="size"),
        pytest.param(luks.with_bytes(72, b"sha512"), f"{NOT_OURS}checksum algorithm is 'sha512', wanted 'sha256'", id="checksum-name"),
        pytest.param(luks.with_bytes(256, b"\0" * 6 + b"\x40\0"), f"{NOT_OURS}header offset is 16384, wanted 0", id="offset"),
        pytest.param(luks.with_bytes(16383, b"x"), f"{DAMAGED}there is something behind its JSON", id="behind"),
        pytest.param(luks.RECORDED[:-1], f"{DAMAGED}it does not begin with the magic of LUKS", id="short"),
    ],
)  # fmt: skip
def test_another_binary_header_is_refused(header: bytes, message: str) -> None:
    assert refusal(header) == message


@pytest.mark.parametrize("offset", [16, 24, 104, 168, 208, 300, 448, 1000, 5000, 16000])
def test_one_wrong_bit_is_noticed(offset: int) -> None:
    broken = bytearray(luks.RECORDED)
    broken[offset] ^= 1

    assert refusal(bytes(broken)) == f"{DAMAGED}its checksum is wrong"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="array"),
        pytest.param(b"{", id="cut"),
        pytest.param(b'{"tokens":{},' + json.dumps(luks.document()).encode()[1:], id="a-member-twice"),
        pytest.param(b"/* */ " + json.dumps(luks.document()).encode(), id="comment"),
    ],
)  # fmt: skip
def test_json_that_two_readers_could_read_in_two_ways_is_refused(text: bytes) -> None:
    refusal(luks.with_text(text))


def test_the_secondary_header_is_the_first_one_with_its_own_magic_and_place() -> None:
    assert secondary_of(luks.RECORDED) == luks.secondary(luks.RECORDED)


def cryptsetup(*words: str, given: bytes = b"secret") -> int:
    assert CRYPTSETUP is not None
    return subprocess.run(
        [CRYPTSETUP, *words], input=given, capture_output=True, check=False
    ).returncode


FAST = ("--batch-mode", "--key-file", "-", "--pbkdf-force-iterations", "1000", "--pbkdf", "pbkdf2")


@needs_cryptsetup
@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(("--type", "luks1"), f"{NOT_OURS}version is 1, wanted 2", id="luks1"),
        pytest.param(("--type", "luks2"), f"{NOT_OURS}/keyslots/0/", id="no-integrity"),
        pytest.param(("--type", "luks2", "--luks2-metadata-size", "32k"), f"{NOT_OURS}header size is 32768", id="larger"),
    ],
)  # fmt: skip
def test_another_format_of_cryptsetups_is_refused(
    tmp_path: Path, options: Sequence[str], message: str
) -> None:
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, 24 << 20)
    assert cryptsetup("luksFormat", *FAST, *options, str(image)) == 0

    said = refusal(image.read_bytes()[:16384])

    assert said.startswith(message)


@needs_cryptsetup
def test_cryptsetup_takes_a_copy_with_the_secondary_header_that_we_make(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(luks.RECORDED + secondary_of(luks.RECORDED) + bytes(1 << 20))
    before = image.read_bytes()

    assert cryptsetup("isLuks", "--type", "luks2", str(image)) == 0
    assert cryptsetup("luksDump", str(image)) == 0
    # cryptsetup repairs a header that it finds wanting.
    assert image.read_bytes() == before
