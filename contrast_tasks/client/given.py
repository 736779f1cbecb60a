"""The files that a command was given, above all the manifest, which a Coordinator is attested against and compared with."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from contrast_tasks.errors import Location, UsageError
from contrast_tasks.files import norm_path
from contrast_tasks.report.hints import command
from contrast_tasks.settings.load import Settings

if TYPE_CHECKING:
    from contrast_tasks.manifest.model import Manifest


class GivenManifest(NamedTuple):
    """A manifest's bytes, its meaning, and what messages call it."""

    content: bytes
    meaning: "Manifest"
    name: str

    def say_simulated(self, say: Callable[[str], None]) -> None:
        """Tell in one line if it proves nothing about hardware."""
        if self.meaning.trusts_simulated:
            say(f"{self.name} trusts evidence of a simulated processor: for development only")


def load_manifest(settings: Settings, path: Path | None) -> GivenManifest:
    """Return the manifest at a path as given on the command line, None for the project's own.

    Raises UsageError if it cannot be read, ManifestError with findings if it is not a valid manifest.
    """
    from contrast_tasks.manifest.codec import parse_manifest

    place = settings.root / settings.manifest if path is None else path
    name = norm_path(place, settings.root) if place.is_relative_to(settings.root) else str(place)
    hint = f"run '{command('generate')}' first" if path is None else ""
    content = read_given(place, name, "manifest", hint=hint)
    return GivenManifest(content, parse_manifest(content, file=name), name)


def read_given(path: Path, name: str, what: str, *, hint: str) -> bytes:
    """Return a file's bytes; raises UsageError at `name` if it, the `what`, cannot be read."""
    try:
        return path.read_bytes()
    except OSError as err:
        raise UsageError(
            f"cannot read the {what}: {(err.strerror or '').lower()}",
            where=Location(file=name),
            hint=hint,
        ) from err
