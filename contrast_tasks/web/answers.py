"""An HTTP answer, and the errors of a request without one.

NoAnswer               no complete answer arrived; another try may succeed
├── AnswerBroken       the body ended early
└── CannotAsk          another try would fail too
    ├── AnswerTooLarge
    └── NotTrusted     no trusted TLS connection
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

OK = 200
TOO_MANY_REQUESTS = 429
SERVER_ERRORS = range(500, 600)
REDIRECTS = range(300, 400)
_LONGEST_WAIT_S = 86400.0
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer; header names in lower case, values of equal names joined by commas (RFC 9110, 5.3)."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class NoAnswer(Exception):
    """No complete answer arrived; the text says why and quotes nothing that the service sent."""


class AnswerBroken(NoAnswer):
    """The body ended before it was complete."""


class CannotAsk(NoAnswer):
    """Asking again does not help: the address, the proxy or the certificate authorities are wrong, or this is no HTTP."""


class AnswerTooLarge(CannotAsk):
    """The body is larger than the caller accepts."""


class NotTrusted(CannotAsk):
    """The service's certificate is not trusted, or it does not speak TLS."""


def retry_after_s(answer: Answer) -> float:
    """Return the seconds to wait by the Retry-After header, at most a day; 0 if it is absent or malformed.

    A date is compared with the service's own `Date`, so our clock does not matter. Source: RFC 9110, 10.2.3.
    """
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS:
        return min(float(text), _LONGEST_WAIT_S)
    try:
        until = parsedate_to_datetime(text)
        since = parsedate_to_datetime(answer.headers.get("date", ""))
        return min(max(0.0, (until - since).total_seconds()), _LONGEST_WAIT_S)
    except (ValueError, TypeError, OverflowError):
        return 0.0
