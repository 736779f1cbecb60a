"""The files that a command reads, above all the manifest that a Coordinator is attested against and compared with."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from contrast_tasks import catalogue
from contrast_tasks.errors import Location, UsageError
from contrast_tasks.files import norm_path
from contrast_tasks.report.hints import command
from contrast_tasks.settings.model import Settings

if TYPE_CHECKING:
    from contrast_tasks.manifest.model import Manifest


class ManifestFile(NamedTuple):
    """A manifest with its bytes and its name in messages."""

    content: bytes
    manifest: "Manifest"
    name: str

    def warn_if_simulated(self, say: Callable[[str], None]) -> None:
        """Warn in one line if the manifest trusts a simulated processor."""
        if self.manifest.trusts_simulated:
            say(f"{self.name} trusts evidence of a simulated processor: for development only")


def load_manifest(settings: Settings, path: Path | None, *, is_new: bool = False) -> ManifestFile:
    """Return the manifest at a path from the command line; None: the project's own.

    is_new: it is to be set, so it has to keep rules that those in force may break.
    Raises UsageError if it cannot be read, ManifestError with findings if it is not valid.
    """
    from contrast_tasks.manifest.codec import parse_manifest
    from contrast_tasks.manifest.validate import ManifestError

    place = settings.root / settings.manifest if path is None else path
    name = norm_path(place, settings.root) if place.is_relative_to(settings.root) else str(place)
    hint = f"run '{command('generate')}' first" if path is None else ""
    content = read_input(place, name, "manifest", hint=hint)
    tolerated = () if is_new else catalogue.LATER_RULES
    try:
        return ManifestFile(content, parse_manifest(content, file=name, tolerated=tolerated), name)
    except ManifestError as err:
        if place.resolve() != (settings.root / settings.manifest).resolve():
            err.hint = "ask whoever wrote it for the file, or correct it"
        raise


def read_input(path: Path, name: str, what: str, *, hint: str) -> bytes:
    """Return a file's bytes. Raises UsageError located at `name`; what: the kind of file, for the message."""
    try:
        return path.read_bytes()
    except OSError as err:
        raise UsageError(
            f"cannot read the {what}: {(err.strerror or '').lower()}",
            where=Location(file=name),
            hint=hint,
        ) from err
