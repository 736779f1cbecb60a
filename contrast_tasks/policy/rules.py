"""The rules that all policies share: a readable file for auditors, and the compact text that policies contain."""

import re
from functools import cache

from contrast_tasks.files import sha256_hex
from contrast_tasks.resources import read_bytes

_FILE = "templates/policy/rules.rego"
# A quoted or raw string, which is kept; or a comment, line breaks and indentation.
_STRING_OR_BREAK = re.compile(
    r'("(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?:[ \t]*(?:#[^\n]*)?(?:\n|\Z))+[ \t]*'
)


@cache
def compact_rules() -> str:
    """Return the rules as policies contain them."""
    return compact(read_bytes(_FILE).decode())


@cache
def rules_sha256() -> str:
    """Return the SHA-256 of the readable rules as 64 hex digits."""
    return sha256_hex(read_bytes(_FILE))


def compact(rego: str) -> str:
    """Return Rego without comments, indentation and empty lines, with a newline at the end.

    Line breaks separate the clauses of a body, so they stay; strings stay unchanged.
    """
    kept = _STRING_OR_BREAK.sub(lambda found: found[1] or "\n", rego)
    return kept.strip("\n") + "\n"
