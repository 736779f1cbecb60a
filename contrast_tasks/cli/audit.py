"""`audit`: report for people on the manifests and policies that verify fetched, and what each workload may do; or on the Coordinator's log."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from contrast_tasks.cli.cluster_flags import cluster_flags, coordinator_argument
from contrast_tasks.cli.context import Context
from contrast_tasks.cli.set import configure_coordinator, file_argument
from contrast_tasks.errors import UsageError
from contrast_tasks.report.model import Report, number_of

if TYPE_CHECKING:
    from contrast_tasks.settings.model import Settings

EXAMPLE = "audit --folder verify"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--folder", metavar="DIR", help="folder written by verify, default verify/")
    parser.add_argument("--html", metavar="FILE", help="write the report as a page instead")
    parser.add_argument(
        "--mark",
        action="store_true",
        help="note that the manifest in force was audited; later reports say what changed since",
    )
    parser.add_argument(
        "--log",
        action="store_true",
        help="instead ask the coordinator for its audit log, as an owner; what follows is for this",
    )
    configure_coordinator(parser)
    parser.add_argument("--workload-owner-key", metavar="FILE", help="the owner's private key")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Print the report."""
    from contrast_tasks.client.audit import note_of_age, run_audit

    settings = context.settings(is_project=False, **cluster_flags(arguments))
    if arguments.log:
        return _log(arguments, context, settings)
    if arguments.coordinator is not None:
        raise UsageError("audit: --coordinator is for --log only; verify fetches a history")
    audit = run_audit(
        settings, folder=file_argument(context, arguments.folder), mark=arguments.mark
    )
    if arguments.folder is None and (note := note_of_age(settings, audit)):
        context.console.say(note)
    if arguments.html is not None:
        from contrast_tasks.client.audit_page import render_page

        return context.deliver("audit", render_page(audit), arguments.html)
    context.console.data(audit.text)
    return Report(command="audit", result=audit.to_json())


def _log(arguments: argparse.Namespace, context: Context, settings: "Settings") -> Report:
    from contrast_tasks.client.audit_log import run_audit_log
    from contrast_tasks.client.coordinator import Reach

    with coordinator_argument(arguments, settings, context.console) as coordinator:
        result = run_audit_log(
            settings,
            say=context.console.say,
            coordinator=coordinator,
            manifest=file_argument(context, arguments.manifest),
            owner_key=file_argument(context, arguments.workload_owner_key),
            owner_key_name=arguments.workload_owner_key or "",
            reach=Reach(limit_s=arguments.timeout),
        )
    context.console.data(result.text)
    context.console.say(f"{number_of(result.entries, 'event')} verified")
    return Report(command="audit", result=asdict(result))
