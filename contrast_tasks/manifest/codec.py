"""The manifest's bytes: written in one canonical form, read strictly.

The bytes are hashed, set and compared, so `render_manifest` is exact to the last newline.
Source: docs/internals/manifest.md 4 (compared with the reference product's encoder); docs/internals/releases.md 2.
"""

from collections.abc import Collection, Mapping

from contrast_tasks import catalogue
from contrast_tasks.declare.documents import to_json, to_record
from contrast_tasks.errors import Location
from contrast_tasks.files import Indented, indented_json
from contrast_tasks.findings import Finding, Severity
from contrast_tasks.json_text import NotJson, read_json
from contrast_tasks.manifest.forms import manifest_document
from contrast_tasks.manifest.model import Manifest, PolicyEntry
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


# "Policies" and a hash stand around an entry.
_ENTRY_LEVEL = 2


def render_entry(entry: PolicyEntry) -> str:
    """Return the text of one of the policies, for `render_manifest`; it is the same in every release."""
    return indented_json(to_json(entry), _ENTRY_LEVEL)


def render_manifest(
    manifest: Manifest, form: ManifestForm, entries: Mapping[str, str] | None = None
) -> bytes:
    """Return the bytes that a release's own code would write: two spaces, sorted policies, one newline at the end.

    entries: texts of `render_entry` by hash, to stand there instead of the manifest's own policies.
    """
    if entries is None:
        document = manifest_document(manifest, form)
    else:
        document = manifest_document(manifest.replace(policies={}), form)
        document["Policies"] = Indented(sorted(entries.items())) or None
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
