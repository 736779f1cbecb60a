"""`simulate`: every request of each pod's life, asked of the policy that generate wrote for it."""

import argparse
from dataclasses import replace

from contrast_tasks.cli import policy
from contrast_tasks.cli.context import Context
from contrast_tasks.report.model import Report

EXAMPLE = "simulate Deployment/web"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("workloads", nargs="*", help="keys, as Deployment/web; default: all")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Simulate, as `policy simulate` does; a policy that denies its own pod is a failure."""
    words = argparse.Namespace(action="simulate", names=arguments.workloads)
    return replace(policy.run(words, context), command="simulate")
