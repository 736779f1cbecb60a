"""The runtime's own files on a node, below `/opt/edgeless/<handler>`, as the installer's configuration lists them.

Source: docs/internals/runtime.md 4.1, 4.2, 2 (the handler's digits).
"""

import base64
import binascii
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from contrast_tasks.declare.documents import to_record
from contrast_tasks.declare.problems import problems
from contrast_tasks.declare.shapes import BOOL, TEXT, List, table_of, text
from contrast_tasks.errors import ClusterError, SettingsError
from contrast_tasks.files import canonical_json, sha256_hex, write_atomic
from contrast_tasks.json_text import NotJson, read_json
from contrast_tasks.platforms import HANDLER_PREFIX, Platform
from contrast_tasks.records import Record, member

NAME = "contrast-node-install.json"
_PLACEHOLDER = "@@runtimeName@@"
_FOLDER = "/opt/edgeless"
_CONFIGURATION = ".toml"  # Kata's configuration names files of the folder
_CREDENTIALS = "etc/host-config/contrast-imagepuller.toml"

Fetch = Callable[[str], bytes]


class InstalledFile(Record):
    """One file of the runtime."""

    url: str = member(text("an address file:// or https://", r"(?:file|https)://\S+"), "its source")
    path: str = member(
        text(
            f"a path below {_FOLDER}/{_PLACEHOLDER}",
            rf"{_FOLDER}/{_PLACEHOLDER}(?:/(?!\.\.?(?:/|$))[^/\x00]+)+",
        ),
        "its place on the node",
    )
    integrity: str = member(
        TEXT, "sha256- and the base64 of its SHA-256; needed for https://", default="", absent=""
    )
    executable: bool = member(BOOL, "whether it can be run", default=False, absent=False)


class InstallConfig(Record):
    """The whole configuration."""

    files: tuple[InstalledFile, ...] = member(List(InstalledFile), "the files")


def parse_config(content: bytes) -> InstallConfig:
    """Parse the configuration; raises SettingsError for the first fault."""
    try:
        document = read_json(content).document
    except NotJson as err:
        raise SettingsError(f"{NAME} is not JSON: {err}") from err
    for problem in problems(document, table_of(InstallConfig), complete=True):
        raise SettingsError(f"{NAME}: {problem.message}")
    config = to_record(InstallConfig, document)
    for file in config.files:
        if file.url.startswith("https://") and not file.integrity:
            raise SettingsError(f"{NAME}: {file.url} has no integrity, expected sha256-<base64>")
    return config


def read_files(config: InstallConfig, fetch: Fetch) -> dict[str, bytes]:
    """Return the contents by path, each checked against its hash if it has one.

    fetch: returns what lies at an address. Raises ClusterError for other content.
    """
    contents = {}
    for file in config.files:
        content = fetch(file.url)
        if file.integrity and not _is_intact(content, file.integrity):
            raise ClusterError(f"{file.url} has other content than {file.integrity} says")
        contents[file.path] = content
    return contents


def _is_intact(content: bytes, integrity: str) -> bool:
    algorithm, _, encoded = integrity.partition("-")
    try:
        wanted = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return False
    return algorithm == "sha256" and hashlib.sha256(content).digest() == wanted


def handler_of(platform: Platform, contents: dict[str, bytes]) -> str:
    """Return the runtime's name: its digits are the beginning of a SHA-256 over platform and all contents."""
    components = {path: sha256_hex(content) for path, content in contents.items()}
    digest = sha256_hex(canonical_json({"platform": platform.name, **components}))
    return f"{HANDLER_PREFIX}{platform.name}-{digest[:8]}"


def folder_of(handler: str) -> str:
    """Return the runtime's folder on the node."""
    return f"{_FOLDER}/{handler}"


def write_files(
    host: Path, config: InstallConfig, contents: dict[str, bytes], handler: str
) -> list[str]:
    """Write the files that differ below a node's root; return their places. Raises ClusterError."""
    changed = []
    for file in config.files:
        content = contents[file.path]
        if file.path.endswith(_CONFIGURATION):
            content = content.replace(_PLACEHOLDER.encode(), handler.encode())
        place = file.path.replace(_PLACEHOLDER, handler)
        mode = 0o755 if file.executable else 0o644
        if _write(host, place, content, mode):
            changed.append(place)
    return changed


def write_credentials(host: Path, handler: str, content: bytes) -> bool:
    """Write how guests pull images, for root only; return whether it changed. Raises ClusterError."""
    return _write(host, f"{folder_of(handler)}/{_CREDENTIALS}", content, 0o600)


def _write(host: Path, place: str, content: bytes, mode: int) -> bool:
    path = host / place.lstrip("/")
    try:
        changed = write_atomic(path, content, mode=mode)
        if path.stat().st_mode & 0o777 != mode:
            path.chmod(mode)
            changed = True
    except OSError as err:
        raise ClusterError(f"{place} cannot be written: {err.strerror}") from err
    return changed


def remove_files(host: Path, handler: str) -> bool:
    """Remove the runtime's folder; return whether it was there. Raises ClusterError."""
    path = host / folder_of(handler).lstrip("/")
    if not os.path.lexists(path):
        return False
    try:
        shutil.rmtree(path)
    except OSError as err:
        raise ClusterError(f"{folder_of(handler)} cannot be removed: {err.strerror}") from err
    return True
