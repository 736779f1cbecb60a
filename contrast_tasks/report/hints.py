"""The next command to type, spelled as this one was: `contrast-tasks`, or the wrapper that called it."""

from contrast_tasks.report.text import command_name


def command(words: str) -> str:
    """Return the command line that does `words`, as `./doitw stop` for `stop`."""
    return f"{command_name()} {words}"


def recovery_hint() -> str:
    """Return the two ways out of recovery mode."""
    return (
        f"give it its seed back with '{command('recover')}', or begin a new history with "
        f"'{command('deploy --fresh')}' (platform local)"
    )
