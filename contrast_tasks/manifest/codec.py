"""The manifest's bytes: written in one canonical form, read strictly.

The bytes are hashed, set and compared, so `render_manifest` is exact to the last newline.
Source: docs/internals/manifest.md 4 (compared with the reference product's encoder); docs/internals/releases.md 2.
"""

from collections.abc import Collection

from contrast_tasks import catalogue
from contrast_tasks.declare.documents import to_record
from contrast_tasks.errors import Location
from contrast_tasks.files import indented_json
from contrast_tasks.findings import Finding, Severity
from contrast_tasks.json_text import NotJson, read_json
from contrast_tasks.manifest.forms import manifest_document
from contrast_tasks.manifest.model import Manifest
from contrast_tasks.manifest.validate import (
    FILE_NAME,
    ManifestError,
    validate_manifest,
)
from contrast_tasks.releases.table import ManifestForm, Release

# Like the reference product's encoder, which escapes for HTML and JavaScript.
_ESCAPES = {
    ord(character): f"\\u{ord(character):04x}" for character in ("<", ">", "&", "\u2028", "\u2029")
}


def render_manifest(manifest: Manifest, form: ManifestForm) -> bytes:
    """Return the bytes that a release's own code would write: two spaces, sorted policies, one newline at the end."""
    document = manifest_document(manifest, form)
    return (indented_json(document).translate(_ESCAPES) + "\n").encode()


def check_manifest(
    content: bytes,
    *,
    release: Release | None = None,
    file: str = FILE_NAME,
    lenient: bool = False,
) -> tuple[Manifest | None, list[Finding]]:
    """Return the manifest and all findings, warnings included, with their lines.

    release: the one whose Coordinator reads it; None: a manifest of any release will do.
    The manifest is None if there are errors other than missing values and later rules.
    """
    try:
        parsed = read_json(content)
    except NotJson as err:
        where = Location(file=file, line=err.line, column=err.column)
        return None, [Finding(catalogue.NOT_JSON, where, str(err))]
    findings = validate_manifest(
        parsed.document,
        release=release,
        file=file,
        line=parsed.line,
        lenient=lenient,
    )
    readable = catalogue.MISSING_VALUES | catalogue.LATER_RULES
    if any(found.severity is Severity.ERROR and found.entry not in readable for found in findings):
        return None, findings
    return to_record(Manifest, parsed.document), findings


def parse_manifest(
    content: bytes,
    *,
    file: str = FILE_NAME,
    tolerated: Collection[catalogue.Entry] = (),
) -> Manifest:
    """Return the manifest in `content`, of whichever release, if it keeps every rule of `validate`.

    tolerated: of the catalogue's MISSING_VALUES and LATER_RULES, which may be broken.
    Raises ManifestError with all findings: exit code 12, or 13 if values are only missing.
    """
    manifest, findings = check_manifest(content, file=file)
    errors = [found for found in findings if found.severity is Severity.ERROR]
    if manifest is None or any(found.entry not in tolerated for found in errors):
        raise ManifestError(findings)
    return manifest
