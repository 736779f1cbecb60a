"""The runtime class of confidential pods: of one release of the runtime, when the reference values are of one.

A measurement holds for one release, whose runtime class carries a digest in its name; pods under another class would run
in guests that the manifest refuses. Source: docs/internals/runtime.md 2.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from contrast_tasks.platforms import HANDLER_PREFIX
from contrast_tasks.settings.load import Settings

_GENERIC = "contrast-cc"
_BUNDLED = "bundled:"


def runtime_class(platform: str, reference_values: Iterable[str] = ()) -> str:
    """Return the runtime class of a platform's pods; `local` has the generic one.

    reference_values: names that the values in use stand under; one handler of the platform among them is the class.
    """
    if platform == "local":
        return _GENERIC
    release = re.compile(rf"{re.escape(HANDLER_PREFIX + platform)}-[0-9a-f]{{8}}", re.IGNORECASE)
    found = {name.lower() for name in reference_values if release.fullmatch(name)}
    return found.pop() if len(found) == 1 else f"{HANDLER_PREFIX}{platform}"


def names_of_values(root: Path, settings: Settings) -> list[str]:
    """Return the names in the file of reference values; what is wrong with the file is for the manifest to say."""
    name = settings.reference_values
    if name is None:
        return []
    if name.startswith(_BUNDLED):
        return [name.removeprefix(_BUNDLED)]
    try:
        document = json.loads((root / name).read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return list(document) if isinstance(document, dict) else []
