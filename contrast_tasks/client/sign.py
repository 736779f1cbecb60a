"""Sign: an owner's signature over an update, for `set --signature` by somebody without the owner's key.

Nothing is sent. With `prepare` not even the key is read: a security module signs the text that is written.
Source: docs/internals/coordinator.md 4.5.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contrast_tasks.client.before_set import load_owner_key
from contrast_tasks.client.input_files import load_manifest
from contrast_tasks.errors import UsageError
from contrast_tasks.files import sha256_hex, write_atomic
from contrast_tasks.manifest.signing import sign_text, text_to_sign
from contrast_tasks.releases.choose import first_with
from contrast_tasks.settings.model import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class SignResult:
    """What was signed, or prepared. transition, previous: in hex; is_signed: whether the file holds a signature."""

    file: str
    manifest_sha256: str
    transition: str
    previous: str
    is_signed: bool


def run_sign(
    settings: Settings,
    *,
    say: Callable[[str], None],
    out: Path,
    out_name: str,
    previous: bytes,
    manifest: Path | None = None,
    owner_key: Path | None = None,
    owner_key_name: str = "",
    prepare: bool = False,
) -> SignResult:
    """Write the signature (ASN.1 DER) that sets the manifest after `previous` (32 bytes, zeros: as the first).

    prepare: write what is to be signed, 64 hex digits without a newline. owner_key: PEM file, by default the first of the
    settings. Raises UsageError if the key cannot be used, ManifestError.
    """
    given = load_manifest(settings, manifest, is_new=True)
    text = text_to_sign(given.content, previous)
    if not previous.strip(b"\0"):
        say("there is no latest transition: this is for the first manifest of a coordinator")
    if not given.manifest.workload_owner_pub_keys:
        first = first_with(lambda row: row.manifest.owners == "WorkloadOwnerPubKeys")
        say(
            f"warning: {given.name} lists no owner's key in full (WorkloadOwnerPubKeys, from release {first} on): where it is in "
            "force, no signature can be verified"
        )
    content = text
    if not prepare:
        key, key_file = load_owner_key(settings, owner_key, owner_key_name)
        if key is None:
            raise UsageError(
                f"no workload owner key is here{f': {key_file}' if key_file else ''}",
                hint="name it with --workload-owner-key, or let a security module sign what --prepare writes",
            )
        content = sign_text(key, text)
    write_atomic(out, content)
    return SignResult(
        file=out_name,
        manifest_sha256=sha256_hex(given.content),
        transition=text.decode(),
        previous=previous.hex(),
        is_signed=not prepare,
    )
