import base64

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.atls.errors import HandshakeFailed
from contrast_tasks.atls.nonce import (
    alpn_entry,
    ca_name_certificate,
    nonce_from_ca_names,
    select_nonce,
    server_name,
)

NONCE = bytes(range(32))


def name(*texts: str, oid: x509.ObjectIdentifier = NameOID.COMMON_NAME) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text) for text in texts])


def test_the_server_name_carries_44_characters_of_base64() -> None:
    assert server_name(NONCE) == base64.b64encode(NONCE)
    assert len(server_name(NONCE)) == 44
    assert select_nonce([b"h2"], server_name(NONCE)) == NONCE


def test_the_alpn_entry_is_78_bytes_and_outweighs_the_server_name() -> None:
    entry = alpn_entry(NONCE)

    assert entry == b"atls:v1:nonce:" + NONCE.hex().encode()
    assert len(entry) == 78
    assert select_nonce([b"x", entry, b"h2"], server_name(bytes(32))) == NONCE


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (b"atls:v2:nonce:" + b"00" * 32, "another version"),
        (b"atls", "another version"),
        (b"atls:v1:nonce:" + b"0" * 63, "not hex"),
        (b"atls:v1:nonce:" + b"zz" * 32, "not hex"),
        (b"atls:v1:nonce:" + b"00" * 31, "31 bytes, expected 32"),
        (b"atls:v1:nonce:", "0 bytes, expected 32"),
    ],
)
def test_a_bad_alpn_nonce_never_falls_back_to_the_server_name(entry: bytes, message: str) -> None:
    with pytest.raises(HandshakeFailed, match=message):
        select_nonce([entry, b"h2"], server_name(NONCE))


def test_the_first_alpn_entry_decides() -> None:
    with pytest.raises(HandshakeFailed, match="another version"):
        select_nonce([b"atls:v9:", alpn_entry(NONCE)], None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no nonce"),
        (b"", "no nonce"),
        (b"coordinator.example", "not base64"),
        (base64.b64encode(NONCE)[:-1], "not base64"),
        (base64.b64encode(NONCE) + b"\n", "not base64"),
        (base64.urlsafe_b64encode(b"\xff" * 32), "not base64"),
        (base64.b64encode(NONCE[:31]), "31 bytes"),
        (base64.b64encode(NONCE + b"\0"), "33 bytes"),
    ],
)
def test_a_server_name_that_is_no_nonce_is_refused(text: bytes | None, message: str) -> None:
    with pytest.raises(HandshakeFailed, match=message):
        select_nonce([b"h2"], text)


@given(st.binary(min_size=32, max_size=32))
def test_any_nonce_survives_all_three_ways(nonce: bytes) -> None:
    assert select_nonce([b"h2"], server_name(nonce)) == nonce
    assert select_nonce([alpn_entry(nonce)], None) == nonce
    assert nonce_from_ca_names([ca_name_certificate(nonce).subject]) == nonce


def test_a_printable_string_as_go_writes_it_is_read_too() -> None:
    text = base64.b64encode(NONCE).decode()
    attribute = x509.NameAttribute(NameOID.COMMON_NAME, text, _ASN1Type.PrintableString)

    assert nonce_from_ca_names([x509.Name([attribute])]) == NONCE


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "named 0 acceptable cas"),
        ([name("x"), name("x")], "named 2 acceptable cas"),
        ([name("x", oid=NameOID.ORGANIZATION_NAME)], "no common name"),
        ([x509.Name([])], "no common name"),
        ([name("not base64!")], "not base64"),
        ([name(base64.b64encode(NONCE[:16]).decode())], "16 bytes"),
    ],
)
def test_a_ca_list_that_carries_no_nonce_is_refused(names: list[x509.Name], message: str) -> None:
    with pytest.raises(HandshakeFailed, match=message):
        nonce_from_ca_names(names)
