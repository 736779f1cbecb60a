"""`sign`: write an owner's signature over an update, or what a security module has to sign."""

import argparse
from dataclasses import asdict

from contrast_tasks.cli.context import Context
from contrast_tasks.cli.set import file_argument
from contrast_tasks.report.model import Report

EXAMPLE = "sign -m manifest.json --out manifest.sig"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; names are the reference product's."""
    parser.add_argument("-m", "--manifest", metavar="FILE", help="default: the project's own")
    parser.add_argument("--workload-owner-key", metavar="FILE", help="the owner's private key")
    parser.add_argument(
        "--latest-transition", metavar="HEX", help="default: that in verify/, else none"
    )
    parser.add_argument(
        "--prepare", action="store_true", help="only write what is to be signed, without a key"
    )
    parser.add_argument("--out", metavar="FILE", required=True, help="what is written")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Sign, or prepare."""
    from contrast_tasks.cli.summaries import sign_line
    from contrast_tasks.client.sign import run_sign
    from contrast_tasks.client.transitions import expected_transition
    from contrast_tasks.client.verify import FOLDER

    settings = context.settings(is_project=False)
    result = run_sign(
        settings,
        say=context.console.say,
        out=context.cwd / arguments.out,
        out_name=arguments.out,
        previous=expected_transition(settings, arguments.latest_transition, FOLDER),
        manifest=file_argument(context, arguments.manifest),
        owner_key=file_argument(context, arguments.workload_owner_key),
        owner_key_name=arguments.workload_owner_key or "",
        prepare=arguments.prepare,
    )
    context.console.say(sign_line(result, arguments.manifest or settings.manifest))
    return Report(command="sign", result=asdict(result))
