"""`recover`: give a restarted Coordinator its seed back, with the share of one seed share owner."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from contrast_tasks.cli.cluster_flags import cluster_flags, coordinator_argument
from contrast_tasks.cli.context import Context
from contrast_tasks.cli.set import configure_coordinator, file_argument
from contrast_tasks.errors import UsageError
from contrast_tasks.report.model import Report

if TYPE_CHECKING:
    from contrast_tasks.settings.model import Settings

EXAMPLE = "recover -c 203.0.113.7:1313 -m manifest.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; names are the reference product's."""
    configure_coordinator(parser)
    parser.add_argument("--seedshare-owner-key", metavar="FILE", help="the owner's private key")
    parser.add_argument("--seed", metavar="FILE", help="seed shares, default seed-shares.json")
    parser.add_argument(
        "--workload-owner-key",
        metavar="FILE",
        help="of the reference product; has no effect, and says so",
    )
    parser.add_argument(
        "--accept-rollback",
        action="store_true",
        help="even if its history lacks what the last set or verify saw: a manifest replaced since then is in force again",
    )
    parser.add_argument(
        "--fetch-shares",
        action="store_true",
        help="only write seed-shares.json again, from a coordinator that serves: the first set did not get them",
    )
    parser.add_argument("--force", action="store_true", help="even if recovered peers exist")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Recover, then verify."""
    from contrast_tasks.cli.summaries import recover_lines
    from contrast_tasks.client.coordinator import Reach
    from contrast_tasks.client.recover import run_recover

    if arguments.workload_owner_key is not None:
        context.console.say(
            "warning: --workload-owner-key has no effect: the share's owner recovers, with --seedshare-owner-key"
        )
    settings = context.settings(is_project=False, **cluster_flags(arguments))
    if arguments.fetch_shares:
        for name in ("force", "accept_rollback", "seed"):
            if getattr(arguments, name):
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"recover: {option} has no meaning with --fetch-shares")
        return _fetch(arguments, context, settings)
    with coordinator_argument(arguments, settings, context.console) as coordinator:
        result = run_recover(
            settings,
            say=context.console.say,
            coordinator=coordinator,
            manifest=file_argument(context, arguments.manifest),
            owner_key=file_argument(context, arguments.seedshare_owner_key),
            seed_shares=file_argument(context, arguments.seed),
            force=arguments.force,
            accept_rollback=arguments.accept_rollback,
            reach=Reach(limit_s=arguments.timeout),
        )
    for line in recover_lines(result):
        context.console.say(line)
    return Report(command="recover", result=asdict(result))


def _fetch(arguments: argparse.Namespace, context: Context, settings: "Settings") -> Report:
    from contrast_tasks.client.coordinator import Reach
    from contrast_tasks.client.recover import fetch_shares

    with coordinator_argument(arguments, settings, context.console) as coordinator:
        files = fetch_shares(
            settings,
            say=context.console.say,
            coordinator=coordinator,
            manifest=file_argument(context, arguments.manifest),
            owner_key=file_argument(context, arguments.seedshare_owner_key),
            reach=Reach(limit_s=arguments.timeout),
        )
    for line in [f"wrote {file}" for file in files] or ["the seed shares are here already"]:
        context.console.say(line)
    return Report(command="recover", result={"files": files})
