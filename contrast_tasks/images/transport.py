"""HTTP for the registry client: retries, redirects, tokens. Nothing here knows what an image is.

Rules, each of which has a test:
- 429, 500, 502, 503, 504, lost connections and truncated answers are tried again, after Retry-After if given;
- credentials go to the host they were looked up for; a redirect to another host, port or scheme loses them for
  good, and one from https to http is refused;
- a token is asked for over https, except by a registry that is itself plain http (loopback only).
"""

import base64
import io
import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

import requests
from requests.cookies import RequestsCookieJar

from contrast_tasks.errors import ImageError
from contrast_tasks.images.credentials import Credential

_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_MAX_WAIT_S = 60.0
_MAX_TOKEN_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 18
_TIMEOUT_S = (10.0, 60.0)  # to connect, and between two pieces of an answer
_OK = 200
_UNAUTHORISED = 401
_FORBIDDEN = 403
_NOT_FOUND = 404
_USER_AGENT = "contrast-tasks"
_PARAMETER = re.compile(r'([A-Za-z_]+)=(?:"([^"]*)"|([^\s,"]+))')


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One GET; `scope` and `registry` say whose credentials it may carry, `subject` names it in errors."""

    url: str
    registry: str
    repository: str
    subject: str
    accept: tuple[str, ...] = ()
    max_bytes: int


class _Transient(Exception):
    """Worth another try, after so many seconds if the server said so."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Transport:
    """A session with one or more registries; not for use from several threads."""

    def __init__(
        self,
        *,
        find_credential: Callable[[str, str], Credential | None],
        sleep: Callable[[float], None],
        attempts: int = 5,
    ) -> None:
        self._find_credential = find_credential
        self._sleep = sleep
        self._attempts = attempts
        self._authorization: dict[tuple[str, str], str] = {}
        self._session = requests.Session()
        self._session.headers["User-Agent"] = _USER_AGENT

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def download(self, request: Request, into: BinaryIO) -> Mapping[str, str]:
        """Write the body of a 200 answer to `into` and return the headers; raise ImageError otherwise."""
        for attempt in range(self._attempts):
            into.seek(0)
            into.truncate()
            try:
                return self._try(request, into)
            except _Transient as problem:
                if attempt + 1 == self._attempts:
                    message = f"{request.subject}: {problem}, {self._attempts} times"
                    raise ImageError(message, hint="try again later") from problem
                wait_s = problem.retry_after_s
                self._sleep(min(0.5 * 2**attempt if wait_s is None else wait_s, _MAX_WAIT_S))
        raise AssertionError("the last attempt returns or raises")

    def _try(self, request: Request, into: BinaryIO) -> Mapping[str, str]:
        place = (request.registry, request.repository)
        headers = {"Accept": ", ".join(request.accept)} if request.accept else {}
        fresh = False
        while True:
            authorization = self._authorization.get(place)
            with self._get(request, headers, authorization) as (answer, is_first_host):
                if answer.status_code == _UNAUTHORISED and is_first_host and not fresh:
                    challenge = answer.headers.get("WWW-Authenticate", "")
                else:
                    _check_status(answer, request)
                    _copy(answer, into, request)
                    return answer.headers
            self._authorization[place] = self._authorise(request, challenge)
            fresh = True

    @contextmanager
    def _get(
        self, request: Request, headers: Mapping[str, str], authorization: str | None
    ) -> Iterator[tuple[requests.Response, bool]]:
        """Follow redirects and give the answer, and whether it comes from the host first asked."""
        url = request.url
        sent = dict(headers)
        if authorization:
            sent["Authorization"] = authorization
        is_first_host = True
        for _ in range(_MAX_REDIRECTS + 1):
            with self._send("GET", url, request, headers=sent) as answer:
                if answer.status_code not in _REDIRECTS:
                    yield answer, is_first_host
                    return
                url, previous = _location(answer, request), url
            if _origin(url) != _origin(previous):
                _check_redirect(previous, url, request.subject)
                sent.pop("Authorization", None)
                is_first_host = False
        raise ImageError(f"{request.subject}: more than {_MAX_REDIRECTS} redirects")

    @contextmanager
    def _send(
        self, method: str, url: str, request: Request, **options: Any
    ) -> Iterator[requests.Response]:
        host = urlsplit(url).hostname or ""
        direct = {"http": "", "https": ""} if is_loopback(host) else None
        self._session.cookies = RequestsCookieJar()
        options["headers"] = {"Accept-Encoding": "identity"} | options.get("headers", {})
        try:
            answer = self._session.request(
                method,
                url,
                auth=_leave_alone,
                allow_redirects=False,
                stream=True,
                timeout=_TIMEOUT_S,
                proxies=direct,
                **options,
            )
        except requests.exceptions.SSLError as err:
            raise ImageError(f"{request.subject}: no trusted TLS connection to {host}") from err
        except (requests.ConnectionError, requests.Timeout) as err:
            raise _Transient(f"no answer from {urlsplit(url).netloc}") from err
        except (requests.RequestException, ValueError) as err:
            raise ImageError(f"{request.subject}: cannot ask {url!r}: {err}") from err
        with answer:
            yield answer

    def _authorise(self, request: Request, challenge: str) -> str:
        """Return the Authorization header that answers a challenge."""
        credential = self._find_credential(request.registry, request.repository)
        scheme, _, rest = challenge.strip().partition(" ")
        if scheme.lower() == "basic":
            if credential is None:
                raise _no_access(request, "it wants a user name and password")
            return _basic(credential)
        if scheme.lower() != "bearer":
            raise _no_access(request, f"it asks for {scheme or 'nothing'!r}, which is unknown")
        parameters: dict[str, str] = {}
        for name, quoted, bare in _PARAMETER.findall(rest):
            parameters.setdefault(name.lower(), quoted or bare)
        realm = parameters.get("realm", "")
        if not _is_token_service(realm, request.url):
            raise _no_access(request, f"its token service is {realm!r}, wanted an https address")
        return f"Bearer {self._token(request, realm, parameters, credential)}"

    def _token(
        self,
        request: Request,
        realm: str,
        parameters: Mapping[str, str],
        credential: Credential | None,
    ) -> str:
        scope = parameters.get("scope") or f"repository:{request.repository}:pull"
        query = {"service": parameters.get("service", ""), "scope": scope}
        if credential is not None and credential.identity_token:
            form = query | {
                "grant_type": "refresh_token",
                "client_id": _USER_AGENT,
                "refresh_token": credential.identity_token,
            }
            sent = self._send("POST", realm, request, data=form)
        else:
            headers = {} if credential is None else {"Authorization": _basic(credential)}
            sent = self._send("GET", realm, request, params=query, headers=headers)
        with sent as answer:
            status = answer.status_code
            if status in _TRANSIENT:
                message = f"the token service {urlsplit(realm).netloc} answered {status}"
                raise _Transient(message, _retry_after_s(answer))
            if status != _OK:
                raise _no_access(request, f"its token service answered {status}")
            token = _token_of(_body(answer, _MAX_TOKEN_BYTES))
        if token is None:
            raise _no_access(request, "its token service gave no token")
        return token


def is_loopback(host: str | None) -> bool:
    """Return whether a host name or address means this machine; such registries are asked over plain http."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address((host or "").strip("[]")).is_loopback
    except ValueError:
        return False


def _leave_alone(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    """Add nothing: without an `auth` requests would look for passwords in ~/.netrc."""
    return prepared


def _basic(credential: Credential) -> str:
    text = f"{credential.username}:{credential.password}"
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or default


def _location(answer: requests.Response, request: Request) -> str:
    """Return the address a redirect names; raise ImageError unless it is one."""
    location = answer.headers.get("Location", "")
    try:
        url = urljoin(answer.url, location)
        _origin(url)
    except ValueError as err:
        found = f"redirected to {location!r}, which is no address"
        raise ImageError(f"{request.subject}: {found}") from err
    return url


def _is_token_service(realm: str, registry_url: str) -> bool:
    """Return whether a password may be sent there; the realm is the registry's word."""
    try:
        scheme, host, _ = _origin(realm)
    except ValueError:
        return False
    is_plain = scheme == "http" and urlsplit(registry_url).scheme == "http" and is_loopback(host)
    return bool(host) and (scheme == "https" or is_plain)


def _check_redirect(before: str, after: str, subject: str) -> None:
    target = urlsplit(after)
    plain_is_fine = urlsplit(before).scheme == "http"
    if target.scheme != "https" and not (target.scheme == "http" and plain_is_fine):
        raise ImageError(
            f"{subject}: redirected to {target.scheme}://{target.netloc}, wanted https"
        )


def _check_status(answer: requests.Response, request: Request) -> None:
    status = answer.status_code
    host = urlsplit(answer.url).netloc
    if status == _OK:
        return
    if status in _TRANSIENT:
        raise _Transient(f"{host} answered {status}", _retry_after_s(answer))
    if status in {_UNAUTHORISED, _FORBIDDEN}:
        raise _no_access(request, f"{host} answered {status}{_reason(answer)}")
    hint = "check the spelling of name and tag" if status == _NOT_FOUND else ""
    raise ImageError(f"{request.subject}: {host} answered {status}{_reason(answer)}", hint=hint)


def _no_access(request: Request, problem: str) -> ImageError:
    hint = f"log in, for example with 'docker login {request.registry}'"
    return ImageError(f"{request.subject}: no access to {request.registry}: {problem}", hint=hint)


def _retry_after_s(answer: requests.Response) -> float | None:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdecimal() else None


def _reason(answer: requests.Response) -> str:
    """Return the registry's own error code in brackets, as ` (MANIFEST_UNKNOWN)`."""
    try:
        code = _json(_body(answer, _MAX_TOKEN_BYTES))["errors"][0]["code"]
    except (_Transient, ImageError, KeyError, IndexError, TypeError):
        return ""
    return f" ({code})" if re.fullmatch(r"[A-Z_]{1,40}", str(code)) else ""


def _token_of(body: bytes) -> str | None:
    document = _json(body)
    token = document.get("token") or document.get("access_token")
    # It becomes a header, so only what a header may hold.
    return token if isinstance(token, str) and re.fullmatch(r"[\x21-\x7e]+", token) else None


def _json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _body(answer: requests.Response, max_bytes: int) -> bytes:
    buffer = io.BytesIO()
    request = Request(url="", registry="", repository="", subject="", max_bytes=max_bytes)
    _copy(answer, buffer, request)
    return buffer.getvalue()


def _copy(answer: requests.Response, into: BinaryIO, request: Request) -> None:
    size = 0
    try:
        for chunk in answer.iter_content(_CHUNK_BYTES):
            size += len(chunk)
            if size > request.max_bytes:
                found = f"the answer has more than the {request.max_bytes} bytes wanted"
                raise ImageError(f"{request.subject}: {found}")
            into.write(chunk)
    except (requests.RequestException, OSError) as err:
        raise _Transient(f"the answer broke off after {size} bytes") from err
