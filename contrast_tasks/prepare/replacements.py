"""Images to use instead of others, from a file with a line `original = replacement` for each.

Source: docs/internals/generate.md 8.6.
"""

from collections.abc import Mapping
from typing import Any

from contrast_tasks.errors import ImageError, Location, SettingsError
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.pointers import replaced
from contrast_tasks.prepare.images import image_sites

_HINT = "write `original = replacement`, or begin a comment with #"


def parse_replacements(text: str, file: str) -> dict[str, str]:
    """Return the replacements by the original's full spelling.

    Raises SettingsError and ImageError with the line of the first fault.
    No image may be a replacement and an original, for a second run in place would replace it again.
    """
    found: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = Location(file=file, line=number)
        original, equals, replacement = (part.strip() for part in line.partition("="))
        if not equals or not original or not replacement or "=" in replacement:
            raise SettingsError(
                f"found {line.strip()!r}, expected two images", hint=_HINT, where=where
            )
        parse_reference(replacement, where=where)
        full = _full(original)
        if full in found and found[full] != replacement:
            message = f"{original} is replaced at line {lines[full]} too, expected one line for it"
            raise SettingsError(message, where=where)
        found[full] = replacement
        lines[full] = number
    for original, replacement in found.items():
        full = _full(replacement)
        if full in found and full != original:
            message = f"{replacement} is replaced itself at line {lines[full]}, expected the last of the chain"
            raise SettingsError(message, where=Location(file=file, line=lines[original]))
    return found


def replace_images(obj: dict[str, Any], replacements: Mapping[str, str]) -> dict[str, Any]:
    """Return a copy of the object with the images replaced, those of injected containers too."""
    for path, reference in list(image_sites(obj)):
        replacement = replacement_of(reference, replacements)
        if replacement != reference:
            obj = replaced(obj, path, replacement)
    return obj


def replacement_of(reference: str, replacements: Mapping[str, str]) -> str:
    """Return the image to use for a reference, itself if none is named."""
    return replacements.get(_full(reference), reference)


def _full(reference: str) -> str:
    """Return the spelling that is equal for all of an image; a place-holder of a template has its own only."""
    try:
        return parse_reference(reference).canonical
    except ImageError:
        return reference
