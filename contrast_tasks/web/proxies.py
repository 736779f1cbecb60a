"""The proxy for a request: the given one, else that of the environment."""

import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from urllib3.util import make_headers


def proxy_of(parts: SplitResult, given: str) -> SplitResult | None:
    """Return the proxy for a service; None: connect directly. given: overrides the environment, "" for none."""
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
        # The error's own text may quote part of a password.
        raise ValueError("the proxy address has no valid host and port") from None
    if proxy.scheme not in {"http", "https"} or not proxy.hostname:
        raise ValueError(f"the proxy for {parts.scheme} is not an http:// or https:// address")
    return proxy


def _is_in_network(host: str, no_proxy: str) -> bool:
    """Return whether a host is an address in one of the networks in `no_proxy`, as 10.0.0.0/8."""
    for entry in no_proxy.split(","):
        with suppress(ValueError):
            network = ipaddress.ip_network(entry.strip(), strict=False)
            if "/" in entry and ipaddress.ip_address(host) in network:
                return True
    return False


def proxy_headers(proxy: SplitResult) -> Mapping[str, str]:
    """Return the authentication headers for a proxy, none if its address holds no user name."""
    if proxy.username is None:
        return {}
    return make_headers(
        proxy_basic_auth=f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    )
