"""HTTP as registries use it: retries, redirects, tokens.

Rules, each with a test:
- 429, 500, 502, 503, 504, lost connections and truncated answers are tried again, after Retry-After if given;
- credentials are sent only to the host they belong to; after a redirect to another host, port or scheme they are not
  sent again, and a redirect from https to http is refused;
- tokens are requested over https, or over http if the registry itself uses it (loopback only);
- of several challenges Bearer is answered first, then Basic, each once for one request; others are passed over.
"""

import base64
import io
import ipaddress
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urlencode, urljoin, urlsplit

import certifi

from contrast_tasks.decode import DecodeError, Json, parse_json
from contrast_tasks.errors import ImageError
from contrast_tasks.images.challenges import Challenge, parse_challenges
from contrast_tasks.images.credentials import Credential
from contrast_tasks.web.answers import (
    OK,
    Answer,
    AnswerBroken,
    AnswerTooLarge,
    CannotAsk,
    NoAnswer,
    NotTrusted,
    retry_after_s,
)
from contrast_tasks.web.client import Bound, HttpClient, named_authorities
from contrast_tasks.web.retries import GaveUp, Passing, Retries

_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_MAX_WAIT_S = 60.0
_MAX_TOKEN_BYTES = 1 << 20
_PIECE_S = 60.0  # to connect, and between two pieces of an answer
_SLOWEST_BYTES_PER_S = 16 * 1024
_UNAUTHORISED = 401
_FORBIDDEN = 403
_NOT_FOUND = 404
_WRONG_METHOD = 405
_CLIENT_ID = "contrast-tasks"
_MOST_SAID = 200  # characters of a registry's own message


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; `registry` and `repository`: whose credentials it may carry; `subject`: its name in errors.

    method, body, media_type: of a request that writes; expected: the status codes of success.
    """

    url: str
    registry: str
    repository: str
    subject: str
    accept: tuple[str, ...] = ()
    max_bytes: int
    method: str = "GET"
    body: bytes | None = None
    media_type: str = ""
    expected: frozenset[int] = frozenset({OK})


class NotThere(ImageError):
    """A registry has nothing of this name, tag or digest."""


class _NoToken(Exception):
    """A token service gives no token; the text says why."""


class Transport:
    """A session with one or more registries; not thread-safe."""

    def __init__(
        self,
        *,
        find_credential: Callable[[str, str], Credential | None],
        sleep: Callable[[float], None],
        attempts: int = 5,
    ) -> None:
        self._find_credential = find_credential
        self._retries = Retries(
            sleep=sleep,
            monotonic=time.monotonic,
            attempts=attempts,
            first_pause_s=0.5,
            longest_pause_s=_MAX_WAIT_S,
            longest_asked_s=_MAX_WAIT_S,
        )
        self._authorization: dict[tuple[str, str], str] = {}
        self._client = _client(os.environ)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def download(self, request: Request, into: BinaryIO) -> Mapping[str, str]:
        """Write the body of a 200 answer to `into`; return the headers, names in lower case. Raises ImageError."""
        try:
            answer = self._retries.run(lambda: self._attempt(request, into), tell=lambda _: None)
        except GaveUp as err:
            message = f"{request.subject}: {err}, {self._retries.attempts} times"
            raise ImageError(message, hint="try again later") from err
        return answer.headers

    def send(self, request: Request) -> Answer:
        """Return the answer to a request that writes, or that asks for headers; its status is an expected one.

        Raises ImageError.
        """
        with io.BytesIO() as nothing:
            try:
                return self._retries.run(
                    lambda: self._attempt(request, nothing), tell=lambda _: None
                )
            except GaveUp as err:
                message = f"{request.subject}: {err}, {self._retries.attempts} times"
                raise ImageError(message, hint="try again later") from err

    def _attempt(self, request: Request, into: BinaryIO) -> Answer:
        place = (request.registry, request.repository)
        answer, host, has_left = self._follow(request, into, self._authorization.get(place))
        tried: set[str] = set()
        while answer.status == _UNAUTHORISED and not has_left:
            challenges = parse_challenges(answer.headers.get("www-authenticate", ""))
            authorization = self._authorise(request, challenges, tried)
            if authorization is None:
                break
            self._authorization[place] = authorization
            answer, host, has_left = self._follow(request, into, authorization)
        _check_status(answer, host, request)
        return answer

    def _follow(
        self, request: Request, into: BinaryIO, authorization: str | None
    ) -> tuple[Answer, str, bool]:
        """Return the first answer that is not a redirect, its host, and whether a redirect led to another host."""
        url, has_left = request.url, False
        headers = {"Accept": ", ".join(request.accept)} if request.accept else {}
        if authorization:
            headers["Authorization"] = authorization
        if request.media_type:
            headers["Content-Type"] = request.media_type
        for _ in range(_MAX_REDIRECTS + 1):
            into.seek(0)
            into.truncate()
            answer = self._ask(
                url,
                request,
                max(request.max_bytes, len(request.body or b"")),
                headers=headers,
                form=request.body,
                method=request.method,
                into=into,
            )
            if answer.status not in _REDIRECTS:
                return answer, urlsplit(url).netloc, has_left
            url, previous = _location(answer, url, request), url
            if _origin(url) != _origin(previous):
                _check_redirect(previous, url, request.subject)
                headers.pop("Authorization", None)
                has_left = True
        raise ImageError(f"{request.subject}: more than {_MAX_REDIRECTS} redirects")

    def _ask(
        self,
        url: str,
        request: Request,
        max_bytes: int,
        *,
        headers: Mapping[str, str] | None = None,
        form: bytes | None = None,
        method: str = "",
        into: BinaryIO | None = None,
    ) -> Answer:
        parts = urlsplit(url)
        seconds = _PIECE_S + max_bytes / _SLOWEST_BYTES_PER_S
        bound = Bound(max_bytes=max_bytes, seconds=seconds, piece_s=_PIECE_S)
        direct = is_loopback(parts.hostname)
        try:
            return self._client.ask(
                url, bound, headers=headers, form=form, method=method, direct=direct, into=into
            )
        except NotTrusted as err:
            raise ImageError(
                f"{request.subject}: no trusted TLS connection to {parts.hostname}"
            ) from err
        except AnswerTooLarge as err:
            raise ImageError(f"{request.subject}: {err}") from err
        except CannotAsk as err:
            raise ImageError(f"{request.subject}: cannot ask {url!r}: {err}") from err
        except AnswerBroken as err:
            raise Passing(str(err)) from err
        except NoAnswer as err:
            raise Passing(f"no answer from {parts.netloc}") from err

    def _authorise(
        self, request: Request, challenges: Sequence[Challenge], tried: set[str]
    ) -> str | None:
        """Return the Authorization header that answers one of the challenges, None if all were answered before.

        tried: schemes that were answered for this request; the new one is added.
        """
        credential = self._find_credential(request.registry, request.repository)
        offered = {each.scheme: each for each in reversed(challenges)}
        bearer, has_basic = offered.get("bearer"), "basic" in offered
        has_password = credential is not None and bool(credential.username)
        if bearer is not None and "bearer" not in tried:
            tried.add("bearer")
            try:
                return f"Bearer {self._token(request, bearer.parameters, credential)}"
            except _NoToken as err:
                if not (has_basic and has_password and "basic" not in tried):
                    raise _no_access(request, str(err)) from err
        if has_basic and "basic" not in tried:
            tried.add("basic")
            if credential is None or not has_password:
                raise _no_access(request, "it wants a user name and password")
            return _basic(credential)
        if not tried:
            asked = ", ".join(offered) or "nothing"
            raise _no_access(request, f"it asks for {asked!r}, which is unknown")
        return None

    def _token(
        self, request: Request, parameters: Mapping[str, str], credential: Credential | None
    ) -> str:
        """Return a token of the service that a challenge names; raises _NoToken, with what it says, if it gives none."""
        realm = parameters.get("realm", "")
        if not _is_token_service(realm, request.url):
            raise _NoToken(f"its token service is {realm!r}, wanted an https address")
        scope = parameters.get("scope") or f"repository:{request.repository}:pull"
        if request.method != "GET":
            # One token for all requests of a push, of which some only read.
            scope = f"repository:{request.repository}:pull,push"
        query = {"service": parameters.get("service", ""), "scope": scope}
        if credential is not None and credential.identity_token:
            secret = {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
            answer = self._post(request, realm, query | secret)
        else:
            headers = {} if credential is None else {"Authorization": _basic(credential)}
            url = f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(query)}"
            answer = self._ask(url, request, _MAX_TOKEN_BYTES, headers=headers)
            if answer.status == _WRONG_METHOD and credential is not None:
                secret = {"username": credential.username, "password": credential.password}
                answer = self._post(request, realm, query | {"grant_type": "password"} | secret)
        if answer.status in _TRANSIENT:
            host = urlsplit(realm).netloc
            message = f"the token service {host} answered {answer.status}{_said_in(answer)}"
            raise Passing(message, asked_s=retry_after_s(answer))
        if answer.status != OK:
            raise _NoToken(f"its token service answered {answer.status}{_said_in(answer)}")
        token = _token_of(answer.body)
        if token is None:
            raise _NoToken("its token service gave no token")
        return token

    def _post(self, request: Request, realm: str, query: Mapping[str, str]) -> Answer:
        form = urlencode({**query, "client_id": _CLIENT_ID}).encode()
        return self._ask(realm, request, _MAX_TOKEN_BYTES, form=form)


def _client(environ: Mapping[str, str]) -> HttpClient:
    """Return a client that trusts only the authorities of REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, by default the usual ones."""
    named = named_authorities(environ)
    return HttpClient(authorities=(named or certifi.where(),), with_system=not named)


def is_loopback(host: str | None) -> bool:
    """Return whether a host name or address is this machine; its registries are accessed over plain http."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address((host or "").strip("[]")).is_loopback
    except ValueError:
        return False


def _basic(credential: Credential) -> str:
    text = f"{credential.username}:{credential.password}"
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or default


def _location(answer: Answer, url: str, request: Request) -> str:
    """Return the target of a redirect; raises ImageError if it is not an address."""
    location = answer.headers.get("location", "")
    try:
        target = urljoin(url, location)
        _origin(target)
    except ValueError as err:
        found = f"redirected to {location!r}, which is not an address"
        raise ImageError(f"{request.subject}: {found}") from err
    return target


def _is_token_service(realm: str, registry_url: str) -> bool:
    """Return whether a password may be sent to `realm`, which the registry chooses."""
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


def _check_status(answer: Answer, host: str, request: Request) -> None:
    status = answer.status
    if status in request.expected:
        return
    if status in _TRANSIENT:
        raise Passing(f"{host} answered {status}{_said_in(answer)}", asked_s=retry_after_s(answer))
    code = _said_in(answer)
    if status in {_UNAUTHORISED, _FORBIDDEN}:
        raise _no_access(request, f"{host} answered {status}{code}")
    message = f"{request.subject}: {host} answered {status}{code}"
    if status == _NOT_FOUND:
        raise NotThere(message, hint="check the spelling of name and tag")
    raise ImageError(message)


def _no_access(request: Request, problem: str) -> ImageError:
    hint = f"log in, for example with 'docker login {request.registry}'"
    return ImageError(f"{request.subject}: no access to {request.registry}: {problem}", hint=hint)


def _said_in(answer: Answer) -> str:
    """Return the registry's own code and message in brackets, as ` (MANIFEST_UNKNOWN: no such tag)`, "" without them.

    It may write anything, so the message is shown as text in quotes, without line breaks and not without end.
    """
    try:
        error = parse_json(answer.body).at("errors").items()[0]
        code, message = _line(error.filled("code")), _line(error.filled("message"))
    except (DecodeError, IndexError):
        code, message = "", ""
    if not code:
        challenges = parse_challenges(answer.headers.get("www-authenticate", ""))
        code = next(
            (each.parameters["error"] for each in challenges if "error" in each.parameters), ""
        )
    if not re.fullmatch(r"[A-Za-z_]{1,40}", code):
        code = ""
    shown = ascii(message) if message and message.casefold() != code.casefold() else ""
    said = ": ".join(part for part in (code, shown) if part)
    return f" ({said})" if said else ""


def _line(place: Json | None) -> str:
    text = place.text() if place else ""
    return text if len(text) <= _MOST_SAID else f"{text[:_MOST_SAID]}..."


def _token_of(body: bytes) -> str | None:
    try:
        document = parse_json(body)
        token = document.filled("token") or document.at("access_token")
        # It becomes a header, so it must not contain blanks or line breaks.
        return token.text() if re.fullmatch(r"[\x21-\x7e]+", token.text()) else None
    except DecodeError:
        return None
