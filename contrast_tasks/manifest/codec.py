"""The manifest's bytes: written in one canonical form, read strictly.

The bytes are hashed, set and compared, so `render_manifest` is exact to the last newline.
Source: docs/internals/manifest.md 4 (compared with the reference product's encoder); docs/internals/releases.md 2.
"""

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
    is_missing,
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
    The manifest is None if there are errors other than missing values.
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
    if any(entry.severity is Severity.ERROR and not is_missing(entry) for entry in findings):
        return None, findings
    return to_record(Manifest, parsed.document), findings


def parse_manifest(
    content: bytes,
    *,
    file: str = FILE_NAME,
    tolerate_missing: bool = False,
) -> Manifest:
    """Return the manifest in `content`, of whichever release, if it keeps every rule of `validate`.

    tolerate_missing: values that only the user knows may be missing.
    Raises ManifestError with all findings: exit code 12, or 13 if values are only missing.
    """
    manifest, findings = check_manifest(content, file=file)
    errors = [entry for entry in findings if entry.severity is Severity.ERROR]
    if manifest is None or (errors and not tolerate_missing):
        raise ManifestError(findings)
    return manifest
