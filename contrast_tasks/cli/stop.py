"""`stop`: stop the deployment, on this machine or on a cluster."""

import argparse

from contrast_tasks.cli.cluster_flags import cluster_flags, configure_cluster
from contrast_tasks.cli.context import Context
from contrast_tasks.report.model import Report

EXAMPLE = "stop"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    configure_cluster(parser)
    parser.add_argument(
        "--all", action="store_true", help="the Coordinator and its history too (clusters only)"
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Stop everything that deploy started."""
    from contrast_tasks.deploy.apply import run_stop

    settings = context.settings(**cluster_flags(arguments))
    console = context.console
    stopped = run_stop(settings, say=console.say, everything=arguments.all, watch=console.progress)
    return Report(command="stop", result={"stopped": stopped})
