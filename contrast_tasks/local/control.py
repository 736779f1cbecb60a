"""The node's control socket in the project's private folder: per connection one request and one answer, a line of JSON each."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ClusterError
from contrast_tasks.linux import short_path

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
LET_GO = b"g"
"""Written by the owner to the Tether's pipe if the node may outlive it."""


class NodeAbsent(ClusterError):
    """No node serves this project."""


def listening_socket(path: Path) -> socket.socket:
    """Return a listening socket at `path`, mode 0600; a stale file there is replaced."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        with short_path(path) as name:
            server.bind(name)
        path.chmod(0o600)
        server.listen(16)
    except OSError:
        server.close()
        raise
    return server


def ask(path: Path, request: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """Send one request and return the answer.

    Raises NodeAbsent if no node listens, ClusterError if the node refuses or does not answer in time.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_s)
        try:
            with short_path(path) as name:
                client.connect(name)
        except OSError as err:
            raise NodeAbsent("the local backend is not running") from err
        try:
            client.sendall(_line(request))
            with client.makefile("rb") as stream:
                line = stream.readline(MAX_MESSAGE_BYTES)
        except TimeoutError as err:
            raise ClusterError(
                f"the local backend did not answer '{request.get('op')}' within {timeout_s:g} s"
            ) from err
        except OSError as err:
            raise ClusterError(f"the local backend went away: {err.strerror}") from err
    if not line.endswith(b"\n"):
        raise ClusterError(
            f"the local backend ended while it worked on '{request.get('op')}'",
            hint="its log is .contrast/local/logs/node.log",
        )
    return parse_answer(line)


def render_answer(document: Mapping[str, Any]) -> bytes:
    """Return the line that answers a request."""
    return _line({"ok": True, **document})


def render_error(error: Exception) -> bytes:
    """Return the line that answers a request with an error and its hint."""
    hint = getattr(error, "hint", "")
    return _line({"ok": False, "error": {"message": str(error), "hint": hint}})


def parse_answer(line: bytes) -> dict[str, Any]:
    """Return the answer in a line. Raises ClusterError if the node answered with an error."""
    answer: dict[str, Any] = json.loads(line)
    if not answer.pop("ok"):
        raise ClusterError(answer["error"]["message"], hint=answer["error"]["hint"])
    return answer


def _line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"
