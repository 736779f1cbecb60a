"""Where two specifications differ, member by member."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from contrast_tasks.runtime.containerd.linux import DEFAULT_SECCOMP

_MOST = 300  # characters of a value in the output
# Stands for containerd's default profile in a record.
_SECCOMP = re.compile(r"<SECCOMP-\d+>")


def differences(found: Any, recorded: Any, path: str = "") -> Iterator[str]:
    """Yield `member: found, recorded` for each member that differs; lists are compared in their order."""
    if isinstance(found, Mapping) and isinstance(recorded, Mapping):
        for key in sorted(found.keys() | recorded.keys()):
            yield from differences(found.get(key), recorded.get(key), f"{path}.{key}".strip("."))
    elif isinstance(recorded, str) and _SECCOMP.fullmatch(recorded):
        yield from differences(found, DEFAULT_SECCOMP, path)
    elif found != recorded:
        yield f"{path or 'text'}: found {_shown(found)}, recorded {_shown(recorded)}"


def _shown(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST else f"{text[:_MOST]}..."
