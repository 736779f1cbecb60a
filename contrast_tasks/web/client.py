"""The HTTP client: requests bounded in bytes and in time, over connections that are kept open.

- Redirects are not followed: a 3xx is an answer like any other.
- User-Agent is the only header that is added: no cookies, no credentials of other tools.
- TLS is always verified, against the system's authorities (or SSL_CERT_FILE) and files given by the caller.
- The time limit covers the whole answer, from connecting to the last byte, so a service that trickles bytes is cut off
  too. Only name resolution cannot be interrupted.
- The proxy is the given one, else that of the environment (`https_proxy`, `http_proxy`, `all_proxy`, `no_proxy`, in
  either case). Proxy passwords never appear in messages.
"""

import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from http.client import BadStatusLine, RemoteDisconnected
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import SplitResult, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from contrast_tasks.web.answers import (
    OK,
    Answer,
    AnswerBroken,
    AnswerTooLarge,
    CannotAsk,
    NoAnswer,
    NotTrusted,
)
from contrast_tasks.web.proxies import proxy_headers, proxy_of
from contrast_tasks.web.watch import NoTunnel, Watch, watched_pool

_USER_AGENT = "contrast-tasks"
_CONNECT_S = 10.0
_PIECE_BYTES = 64 * 1024
_MAX_REFUSAL_BYTES = 64 * 1024
_SCHEMES = ("http", "https")
_TOO_LONG = "the answer takes too long"
# A peer that hangs up during the handshake may answer next time.
_LOST = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
# Some are kinds of later ones.
_TOLD: Mapping[type[BaseException], str] = {
    TimeoutError: _TOO_LONG,
    urllib3.exceptions.TimeoutError: _TOO_LONG,
    socket.gaierror: "its name cannot be resolved",
    RemoteDisconnected: "it closed the connection without an answer",
    BadStatusLine: "its answer is no HTTP",
}
_STATUS = re.compile(r"[0-9]{3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Limits on one answer.

    seconds: for the whole answer. piece_s: between two pieces; None: the same as `seconds`.
    """

    max_bytes: int
    seconds: float
    piece_s: float | None = None


class Sink(Protocol):
    """Receives a body, piece by piece as it arrives; a file open for writing is one."""

    def write(self, piece: bytes, /) -> object:
        """Take a piece."""


class HttpClient:
    """Sends requests one at a time and keeps connections open; not thread-safe."""

    def __init__(
        self, *, proxy: str = "", authorities: Sequence[str] = (), with_system: bool = True
    ) -> None:
        """Prepare a client; files are read and connections opened at the first request.

        proxy: URL of the HTTP proxy; overrides the environment. authorities: files or folders of trusted certificate
        authorities. with_system: trust the system's too.
        """
        self._proxy = proxy
        self._authorities = tuple(authorities)
        self._with_system = with_system
        self._watch = Watch()
        self._managers: dict[str, urllib3.PoolManager] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for manager in self._managers.values():
            manager.clear()
        self._watch.forget_closed()

    def ask(
        self,
        url: str,
        bound: Bound,
        *,
        headers: Mapping[str, str] | None = None,
        form: bytes | None = None,
        method: str = "",
        direct: bool = False,
        into: Sink | None = None,
    ) -> Answer:
        """Return the answer to a GET, or to a POST if there is a `form`, whatever its status.

        form: the body, of another kind than a web form if the headers say so. method: another one than these two.
        direct: use no proxy. into: receives the body of a 200 answer, leaving `Answer.body` empty.
        At most 64 KiB are read of the body of other answers. Raises NoAnswer; CannotAsk if asking again does not help.
        """
        try:
            parts = _address(url)
            manager = self._manager(None if direct else proxy_of(parts, self._proxy))
        except ValueError as err:
            raise CannotAsk(f"the address is not understood: {err}") from err
        except OSError as err:
            raise CannotAsk(f"the certificate authorities cannot be read: {_reason(err)}") from err
        sent = {"User-Agent": _USER_AGENT, **(headers or {})}
        if form is not None:
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        piece_s = bound.seconds if bound.piece_s is None else bound.piece_s
        timeout = urllib3.Timeout(connect=min(piece_s, _CONNECT_S), read=piece_s)
        with self._watch.within(bound.seconds):
            try:
                response = manager.urlopen(
                    method or ("GET" if form is None else "POST"),
                    url,
                    body=form,
                    headers=sent,
                    timeout=timeout,
                    retries=False,
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                )
            except (HTTPError, OSError, ValueError) as err:
                raise self._failure(err) from err
            with closing(response):
                merged = response.headers.itermerged()
                received = {name.lower(): value for name, value in merged}
                body = self._body(response, bound.max_bytes, into)
        return Answer(status=response.status, headers=received, body=body)

    def _body(self, response: urllib3.BaseHTTPResponse, max_bytes: int, into: Sink | None) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            for piece in response.stream(_PIECE_BYTES, decode_content=False):
                size += len(piece)
                if response.status != OK and size > _MAX_REFUSAL_BYTES:
                    break
                if size > max_bytes:
                    raise AnswerTooLarge(f"the answer has more than the {max_bytes} bytes wanted")
                if into is not None and response.status == OK:
                    into.write(piece)
                else:
                    pieces.append(piece)
            # A connection that the watch has cut looks like one that the service closed.
            self._watch.require_time()
        except (HTTPError, TimeoutError) as err:
            if self._watch.is_cut or isinstance(_cause(err), TimeoutError):
                raise AnswerBroken(f"{_TOO_LONG}, it broke off after {size} bytes") from err
            raise AnswerBroken(f"the answer broke off after {size} bytes") from err
        return b"".join(pieces)

    def _failure(self, error: Exception) -> NoAnswer:
        cause = _cause(error)
        if self._watch.is_cut:
            return NoAnswer(_TOO_LONG)
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, _LOST):
            return NotTrusted(_reason(cause))
        if _is_other_protocol(cause):
            return CannotAsk(_reason(cause))
        return NoAnswer(_reason(cause))

    def _manager(self, proxy: SplitResult | None) -> urllib3.PoolManager:
        """Return the connection pools for a proxy; None: for direct connections."""
        key = "" if proxy is None else proxy.geturl()
        if key not in self._managers:
            context = _tls_context(self._authorities, with_system=self._with_system)
            if proxy is None:
                manager = urllib3.PoolManager(ssl_context=context)
            else:
                manager = urllib3.ProxyManager(
                    f"{proxy.scheme}://{proxy.netloc.rpartition('@')[2]}",
                    proxy_headers=proxy_headers(proxy),
                    ssl_context=context,
                    proxy_ssl_context=context,
                )
            manager.pool_classes_by_scheme = {
                scheme: watched_pool(pool, self._watch)
                for scheme, pool in manager.pool_classes_by_scheme.items()
            }
            self._managers[key] = manager
        return self._managers[key]


def named_authorities(environ: Mapping[str, str]) -> str:
    """Return the file or folder of certificate authorities that the environment names, "" for none."""
    return environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or ""


def fetch_once(
    url: str,
    bound: Bound,
    *,
    headers: Mapping[str, str] | None = None,
    direct: bool = False,
    proxy: str = "",
    authorities: Sequence[str] = (),
) -> Answer:
    """Return the answer to one GET over a new connection; arguments and errors as `HttpClient.ask`."""
    with HttpClient(proxy=proxy, authorities=authorities) as client:
        return client.ask(url, bound, headers=headers, direct=direct)


def _cause(error: BaseException) -> BaseException:
    """Return the innermost error behind an error of urllib3, usually the operating system's."""
    nested = [*(value for value in error.args if isinstance(value, Exception)), error.__cause__]
    inner = next((value for value in nested if value is not None), None)
    return error if inner is None or isinstance(error, NoTunnel) else _cause(inner)


def _is_other_protocol(cause: BaseException) -> bool:
    is_answer = isinstance(cause, BadStatusLine) and not isinstance(cause, RemoteDisconnected)
    # The status of an answer may have been cut off.
    return is_answer and not str(cause).startswith("HTTP/")


def _reason(error: BaseException) -> str:
    """Return the cause in a few words. The texts of these errors may quote the service, so they are not repeated."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    for kind, told in _TOLD.items():
        if isinstance(error, kind):
            return told
    if isinstance(error, NoTunnel):
        status = _STATUS.search(str(error))
        return f"the proxy gives no tunnel: HTTP status {status[0] if status else 'unknown'}"
    if isinstance(error, ssl.SSLError):
        # Its text names a line of the library's source.
        return f"no TLS connection comes about: {(error.reason or 'SSL').replace('_', ' ').lower()}"
    if isinstance(error, OSError) and error.strerror and error.errno:
        return error.strerror.lower()
    return type(error).__name__


def _address(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ValueError("wanted https:// or http:// and a host")
    if parts.username is not None:
        raise ValueError("it holds a user name, wanted none")
    _ = parts.port  # raises ValueError unless it is a number
    return parts


@cache
def _tls_context(authorities: tuple[str, ...], *, with_system: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not with_system:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name in authorities:
        if Path(name).is_dir():
            context.load_verify_locations(capath=name)
        else:
            context.load_verify_locations(name)
    return context
