"""Fetch and cache what vendors publish about their processors: certificates, revocation lists, collateral.

Revocation lists are fetched every time; the cached copy serves only if the vendor gives no acceptable answer. Everything else
never changes under its address, so the cached copy serves first.

Every answer, from network or disk, must pass the caller's check. A forged or damaged copy is dropped. A copy outside its
period stays, since it may be valid at another time. An older answer never replaces a newer one. A vendor that limits its rate
says how long to wait; we wait within a time budget.

Nothing is fetched during a handshake: verification reads the cache through `Endorsements.cached`, which never waits.

Source: docs/internals/attestation.md 2.5 (caching rules, retries) and 3.4.
"""

import base64
import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from contrast_tasks.attestation.errors import is_about_time
from contrast_tasks.decode import parse_json
from contrast_tasks.errors import ContrastError, EvidenceRejected
from contrast_tasks.files import canonical_json, sha256_hex, write_atomic
from contrast_tasks.web.answers import (
    OK,
    REDIRECTS,
    SERVER_ERRORS,
    TOO_MANY_REQUESTS,
    Answer,
    AnswerTooLarge,
    CannotAsk,
    NoAnswer,
    retry_after_s,
)
from contrast_tasks.web.retries import GaveUp, Passing, Retries

MAXIMUM_BODY_BYTES = 4 * 1024 * 1024
BUDGET_S = 120.0
REQUEST_TIMEOUT_S = 20.0
# More than a body in base64 with its headers and address.
_MAXIMUM_FILE_BYTES = 4 * MAXIMUM_BODY_BYTES

T = TypeVar("T")


class EndorsementUnavailable(ContrastError):
    """A vendor's service did not answer a request, and no cached copy serves.

    retry_after_s: how long the service asked to wait, 0 if it did not.
    """

    exit_code = 41

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


Get = Callable[[str, float], Answer]
"""URL and timeout in seconds to an answer; follows no redirects, reads at most MAXIMUM_BODY_BYTES, raises NoAnswer."""


class Freshness(Enum):
    """Whether the network or the cache comes first."""

    NETWORK_FIRST = "network first"
    CACHE_FIRST = "cache first"


class Cache(Protocol):
    """Stores answers by address."""

    def get(self, url: str) -> Answer | None:
        """Return the stored answer of an address, None if there is none."""

    def put(self, url: str, answer: Answer) -> None:
        """Store an answer."""

    def drop(self, url: str) -> None:
        """Forget an address."""


class EndorsementCache:
    """Stores each answer in one file; files are replaced as a whole, so processes can share a folder."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which is made on the first write."""
        self._folder = folder

    def path_of(self, url: str) -> Path:
        """Return the file for an address."""
        return self._folder / f"{sha256_hex(url.encode())}.json"

    def get(self, url: str) -> Answer | None:
        """Return the stored answer of an address; a file of another form counts as absent."""
        entry = _read_entry(self.path_of(url))
        return entry[1] if entry is not None and entry[0] == url else None

    def entries(self) -> Iterator[tuple[str, Answer]]:
        """Yield every stored address with its answer; files of another form are skipped."""
        for path in sorted(self._folder.glob("*.json")):
            entry = _read_entry(path)
            if entry is not None and self.path_of(entry[0]) == path:
                yield entry

    def put(self, url: str, answer: Answer) -> None:
        """Store an answer; if the folder cannot be written, it will be fetched again."""
        document = {
            "url": url,
            "headers": dict(answer.headers),
            "body": base64.b64encode(answer.body).decode(),
        }
        with contextlib.suppress(OSError):
            write_atomic(self.path_of(url), canonical_json(document))

    def drop(self, url: str) -> None:
        """Forget an address."""
        with contextlib.suppress(OSError):
            self.path_of(url).unlink(missing_ok=True)


def _read_entry(path: Path) -> tuple[str, Answer] | None:
    """Return address and answer in a file of the cache, None if it is absent or of another form."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAXIMUM_FILE_BYTES + 1)
        if len(content) > _MAXIMUM_FILE_BYTES:
            return None
        document = parse_json(content)
        headers = {name: value.text() for name, value in document.at("headers").members()}
        body = base64.b64decode(document.at("body").text(), validate=True)
        return document.at("url").text(), Answer(status=OK, headers=headers, body=body)
    except (OSError, ValueError):  # DecodeError and the errors of base64 are ValueErrors
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How the vendors' services are reached.

    get: None if offline. mirrors: address prefix to its replacement; the cache uses the vendor's address.
    sleep, monotonic: in seconds, for retries within the budget. tell: called with a line for the user before a wait.
    """

    get: Get | None
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    mirrors: Mapping[str, str] = field(default_factory=dict)
    budget_s: float = BUDGET_S
    tell: Callable[[str], None] = lambda _: None


class Endorsements:
    """Vendors' publications through a cache."""

    def __init__(self, cache: Cache, access: Access) -> None:
        """Use `cache`, and `access` for what it lacks."""
        self._cache = cache
        self._access = access
        self._closed_until_s: dict[str, float] = {}
        self._silent: set[str] = set()

    def cached(self, url: str, check: Callable[[Answer], T]) -> T | None:
        """Return the checked content of the cached copy, None if there is no acceptable one; never uses the network."""
        answer = self._cache.get(url)
        if answer is None:
            return None
        try:
            return check(answer)
        except EvidenceRejected as err:
            if not is_about_time(err):
                self._cache.drop(url)
            return None

    def fetch(
        self,
        url: str,
        check: Callable[[Answer], T],
        freshness: Freshness,
        *,
        issued: Callable[[T], datetime] | None = None,
    ) -> T:
        """Return the checked content of an address.

        check: parses and verifies an answer, raises EvidenceRejected. issued: returns the time of issue of what `check`
        returned; an older answer then does not replace the cached copy.
        Raises EndorsementUnavailable with the cause, or the error of `check`, if no cached copy serves instead.
        """
        if freshness is Freshness.CACHE_FIRST:
            kept = self.cached(url, check)
            if kept is not None:
                return kept
        try:
            answer = self._from_network(url)
            result = check(answer)
        except (EndorsementUnavailable, EvidenceRejected):
            kept = self.cached(url, check) if freshness is Freshness.NETWORK_FIRST else None
            if kept is None:
                raise
            return kept
        if issued is not None:
            kept = self.cached(url, check)
            if kept is not None and issued(kept) > issued(result):
                return kept
        self._cache.put(url, answer)
        return result

    def _from_network(self, url: str) -> Answer:
        get = self._access.get
        if get is None:
            raise EndorsementUnavailable(
                f"{url} is not in the cache, and fetching is off",
                hint="run 'contrast-tasks endorsements fetch' where there is a network",
            )
        target = self._mirrored(url)
        service = _service(target)
        budget_s = self._access.budget_s
        was_silent = service in self._silent
        retries = Retries(
            sleep=self._access.sleep,
            monotonic=self._access.monotonic,
            attempts=1 if was_silent else math.inf,
            budget_s=budget_s,
            first_pause_s=1.0,
            longest_pause_s=30.0,
        )
        try:
            answer = retries.run(
                lambda: self._attempt(get, target),
                tell=lambda cause: self._access.tell(
                    f"{service}: {cause}, trying again for up to {budget_s:g} s"
                ),
            )
        except GaveUp as err:
            closed_s = self._closed_for_s(target)
            if closed_s:
                outcome = f"; gave up, since the service asked to wait {closed_s:.0f} s"
            else:
                # Later requests to a service that used up the budget get one attempt each.
                self._silent.add(service)
                outcome = "" if was_silent else f"; gave up after {budget_s:g} s"
            message = f"{target}: {err}{outcome}"
            raise EndorsementUnavailable(message, retry_after_s=closed_s) from err
        self._silent.discard(service)
        return answer

    def _attempt(self, get: Get, target: str) -> Answer:
        """Make one attempt; raises Passing if another one may succeed."""
        if closed_s := self._closed_for_s(target):
            raise Passing("the service asked to wait", asked_s=closed_s)
        try:
            answer = get(target, REQUEST_TIMEOUT_S)
        except AnswerTooLarge as err:
            raise EndorsementUnavailable(f"{target} answered with more than 4 MiB") from err
        except CannotAsk as err:
            raise EndorsementUnavailable(f"{target}: {err}") from err
        except NoAnswer as err:
            raise Passing(str(err)) from err
        if answer.status == OK:
            return answer
        cause = f"HTTP status {answer.status}"
        if answer.status != TOO_MANY_REQUESTS and answer.status not in SERVER_ERRORS:
            hint = "redirects are not followed; name the other address with --mirror"
            raise EndorsementUnavailable(
                f"{target}: {cause}", hint=hint if answer.status in REDIRECTS else ""
            )
        asked_s = retry_after_s(answer)
        if asked_s:
            self._closed_until_s[_service(target)] = self._access.monotonic() + asked_s
        raise Passing(cause, asked_s=asked_s)

    def _closed_for_s(self, target: str) -> float:
        """Return how many seconds are left of the wait that a service asked for."""
        until_s = self._closed_until_s.get(_service(target), 0.0)
        return max(0.0, until_s - self._access.monotonic())

    def _mirrored(self, url: str) -> str:
        """Return the address to use: that of the mirror with the longest matching prefix, else the vendor's own."""
        matching = [prefix for prefix in self._access.mirrors if url.startswith(prefix)]
        if not matching:
            return url
        prefix = max(matching, key=len)
        return self._access.mirrors[prefix] + url.removeprefix(prefix)


def _service(target: str) -> str:
    return urlsplit(target).netloc


def require_certificate_body(answer: Answer, what: str) -> bytes:
    """Return the answer's body; raises EvidenceRejected if it is empty, a web page, or JSON, not DER."""
    if not answer.body:
        raise EvidenceRejected(f"{what}: the service sent an empty answer")
    if answer.body.lstrip()[:1] in (b"<", b"{"):
        raise EvidenceRejected(f"{what}: the service sent a web page or JSON, wanted DER")
    return answer.body
