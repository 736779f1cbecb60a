"""Watches what a Coordinator logs, raises, records, measures and tells with refusals, for the secrets that it uses meanwhile.

`python -m tests.fakes.secrets ARGUMENTS` is a Coordinator that notes each secret in the file which SECRETS_FILE names, before it uses it.
"""

import base64
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import coordinator.audit
import coordinator.refusal
import coordinator.seedengine
from contrast_tasks.client.seed_shares import SEED_SHARES_FILE, open_share
from contrast_tasks.errors import ContrastError
from contrast_tasks.manifest.codec import parse_manifest
from coordinator.__main__ import main
from coordinator.ca import CertificateAuthority
from coordinator.logs import JsonFormatter, TextFormatter
from coordinator.metrics import Metrics
from coordinator.seedengine import SeedEngine

# Enough to tell a secret from anything else, and found in a text that was cut too.
_PART = 16
# Seeds such as 64 zeros are no secrets, and other things look like them.
_DISTINCT = 8
# A key, and not only what one begins with; a line may end as in JSON.
_PEM = re.compile(r"PRIVATE KEY-----(\s|\\n)*[A-Za-z0-9+/]{16}")
SECRETS_FILE = "SECRETS_FILE"
# Where a project has its keys.
_KEYS = {"seedshare-owner.pem", "workload-owner.pem", "vcek.pem"}
_WRITTEN = ("*", ".contrast/**/*", "build/[!i]*/*", "verify/*")
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class SecretWatch:
    """The secrets that were used, and the texts that were made, while `watching`. notes: a file for secrets, a line each."""

    def __init__(self, notes: Path | None = None) -> None:
        self.secrets: set[bytes] = set()
        self.texts: list[str] = []
        self._notes = notes

    def leaks(self) -> list[str]:
        """Return the texts that show a secret, whole or in part, in any usual form."""
        return leaks(self.texts, self.secrets)

    def use(self, secret: bytes) -> bytes:
        """Note a secret and return it."""
        if len(set(secret[:_PART])) >= _DISTINCT and secret not in self.secrets:
            self.secrets.add(secret)
            if self._notes is not None:
                with self._notes.open("a") as file:
                    file.write(f"{secret.hex()}\n")
        return secret

    def use_key(self, key: ec.EllipticCurvePrivateKey) -> ec.EllipticCurvePrivateKey:
        """Note the number of a private key and return the key."""
        self.use(key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8))
        return key

    def see(self, record: logging.LogRecord) -> None:
        """Note a log record as both formatters write it."""
        self.texts += [JsonFormatter().format(record), TextFormatter().format(record)]


def leaks(texts: Iterable[str], secrets: Iterable[bytes]) -> list[str]:
    """Return the texts that show a secret, whole or in part, in any usual form."""
    forms = {form for secret in secrets for form in forms_of(secret)}
    return [text for text in texts if _PEM.search(text) or any(form in text for form in forms)]


def noted(notes: Path) -> set[bytes]:
    """Return the secrets that a Coordinator's process noted."""
    return set(map(bytes.fromhex, notes.read_text().split())) if notes.exists() else set()


def shown_by_files(root: Path) -> list[str]:
    """Return the files of a project that show a secret of its deployment on this machine, but for those that keep its keys."""
    key = load_pem_private_key((root / "seedshare-owner.pem").read_bytes(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    with watching() as watch:
        engine = SeedEngine(*open_share(root / SEED_SHARES_FILE, key, "seedshare-owner.pem"))
        entries = parse_manifest((root / "manifest.json").read_bytes()).policies.values()
        for each in {entry.workload_secret_id for entry in entries} - {""}:
            engine.workload_secret(each)
    assert len(watch.secrets) > len(entries)
    raw = {secret[:_PART] for secret in watch.secrets}
    return [
        str(path.relative_to(root))
        for folder in _WRITTEN
        for path in root.glob(folder)
        if path.is_file() and not path.is_symlink() and path.name not in _KEYS
        if any(each in (content := path.read_bytes()) for each in raw)
        or leaks([content.decode(errors="replace")], watch.secrets)
    ]


def forms_of(secret: bytes) -> set[str]:
    """Return how a text would show the beginning of a secret, and the number that it is."""
    part = secret[:_PART]
    found = {part.hex(), part.hex().upper(), repr(part)[2:-1], str(int.from_bytes(secret))}
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + part).decode()
        # Characters that also hold bits of what stands before or behind are left out.
        found.add(encoded[4 if shift else 0 : -4])
    return found


@contextmanager
def watching(notes: Path | None = None) -> Iterator[SecretWatch]:
    """Watch keys and engines that are made, errors, refusals, log records, entries of the audit log and expositions of metrics."""
    watch = SecretWatch(notes)
    generate = ec.generate_private_key
    engine, derive = SeedEngine.__init__, SeedEngine._derive
    authority, error = CertificateAuthority.__init__, ContrastError.__init__

    def new_engine(self: SeedEngine, seed: bytes, salt: bytes) -> None:
        engine(self, watch.use(seed), salt)

    def new_authority(self: CertificateAuthority, **given: Any) -> None:
        watch.use_key(given["root_key"])
        watch.use_key(given["mesh_key"])
        authority(self, **given)

    def new_error(self: ContrastError, message: str, **given: Any) -> None:
        watch.texts += [str(message), str(given.get("hint", ""))]
        error(self, message, **given)

    def rendered(members: Any) -> bytes:
        content = render(members)
        watch.texts.append(content.decode())
        return content

    def refused(code: Any, message: str, details: Any) -> bytes:
        watch.texts += [message, repr(details)]
        return details_of(code, message, details)

    def exposed(self: Metrics, gauges: Any) -> str:
        watch.texts.append(text := expose(self, gauges))
        return text

    details_of, expose = coordinator.refusal.render_details, Metrics.render
    render = coordinator.audit.render_content
    p384 = coordinator.seedengine.deterministic_p384
    patches: list[tuple[Any, str, Callable[..., Any]]] = [
        (ec, "generate_private_key", lambda curve: watch.use_key(generate(curve))),
        (SeedEngine, "__init__", new_engine),
        (SeedEngine, "_derive", lambda *given: watch.use(derive(*given))),
        (coordinator.seedengine, "deterministic_p384", lambda seed: watch.use_key(p384(seed))),
        (CertificateAuthority, "__init__", new_authority),
        (ContrastError, "__init__", new_error),
        (coordinator.audit, "render_content", rendered),
        (coordinator.refusal, "render_details", refused),
        (Metrics, "render", exposed),
        *((logging.Logger, name, _logging(watch, name)) for name in _LEVELS),
    ]
    # Methods are replaced and not levels or handlers, which tests set and count.
    stack = [mock.patch.object(where, name, new) for where, name, new in patches]
    for patch in stack:
        patch.start()
    try:
        yield watch
    finally:
        for patch in stack:
            patch.stop()


def _logging(watch: SecretWatch, name: str) -> Callable[..., None]:
    original = getattr(logging.Logger, name)

    def log(self: logging.Logger, message: object, *values: Any, **given: Any) -> None:
        exception = sys.exc_info() if given.get("exc_info") is True else None
        watch.see(
            self.makeRecord(
                self.name,
                _LEVELS[name],
                "",
                0,
                message,
                values,
                exception,
                extra=given.get("extra"),
            )
        )
        # One frame more between the caller and what looks for the caller's line.
        original(self, message, *values, **{**given, "stacklevel": given.get("stacklevel", 1) + 1})

    return log


@pytest.fixture(autouse=True)
def secret_watch() -> Iterator[SecretWatch]:
    """Fail a test during which a log record, an error or an audit entry showed a secret that was made meanwhile."""
    with watching() as watch:
        yield watch
    assert watch.leaks() == []


if __name__ == "__main__":
    with watching(Path(os.environ[SECRETS_FILE])):
        sys.exit(main())
