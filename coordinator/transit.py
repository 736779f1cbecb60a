"""The transit engine on port 8200: encrypts and decrypts with keys of workload secrets, in the form of Vault's.

    PUT, POST /v1/transit/encrypt/NAME    {"plaintext": b64, "key_version": 0, "associated_data": b64} -> {"ciphertext": ...}
    PUT, POST /v1/transit/decrypt/NAME    {"ciphertext": "vault:v0:...", "associated_data": b64} -> {"plaintext": b64}
    GET, HEAD /v1/sys/health              200, or 503 without a state

NAME is the workload secret id in the certificate that the caller has shown; nobody can use the key of another. Refusals are
`{"errors": [...]}` with constant texts. Source: docs/internals/coordinator.md 11.
"""

import base64
import json
import logging
import re
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from contrast_tasks.decode import DecodeError, Json, parse_json
from contrast_tasks.errors import ContrastError
from coordinator.listener import Answer, Request
from coordinator.mesh_tls import Peer
from coordinator.metrics import TRANSIT_REQUESTS, Metrics
from coordinator.quota import Quota
from coordinator.sealing import (
    MAX_VERSION,
    NONCE_BYTES,
    NotAuthentic,
    parse_sealed,
    render_sealed,
    seal,
    unseal,
)
from coordinator.seedengine import SeedEngine
from coordinator.state import Guard

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("coordinator.transit")

_CONTENT_TYPE = "application/json"
_HEALTH = "/v1/sys/health"
_OTHER = "other"
# One segment of a path: other characters and whole escapes.
_PATH = re.compile(r"/v1/transit/(encrypt|decrypt)/((?:[^%/]|%[0-9A-Fa-f]{2})+)")
_METHODS: Final = frozenset({"PUT", "POST"})
_PER_S, _BURST = 50, 100
# Random nonces of one key repeat with a probability of 2**-32 after 2**32 messages. Source: NIST SP 800-38D 8.3.
_WARN_AFTER = 2**28

_TEXTS = {
    HTTPStatus.BAD_REQUEST: "the request is malformed: expected json with byte strings in standard base64",
    HTTPStatus.FORBIDDEN: "Unauthorized: the certificate is not for the workload secret id of this name",
    HTTPStatus.TOO_MANY_REQUESTS: "too many requests of this workload",
    HTTPStatus.SERVICE_UNAVAILABLE: "the coordinator has no state, or a new one since this connection was made",
}
_NOT_AUTHENTIC = "decryption failed: another key, other associated data, or a changed ciphertext"


class _Task(NamedTuple):
    """What an authorised request asks for."""

    engine: SeedEngine
    name: str
    document: Json


class Transit:
    """Answers requests of peers that a handshake has accepted; independent of HTTP and TLS."""

    max_body_bytes = 1024 * 1024
    body_methods = _METHODS

    def __init__(self, guard: Guard, metrics: Metrics, *, quota: Quota | None = None) -> None:
        self._guard = guard
        self._metrics = metrics
        self._quota = quota or Quota(per_s=_PER_S, burst=_BURST)
        self._lock = threading.Lock()
        self._sealed: dict[str, int] = {}
        self._operations: dict[str, Callable[[_Task], dict[str, str]]] = {
            "encrypt": self._encrypt,
            "decrypt": _decrypt,
        }

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request; what went wrong inside is told by the log only."""
        operation, name = _target(request.path)
        try:
            answer = self._answer(request, operation, name)
        except DecodeError:
            answer = self.refuse(HTTPStatus.BAD_REQUEST)
        except NotAuthentic:
            answer = _refusal(HTTPStatus.BAD_REQUEST, _NOT_AUTHENTIC)
        except Exception:  # noqa: BLE001  # the outermost handler of a request
            _log.exception("Transit failed", extra={"operation": operation})
            answer = self.refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
        labels = (("code", str(int(answer.status))), ("op", operation))
        self._metrics.count(TRANSIT_REQUESTS, labels)
        return answer

    def refuse(self, status: HTTPStatus) -> Answer:
        """Return a refusal with our words for a status, or its own."""
        return _refusal(status, _TEXTS.get(status, status.phrase.lower()))

    def _answer(self, request: Request, operation: str, name: str) -> Answer:
        if operation == "health":
            return self._health(request.method)
        fault = self._fault(request, operation, name)
        if fault is not None or not isinstance(request.peer, Peer):
            return self.refuse(fault or HTTPStatus.FORBIDDEN)
        task = _Task(request.peer.state.engine, name, parse_json(request.body))
        return _json(HTTPStatus.OK, {"data": self._operations[operation](task)})

    def _fault(self, request: Request, operation: str, name: str) -> HTTPStatus | None:
        """Return why a request is refused before its body is read, None if it is not."""
        peer = request.peer
        content_type = request.headers.get("Content-Type", _CONTENT_TYPE).lower()
        is_named = isinstance(peer, Peer) and peer.secret_id == name
        checks: tuple[tuple[HTTPStatus, Callable[[], bool]], ...] = (
            (HTTPStatus.NOT_FOUND, lambda: operation in self._operations),
            (HTTPStatus.METHOD_NOT_ALLOWED, lambda: request.method in _METHODS),
            (HTTPStatus.FORBIDDEN, lambda: is_named),
            # Every manifest has its own mesh CA, so a certificate is as old as its state.
            (HTTPStatus.SERVICE_UNAVAILABLE, lambda: self._is_current(peer)),
            (HTTPStatus.TOO_MANY_REQUESTS, lambda: self._quota.take(name)),
            (HTTPStatus.BAD_REQUEST, lambda: content_type.startswith(_CONTENT_TYPE)),
        )
        return next((status for status, is_met in checks if not is_met()), None)

    def _is_current(self, peer: object) -> bool:
        return isinstance(peer, Peer) and self._guard.is_current(peer.state)

    def _encrypt(self, task: _Task) -> dict[str, str]:
        plaintext = task.document.at("plaintext").base64()
        associated_data = _associated_data(task.document)
        version = _version(task.document)
        self._note(task.name)
        sealed = seal(
            task.engine.transit_key(task.name, version),
            version,
            plaintext,
            associated_data,
            self._guard.random_bytes(NONCE_BYTES),
        )
        return {"ciphertext": render_sealed(sealed)}

    def _note(self, name: str) -> None:
        """Count what is encrypted for a name, whichever the version, and warn long before nonces can repeat."""
        with self._lock:
            count = self._sealed[name] = self._sealed.get(name, 0) + 1
        if count == _WARN_AFTER:
            _log.warning("A transit key is used so often that its version should change: %s", name)

    def _health(self, method: str) -> Answer:
        if method not in ("GET", "HEAD"):
            return self.refuse(HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            self._guard.current()
        except ContrastError:
            return _health(HTTPStatus.SERVICE_UNAVAILABLE, is_sealed=True)
        return _health(HTTPStatus.OK, is_sealed=False)


def _target(path: str) -> tuple[str, str]:
    """Return operation and name; the operation is `other` if there is nothing at a path."""
    if path == _HEALTH:
        return "health", ""
    found = _PATH.fullmatch(path)
    try:
        # Paths come as bytes in the shape of Latin-1.
        name = unquote_to_bytes(found[2].encode("latin-1")).decode() if found else ""
    except UnicodeError:
        return _OTHER, ""
    if found is None or "/" in name:
        return _OTHER, ""
    return found[1], name


def _decrypt(task: _Task) -> dict[str, str]:
    sealed = parse_sealed(task.document.at("ciphertext"))
    associated_data = _associated_data(task.document)
    plaintext = unseal(task.engine.transit_key(task.name, sealed.version), sealed, associated_data)
    return {"plaintext": base64.b64encode(plaintext).decode()}


def _associated_data(document: Json) -> bytes:
    member = _optional(document, "associated_data")
    return b"" if member is None else member.base64()


def _version(document: Json) -> int:
    member = _optional(document, "key_version")
    version = 0 if member is None else member.integer()
    if not 0 <= version <= MAX_VERSION:
        raise DecodeError("/key_version: does not fit 32 bits")
    return version


def _optional(document: Json, name: str) -> Json | None:
    """Return a member, None if it is absent or null; another empty value may be of a wrong type."""
    member = document.get(name)
    return None if member is None or member.value is None else member


def _health(status: HTTPStatus, *, is_sealed: bool) -> Answer:
    return _json(status, {"initialized": True, "sealed": is_sealed, "standby": False})


def _refusal(status: HTTPStatus, text: str) -> Answer:
    return _json(status, {"errors": [text]})


def _json(status: HTTPStatus, document: dict[str, object]) -> Answer:
    return Answer(status, _CONTENT_TYPE, json.dumps(document).encode() + b"\n")
