"""One HTTP GET as vendors' services need it: no redirects, no credentials, bounded in bytes and in time.

Written on the standard library, because guests and the Coordinator fetch too, and their images do without `requests`. The bound on
time holds for the whole answer: a service that sends a byte now and then is cut off like one that sends nothing.

Proxies come from the environment (`https_proxy`, `http_proxy`, `all_proxy`, `no_proxy`, in both cases of letters), trusted authorities from the
system or `SSL_CERT_FILE`. Neither is trusted with more than being there: what comes is verified against pinned roots.
"""

import base64
import re
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from http.client import HTTPConnection, HTTPException, IncompleteRead
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from contrast_tasks.attestation.endorsements.fetch import (
    MAXIMUM_BODY_BYTES,
    Answer,
    CannotAsk,
    FetchFailed,
)

_PIECE_BYTES = 64 * 1024
# What http.client says where a proxy does not answer CONNECT with 200.
_NO_TUNNEL = re.compile(r"Tunnel connection failed: ([0-9]{3})")
_PORTS = {"http": 80, "https": 443}


def http_get(
    url: str,
    timeout_s: float,
    *,
    headers: Mapping[str, str] | None = None,
    direct: bool = False,
    proxy: str = "",
    authorities: Sequence[str] = (),
) -> Answer:
    """Ask for one address and return the answer, whatever its status; at most 4 MiB and one byte of its body.

    direct: through no proxy, as for link-local addresses. proxy: in place of the environment's. authorities: files of certificate authorities that are trusted besides.
    Raises FetchFailed with the cause in a few words, CannotAsk where asking again does not help.
    """
    try:
        parts = urlsplit(url)
        through = None if direct else _proxy_of(parts, proxy)
        connection = _connection(parts, timeout_s, through, tuple(authorities))
        target = connection.target_of(parts)
    except ValueError as err:
        raise CannotAsk(f"the address is not understood: {err}") from err
    except OSError as err:
        raise CannotAsk(f"what TLS needs cannot be read: {_words(err)}") from err
    watch = threading.Timer(timeout_s, connection.cut)
    watch.daemon = True
    watch.start()
    try:
        sent = {"User-Agent": "contrast-tasks", **(headers or {}), **connection.extra}
        connection.request("GET", target, headers=sent)
        answer = _answer(connection)
        # A connection that was cut looks like one that the service ended.
        connection.require_time()
    except (OSError, HTTPException, ValueError) as err:
        if connection.is_cut:
            raise FetchFailed("the answer takes too long") from err
        raise FetchFailed(_words(err)) from err
    else:
        return answer
    finally:
        watch.cancel()
        connection.close()


def _answer(connection: HTTPConnection) -> Answer:
    with connection.getresponse() as response:
        body = bytearray()
        while piece := response.read1(_PIECE_BYTES):
            body += piece
            if len(body) > MAXIMUM_BODY_BYTES:
                break
        else:
            if response.length:  # what is still due of the length that was told
                raise IncompleteRead(bytes(body), response.length)
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, headers=found, body=bytes(body))


def _words(error: Exception) -> str:
    """Return the cause in a few words; the texts of these errors may hold whatever the service sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "the answer takes too long"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, OSError) and error.strerror and error.errno:
        return error.strerror.lower()
    if refused := _NO_TUNNEL.match(str(error)):
        return f"the proxy gives no tunnel: HTTP status {refused[1]}"
    return type(error).__name__


class _Connection(HTTPConnection):
    """A connection to a service or its proxy that can be cut by another thread while it waits."""

    def __init__(
        self, host: str, port: int, timeout_s: float, *, context: ssl.SSLContext | None, name: str
    ) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self.is_cut = False
        self._context = context
        self._name = name
        self.to_proxy: Mapping[str, str] | None = None

    def connect(self) -> None:
        super().connect()
        if self._context is not None:
            # The handshake comes after the assignment, so that `cut` reaches a service that never ends it.
            self.sock = self._context.wrap_socket(
                self.sock, server_hostname=self._name, do_handshake_on_connect=False
            )
            self.require_time()
            self.sock.do_handshake()
        self.require_time()

    def target_of(self, parts: SplitResult) -> str:
        """Return what stands in the request line: the path, or all of it where a proxy is to see it."""
        path = parts.path or "/"
        path = f"{path}?{parts.query}" if parts.query else path
        if not self._speaks_to_proxy:
            return path
        return f"{parts.scheme}://{parts.netloc}{path}"

    @property
    def extra(self) -> Mapping[str, str]:
        """Return the headers of a request besides its own: a proxy that sees it is told who asks."""
        return (self.to_proxy or {}) if self._speaks_to_proxy else {}

    @property
    def _speaks_to_proxy(self) -> bool:
        return self.to_proxy is not None and self._context is None

    def require_time(self) -> None:
        """Raise TimeoutError if the connection was cut."""
        if self.is_cut:
            raise TimeoutError

    def cut(self) -> None:
        """End whatever the connection waits for; it raises in the thread that waits."""
        self.is_cut = True
        held = self.sock
        if held is not None:
            try:
                # Not TLS's own shutdown, which would pull its state from under the waiting thread.
                socket.socket.shutdown(held, socket.SHUT_RDWR)
            except OSError:
                return


def _connection(
    parts: SplitResult,
    timeout_s: float,
    proxy: SplitResult | None,
    authorities: tuple[str, ...],
) -> _Connection:
    host = parts.hostname
    if parts.scheme not in _PORTS or not host:
        raise ValueError("wanted https:// or http:// and a host")
    if parts.username is not None:
        raise ValueError("it names a user, wanted none")
    port = parts.port or _PORTS[parts.scheme]
    context = _trusting(authorities) if parts.scheme == "https" else None
    if proxy is None:
        return _Connection(host, port, timeout_s, context=context, name=host)
    if proxy.scheme != "http" or not proxy.hostname:
        raise ValueError(f"the proxy for {parts.scheme} is not an http:// address")
    through: dict[str, str] = {}
    if proxy.username is not None:
        who = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        through = {"Proxy-Authorization": f"Basic {base64.b64encode(who.encode()).decode()}"}
    made = _Connection(
        proxy.hostname, proxy.port or _PORTS["http"], timeout_s, context=context, name=host
    )
    made.to_proxy = through
    if context is not None:
        made.set_tunnel(host, port, headers=through)
    return made


def _proxy_of(parts: SplitResult, given: str) -> SplitResult | None:
    """Return the proxy for a service, the given one or the environment's, None if it is reached directly."""
    proxies = getproxies()
    address = given or proxies.get(parts.scheme) or proxies.get("all")
    if not address or proxy_bypass(parts.hostname or ""):
        return None
    try:
        found = urlsplit(address if "://" in address else f"http://{address}")
        _ = found.port
    except ValueError:
        # Its text quotes what may be part of a password.
        raise ValueError("the proxy's has no host and port that can be read") from None
    return found


@cache
def _trusting(authorities: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for name in authorities:
        context.load_verify_locations(name)
    return context
