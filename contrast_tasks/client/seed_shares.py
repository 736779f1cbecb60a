"""The seed, encrypted for each of its owners: the file that the first `set` writes and `recover` reads.

Source: docs/internals/coordinator.md 5.5.
"""

import base64
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks.client.input_files import read_input
from contrast_tasks.decode import DecodeError, Json, parse_json
from contrast_tasks.errors import Location, UsageError
from contrast_tasks.files import pretty_json, write_atomic
from contrast_tasks.manifest.keys import SEEDSHARE_LABEL
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.outputs import SEED_SHARES_FILE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import rsa

SEED_SHARES_BACKUP = "seed-shares.json.backup"
_SALT_BYTES = 32


def write_shares(root: Path, shares: Mapping[str, Any]) -> tuple[str, ...]:
    """Write the shares of a new Coordinator, keep a copy of earlier ones, and return the names of the changed files."""
    content = pretty_json(shares)
    backup: tuple[str, ...] = ()
    # A fault of the earlier file must not keep the new shares from being written.
    with contextlib.suppress(OSError):
        earlier = (root / SEED_SHARES_FILE).read_bytes()
        if earlier != content and write_atomic(root / SEED_SHARES_BACKUP, earlier):
            backup = (SEED_SHARES_BACKUP,)
    is_changed = write_atomic(root / SEED_SHARES_FILE, content)
    return (*((SEED_SHARES_FILE,) if is_changed else ()), *backup)


def are_same_seed(root: Path, shares: Mapping[str, Any]) -> bool:
    """Return whether the file holds shares of the same seed; the ciphertexts differ each time they are made."""
    try:
        kept = parse_json((root / SEED_SHARES_FILE).read_bytes()).at("salt").text()
    except (OSError, DecodeError):
        return False
    return bool(kept == shares["salt"])


def load_seedshare_owner_key(
    settings: Settings, given: Path | None
) -> tuple["rsa.RSAPrivateKey", str]:
    """Return an RSA key of a seed share owner and its file's name, by default the first of the settings. Raises UsageError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    names = settings.seedshare_owner_keys
    path = given or (settings.root / names[0] if names else None)
    if path is None:
        raise UsageError(
            "no seed share owner key is configured", hint="name one on the command line"
        )
    hint = "restore it from a backup: only with it the seed can be had from its share"
    pem = read_input(path, path.name, "seed share owner key", hint=hint)
    where = Location(file=path.name)
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise UsageError("is not an unencrypted private key in PEM form", where=where) from err
    if not isinstance(key, rsa.RSAPrivateKey):
        raise UsageError("holds no RSA key", where=where)
    return key, path.name


def open_share(path: Path, key: "rsa.RSAPrivateKey", key_file: str) -> tuple[bytes, bytes]:
    """Return seed and salt from the key's share in a seed share document.

    Raises UsageError if the file is not such a document, holds no share for the key, or decryption fails.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    where = Location(file=path.name)
    content = read_input(path, path.name, "seed shares", hint="it was written by the first set")
    try:
        document = parse_json(content)
        shares = {
            share.at("PublicKey").text().lower(): _base64(share.at("EncryptedSeed"))
            for share in document.at("SeedShares").items()
        }
        salt = _base64(document.at("salt"))
    except ValueError as err:  # includes DecodeError and binascii.Error
        raise UsageError("is not a seed share document", where=where) from err
    ours = key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1).hex()
    if ours not in shares:
        raise UsageError(
            f"none of {len(shares)} seed shares is for the key in {key_file}",
            where=where,
            hint="use the key that was listed when the first manifest was set",
        )
    oaep = padding.OAEP(
        mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=SEEDSHARE_LABEL
    )
    try:
        seed = key.decrypt(shares[ours], oaep)
    except ValueError as err:
        raise UsageError(
            f"the seed share does not open with the key in {key_file}", where=where
        ) from err
    if len(salt) != _SALT_BYTES:
        raise UsageError(f"the salt has {len(salt)} bytes, wanted {_SALT_BYTES}", where=where)
    return seed, salt


def _base64(member: Json) -> bytes:
    return base64.b64decode(member.text(), validate=True)
