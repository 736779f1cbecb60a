"""An HTTP answer, and the ways in which none comes.

NoAnswer               no complete answer came; another try may bring one
├── AnswerBroken       its body ended early
└── CannotAsk          another try brings the same
    ├── AnswerTooLarge
    └── NotTrusted     no TLS connection that can be trusted
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
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class NoAnswer(Exception):
    """No complete answer came; the text says why in a few words, none of them the service's."""


class AnswerBroken(NoAnswer):
    """The body ended before all of it had come."""


class CannotAsk(NoAnswer):
    """Asking again does not help: address, proxy or certificate authorities are not what they must be."""


class AnswerTooLarge(CannotAsk):
    """The body has more bytes than are read."""


class NotTrusted(CannotAsk):
    """The service's certificate is not trusted, or it does not speak TLS."""


def retry_after_s(answer: Answer) -> float:
    """Return the seconds that a service asks us to wait, at most a day; 0 if it does not, or not in a form we know.

    A date counts from the service's own clock (`Date`), so ours does not matter. Source: RFC 9110, 10.2.3.
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
