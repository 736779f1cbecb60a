"""Owner keys: the form in which they enter the manifest, and how new ones are generated.

Workload owner: SubjectPublicKeyInfo DER of an EC key, or its SHA-256. Seedshare owner: PKCS#1 RSAPublicKey DER.
Source: docs/internals/manifest.md 1.4; docs/internals/generate.md 2.6.
"""

import math
from typing import TYPE_CHECKING

from contrast_tasks.declare.shapes import HEX
from contrast_tasks.errors import Location, UsageError
from contrast_tasks.json_text import shown
from contrast_tasks.manifest.owners import owner_digest_hex

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

WORKLOAD_OWNER_FILE = "workload-owner.pem"
SEEDSHARE_OWNER_FILE = "seedshare-owner.pem"
SEEDSHARE_BITS = 4096
SEEDSHARE_BITS_MIN = 2048
# OAEP label of an encrypted seed. Source: docs/internals/coordinator.md 5.5.
SEEDSHARE_LABEL = b"seedshare"
_EXPONENT = 65537
_PRIVATE = ("EC PRIVATE KEY", "RSA PRIVATE KEY", "PRIVATE KEY")
_PUBLIC = ("PUBLIC KEY", "RSA PUBLIC KEY")


def generate_workload_owner() -> bytes:
    """Return a new P-384 private key as a PEM block `EC PRIVATE KEY` (SEC1)."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return _private_pem(ec.generate_private_key(ec.SECP384R1()))


def generate_seedshare_owner() -> bytes:
    """Return a new RSA private key of 4096 bits as a PEM block `RSA PRIVATE KEY` (PKCS#1)."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    return _private_pem(
        rsa.generate_private_key(public_exponent=_EXPONENT, key_size=SEEDSHARE_BITS)
    )


def _private_pem(key: "EllipticCurvePrivateKey | RSAPrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def workload_owner_hex(pem: bytes, *, file: str = WORKLOAD_OWNER_FILE) -> str:
    """Return the key's SubjectPublicKeyInfo DER in lower-case hex; 240 digits for P-384.

    pem: private (SEC1 or PKCS#8) or public key; only the first block counts. The DER is encoded again, so it does not
    depend on the form of the file. Raises UsageError, naming `file`, for anything but an EC key.
    """
    from cryptography.hazmat.primitives import serialization

    public = _ec_public_key(pem, file)
    spki = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return spki.hex()


def workload_owner_digest(pem: bytes, *, file: str = WORKLOAD_OWNER_FILE) -> str:
    """Return the SHA-256 of the bytes that `workload_owner_hex` returns, 64 lower-case hex digits; raises what it raises."""
    return owner_digest_hex(workload_owner_hex(pem, file=file))


def parse_workload_owner(
    pem: bytes, *, file: str = WORKLOAD_OWNER_FILE
) -> "EllipticCurvePrivateKey":
    """Return the EC private key that proves ownership to the Coordinator; raises UsageError for any other key."""
    from cryptography.hazmat.primitives.asymmetric import ec

    key = _load(pem, file)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _refused(file, f"holds {_described(key)}, expected an EC private key")
    return key


def seedshare_owner_hex(pem: bytes, *, file: str = SEEDSHARE_OWNER_FILE) -> str:
    """Return the key's PKCS#1 RSAPublicKey DER in lower-case hex; 1052 digits for 4096 bits.

    pem: private (PKCS#1 or PKCS#8) or public key (SPKI or PKCS#1), converted as needed; only the first block counts.
    Raises UsageError, naming `file`, for anything but an RSA key of 2048 bits or more.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = _load(pem, file)
    if isinstance(key, rsa.RSAPrivateKey):
        key = key.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise _refused(file, f"holds {_described(key)}, expected an RSA key")
    if key.key_size < SEEDSHARE_BITS_MIN:
        message = f"holds an RSA key of {key.key_size} bits, expected at least {SEEDSHARE_BITS_MIN}"
        raise _refused(file, message)
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1).hex()


def _ec_public_key(pem: bytes, file: str) -> "EllipticCurvePublicKey":
    from cryptography.hazmat.primitives.asymmetric import ec

    key = _load(pem, file)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key
    raise _refused(file, f"holds {_described(key)}, expected an EC key")


def _refused(file: str, message: str) -> UsageError:
    hint = "see 'openssl ec -in FILE -text -noout' or 'openssl rsa -in FILE -text -noout'"
    return UsageError(message, hint=hint, where=Location(file=file))


def _described(key: object) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    kinds = {
        ec.EllipticCurvePrivateKey: "an EC private key",
        ec.EllipticCurvePublicKey: "an EC public key",
        rsa.RSAPrivateKey: "an RSA private key",
        rsa.RSAPublicKey: "an RSA public key",
    }
    names = (name for kind, name in kinds.items() if isinstance(key, kind))
    return next(names, f"an {type(key).__name__}")


def _first_block(pem: bytes, file: str) -> tuple[str, bytes]:
    """Return label and text of the first PEM block after EC PARAMETERS, which openssl writes before a key."""
    found = b""
    at = 0
    while True:
        start = pem.find(b"-----BEGIN ", at)
        end = pem.find(b"-----", start + 11)
        if start < 0 or end < 0:
            kind = "an 'EC PARAMETERS' block only" if found else "no PEM block"
            raise _refused(file, f"holds {kind}, expected a key in PEM form")
        found = pem[start + 11 : end]
        close = b"-----END " + found + b"-----"
        finish = pem.find(close, end)
        if finish < 0:
            raise _refused(file, "holds a PEM block without an end")
        at = finish + len(close)
        if found != b"EC PARAMETERS":
            return found.decode("ascii", "replace"), pem[start:at] + b"\n"


def _load(pem: bytes, file: str) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    label, block = _first_block(pem, file)
    if label not in _PRIVATE + _PUBLIC:
        wanted = ", ".join(_PRIVATE + _PUBLIC)
        raise _refused(file, f"holds a PEM block '{label}', expected one of {wanted}")
    try:
        if label in _PUBLIC:
            return serialization.load_pem_public_key(block)
        # OpenSSL's own check tests the primes of an RSA key again, which takes as long as all else that generate does.
        key = serialization.load_pem_private_key(
            block, password=None, unsafe_skip_rsa_key_validation=True
        )
        if label != "EC PRIVATE KEY":
            _check_rsa_numbers(key)
    except TypeError as err:
        raise _refused(file, "holds an encrypted private key, expected one without") from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise _refused(file, f"holds a PEM block '{label}' that cannot be decoded") from err
    return key


def _check_rsa_numbers(key: object) -> None:
    """Raise ValueError if a number of an RSA private key does not fit the others; source: RFC 8017 3.2.

    Whether the primes are prime is not asked.
    """
    from cryptography.hazmat.primitives.asymmetric import rsa

    if not isinstance(key, rsa.RSAPrivateKey):
        return
    secret = key.private_numbers()
    public, p, q, d = secret.public_numbers, secret.p, secret.q, secret.d
    fits = (
        min(p, q) > 1
        and p * q == public.n
        and public.e * d % math.lcm(p - 1, q - 1) == 1
        and secret.dmp1 == d % (p - 1)
        and secret.dmq1 == d % (q - 1)
        and secret.iqmp * q % p == 1
    )
    if not fits:
        raise ValueError("the numbers of the RSA key do not fit each other")


def is_seedshare_owner(value: object) -> bool:
    """Return whether a value is a PKCS#1 RSAPublicKey of enough bits in lower-case hex."""
    return not seedshare_owner_problem(value)


def seedshare_owner_problem(value: object) -> str:
    """Return why a value is not a seed share owner key, and what was expected; empty if it is one."""
    wanted = "expected a PKCS#1 RSA public key in lower-case hex"
    if not isinstance(value, str) or not HEX.issuperset(value) or len(value) % 2:
        return f"is {shown(value)}, {wanted}"
    if value != value.lower():
        return f"has upper-case hex digits, {wanted}"
    try:
        modulus, _ = parse_pkcs1(bytes.fromhex(value))
    except ValueError as err:
        return f"does not decode ({err}), {wanted}"
    if modulus.bit_length() < SEEDSHARE_BITS_MIN:
        return f"has {modulus.bit_length()} bits, expected at least {SEEDSHARE_BITS_MIN}"
    return ""


def parse_pkcs1(der: bytes) -> tuple[int, int]:
    """Return modulus and exponent of a PKCS#1 RSAPublicKey; raises ValueError for anything else.

    Parsed here because manifests are validated without importing cryptography. Source: RFC 8017 A.1.1, X.690.
    """
    body, rest = _der(der, 0x30)
    modulus, tail = _der(body, 0x02)
    exponent, end = _der(tail, 0x02)
    if rest or end:
        raise ValueError("trailing bytes after the RSAPublicKey")
    numbers = []
    for value in (modulus, exponent):
        number = int.from_bytes(value, signed=True)
        if number < 0 or len(value) != number.bit_length() // 8 + 1:
            raise ValueError("an INTEGER is negative or not minimal")
        numbers.append(number)
    if not (numbers[0] & 1 and numbers[1] & 1 and 1 < numbers[1] < numbers[0]):
        raise ValueError("modulus and exponent do not make an RSA key")
    return numbers[0], numbers[1]


def _der(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the content of the first element, which must have `tag`, and the bytes after it."""
    if len(data) < 2 or data[0] != tag:  # noqa: PLR2004  # tag and length
        raise ValueError(f"expected a DER element with tag 0x{tag:02x}")
    length, at = data[1], 2
    if length & 0x80:
        count = length & 0x7F
        at += count
        length = int.from_bytes(data[2:at])
        if not 0 < count <= 2 or len(data) < at or length < (0x80 if count == 1 else 0x100):  # noqa: PLR2004  # the least value of each form
            raise ValueError("a DER length is not minimal or too large")
    if len(data) < at + length:
        raise ValueError("a DER element is cut short")
    return data[at : at + length], data[at + length :]
