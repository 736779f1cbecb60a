"""Which proxy a request goes through: the one that is given, or the one that the environment names."""

import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from urllib3.util import make_headers


def proxy_of(parts: SplitResult, given: str) -> SplitResult | None:
    """Return the proxy for a service, the given one or the environment's, None if it is reached directly."""
    proxies = getproxies()
    address = given or proxies.get(parts.scheme) or proxies.get("all")
    host = parts.hostname or ""
    if not address or proxy_bypass(host) or proxy_bypass(parts.netloc):
        return None
    if _is_in_network(host, proxies.get("no", "")):
        return None
    try:
        proxy = urlsplit(address if "://" in address else f"http://{address}")
        _ = proxy.port
    except ValueError:
        # Its text quotes what may be part of a password.
        raise ValueError("the proxy's has no host and port that can be read") from None
    if proxy.scheme not in {"http", "https"} or not proxy.hostname:
        raise ValueError(f"the proxy for {parts.scheme} is not an http:// or https:// address")
    return proxy


def _is_in_network(host: str, no_proxy: str) -> bool:
    """Return whether a host is an address in one of the networks that `no_proxy` names, as 10.0.0.0/8."""
    for entry in no_proxy.split(","):
        with suppress(ValueError):
            network = ipaddress.ip_network(entry.strip(), strict=False)
            if "/" in entry and ipaddress.ip_address(host) in network:
                return True
    return False


def proxy_headers(proxy: SplitResult) -> Mapping[str, str]:
    """Return the headers that tell a proxy who asks, none if its address names nobody."""
    if proxy.username is None:
        return {}
    return make_headers(
        proxy_basic_auth=f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    )
