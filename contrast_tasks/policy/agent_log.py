"""Requests in the agent's own log, and denials in texts such as the events of a cluster (docs/internals/policy.md 10.5)."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from contrast_tasks.agent_messages import Request
from contrast_tasks.policy.engine import parse_denial

# The beginning of a request in the log of agents until 2025, `["ep":"<kind>",<request>],`, which is no JSON as a whole.
_OLDER = re.compile(r'\["ep":"(\w+)",\s*(?=\{)')
_KIND = re.compile(r"\w+", re.ASCII)
_DENIAL = re.compile(r"DENY (?P<kind>\w+) container=\S+ codes=[^\n]*")


class Denial(NamedTuple):
    """A denial in a text: kind of the request, label of the container, and codes with the names they concern."""

    kind: str
    container: str
    codes: dict[str, tuple[str, ...]]


def read_log(text: str) -> Iterator[Request]:
    """Yield the requests of an agent's log.

    `policy.jsonl` has one object with kind and request per line, `policy.txt` of older agents the form above. Anything else
    is skipped, because the log may be truncated.
    """
    if _OLDER.search(text):
        yield from _older(text)
        return
    for line in text.split("\n"):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if (
            isinstance(entry, dict)
            and _KIND.fullmatch(str(entry.get("kind")))
            and _is_request(entry.get("request"))
        ):
            yield Request(kind=str(entry["kind"]), input=entry["request"])


def find_denials(text: str) -> list[Denial]:
    """Return the denials in a text, each once."""
    found: list[Denial] = []
    for match in _DENIAL.finditer(text):
        parsed = parse_denial(match[0])
        if parsed is not None:
            denial = Denial(match["kind"], *parsed)
            if denial not in found:
                found.append(denial)
    return found


def _older(text: str) -> Iterator[Request]:
    decoder = json.JSONDecoder()
    for match in _OLDER.finditer(text):
        try:
            request, _ = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            continue
        if _is_request(request):
            yield Request(kind=match[1], input=request)


def _is_request(value: Any) -> bool:
    """Return whether a value is an object that engines accept: requests contain no unpaired surrogates."""
    if not isinstance(value, dict):
        return False
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True
