"""`audit`: report for people on the manifests and policies that verify fetched, and what each workload may do."""

import argparse
from dataclasses import asdict

from contrast_tasks.cli.context import Context
from contrast_tasks.cli.set import file_argument
from contrast_tasks.report.model import Report

EXAMPLE = "audit --folder verify"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--folder", metavar="DIR", help="folder written by verify, default verify/")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Print the report."""
    from contrast_tasks.client.audit import run_audit

    result = run_audit(
        context.settings(is_project=False), folder=file_argument(context, arguments.folder)
    )
    context.console.data(result.text)
    return Report(command="audit", result=asdict(result))
