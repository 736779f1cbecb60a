"""References to variables in text: `$(NAME)`. Source: Kubernetes, API reference of core/v1 Container, `command`."""

import re
from collections.abc import Callable

# A doubled dollar stands for one, so `$$(NAME)` is text; an opened reference that is never closed is text too.
_REFERENCE = re.compile(r"\$(?:(?P<escaped>\$)|\((?P<name>[^)]*)\))")


def expand(text: str, value_of: Callable[[str], str | None]) -> str:
    """Return text with each known variable replaced by its value; references to unknown ones stay."""

    def replace(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        value = value_of(match["name"])
        return match[0] if value is None else value

    return _REFERENCE.sub(replace, text)
