"""Recover: give a restarted Coordinator its seed back from one owner's share. Source: docs/internals/coordinator.md 13.3.

The Coordinator is attested against the manifest first, because all secrets of the deployment derive from the seed.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks.addresses import USER_API_PORT
from contrast_tasks.client.coordinator import USUAL_REACH, Coordinator, Reach
from contrast_tasks.client.history import MESH_CA_FILE, ROOT_CA_FILE, check_certificates
from contrast_tasks.client.input_files import load_manifest, read_input
from contrast_tasks.client.set import SEED_SHARES_FILE
from contrast_tasks.client.transitions import known_transition
from contrast_tasks.client.verify import (
    FOLDER,
    run_verify,
    write_certificates,
)
from contrast_tasks.decode import Json, parse_json
from contrast_tasks.errors import CoordinatorUnreachable, Location, UsageError
from contrast_tasks.files import write_atomic
from contrast_tasks.kube.annotated import load_records
from contrast_tasks.manifest.keys import SEEDSHARE_LABEL
from contrast_tasks.report.hints import command
from contrast_tasks.settings.model import Settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import rsa

_SALT_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverResult:
    """A recovered Coordinator. restart: workloads that still have certificates of the earlier mesh CA.

    files: the changed ones, relative to the project: the history below verify/, and the CA files of `set`.
    """

    coordinator: str
    generation: int
    manifest_sha256: str
    mesh_ca_sha256: str
    files: tuple[str, ...]
    restart: tuple[str, ...]


def run_recover(
    settings: Settings,
    *,
    say: Callable[[str], None],
    coordinator: str | None = None,
    manifest: Path | None = None,
    owner_key: Path | None = None,
    seed_shares: Path | None = None,
    force: bool = False,
    accept_rollback: bool = False,
    reach: Reach = USUAL_REACH,
) -> RecoverResult:
    """Recover the Coordinator, then verify that the manifest in force is the given one.

    owner_key: RSA key of a seed share owner, by default the first of the settings; seed_shares: by default
    seed-shares.json. force: recover even if recovered peers exist. accept_rollback: even if the Coordinator's history
    does not come after what the last `set` or `verify` saw. Raises UsageError if no share is for the key,
    NotAuthorised, EvidenceRejected, MismatchError, CoordinatorUnreachable.
    """
    from contrast_tasks.api.errors import REASON_RECOVERED

    given = load_manifest(settings, manifest)
    given.warn_if_simulated(say)
    key, key_file = _load_key(settings, owner_key)
    seed, salt = open_share(seed_shares or settings.root / SEED_SHARES_FILE, key, key_file)
    target = Coordinator.find(settings, coordinator, say=say, reach=reach)
    known = b"" if accept_rollback else known_transition(settings, FOLDER)
    try:
        target.ask(
            given.manifest,
            lambda session: session.recover(seed=seed, salt=salt, force=force, known=known),
            key,
        )
    except CoordinatorUnreachable as err:
        if err.reason != REASON_RECOVERED:
            raise
        raise UsageError(
            f"{target.subject} is not in recovery mode, there is nothing to recover",
            hint=f"see what it has in force with '{command('verify')}'",
        ) from err
    verified = run_verify(
        settings,
        say=lambda _line: None,
        coordinator=target.address,
        manifest=manifest,
        accept_rollback=accept_rollback,
        reach=reach,
    )
    return RecoverResult(
        coordinator=target.address,
        generation=verified.generations,
        manifest_sha256=verified.manifest_sha256,
        mesh_ca_sha256=verified.mesh_ca_sha256,
        files=(
            *(f"{FOLDER}/{file}" for file in verified.files),
            *_copy_certificates(verified.folder, settings.root),
        ),
        restart=tuple(record.key for record in load_records(settings).values() if not record.role),
    )


def _copy_certificates(verified: Path, root: Path) -> tuple[str, ...]:
    """Replace the CA files of `set`, and return the names of those that changed."""
    names = (ROOT_CA_FILE, MESH_CA_FILE)
    return tuple(
        name for name in names if write_atomic(root / name, (verified / name).read_bytes())
    )


def recover_local(
    settings: Settings, *, host: str, say: Callable[[str], None], timeout_s: float
) -> str:
    """Recover the local deployment's Coordinator with the project's own share and key; return their names.

    The manifest in force may differ from the project's, which a later `set` puts in force; if it is the same, the CA
    files of `set` are replaced. Raises UsageError if share or key are missing or do not match, and as `run_recover`.
    """
    given = load_manifest(settings, None)
    key, key_file = _load_key(settings, None)
    seed, salt = open_share(settings.root / SEED_SHARES_FILE, key, key_file)
    target = Coordinator(
        host=host,
        port=USER_API_PORT,
        project=settings.root,
        say=say,
        reach=Reach(limit_s=timeout_s),
    )
    known = known_transition(settings, FOLDER)
    target.ask(
        given.manifest,
        lambda session: session.recover(seed=seed, salt=salt, force=False, known=known),
        key,
    )
    history = target.ask(given.manifest, lambda session: session.get_manifests())
    if history.manifests[-1:] == (given.content,):
        root_ca, mesh_ca = history.root_ca_pem, history.mesh_ca_pem
        check_certificates(root_ca, mesh_ca, target.subject, datetime.now(UTC))
        for name in write_certificates(settings.root, history):
            say(f"wrote {name}")
    return f"{SEED_SHARES_FILE} and {key_file}"


def _load_key(settings: Settings, given: Path | None) -> tuple["rsa.RSAPrivateKey", str]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    names = settings.seedshare_owner_keys
    path = given or (settings.root / names[0] if names else None)
    if path is None:
        raise UsageError(
            "no seed share owner key is configured", hint="name one on the command line"
        )
    pem = read_input(path, path.name, "seed share owner key", hint="")
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
