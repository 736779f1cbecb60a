"""Fetch what vendors publish about their processors, and keep it: certificates, revocation lists, collateral.

There are two policies. Revocation lists are asked for every time; the copy at hand serves only while the vendor does not answer, or
not with anything that passes. Everything else never changes under its address, so the copy at hand serves first.

Every answer, from the network or from disk, passes the caller's check before it is used. A copy that is forged or damaged is
dropped; one that is only out of its period stays, for it may be valid at another instant. An older answer never replaces a newer
one. A vendor that limits its rate says when to come back, and is obeyed within a budget of time.

Nothing here runs during a handshake: verification reads the cache through `Endorsements.cached`, which never waits.

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

from contrast_tasks.attestation.errors import CollateralRejected, is_about_time
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
# A body in base64, its headers and its address, twice over.
_MAXIMUM_FILE_BYTES = 4 * MAXIMUM_BODY_BYTES

T = TypeVar("T")


class EndorsementUnavailable(ContrastError):
    """A vendor's service did not give what was asked for, and no copy is at hand.

    retry_after_s: for how long the service asked not to be asked again, 0 if it said nothing.
    """

    exit_code = 41

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


Get = Callable[[str, float], Answer]
"""URL and timeout in seconds to an answer; follows no redirects, reads at most MAXIMUM_BODY_BYTES, raises NoAnswer."""


class Freshness(Enum):
    """Which is asked first, the network or the cache."""

    NETWORK_FIRST = "network first"
    CACHE_FIRST = "cache first"


class Cache(Protocol):
    """Answers by address."""

    def get(self, url: str) -> Answer | None:
        """Return the answer kept for an address."""

    def put(self, url: str, answer: Answer) -> None:
        """Keep an answer."""

    def drop(self, url: str) -> None:
        """Forget an address."""


class EndorsementCache:
    """Answers by address, one file each; files are replaced as a whole, so processes can share a folder."""

    def __init__(self, folder: Path) -> None:
        """Keep answers below `folder`, which is made on the first write."""
        self._folder = folder

    def _path(self, url: str) -> Path:
        return self._folder / f"{sha256_hex(url.encode())}.json"

    def get(self, url: str) -> Answer | None:
        """Return the answer kept for an address; a file that is not one of ours counts as absent."""
        found = _kept_in(self._path(url))
        return found[1] if found is not None and found[0] == url else None

    def entries(self) -> Iterator[tuple[str, Answer]]:
        """Yield every address that is kept, with its answer; files that are not ours are passed over."""
        for path in sorted(self._folder.glob("*.json")):
            found = _kept_in(path)
            if found is not None and self._path(found[0]) == path:
                yield found

    def put(self, url: str, answer: Answer) -> None:
        """Keep an answer; if the folder cannot be written, it is fetched again the next time."""
        document = {
            "url": url,
            "headers": dict(answer.headers),
            "body": base64.b64encode(answer.body).decode(),
        }
        with contextlib.suppress(OSError):
            write_atomic(self._path(url), canonical_json(document))

    def drop(self, url: str) -> None:
        """Forget an address."""
        with contextlib.suppress(OSError):
            self._path(url).unlink(missing_ok=True)


def _kept_in(path: Path) -> tuple[str, Answer] | None:
    """Return address and answer in a file of the cache, None if it is absent or not of that form."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAXIMUM_FILE_BYTES + 1)
        if len(content) > _MAXIMUM_FILE_BYTES:
            return None
        document = parse_json(content)
        headers = {name: value.text() for name, value in document.at("headers").members()}
        body = base64.b64decode(document.at("body").text(), validate=True)
        return document.at("url").text(), Answer(status=OK, headers=headers, body=body)
    except (OSError, ValueError):  # DecodeError is one, and so is what base64 raises
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How the vendors' services are reached.

    get: None is offline. mirrors: address prefix to its replacement; the cache keeps the vendor's address. sleep: waits some
    seconds; monotonic: a clock in seconds for the budget. tell: is given a line that says why people wait.
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
        """Answer from `cache`, or through `access` where the cache does not serve."""
        self._cache = cache
        self._access = access
        self._closed_until_s: dict[str, float] = {}
        self._silent: set[str] = set()

    def cached(self, url: str, check: Callable[[Answer], T]) -> T | None:
        """Return the copy at hand if it passes `check`; never touches the network, never waits."""
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
        """Return what stands at an address after `check` accepted it.

        check: parses and verifies an answer, raises EvidenceRejected. issued: when what it returned was issued; then an older
        answer does not replace the copy at hand. Raises EndorsementUnavailable with the cause, or the check's own error when the
        vendor's fresh answer does not pass it and no copy serves in its place.
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
                told = f"; gave up, for it asked to wait {closed_s:.0f} s"
            else:
                # A service that did not answer for so long is asked only once for each other thing.
                self._silent.add(service)
                told = "" if was_silent else f"; gave up after {budget_s:g} s"
            raise EndorsementUnavailable(f"{target}: {err}{told}", retry_after_s=closed_s) from err
        self._silent.discard(service)
        return answer

    def _attempt(self, get: Get, target: str) -> Answer:
        """Ask once; raises Passing where asking again makes sense."""
        if closed_s := self._closed_for_s(target):
            raise Passing("it asked not to be asked yet", asked_s=closed_s)
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
        """Return for how many more seconds a service asked not to be asked."""
        until_s = self._closed_until_s.get(_service(target), 0.0)
        return max(0.0, until_s - self._access.monotonic())

    def _mirrored(self, url: str) -> str:
        """Return the address that is asked; of several mirrors the one with the longest prefix counts."""
        matching = [prefix for prefix in self._access.mirrors if url.startswith(prefix)]
        if not matching:
            return url
        prefix = max(matching, key=len)
        return self._access.mirrors[prefix] + url.removeprefix(prefix)


def _service(target: str) -> str:
    return urlsplit(target).netloc


def require_certificate_body(answer: Answer, what: str) -> bytes:
    """Return a body that can be DER; raises EvidenceRejected for an empty one, a web page, or JSON."""
    if not answer.body:
        raise EvidenceRejected(f"{what}: the service answered with nothing")
    if answer.body.lstrip()[:1] in (b"<", b"{"):
        raise EvidenceRejected(f"{what}: the service answered with a web page or JSON, wanted DER")
    return answer.body


def require_period(what: str, since: datetime, until: datetime, now: datetime) -> None:
    """Raise CollateralRejected unless `now` lies between `since` and `until`; `what` names the object."""
    if not since <= now <= until:
        early = now < since
        raise CollateralRejected(
            f"{what} is for {since:%Y-%m-%dT%H:%M:%SZ} to {until:%Y-%m-%dT%H:%M:%SZ}, "
            f"but it is {now:%Y-%m-%dT%H:%M:%SZ}",
            reason="collateral-not-yet-valid" if early else "collateral-expired",
        )
