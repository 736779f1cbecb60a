"""Commands to type next, spelled as this one was: `contrast-tasks`, or the wrapper that called it."""

import os

PROGRAM = "contrast-tasks"

# Environment variable in which a wrapper such as `doitw` tells how it was called.
CALLED = "CONTRAST_COMMAND"


def command_name() -> str:
    """Return how this command was called: by its name, or as the wrapper that called it."""
    return os.environ.get(CALLED) or PROGRAM


def command(words: str) -> str:
    """Return the command line that does `words`, as `./doitw stop` for `stop`."""
    return f"{command_name()} {words}"


def as_called(hint: str) -> str:
    """Return a hint with its commands spelled as this one; files keep it as it is the same for everybody."""
    return hint.replace(f"'{PROGRAM} ", f"'{command_name()} ")


def recovery_hint() -> str:
    """Return the two ways out of recovery mode."""
    return (
        f"give it its seed back with '{command('recover')}', or begin a new history with "
        f"'{command('deploy --fresh')}' (platform local)"
    )
