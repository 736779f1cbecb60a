"""What every command gets: the project, the working directory, the console, the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks.cli.console import Console
from contrast_tasks.records import Record

if TYPE_CHECKING:
    from contrast_tasks.report.model import Report
    from contrast_tasks.settings.model import Settings
    from contrast_tasks.steps.project import Spec
    from contrast_tasks.tasks.workspace import Workspace


class Context(Record):
    """One command line.

    root: the project's folder, absolute; commands run in it. cwd: the user's working directory, which path arguments are
    relative to. overrides: TOML lines of --set.
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

    def spec(self, **flags: object) -> "Spec":
        """Return the project with these flags: dotted keys with `__` for `.`; None: the flag was not given."""
        from contrast_tasks.steps.project import Spec

        pairs = sorted(
            (key.replace("__", "."), value) for key, value in flags.items() if value is not None
        )
        return Spec(root=str(self.root), overrides=self.overrides, flags=tuple(pairs))

    def workspace(self, **flags: object) -> "Workspace":
        """Return the project as it is now, with its store. Raises SettingsError for invalid settings."""
        from contrast_tasks.tasks.workspace import open_workspace

        return open_workspace(self.spec(**flags), is_fresh=True)

    def settings(self, *, is_project: bool = True, **flags: object) -> "Settings":
        """Return the effective settings; is_project: whether contrast.toml must exist."""
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
        """Return the settings; None outside of a project, where commands on evidence work too."""
        return self.settings() if (self.root / "contrast.toml").is_file() else None

    def deliver(self, command: str, text: str, file: str | None) -> "Report":
        """Write a text to a file named on the command line, without one to stdout, and return the report."""
        from contrast_tasks.files import write_atomic
        from contrast_tasks.report.model import Report

        if file is None:
            self.console.data(text)
            return Report(command=command, result={"yaml": text})
        name = self.path(file)
        if write_atomic(self.root / name, text.encode()):
            self.console.say(f"wrote {file}")
        return Report(command=command, result={"file": name})
