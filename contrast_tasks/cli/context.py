"""What every command gets: the project, the caller's place, and where to speak."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks.cli.console import Console
from contrast_tasks.records import Record

if TYPE_CHECKING:
    from contrast_tasks.settings.model import Settings
    from contrast_tasks.steps.project import Spec
    from contrast_tasks.tasks.workspace import Workspace


class Context(Record):
    """One command line.

    root: the project's folder, absolute, and the working directory of every command; cwd: where the user stands, which
    path arguments are relative to. overrides: TOML lines of --set.
    """

    root: Path
    cwd: Path
    console: Console
    environ: Mapping[str, str]
    overrides: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    debug: bool = False

    def path(self, argument: str) -> str:
        """Return a path argument relative to the project, with `/`."""
        return Path(os.path.relpath(self.cwd / argument, self.root)).as_posix()

    def spec(self, **flags: Any) -> "Spec":
        """Return the project under these flags (dotted keys with `__` for `.`); None is a flag that was not given."""
        from contrast_tasks.steps.project import Spec

        given = ((key.replace("__", "."), value) for key, value in flags.items())
        pairs = sorted((key, value) for key, value in given if value is not None)
        return Spec(root=str(self.root), overrides=self.overrides, flags=tuple(pairs))

    def workspace(self, **flags: Any) -> "Workspace":
        """Return the project as it is now, with its store; raises SettingsError for settings that are not understood."""
        from contrast_tasks.tasks.workspace import open_workspace

        return open_workspace(self.spec(**flags), is_fresh=True)

    def settings(self, *, is_project: bool = True, **flags: Any) -> "Settings":
        """Return the effective settings; is_project: False where a folder without contrast.toml will do."""
        from contrast_tasks.settings.load import load_settings

        spec = self.spec(**flags)
        return load_settings(
            self.root,
            environ=self.environ,
            overrides=spec.overrides,
            flags=dict(spec.flags),
            is_project=is_project,
        )

    def settings_if_any(self) -> "Settings | None":
        """Return the settings, None outside of a project, where evidence can be looked at too."""
        return self.settings() if (self.root / "contrast.toml").is_file() else None
