"""Subject alternative names: what kind a text is.

Source: spec/coordinator.md 7.2 (IP, then URI with scheme, else DNS); RFC 1123 and RFC 5890 for names.
"""

import re
from typing import Literal

SanKind = Literal["ip", "uri", "dns"]

_DECIMAL_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_DECIMAL_OCTET}(?:\.{_DECIMAL_OCTET}){{3}}")
_IPV6_LETTERS = re.compile(r"[0-9A-Fa-f:.]*")
# `web:8080` is a host and a port, which no certificate can name.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?![0-9]+$)[!-~]+")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS = re.compile(rf"\*|(?:\*\.)?{_LABEL}(?:\.{_LABEL})*\.?")
_ALL_NUMERIC = re.compile(r"(?:.*\.)?[0-9]+\.?")
_DNS_MAX = 253


def san_kind(text: str) -> SanKind | None:
    """Return whether `text` names an IP address, a URI with a scheme or a DNS name (`*` included), else None.

    A name whose last label is a number is a mistyped address, not a DNS name.
    """
    if _IPV4.fullmatch(text):
        return "ip"
    if ":" in text and _IPV6_LETTERS.fullmatch(text):
        return "ip" if _is_ipv6(text) else None
    if _URI.fullmatch(text):
        return "uri"
    if len(text) <= _DNS_MAX and _DNS.fullmatch(text) and not _ALL_NUMERIC.fullmatch(text):
        return "dns"
    return None


def _is_ipv6(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
