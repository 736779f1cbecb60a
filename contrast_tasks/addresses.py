"""Addresses in flags, settings and environment variables, and the Coordinator's ports.

An accepted address of a service or proxy can be split into host and port, and holds no credentials, so it may be shown.
"""

import re
from typing import Final

# Source: docs/internals/coordinator.md 1.
USER_API_PORT: Final = 1313
HTTP_API_PORT: Final = 1314
MESH_API_PORT: Final = 7777
TRANSIT_API_PORT: Final = 8200
PROBES_PORT: Final = 9102

_HOST = r"[^\s/:@\[\]]+|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]"
# Every run imports this module and few use it, so patterns are compiled on first use and urllib is imported late.
_HOST_AND_PORT = rf"({_HOST})(?::([0-9]{{1,5}}))?"
_MAX_PORT = 65535
_ADDRESS = r"https?://[^@/\s]+(?:/\S*)?"
_PROXY = r"http://[^@/\s]+/?"


def host_and_port(text: str, default_port: int | None = None) -> tuple[str, int] | None:
    """Split `host:port`; return None for any other form. The brackets of an IPv6 address are removed.

    default_port: used when the port is missing; None makes the port required. Port 0 is accepted.
    """
    match = re.fullmatch(_HOST_AND_PORT, text, re.ASCII)
    port = None if match is None else int(match[2]) if match[2] else default_port
    if match is None or port is None or port > _MAX_PORT:
        return None
    return match[1].removeprefix("[").removesuffix("]"), port


def joined(host: str, port: int) -> str:
    """Return `host:port` as `host_and_port` splits it, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_address(text: str) -> bool:
    """Return whether a text is an https:// or http:// address with a host and without credentials."""
    return bool(re.fullmatch(_ADDRESS, text)) and _has_host(text)


def is_proxy(text: str) -> bool:
    """Return whether a text is an http:// address with a host, without a path and without credentials."""
    return bool(re.fullmatch(_PROXY, text)) and _has_host(text)


def _has_host(address: str) -> bool:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
