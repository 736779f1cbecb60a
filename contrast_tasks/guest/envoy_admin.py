"""Envoy's admin interface, over TCP or a socket in Envoy's working folder."""

import http.client
import socket
from pathlib import Path

from contrast_tasks.decode import DecodeError, parse_json
from contrast_tasks.linux import short_path
from contrast_tasks.mesh.envoy import ADMIN_SOCKET

_TIMEOUT_S = 2


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over the socket in Envoy's working folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__("envoy", timeout=_TIMEOUT_S)
        self._folder = folder

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with short_path(self._folder / ADMIN_SOCKET) as name:
            self.sock.connect(name)


def active_listeners(endpoint: tuple[str, int] | None, folder: Path) -> int:
    """Return the number of listeners that accept connections, 0 while Envoy is not live.

    endpoint: address and port of the interface; None: the socket in `folder`.
    """
    try:
        if _ask(endpoint, folder, "/ready") is None:
            return 0
        listed = parse_json(_ask(endpoint, folder, "/listeners?format=json") or b"{}")
        active = listed.get("listener_statuses")
        return 0 if active is None else len(active.items())
    except (OSError, DecodeError, http.client.HTTPException):
        return 0


def drain(endpoint: tuple[str, int] | None, folder: Path) -> bool:
    """Let Envoy accept nothing more while its connections go on; return whether it has understood."""
    try:
        return _ask(endpoint, folder, "/drain_listeners", method="POST") is not None
    except (OSError, http.client.HTTPException):
        return False


def has_connections(endpoint: tuple[str, int] | None, folder: Path) -> bool:
    """Return whether anybody is connected to a listener other than that of the admin interface."""
    try:
        counts = _ask(endpoint, folder, "/stats?filter=downstream_cx_active$") or b""
    except (OSError, http.client.HTTPException):
        return False
    return any(
        not line.startswith(b"listener.admin.") and not line.endswith(b": 0")
        for line in counts.splitlines()
        if line.startswith(b"listener.")
    )


def _ask(
    endpoint: tuple[str, int] | None, folder: Path, path: str, *, method: str = "GET"
) -> bytes | None:
    connection = (
        _SocketConnection(folder)
        if endpoint is None
        else http.client.HTTPConnection(*endpoint, timeout=_TIMEOUT_S)
    )
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    return body if answer.status == http.client.OK else None
