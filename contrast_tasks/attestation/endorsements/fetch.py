"""Fetch what vendors publish about their processors, and keep it: certificates, revocation lists, collateral.

Two policies. Revocation lists are asked for again every time, and the copy at hand serves while the vendor does not answer;
everything else never changes under its address, so the copy at hand serves first. Whatever comes, from the network or from
disk, passes the caller's check before it is used; a copy that fails it is dropped. A vendor that limits its rate says when to
come back, and is obeyed within a budget of time.

Nothing here runs during a handshake: verification reads the cache through `Endorsements.cached`, which never waits.

Source: spec/attestation 2.5 (caching rules, retries) and 3.4.
"""

import base64
import binascii
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeVar

from contrast_tasks.errors import ContrastError, EvidenceRejected
from contrast_tasks.files import canonical_json, sha256_hex, write_atomic

MAXIMUM_BODY_BYTES = 4 * 1024 * 1024
BUDGET_S = 120.0
MAXIMUM_BACKOFF_S = 30.0
REQUEST_TIMEOUT_S = 20.0
_TOO_MANY_REQUESTS = 429
_OK = 200
_SERVER_ERRORS = range(500, 600)

T = TypeVar("T")


class EndorsementUnavailable(ContrastError):
    """A vendor's service did not give what was asked for, and no copy is at hand."""

    exit_code = 41


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class FetchFailed(Exception):
    """No HTTP answer came at all; the text says why in a few words."""


Get = Callable[[str, float], Answer]
"""URL and timeout in seconds to an answer; follows no redirects, reads at most MAXIMUM_BODY_BYTES, raises FetchFailed."""


class Freshness(Enum):
    """Which is asked first, the network or the cache."""

    NETWORK_FIRST = "network first"
    CACHE_FIRST = "cache first"


class EndorsementCache:
    """Answers by address, one file each; files are replaced as a whole, so processes can share a folder."""

    def __init__(self, folder: Path) -> None:
        """Keep answers below `folder`, which is made on the first write."""
        self._folder = folder

    def _path(self, url: str) -> Path:
        return self._folder / f"{sha256_hex(url.encode())}.json"

    def get(self, url: str) -> Answer | None:
        """Return the answer kept for an address; a file that is not one of ours counts as absent."""
        try:
            document = json.loads(self._path(url).read_bytes())
            if document["url"] != url:
                return None
            return Answer(
                status=_OK,
                headers={str(key): str(value) for key, value in document["headers"].items()},
                body=base64.b64decode(document["body"], validate=True),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, binascii.Error):
            return None

    def put(self, url: str, answer: Answer) -> None:
        """Keep an answer; a folder that cannot be written costs the next fetch, nothing else."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How the vendors' services are reached.

    get: None is offline. mirrors: address prefix to the prefix that takes its place, for a proxy of one's own; the cache
    keeps the vendor's address. sleep: waits some seconds; monotonic: a clock in seconds for the budget.
    """

    get: Get | None
    sleep: Callable[[float], None]
    monotonic: Callable[[], float]
    mirrors: Mapping[str, str] = field(default_factory=dict)
    budget_s: float = BUDGET_S


class Endorsements:
    """Vendors' publications through a cache."""

    def __init__(self, cache: EndorsementCache, access: Access) -> None:
        """Answer from `cache` and, where that does not serve, through `access`."""
        self._cache = cache
        self._access = access

    def cached(self, url: str, check: Callable[[Answer], T]) -> T | None:
        """Return the copy at hand if it passes `check`; never touches the network, never waits."""
        answer = self._cache.get(url)
        if answer is None:
            return None
        try:
            return check(answer)
        except EvidenceRejected:
            self._cache.drop(url)
            return None

    def drop(self, url: str) -> None:
        """Forget the copy at hand."""
        self._cache.drop(url)

    def fetch(self, url: str, check: Callable[[Answer], T], freshness: Freshness) -> T:
        """Return what stands at an address after `check` accepted it.

        check: parses and verifies an answer, raises EvidenceRejected. Raises EndorsementUnavailable with the cause, or the
        check's own error when the vendor's fresh answer does not pass it.
        """
        if freshness is Freshness.CACHE_FIRST:
            kept = self.cached(url, check)
            if kept is not None:
                return kept
        try:
            answer = self._from_network(url)
        except EndorsementUnavailable:
            kept = self.cached(url, check) if freshness is Freshness.NETWORK_FIRST else None
            if kept is None:
                raise
            return kept
        result = check(answer)
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
        deadline = self._access.monotonic() + self._access.budget_s
        backoff_s = 1.0
        while True:
            cause, wait_s = "", backoff_s
            try:
                answer = get(target, REQUEST_TIMEOUT_S)
            except FetchFailed as err:
                cause = str(err)
            else:
                if answer.status == _OK:
                    if len(answer.body) > MAXIMUM_BODY_BYTES:
                        raise EndorsementUnavailable(f"{target} answered with more than 4 MiB")
                    return answer
                cause = f"HTTP status {answer.status}"
                if answer.status == _TOO_MANY_REQUESTS:
                    wait_s = _retry_after(answer, backoff_s)
                elif answer.status not in _SERVER_ERRORS:
                    raise EndorsementUnavailable(f"{target}: {cause}")
            if self._access.monotonic() + wait_s > deadline:
                raise EndorsementUnavailable(
                    f"{target}: {cause}; gave up after {self._access.budget_s:g} s"
                )
            self._access.sleep(wait_s)
            backoff_s = min(2 * backoff_s, MAXIMUM_BACKOFF_S)

    def _mirrored(self, url: str) -> str:
        for prefix, replacement in self._access.mirrors.items():
            if url.startswith(prefix):
                return replacement + url.removeprefix(prefix)
        return url


def _retry_after(answer: Answer, default_s: float) -> float:
    """Return the seconds a service asks us to wait; a date or nonsense counts as absent."""
    text = answer.headers.get("retry-after", "").strip()
    return max(float(text), default_s) if text.isdecimal() and len(text) < 6 else default_s  # noqa: PLR2004  # a day has 5 digits


def require_certificate_body(answer: Answer, what: str) -> bytes:
    """Return a body that can be DER; a web page or nothing in its place is an error that says so."""
    if not answer.body:
        raise EvidenceRejected(f"{what}: the service answered with nothing")
    if answer.body.lstrip()[:1] in (b"<", b"{"):
        raise EvidenceRejected(f"{what}: the service answered with a web page or JSON, wanted DER")
    return answer.body
