"""`demo`: the whole path on this machine, one line per step with what it proved."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace

from contrast_tasks.cli import generate
from contrast_tasks.cli.console import Console
from contrast_tasks.cli.context import Context
from contrast_tasks.errors import ContrastError, FindingsError
from contrast_tasks.report.hints import command
from contrast_tasks.report.model import Report
from contrast_tasks.settings.load import Settings

EXAMPLE = "demo --keep"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--keep", action="store_true", help="leave it running and show the URLs")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Run every step; the first that fails ends the demo, and everything it started is stopped."""
    from contrast_tasks.demo.run import run_demo

    def load(overrides: Sequence[str]) -> Settings:
        return _under(context, overrides).settings()

    def make(overrides: Sequence[str]) -> None:
        _generate(_under(context, overrides))

    result = run_demo(
        load,
        make,
        say=lambda line: context.console.data(f"{line}\n"),
        keep=arguments.keep,
        environ=context.environ,
    )
    return Report(command="demo", result=asdict(result))


def _under(context: Context, overrides: Sequence[str]) -> Context:
    return replace(context, overrides=(*context.overrides, *overrides))


def _generate(context: Context) -> None:
    quiet = Console(form=context.console.form, quiet=True, environ=context.environ)
    report = generate.generate(replace(context, console=quiet), {}, is_quiet=True)
    if report.exit_code == 0:
        return
    if any(failure.kind == "FindingsError" for failure in report.failures):
        raise FindingsError(report.findings)
    raise GenerateFailed(report)


class GenerateFailed(ContrastError):
    """Generating failed; speaks and ends as `generate` would have done."""

    def __init__(self, report: Report) -> None:
        first = next(iter(report.failures), None)
        again = f"run '{command('generate')}' to see it all"
        super().__init__(
            first.message if first else f"generate ended with {report.exit_code}",
            hint=(first.hint if first else "") or again,
            where=first.where if first else None,
        )
        self.exit_code = report.exit_code
