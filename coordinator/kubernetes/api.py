"""What the Coordinator needs of the Kubernetes API: objects of its own namespace, with its pod's service account.

The API server belongs to the cluster, so nothing it says is trusted: it can withhold, delete and delay, and what is read from
it is verified by hash and signature. Source: docs/internals/coordinator.md 8.3.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self
from urllib.parse import urlencode

from contrast_tasks.decode import DecodeError, Json, parse_json
from contrast_tasks.errors import SettingsError
from contrast_tasks.web.answers import NoAnswer
from contrast_tasks.web.client import Bound, HttpClient
from coordinator.store.base import StoreError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
STATEFUL_SET = "coordinator"

_CALL = Bound(max_bytes=64 * 1024 * 1024, seconds=10.0)
_WATCH_BYTES = 1 << 40
# How long a watch lasts before it begins anew; the process ends no faster than that.
WATCH_S = 5
_CREATED = 201


class Refused(StoreError):
    """The API server refused a request; `code` is the HTTP status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A pod's access to the API server. folder: of token and CA; pod: the pod's own name."""

    url: str
    folder: Path
    namespace: str
    pod: str

    @classmethod
    def of_pod(cls, environ: Mapping[str, str], folder: Path = ACCOUNT) -> Self:
        """Return the account that Kubernetes gives to a pod. Raises SettingsError if a part of it is missing."""
        host = environ.get("KUBERNETES_SERVICE_HOST", "")
        port = environ.get("KUBERNETES_SERVICE_PORT", "443")
        pod = environ.get("HOSTNAME", "")
        if not host or not pod:
            raise SettingsError(
                f"{'HOSTNAME' if host else 'KUBERNETES_SERVICE_HOST'} is not set",
                hint="outside of Kubernetes name a folder with --state",
            )
        try:
            namespace = (folder / "namespace").read_text().strip()
        except OSError as err:
            raise SettingsError(
                f"cannot read {folder}/namespace: {err.strerror}",
                hint="the pod needs the token of its service account, or a folder with --state",
            ) from err
        name = f"[{host}]" if ":" in host else host
        return cls(url=f"https://{name}:{port}", folder=folder, namespace=namespace, pod=pod)


class Api:
    """Requests to the API server, over connections that are kept open until `close`; safe to use from many threads."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._idle: SimpleQueue[HttpClient] = SimpleQueue()

    def close(self) -> None:
        """Close the connections that no request uses."""
        while not self._idle.empty():
            self._idle.get().close()

    def get(self, path: str, query: Mapping[str, str] | None = None, *, accept: str = "") -> Json:
        """Return an object or a list; path: below the namespace. Raises Refused, StoreError."""
        return self._call("GET", path, query=query, accept=accept)

    def create(self, path: str, body: Mapping[str, Any]) -> None:
        """Create an object. Raises Refused, of code 409 if its name is taken; StoreError."""
        self._call("POST", path, body=body)

    def replace(self, path: str, body: Mapping[str, Any]) -> None:
        """Replace an object. Raises Refused, of code 409 if its resourceVersion is not the newest; StoreError."""
        self._call("PUT", path, body=body)

    def watch(self, path: str, query: Mapping[str, str], on_event: Callable[[], None]) -> None:
        """Call `on_event` for each line of a watch, which lasts WATCH_S at most. Raises StoreError."""
        more = {**query, "watch": "true", "timeoutSeconds": str(WATCH_S)}
        bound = Bound(max_bytes=_WATCH_BYTES, seconds=4.0 * WATCH_S)
        self._ask("GET", path, more, bound=bound, into=_Lines(on_event))

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        accept: str = "",
    ) -> Json:
        content = self._ask(method, path, query or {}, body=body, accept=accept)
        try:
            # Of created objects only the beginning is read.
            return parse_json(content if method == "GET" else b"{}")
        except DecodeError as err:
            raise StoreError(f"the API server's answer to {method} {path} is no object") from err

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: Mapping[str, Any] | None = None,
        accept: str = "",
        bound: Bound = _CALL,
        into: "_Lines | None" = None,
    ) -> bytes:
        account, client = self.account, self._client()
        place = f"/api/v1/namespaces/{account.namespace}/{path}"
        try:
            # Kubernetes replaces the token every hour.
            token = (account.folder / "token").read_text().strip()
            answer = client.ask(
                f"{account.url}{place}{'?' + urlencode(query) if query else ''}",
                bound,
                headers={
                    "Authorization": f"Bearer {token}",
                    "Accept": accept or "application/json",
                    "Content-Type": "application/json",
                },
                form=None if body is None else json.dumps(body).encode(),
                method=method,
                direct=True,
                into=into,
            )
        except (NoAnswer, OSError) as err:
            raise StoreError(f"the API server does not answer {method} {place}: {err}") from err
        finally:
            self._idle.put(client)
        if answer.status not in {200, _CREATED}:
            raise Refused(
                f"the API server refuses {method} {place}: {_message(answer.body)}", answer.status
            )
        return answer.body

    def _client(self) -> HttpClient:
        try:
            return self._idle.get_nowait()
        except Empty:
            authority = str(self.account.folder / "ca.crt")
            return HttpClient(authorities=[authority], with_system=False)


def items_of(found: Json) -> list[Json]:
    """Return the objects of a list. Raises DecodeError. An API server writes null for none, where it sends names only."""
    items = found.filled("items")
    return [] if items is None else items.items()


class _Lines:
    """Receives the bytes of a watch, and calls for each line."""

    def __init__(self, on_line: Callable[[], None]) -> None:
        self._on_line = on_line

    def write(self, piece: bytes, /) -> None:
        for _ in range(piece.count(b"\n")):
            self._on_line()


def _message(body: bytes) -> str:
    """Return the message of a Status, which quotes no secret of ours."""
    try:
        text = parse_json(body).at("message").text()
    except DecodeError:
        return "no reason is given"
    return "".join(char if char.isprintable() else "?" for char in text[:500])
