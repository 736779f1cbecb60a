"""`stop`: stop the local deployment."""

import argparse

from contrast_tasks.cli.context import Context
from contrast_tasks.report.model import Report

EXAMPLE = "stop"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add nothing; the command has no arguments of its own."""
    del parser


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Stop everything that deploy started."""
    from contrast_tasks.deploy.apply import run_stop

    del arguments
    stopped = run_stop(context.settings(), say=context.console.say)
    return Report(command="stop", result={"stopped": stopped})
