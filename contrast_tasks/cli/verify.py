"""`verify`: attest the Coordinator, write its history to verify/, and compare it with a manifest."""

import argparse
from dataclasses import asdict

from contrast_tasks.cli.cluster_flags import cluster_flags, coordinator_argument
from contrast_tasks.cli.context import Context
from contrast_tasks.cli.set import configure_coordinator, file_argument
from contrast_tasks.report.model import Report

EXAMPLE = "verify -c 203.0.113.7:1313 -m manifest.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    meaning = "its user API, or http://HOST:PORT or an https:// address of its HTTP attestation"
    configure_coordinator(parser, place="ADDRESS", meaning=meaning)
    parser.add_argument("--folder", metavar="DIR", help="folder for the history, default verify/")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Verify; exit with 41 for unacceptable evidence, 42 for another manifest."""
    from contrast_tasks.cli.summaries import verify_lines
    from contrast_tasks.client.coordinator import Reach
    from contrast_tasks.client.verify import FOLDER, run_verify

    settings = context.settings(is_project=False, **cluster_flags(arguments))
    with coordinator_argument(arguments, settings, context.console) as coordinator:
        result = run_verify(
            settings,
            say=context.console.say,
            coordinator=coordinator,
            manifest=file_argument(context, arguments.manifest),
            folder=file_argument(context, arguments.folder),
            folder_name=arguments.folder or "",
            reach=Reach(limit_s=arguments.timeout),
        )
    manifest, folder = arguments.manifest or settings.manifest, arguments.folder or FOLDER
    for line in verify_lines(result, manifest, folder.rstrip("/")):
        context.console.say(line)
    members = {**asdict(result), "folder": str(result.folder)}
    return Report(command="verify", result=members)
