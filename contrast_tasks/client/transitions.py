"""The transition that an update follows, as owners name it: in hex on the command line, or in a file that `verify` wrote."""

import re
from pathlib import Path

from contrast_tasks.client.input_files import read_input
from contrast_tasks.errors import Location, UsageError
from contrast_tasks.manifest.hashes import NO_TRANSITION
from contrast_tasks.manifest.signing import is_signature
from contrast_tasks.report.hints import command
from contrast_tasks.settings.model import Settings

# In the folder of `verify`: 64 hex digits, no newline.
LATEST_FILE = "latest-transition"
_HEX = re.compile(r"[0-9a-fA-F]{64}")


def expected_transition(settings: Settings, given_hex: str | None, folder: str) -> bytes:
    """Return the 32 bytes of a hash from the command line, else of the file in `folder`; zeros if there is no such file.

    Raises UsageError for anything but 64 hex digits.
    """
    if given_hex is not None:
        return _parse(given_hex, None)
    path = settings.root / folder / LATEST_FILE
    name = f"{folder}/{LATEST_FILE}"
    if not path.exists():
        return NO_TRANSITION
    content = read_input(path, name, "latest transition", hint="")
    return _parse(content.decode("ascii", "replace").strip(), name)


def known_transition(settings: Settings, folder: str) -> bytes:
    """Return the transition (32 bytes) that the last `set` or `verify` saw, empty if there was none. Raises UsageError."""
    known = expected_transition(settings, None, folder)
    return b"" if known == NO_TRANSITION else known


def read_signature(path: Path, name: str) -> bytes:
    """Return an owner's signature from a file. Raises UsageError unless it is ASN.1 DER; name: of the file in messages."""
    content = read_input(path, name, "signature", hint=f"'{command('sign')}' makes one")
    if not is_signature(content):
        raise UsageError(
            f"holds {len(content)} bytes that are no ECDSA signature in ASN.1 DER",
            where=Location(file=name),
            hint=f"make one with '{command('sign --out FILE')}', or sign what 'sign --prepare' writes",
        )
    return content


def _parse(text: str, file: str | None) -> bytes:
    if not _HEX.fullmatch(text):
        where = None if file is None else Location(file=file)
        shown = f"{len(text)} characters" if len(text) > len(NO_TRANSITION) * 2 else f"'{text}'"
        raise UsageError(
            f"the latest transition is {shown}, wanted 64 hex digits",
            where=where,
            hint="it is the hash that 'verify' writes to verify/latest-transition",
        )
    return bytes.fromhex(text)
