"""Commands to type next, spelled as the running command was: `contrast-tasks`, or the wrapper that called it."""

import os

from contrast_tasks.variables import COMMAND

PROGRAM = "contrast-tasks"


def command_name() -> str:
    """Return the program's name as the user typed it: `contrast-tasks`, or the wrapper's."""
    return os.environ.get(COMMAND) or PROGRAM


def command(words: str) -> str:
    """Return a command line for the user to type, as `./doitw stop` for `stop`."""
    return f"{command_name()} {words}"


def as_called(hint: str) -> str:
    """Return a hint with its commands as the user types them; in files they keep the program's own name."""
    return hint.replace(f"'{PROGRAM} ", f"'{command_name()} ")


def recovery_hint() -> str:
    """Return the two ways out of recovery mode."""
    return (
        f"give it its seed back with '{command('recover')}', or begin a new history with "
        f"'{command('deploy --fresh')}' (platform local)"
    )
