"""`restart`: restart workloads, so that they get certificates of the mesh CA in force."""

import argparse

from contrast_tasks.cli.cluster_flags import cluster_flags, configure_cluster
from contrast_tasks.cli.context import Context
from contrast_tasks.cli.values import NAMES_LIKE_COMMANDS, seconds
from contrast_tasks.report.model import Report

EXAMPLE = "restart web"
ACTIONS = NAMES_LIKE_COMMANDS


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    configure_cluster(parser)
    parser.add_argument("names", nargs="*", help="workloads, default: all but the Coordinator")
    parser.add_argument(
        "--wait",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="how long to wait until they are ready",
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Restart and wait."""
    from contrast_tasks.cli.summaries import restart_line
    from contrast_tasks.deploy.apply import run_restart

    settings = context.settings(**cluster_flags(arguments))
    restarted = run_restart(
        settings,
        say=context.console.say,
        names=arguments.names,
        wait_s=arguments.wait,
        watch=context.console.progress,
    )
    unit = "pod" if settings.is_local else "workload"
    context.console.say(restart_line(len(restarted), unit, waited=bool(arguments.wait)))
    return Report(command="restart", result={"restarted": restarted})
