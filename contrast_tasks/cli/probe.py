"""`probe`: show what an unknown machine proves about itself, and write it as settings after the user's confirmation."""

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from contrast_tasks.addresses import joined
from contrast_tasks.cli.context import Context
from contrast_tasks.cli.endorsements import configure_access, endorsements_of
from contrast_tasks.cli.values import seconds
from contrast_tasks.errors import UsageError
from contrast_tasks.report.model import Report
from contrast_tasks.settings.load import OBSERVED_NAME
from contrast_tasks.settings.model import FILE_NAME

if TYPE_CHECKING:
    from contrast_tasks.attestation.observe import Observation

EXAMPLE = "probe -c 203.0.113.7:1313"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "-c", "--coordinator", metavar="HOST:PORT", required=True, help="its user API"
    )
    parser.add_argument(
        "--out", metavar="FILE", help=f"default {OBSERVED_NAME}, which generate reads"
    )
    parser.add_argument("--yes", action="store_true", help="write without asking")
    parser.add_argument("--show-only", action="store_true", help="show, and write nothing")
    parser.add_argument(
        "--with-guest", action="store_true", help="also write the running guest's measurements"
    )
    parser.add_argument(
        "--pin-machine",
        action="store_true",
        help="also write the chip ID, to accept no other machine",
    )
    parser.add_argument(
        "--timeout", type=seconds, default=30.0, metavar="SECONDS", help="for the handshake"
    )
    configure_access(parser)


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Observe, show, ask, write; exit with 41 unless the evidence is genuine, 2 without a terminal to ask on."""
    from contrast_tasks.client.deployed import address_of
    from contrast_tasks.client.probe import (
        Chosen,
        overrides_of,
        probe,
        read_by,
        render_overrides,
        require_own,
        with_earlier,
        write_overrides,
    )

    host, port = address_of(arguments.coordinator)
    default = context.root / OBSERVED_NAME
    path = context.cwd / arguments.out if arguments.out else default
    if not arguments.show_only:
        require_own(path)
    observation = probe(
        host,
        port,
        endorsements=endorsements_of(arguments, context),
        now=datetime.now(UTC),
        timeout_s=arguments.timeout,
    )
    _show(observation, joined(host, port), context)
    chosen = Chosen(guest=arguments.with_guest, machine=arguments.pin_machine)
    overrides = overrides_of(observation, chosen)
    settings = context.settings_if_any()
    if settings and not settings.is_local:
        overrides, ignored = read_by(settings.release, overrides)
        for name in ignored:
            context.console.say(
                f"{name} is left out, release {settings.release_name} does not read it"
            )
    if overrides and not arguments.show_only:
        overrides = with_earlier(path, overrides)
    text = render_overrides(overrides) if overrides else ""
    result: dict[str, Any] = {
        "coordinator": joined(host, port),
        "tee": observation.tee,
        "product": observation.product,
        "simulated": observation.simulated,
        "observed": dict(observation.values),
        "warnings": list(observation.warnings),
        "overrides": overrides,
        "written": None,
    }
    if not overrides:
        context.console.say("there is nothing to write: settings have no values for this machine")
        return Report(command="probe", result=result)
    context.console.data(f"\n{text}")
    if arguments.show_only:
        return Report(command="probe", result=result)
    if not arguments.yes and not _can_ask(context):
        error = UsageError(
            "these values were not confirmed, nothing was written",
            hint="run it on a terminal, or confirm with --yes",
        )
        return Report.of_error("probe", error, result)
    if not arguments.yes and not _confirmed():
        context.console.say("nothing was written")
        return Report(command="probe", result=result)
    changed = write_overrides(path, text)
    result["written"] = str(path)
    next_step = "generate again"
    if path != default:
        next_step = f"put its lines into {FILE_NAME} and generate again"
    context.console.say(f"{'wrote' if changed else 'up to date:'} {path.name}; {next_step}")
    return Report(command="probe", result=result)


def _show(observation: "Observation", name: str, context: Context) -> None:
    from contrast_tasks.evidence.files import text_lines

    product = f" of the line {observation.product}" if observation.product else ""
    context.console.data(f"coordinator {name} runs on {observation.tee}{product}\n")
    for line in text_lines(observation.values, 1):
        context.console.data(f"{line}\n")
    for warning in observation.warnings:
        context.console.say(f"warning: {warning}")


def _can_ask(context: Context) -> bool:
    return context.console.is_text and sys.stdin.isatty()


def _confirmed() -> bool:
    sys.stderr.write("write these values? type yes: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == "yes"
