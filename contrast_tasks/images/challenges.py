"""What a registry asks for with status 401: the challenges of its WWW-Authenticate headers.

Source: RFC 9110, 11.2 to 11.6.1: several challenges may stand in one header or in several, which mean the same.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TOKEN68 = re.compile(r"[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|\Z)")
_SEPARATORS = re.compile(r"[ \t,]*")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BARE = re.compile(r"""[^ \t,"]+""")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One challenge; its scheme and the names of its parameters in lower case, the first of equal names counts."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Return the challenges of a header, in its order; several headers are given joined by commas.

    What is not understood ends the reading: the challenges before it count.
    """
    found: list[tuple[str, dict[str, str]]] = []
    at = _after(_SEPARATORS, header, 0)
    while word := _TOKEN.match(header, at):
        at = word.end()
        equals = _EQUALS.match(header, at)
        if equals is None or not found:
            found.append((word[0].lower(), {}))
            at = _after(_TOKEN68, header, at)  # instead of parameters, as Negotiate has it
        else:
            value = _QUOTED.match(header, equals.end()) or _BARE.match(header, equals.end())
            if value is None:
                break
            text = _ESCAPED.sub(r"\1", value[1]) if value.lastindex else value[0]
            found[-1][1].setdefault(word[0].lower(), text)
            at = value.end()
        at = _after(_SEPARATORS, header, at)
    return tuple(Challenge(scheme=scheme, parameters=values) for scheme, values in found)


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
