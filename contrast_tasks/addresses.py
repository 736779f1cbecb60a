"""Addresses of services and proxies as flags, settings and environments name them: one rule for all.

Whatever passes here splits into host and port later too, and holds no user and no password, so that it may be shown.
"""

import re

_ADDRESS = re.compile(r"https?://[^@/\s]+(?:/\S*)?")
_PROXY = re.compile(r"http://[^@/\s]+/?")


def is_address(text: str) -> bool:
    """Return whether a text is an https:// or http:// address with a host, and names no user."""
    return bool(_ADDRESS.fullmatch(text)) and _has_place(text)


def is_proxy(text: str) -> bool:
    """Return whether a text is an http:// address of a host, without a path, and names no user."""
    return bool(_PROXY.fullmatch(text)) and _has_place(text)


def _has_place(address: str) -> bool:
    # Every run of the pipeline imports this module, few name an address.
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
