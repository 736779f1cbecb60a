"""`set`: put manifest.json in force at the Coordinator."""

import argparse
from dataclasses import asdict
from pathlib import Path

from contrast_tasks.cli.cluster_flags import (
    cluster_flags,
    configure_cluster,
    coordinator_argument,
)
from contrast_tasks.cli.context import Context
from contrast_tasks.cli.values import seconds
from contrast_tasks.errors import UsageError
from contrast_tasks.report.model import Report

EXAMPLE = "set -c 203.0.113.7:1313 -m manifest.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    configure_coordinator(parser)
    parser.add_argument("--workload-owner-key", metavar="FILE", help="the owner's private key")
    configure_signatures(parser)
    parser.add_argument(
        "--atomic", action="store_true", help="only if nothing was set since the last verify"
    )
    parser.add_argument(
        "--latest-transition", metavar="HEX", help="with --atomic, instead of that in verify/"
    )
    parser.add_argument("paths", nargs="*", help="annotated YAML or its sources")


def configure_signatures(parser: argparse.ArgumentParser) -> None:
    """Add the argument for what owners have signed."""
    parser.add_argument(
        "-s",
        "--signature",
        metavar="FILE",
        dest="signatures",
        action="append",
        default=[],
        help="an owner's signature, made by sign; once for each owner who approves",
    )


def signatures_argument(arguments: argparse.Namespace, context: Context) -> list[bytes]:
    """Return the signatures, each once. Raises UsageError for a file that is none."""
    from contrast_tasks.client.transitions import read_signature

    found = [read_signature(context.cwd / name, name) for name in arguments.signatures]
    return list(dict.fromkeys(found))


def configure_coordinator(
    parser: argparse.ArgumentParser, *, place: str = "HOST:PORT", meaning: str = "its user API"
) -> None:
    """Add the arguments that choose a Coordinator and a manifest."""
    parser.add_argument("-c", "--coordinator", metavar=place, help=meaning)
    parser.add_argument("-m", "--manifest", metavar="FILE", help="default: the project's own")
    parser.add_argument(
        "--timeout", type=seconds, default=180.0, metavar="SECONDS", help="how long to wait for it"
    )
    configure_cluster(parser)


def file_argument(context: Context, value: str | None) -> Path | None:
    """Return a file argument as an absolute path, None if it was not given."""
    return None if value is None else context.cwd / value


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Attest the Coordinator, then set the manifest."""
    from contrast_tasks.cli.summaries import set_lines
    from contrast_tasks.client.coordinator import Reach
    from contrast_tasks.client.set import run_set
    from contrast_tasks.client.transitions import expected_transition
    from contrast_tasks.client.verify import FOLDER
    from contrast_tasks.tasks.database import DATABASE, recorded_outputs

    settings = context.settings(is_project=False, **cluster_flags(arguments))
    expected = None
    if arguments.atomic:
        expected = expected_transition(settings, arguments.latest_transition, FOLDER)
    elif arguments.latest_transition is not None:
        raise UsageError("set: --latest-transition is for --atomic only")
    with coordinator_argument(arguments, settings, context.console) as coordinator:
        result = run_set(
            settings,
            say=context.console.say,
            coordinator=coordinator,
            manifest=file_argument(context, arguments.manifest),
            owner_key=file_argument(context, arguments.workload_owner_key),
            owner_key_name=arguments.workload_owner_key or "",
            paths=[context.cwd / path for path in arguments.paths],
            expected=expected,
            signatures=signatures_argument(arguments, context),
            written=recorded_outputs(settings.root / DATABASE, "output"),
            reach=Reach(limit_s=arguments.timeout),
        )
    for line in set_lines(result, arguments.manifest or settings.manifest):
        context.console.say(line)
    return Report(command="set", result=asdict(result))
