"""`lock`: resolve every image reference in use, from layouts on disk and from registries."""

import argparse
from typing import Any

from contrast_tasks.cli import project_flags
from contrast_tasks.cli.context import Context
from contrast_tasks.report.model import Report, number_of

EXAMPLE = "lock --update"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    project_flags.configure(parser)
    parser.add_argument("--update", action="store_true", help="resolve locked references again")
    parser.add_argument("--offline", action="store_true", help="ask no registry")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Write the lock file; tell what was added, updated and dropped."""
    from contrast_tasks.steps.lock import run_lock
    from contrast_tasks.tasks.face import load_tasks
    from contrast_tasks.tasks.run import run_tasks

    workspace = context.workspace(**project_flags.flags_of(arguments, context))
    # The tasks that make image layouts come first, because images are resolved in them.
    before = run_tasks(load_tasks(workspace), ["lock"])
    if before.reporter.errors:
        raise before.reporter.errors[0]
    project = workspace.project
    settings = project.settings
    result: dict[str, Any] = run_lock(
        settings,
        project.used_images,
        offline=arguments.offline,
        update=arguments.update,
        kept=workspace.shared,
        watch=context.console.progress,
    )
    for verb in ("added", "updated", "dropped"):
        for reference in result[verb]:
            context.console.say(f"{verb} {reference}")
    locked = len(result["added"]) + len(result["updated"]) + len(result["kept"])
    context.console.say(f"{settings.lock} holds {number_of(locked, 'image')}")
    return Report(command="lock", result=result)
