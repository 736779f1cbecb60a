"""The reference values that ship with this package; templates/reference-values names their sources.

An entry under the name of a platform is its default. An entry under a runtime handler is for one release of the runtime,
as its measurement holds for no other, and is used if settings name it: `file = "bundled:<handler>"`.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from contrast_tasks import resources
from contrast_tasks.errors import SettingsError

FILE = "templates/reference-values/bundled.json"


@cache
def _document() -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(resources.read_bytes(FILE))
    return document


def bundled_names() -> tuple[str, ...]:
    """Return the platforms and runtime handlers with bundled values, sorted."""
    return tuple(sorted(_document()))


def bundled_content(name: str) -> bytes:
    """Return a file of reference values with the entry of one platform or handler; raises SettingsError if there is none."""
    if name not in _document():
        raise SettingsError(
            f"no reference values for '{name}' are bundled, expected one of {', '.join(bundled_names())}"
        )
    return json.dumps({name: _document()[name]}).encode()


def bundled_minimum_tcb(platform: str, product: str) -> Mapping[str, int]:
    """Return the published members of MinimumTCB for a platform's product, in the manifest's spelling."""
    entries = _document().get(platform, {}).get("snp", ())
    return next((entry["MinimumTCB"] for entry in entries if entry["ProductName"] == product), {})
