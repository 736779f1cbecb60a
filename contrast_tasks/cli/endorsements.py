"""`endorsements`: fetch what vendors publish about processors, show the cached publications, or prune them."""

import argparse
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from contrast_tasks.addresses import joined
from contrast_tasks.cli.context import Context
from contrast_tasks.errors import UsageError
from contrast_tasks.report.model import Report, number_of

if TYPE_CHECKING:
    from contrast_tasks.attestation.carriers import Carried
    from contrast_tasks.attestation.endorsements.fetch import Endorsements

EXAMPLE = "endorsements fetch -c 203.0.113.7:1313"
ACTIONS = ("fetch", "show", "prune")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("files", nargs="*", metavar="FILE", help="report, quote or document")
    parser.add_argument("-c", "--coordinator", metavar="HOST:PORT", help="ask it for its evidence")
    configure_access(parser)


def configure_access(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """Add the arguments that control access to vendors."""
    parser.add_argument("--offline", action="store_true", help="use only cached publications")
    parser.add_argument(
        "--mirror",
        action="append",
        metavar="PREFIX=REPLACEMENT",
        help="ask this address instead of a vendor's; also [endorsements.mirrors]",
    )


def endorsements_of(arguments: argparse.Namespace, context: Context) -> "Endorsements":
    """Return access to the vendors' publications by flags and settings."""
    from contrast_tasks.attestation.endorsements.edge import open_endorsements
    from contrast_tasks.attestation.endorsements.network import parse_mirrors

    settings = context.settings_if_any()
    mirrors = {
        **(settings.mirrors if settings else {}),
        **parse_mirrors(arguments.mirror or ()),
    }
    return open_endorsements(
        environ=context.environ,
        offline=arguments.offline,
        mirrors=mirrors,
        proxy=settings.proxy if settings else "",
        tell=context.console.say,
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Fetch, show the cache, or prune it; 41 if something could not be fetched."""
    if arguments.action == "fetch":
        return _fetch(arguments, context)
    if arguments.files or arguments.coordinator or arguments.mirror:
        raise UsageError(f"endorsements {arguments.action} takes no files, coordinator or mirrors")
    return _show(context) if arguments.action == "show" else _prune(context)


def _prune(context: Context) -> Report:
    from contrast_tasks.attestation.endorsements.edge import endorsements_folder
    from contrast_tasks.evidence.endorsements import prune

    folder = endorsements_folder(context.environ)
    removed = prune(folder, datetime.now(UTC))
    context.console.say(
        f"removed {number_of(len(removed), 'file')} from {folder}"
        if removed
        else f"nothing to remove in {folder}"
    )
    return Report(command="endorsements", result={"folder": str(folder), "removed": removed})


def _fetch(arguments: argparse.Namespace, context: Context) -> Report:
    from contrast_tasks.evidence.endorsements import (
        MaterialMissing,
        fetch_endorsements,
        require_complete,
    )

    if not arguments.files and arguments.coordinator is None:
        raise UsageError(
            "no evidence was given to fetch endorsements for",
            hint="name a file with evidence, or a coordinator with -c HOST:PORT",
        )
    endorsements = endorsements_of(arguments, context)
    now = datetime.now(UTC)
    fetched = []
    for name, carried in _evidence(arguments, context, now):
        entry = fetch_endorsements(carried, endorsements, now)
        fetched.append((name, entry))
        context.console.data(f"{name}: {entry.evidence}, {entry.product or 'unknown product'}\n")
        for what, source in entry.sources.items():
            context.console.data(f"  {what}: {source}\n")
    result = {"fetched": [{"name": name, **asdict(entry)} for name, entry in fetched]}
    try:
        require_complete([entry for _, entry in fetched])
    except MaterialMissing as err:
        return Report.of_error("endorsements", err, result)
    return Report(command="endorsements", result=result)


def _evidence(
    arguments: argparse.Namespace, context: Context, now: datetime
) -> "list[tuple[str, Carried]]":
    from contrast_tasks.evidence.files import load_evidence

    evidence = [(name, load_evidence(context.cwd / name)) for name in arguments.files]
    if arguments.coordinator is not None:
        from contrast_tasks.client.deployed import address_of
        from contrast_tasks.client.session import presented_evidence

        host, port = address_of(arguments.coordinator)
        name = f"coordinator {joined(host, port)}"
        evidence.append((name, presented_evidence(host, port, now=now)))
    return evidence


def _show(context: Context) -> Report:
    from contrast_tasks.attestation.endorsements.edge import endorsements_folder
    from contrast_tasks.evidence.endorsements import kept_endorsements

    folder = endorsements_folder(context.environ)
    kept = list(kept_endorsements(folder, datetime.now(UTC)))
    for entry in kept:
        state = "" if entry.usable else "not usable, "
        until = f"until {entry.valid_until}" if entry.valid_until else "without an end"
        context.console.data(f"{entry.what}, {state}{until}: {entry.url}\n")
    context.console.say(f"{number_of(len(kept), 'publication')} in {folder}")
    return Report(
        command="endorsements",
        result={"folder": str(folder), "kept": [asdict(entry) for entry in kept]},
    )
