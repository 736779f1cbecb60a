"""`evidence`: what a file of attestation evidence says, whether a manifest accepts it, and whether an index of vectors holds."""

import argparse
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from contrast_tasks.cli.context import Context
from contrast_tasks.cli.endorsements import configure_access, endorsements_of
from contrast_tasks.errors import MismatchError, UsageError
from contrast_tasks.report.model import Report

EXAMPLE = "evidence verify report.bin --manifest manifest.json"
ACTIONS = ("show", "verify", "check")

# Option, attribute and the actions that know it.
_OPTIONS = (
    ("--manifest", "manifest", ("verify",)),
    ("--report-data", "report_data", ("verify",)),
    ("--collateral", "collateral", ("verify",)),
    ("--at", "at", ("verify",)),
    ("--allow-vlek", "allow_vlek", ("verify",)),
    ("--allow-quote-v5", "allow_quote_v5", ("verify",)),
    ("--offline", "offline", ("verify",)),
    ("--mirror", "mirror", ("verify",)),
    ("--roots", "roots", ("check",)),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("path", metavar="FILE", help="evidence; check: folder of vectors.json")
    group = parser.add_argument_group("verify")
    group.add_argument("-m", "--manifest", metavar="FILE", help="reference values and policies")
    group.add_argument("--report-data", metavar="HEX", help="the 64 bytes it must bind")
    group.add_argument("--collateral", metavar="FILE", help="TDX collateral at hand")
    group.add_argument("--at", metavar="TIME", help="instant of verification, default: now")
    group.add_argument("--allow-vlek", action="store_true", help="SEV-SNP keys of a cloud provider")
    group.add_argument("--allow-quote-v5", action="store_true", help="TDX quotes of version 5")
    configure_access(group)
    group = parser.add_argument_group("check")
    group.add_argument("--roots", metavar="DIR", help="root certificates instead of our own")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Carry out one action; 41 for evidence that is not acceptable, 42 for another policy or verdict."""
    for option, name, actions in _OPTIONS:
        if getattr(arguments, name) and arguments.action not in actions:
            raise UsageError(
                f"evidence {arguments.action} does not know {option}, evidence {actions[0]} does"
            )
    if arguments.action == "show":
        return _show(arguments, context)
    if arguments.action == "check":
        return _check(arguments, context)
    return _verify(arguments, context)


def _show(arguments: argparse.Namespace, context: Context) -> Report:
    from contrast_tasks.evidence.files import show_evidence

    said = show_evidence(context.cwd / arguments.path)
    _print(said, context)
    return Report(command="evidence", result=said)


def _print(said: dict[str, Any], context: Context) -> None:
    from contrast_tasks.evidence.files import text_lines

    context.console.data("".join(f"{line}\n" for line in text_lines(said)))


def _check(arguments: argparse.Namespace, context: Context) -> Report:
    from contrast_tasks.evidence.files import check_vectors

    totals = check_vectors(
        context.cwd / arguments.path,
        roots=None if arguments.roots is None else context.cwd / arguments.roots,
        say=lambda line: context.console.data(f"{line}\n"),
    )
    result = {
        "passed": totals.passed,
        "failed": totals.failed,
        "checks": [dict(entry) for entry in totals.results],
    }
    if not totals.failed:
        return Report(command="evidence", result=result)
    total = totals.passed + totals.failed
    error = MismatchError(f"{totals.failed} of {total} checks came out otherwise than listed")
    return Report.of_error("evidence", error, result)


def _verify(arguments: argparse.Namespace, context: Context) -> Report:
    from contrast_tasks.attestation.judge import NoReferenceAccepts
    from contrast_tasks.evidence.files import verify_evidence

    if arguments.manifest is None:
        raise UsageError("evidence verify needs a manifest", hint="name it with --manifest FILE")
    try:
        said = verify_evidence(
            context.cwd / arguments.path,
            manifest=context.cwd / arguments.manifest,
            report_data_hex=arguments.report_data,
            endorsements=endorsements_of(arguments, context),
            now=_instant(arguments.at),
            collateral=None if arguments.collateral is None else context.cwd / arguments.collateral,
            allow_vlek=arguments.allow_vlek,
            allow_quote_v5=arguments.allow_quote_v5,
        )
    except NoReferenceAccepts as err:
        rejections = [asdict(rejection) for rejection in err.rejections]
        result = {"rejections": rejections, "not_at_hand": list(err.troubles)}
        return Report.of_error("evidence", err, result)
    _print(said, context)
    if not said["report_data_checked"]:
        context.console.say("report data was not checked: nothing says whom this was made for")
    if said["simulated"]:
        context.console.say("evidence of a simulated processor: for development only")
    return Report(command="evidence", result=said)


def _instant(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"--at is {text!r}, wanted a time as 2026-03-17T22:16:03Z") from err
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
