"""`exec`: run a command in a pod of platform local, to look into it."""

import argparse

from contrast_tasks.cli.context import Context
from contrast_tasks.cli.values import NAMES_LIKE_COMMANDS
from contrast_tasks.report.model import Report

EXAMPLE = "exec web -- sh"
ACTIONS = NAMES_LIKE_COMMANDS


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("name", help="the workload, as web or Deployment/web")
    parser.add_argument(
        "--container", default="", metavar="NAME", help="default: the last one that was started"
    )
    parser.add_argument("words", nargs="+", metavar="command", help="behind --, with its arguments")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Run it and end with its exit status; policies are not asked."""
    from contrast_tasks.deploy.debug import run_in_pod

    status = run_in_pod(
        context.settings(), arguments.name, arguments.words, container=arguments.container
    )
    return Report(command="exec", exit_code=status, result={"status": status})
