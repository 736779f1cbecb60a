"""Subject alternative names: IP addresses, URIs and DNS names.

Source: docs/internals/coordinator.md 7.2 (IP, then URI with scheme, else DNS); RFC 1123 and RFC 5890 for names.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

SanKind = Literal["ip", "uri", "dns"]

# Every run imports this module and few use it, so patterns are compiled on first use.
_DECIMAL_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"{_DECIMAL_OCTET}(?:\.{_DECIMAL_OCTET}){{3}}"
_IPV6_LETTERS = r"[0-9A-Fa-f:.]*"
# `web:8080` is a host and a port, which no certificate can name.
_URI = r"[A-Za-z][A-Za-z0-9+.-]*:(?![0-9]+$)[!-~]+"
# What Go parses of a URI, which refuses a whole certificate for one that it cannot parse: escapes, and behind two slashes a host.
_SOUND = r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})*"
_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
_AUTHORITY = rf"//(?:[^/?#@]*@)?(?:{_HOST})?(?::[0-9]*)?(?:[/?#].*)?"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS = rf"\*|(?:\*\.)?{_LABEL}(?:\.{_LABEL})*\.?"
_ALL_NUMERIC = r"(?:.*\.)?[0-9]+\.?"
_DNS_MAX = 253

# The same rules for editors; of an IPv6 address only the characters are checked.
SCHEMA: Mapping[str, Any] = {
    "type": "string",
    "anyOf": [
        {"description": "IPv4 address", "pattern": f"^{_IPV4}$"},
        {"description": "IPv6 address", "pattern": r"^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$"},
        {"description": "URI", "pattern": rf"^(?!{_IPV6_LETTERS}$){_URI}$"},
        {
            "description": "DNS name",
            "pattern": f"^(?:{_DNS})$",
            "maxLength": _DNS_MAX,
            "not": {"pattern": f"^{_ALL_NUMERIC}$"},
        },
    ],
}


def san_kind(text: str) -> SanKind | None:
    """Return the kind of a name: IP address, URI with a scheme, DNS name (or `*`); None if it is none of them.

    A name whose last label is a number is a mistyped address, not a DNS name.
    """
    if ":" in text:
        if re.fullmatch(_IPV6_LETTERS, text):
            return "ip" if _is_ipv6(text) else None
        return "uri" if re.fullmatch(_URI, text) else None
    if re.fullmatch(_ALL_NUMERIC, text):
        return "ip" if re.fullmatch(_IPV4, text) else None
    return "dns" if len(text) <= _DNS_MAX and re.fullmatch(_DNS, text) else None


def is_unsound_uri(text: str) -> bool:
    """Return whether a name is a URI for which some verifiers refuse the whole certificate."""
    if san_kind(text) != "uri":
        return False
    rest = text.partition(":")[2]
    is_sound = re.fullmatch(_SOUND, rest) and (
        not rest.startswith("//") or re.fullmatch(_AUTHORITY, rest)
    )
    return not is_sound


def _is_ipv6(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
