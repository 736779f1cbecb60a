"""Watches what a Coordinator logs, raises, records, measures and tells with refusals, for the secrets that it uses meanwhile."""

import base64
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives.asymmetric import ec

import coordinator.audit
import coordinator.refusal
import coordinator.seedengine
from contrast_tasks.errors import ContrastError
from coordinator.ca import CertificateAuthority
from coordinator.logs import JsonFormatter, TextFormatter
from coordinator.metrics import Metrics
from coordinator.seedengine import SeedEngine

# Enough to tell a secret from anything else, and found in a text that was cut too.
_PART = 16
# Seeds such as 64 zeros are no secrets, and other things look like them.
_DISTINCT = 8
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class SecretWatch:
    """The secrets that were used, and the texts that were made, while `watching`."""

    def __init__(self) -> None:
        self.secrets: set[bytes] = set()
        self.texts: list[str] = []

    def leaks(self) -> list[str]:
        """Return the texts that show a secret, whole or in part, in any usual form."""
        forms = {form for secret in self.secrets for form in forms_of(secret)}
        return [
            text
            for text in self.texts
            if "PRIVATE KEY" in text or any(form in text for form in forms)
        ]

    def use(self, secret: bytes) -> bytes:
        """Note a secret and return it."""
        if len(set(secret[:_PART])) >= _DISTINCT:
            self.secrets.add(secret)
        return secret

    def use_key(self, key: ec.EllipticCurvePrivateKey) -> ec.EllipticCurvePrivateKey:
        """Note the number of a private key and return the key."""
        self.use(key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8))
        return key

    def see(self, record: logging.LogRecord) -> None:
        """Note a log record as both formatters write it."""
        self.texts += [JsonFormatter().format(record), TextFormatter().format(record)]


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
def watching() -> Iterator[SecretWatch]:
    """Watch every engine, CA, error, refusal, log record, entry of the audit log and exposition of metrics until the end."""
    watch = SecretWatch()
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
