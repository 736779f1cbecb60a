"""`logs`: show what the containers of pods wrote last."""

import argparse

from contrast_tasks.cli.cluster_flags import cluster_flags, configure_cluster
from contrast_tasks.cli.context import Context
from contrast_tasks.cli.values import NAMES_LIKE_COMMANDS
from contrast_tasks.report.model import Report

EXAMPLE = "logs web"
ACTIONS = NAMES_LIKE_COMMANDS
_DEFAULT_LINES = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    configure_cluster(parser)
    parser.add_argument("names", nargs="*", help="workloads, default: all")
    parser.add_argument("--container", default="", metavar="NAME", help="only of this container")
    parser.add_argument(
        "--lines", type=int, default=_DEFAULT_LINES, metavar="N", help="of each container"
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Print each container's lines with its pod and name in front."""
    from contrast_tasks.deploy.debug import read_logs

    logs, text = read_logs(
        context.settings(**cluster_flags(arguments)),
        arguments.names,
        say=context.console.say,
        container=arguments.container,
        lines=max(1, arguments.lines),
    )
    context.console.data(text)
    for log in logs:
        for line in log.lines:
            context.console.data(f"{log.pod}/{log.container}: {line}\n")
    hidden = sorted(f"{log.pod}/{log.container}" for log in logs if log.is_hidden and log.lines)
    if hidden:
        context.console.say(
            f"on a cluster their policies would hide the output of {', '.join(hidden)}"
        )
    return Report(command="logs", result={"logs": [log._asdict() for log in logs]})
