"""`evidence`: show a file of attestation evidence, verify it against a manifest, or check a folder of test vectors."""

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

# The options that only one action has.
_ACTION_OF = {
    **dict.fromkeys(("manifest", "report_data", "collateral", "at"), "verify"),
    **dict.fromkeys(("allow_vlek", "allow_quote_v5", "offline", "mirror"), "verify"),
    "roots": "check",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("path", metavar="FILE", help="evidence; check: folder of vectors.json")
    group = parser.add_argument_group("verify")
    group.add_argument("-m", "--manifest", metavar="FILE", help="reference values and policies")
    group.add_argument("--report-data", metavar="HEX", help="the 64 bytes that it must contain")
    group.add_argument("--collateral", metavar="FILE", help="TDX collateral to use")
    group.add_argument("--at", metavar="TIME", help="time of verification, default: now")
    group.add_argument(
        "--allow-vlek", action="store_true", help="accept SEV-SNP keys of a cloud provider"
    )
    group.add_argument(
        "--allow-quote-v5", action="store_true", help="accept TDX quotes of version 5"
    )
    configure_access(group)
    group = parser.add_argument_group("check")
    group.add_argument("--roots", metavar="DIR", help="root certificates, default: the vendors'")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Carry out one action; exit with 41 for unacceptable evidence, 42 for another policy or verdict."""
    for name, action in _ACTION_OF.items():
        if getattr(arguments, name) and arguments.action != action:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"evidence {arguments.action} does not know {option}, evidence {action} does"
            )
    if arguments.action == "show":
        return _show(arguments, context)
    if arguments.action == "check":
        return _check(arguments, context)
    return _verify(arguments, context)


def _show(arguments: argparse.Namespace, context: Context) -> Report:
    from contrast_tasks.evidence.files import show_evidence

    shown = show_evidence(context.cwd / arguments.path)
    _print(shown, context)
    return Report(command="evidence", result=shown)


def _print(members: dict[str, Any], context: Context) -> None:
    from contrast_tasks.evidence.files import text_lines

    context.console.data("".join(f"{line}\n" for line in text_lines(members)))


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
        verified = verify_evidence(
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
    _print(verified, context)
    if not verified["report_data_checked"]:
        context.console.say("report data was not checked: the evidence may be from any connection")
    if verified["simulated"]:
        context.console.say("evidence of a simulated processor: for development only")
    return Report(command="evidence", result=verified)


def _instant(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"--at is {text!r}, wanted a time as 2026-03-17T22:16:03Z") from err
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
