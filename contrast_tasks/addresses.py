"""Addresses as flags, settings and environments name them: one rule for all, and the Coordinator's ports.

An address of a service or a proxy that passes here splits into host and port later too, and holds no user and no
password, so that it may be shown.
"""

import re
from typing import Final

# Source: docs/internals/coordinator.md 1.
USER_API_PORT: Final = 1313
MESH_API_PORT: Final = 7777
PROBES_PORT: Final = 9102

_HOST = r"[^\s/:@\[\]]+|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]"
# Patterns are compiled on first use: every run imports this module, few ask it anything.
_HOST_AND_PORT = rf"({_HOST})(?::([0-9]{{1,5}}))?"
_MAX_PORT = 65535
_ADDRESS = r"https?://[^@/\s]+(?:/\S*)?"
_PROXY = r"http://[^@/\s]+/?"


def host_and_port(text: str, default_port: int | None = None) -> tuple[str, int] | None:
    """Return the two parts of `host:port`, None for another form; brackets of an IPv6 address are removed.

    default_port: what `host` alone means; without it the port must be there. Port 0 is left to the caller.
    """
    match = re.fullmatch(_HOST_AND_PORT, text, re.ASCII)
    port = None if match is None else int(match[2]) if match[2] else default_port
    if match is None or port is None or port > _MAX_PORT:
        return None
    return match[1].removeprefix("[").removesuffix("]"), port


def is_address(text: str) -> bool:
    """Return whether a text is an https:// or http:// address with a host, and names no user."""
    return bool(re.fullmatch(_ADDRESS, text)) and _has_place(text)


def is_proxy(text: str) -> bool:
    """Return whether a text is an http:// address of a host, without a path, and names no user."""
    return bool(re.fullmatch(_PROXY, text)) and _has_place(text)


def _has_place(address: str) -> bool:
    # Every run of the pipeline imports this module, few name an address.
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
