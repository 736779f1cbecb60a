import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from contrast_tasks.errors import UsageError
from contrast_tasks.manifest.keys import (
    generate_seedshare_owner,
    generate_workload_owner,
    parse_pkcs1,
    parse_workload_owner,
    seedshare_owner_hex,
    workload_owner_digest,
)

PEM = serialization.Encoding.PEM
SEC1 = serialization.PrivateFormat.TraditionalOpenSSL
PKCS8 = serialization.PrivateFormat.PKCS8
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
PKCS1 = serialization.PublicFormat.PKCS1
PLAIN = serialization.NoEncryption()

# The P-384 key with private scalar 1, and its digest in docs/internals/manifest.md 6.
ONE = ec.derive_private_key(1, ec.SECP384R1())
ONE_DIGEST = "29f8fe74f38c49d49810cec736a26732a30bff2e64827b709a1c63340d4f7181"


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.mark.parametrize(
    "pem",
    [
        pytest.param(ONE.private_bytes(PEM, SEC1, PLAIN), id="sec1"),
        pytest.param(ONE.private_bytes(PEM, PKCS8, PLAIN), id="pkcs8"),
        pytest.param(ONE.public_key().public_bytes(PEM, SPKI), id="public"),
    ],
)
def test_every_form_of_an_owner_key_has_the_digest_of_the_specification(pem: bytes) -> None:
    assert workload_owner_digest(pem) == ONE_DIGEST


def test_curve_parameters_before_the_key_are_skipped() -> None:
    parameters = b"-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n"

    assert workload_owner_digest(parameters + ONE.private_bytes(PEM, SEC1, PLAIN)) == ONE_DIGEST


def test_only_the_first_block_counts() -> None:
    other = ec.derive_private_key(2, ec.SECP384R1()).private_bytes(PEM, SEC1, PLAIN)
    first = ONE.private_bytes(PEM, SEC1, PLAIN)

    assert workload_owner_digest(first + other) == ONE_DIGEST


def test_a_new_workload_owner_key_is_a_p384_key_in_sec1_form() -> None:
    pem = generate_workload_owner()

    assert pem.startswith(b"-----BEGIN EC PRIVATE KEY-----\n")
    assert parse_workload_owner(pem).curve.name == "secp384r1"
    assert len(workload_owner_digest(pem)) == 64


@pytest.mark.sweep
def test_a_new_seedshare_owner_key_has_4096_bits_in_pkcs1_form() -> None:
    pem = generate_seedshare_owner()

    assert pem.startswith(b"-----BEGIN RSA PRIVATE KEY-----\n")
    text = seedshare_owner_hex(pem)
    assert len(text) == 1052
    assert text.startswith("3082020a02820201")
    assert text.endswith("0203010001")


def test_every_form_of_a_seedshare_key_is_converted_to_pkcs1(rsa_key: rsa.RSAPrivateKey) -> None:
    public = rsa_key.public_key()
    wanted = public.public_bytes(serialization.Encoding.DER, PKCS1).hex()

    assert seedshare_owner_hex(rsa_key.private_bytes(PEM, SEC1, PLAIN)) == wanted
    assert seedshare_owner_hex(rsa_key.private_bytes(PEM, PKCS8, PLAIN)) == wanted
    assert seedshare_owner_hex(public.public_bytes(PEM, SPKI)) == wanted
    assert seedshare_owner_hex(public.public_bytes(PEM, PKCS1)) == wanted


def test_the_decoder_reads_what_the_encoder_writes(rsa_key: rsa.RSAPrivateKey) -> None:
    public = rsa_key.public_key()

    modulus, exponent = parse_pkcs1(public.public_bytes(serialization.Encoding.DER, PKCS1))

    assert (modulus, exponent) == (public.public_numbers().n, 65537)


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        (b"", "holds no PEM block, expected a key in PEM form"),
        (b"-----BEGIN EC PRIVATE KEY-----\nabc", "without an end"),
        (
            b"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
            "cannot be decoded",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "'CERTIFICATE', expected one of EC PRIVATE KEY",
        ),
        (
            b"-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n",
            "'EC PARAMETERS' block only",
        ),
        (
            ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).private_bytes(
                PEM, PKCS8, PLAIN
            ),
            "holds an Ed25519PrivateKey, expected an EC key",
        ),
        (
            ONE.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"secret")),
            "'ENCRYPTED PRIVATE KEY', expected one of",
        ),
        (
            ONE.private_bytes(PEM, SEC1, serialization.BestAvailableEncryption(b"secret")),
            "encrypted private key",
        ),
    ],
    ids=["empty", "cut", "no-key", "certificate", "parameters", "ed25519", "pkcs8", "sec1"],
)
def test_what_is_no_owner_key_is_refused_with_the_name_of_its_file(
    pem: bytes, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        workload_owner_digest(pem, file="keys/owner.pem")

    assert str(caught.value.where) == "keys/owner.pem"
    assert caught.value.exit_code == 2


def test_an_rsa_key_is_no_workload_owner(rsa_key: rsa.RSAPrivateKey) -> None:
    pem = rsa_key.private_bytes(PEM, SEC1, PLAIN)

    with pytest.raises(UsageError, match="an RSA private key, expected an EC key"):
        workload_owner_digest(pem)


def test_a_public_key_proves_no_ownership() -> None:
    pem = ONE.public_key().public_bytes(PEM, SPKI)

    with pytest.raises(UsageError, match="an EC public key, expected an EC private key"):
        parse_workload_owner(pem)


def test_an_ec_key_is_no_seedshare_owner() -> None:
    with pytest.raises(UsageError, match="an EC private key, expected an RSA key") as caught:
        seedshare_owner_hex(ONE.private_bytes(PEM, SEC1, PLAIN), file="s.pem")

    assert str(caught.value.where) == "s.pem"


def _with_integer(der: bytes, which: int, change: int) -> bytes:
    """Return a PKCS#1 RSAPrivateKey whose integer number `which` (1: n .. 8: iqmp) has its last byte changed."""
    at = 4
    for _ in range(which + 1):
        first = der[at + 1]
        head = 2 + (first & 0x7F if first & 0x80 else 0)
        length = int.from_bytes(der[at + 2 : at + head]) if first & 0x80 else first
        at += head + length
    return der[: at - 1] + bytes([der[at - 1] ^ change]) + der[at:]


@pytest.mark.parametrize(
    "which", range(1, 9), ids=["n", "e", "d", "p", "q", "dmp1", "dmq1", "iqmp"]
)
def test_an_rsa_key_with_a_damaged_number_is_refused(
    rsa_key: rsa.RSAPrivateKey, which: int
) -> None:
    der = _with_integer(rsa_key.private_bytes(serialization.Encoding.DER, SEC1, PLAIN), which, 2)
    body = base64.encodebytes(der).decode()
    pem = f"-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----\n"

    with pytest.raises(UsageError, match="'RSA PRIVATE KEY' that cannot be decoded"):
        seedshare_owner_hex(pem.encode())


def test_a_short_seedshare_key_is_refused() -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)

    with pytest.raises(UsageError, match="1024 bits, expected at least 2048"):
        seedshare_owner_hex(short.private_bytes(PEM, SEC1, PLAIN))


def test_no_key_material_is_in_a_message(tmp_path: Path) -> None:
    pem = ONE.private_bytes(PEM, SEC1, PLAIN)
    cut = pem.replace(b"-----END", b"----END")

    with pytest.raises(UsageError) as caught:
        workload_owner_digest(cut)

    assert pem.split(b"\n")[1].decode() not in str(caught.value)


MODULUS = "02820101 00 80" + "00" * 254 + "01"
GOOD = "3082010a" + MODULUS + "0203010001"


@pytest.mark.parametrize(
    "der",
    [
        pytest.param("", id="empty"),
        pytest.param("30", id="tag-only"),
        pytest.param("3180", id="other-tag"),
        pytest.param("3080" + MODULUS + "0203010001", id="indefinite-length"),
        pytest.param("3082010b" + MODULUS + "0203010001", id="length-too-large"),
        pytest.param("30820109" + MODULUS + "0203010001", id="length-too-small"),
        pytest.param("3083 00010a" + MODULUS + "0203010001", id="length-not-minimal"),
        pytest.param("308106 020103 020101", id="short-length-in-long-form"),
        pytest.param(GOOD + "00", id="trailing"),
        pytest.param("3082010c" + MODULUS + "0203010001 0500", id="third-member"),
        pytest.param(
            "30820109" + MODULUS.replace("01 00 80", "00 80") + "0203010001", id="negative"
        ),
        pytest.param("3082010b" + MODULUS + "020400010001", id="exponent-not-minimal"),
        pytest.param("30820107" + MODULUS + "0200", id="exponent-empty"),
        pytest.param("30820108" + MODULUS + "020101", id="exponent-one"),
        pytest.param("3082010a" + MODULUS + "0203010002", id="exponent-even"),
        pytest.param("3006 020104 020103", id="modulus-even"),
        pytest.param("3006 020103 020105", id="exponent-above-modulus"),
    ],
)
def test_what_is_not_pkcs1_is_refused(der: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_pkcs1(bytes.fromhex(der))


def test_the_good_key_beside_the_bad_ones_is_accepted() -> None:
    assert parse_pkcs1(bytes.fromhex(GOOD)) == (2**2047 + 1, 65537)
