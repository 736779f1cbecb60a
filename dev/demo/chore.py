"""`./doitw demo`: the whole walkthrough on this machine, with one line per step."""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contrast_tasks.cli.console import Console
from contrast_tasks.cli.context import Context
from contrast_tasks.cli.generate import generate
from contrast_tasks.cli.streams import put
from contrast_tasks.errors import ContrastError
from contrast_tasks.findings import FindingsError
from contrast_tasks.report.hints import command
from contrast_tasks.report.model import Report
from contrast_tasks.settings.model import Settings
from contrast_tasks.steps.project import Spec
from dev.demo.run import run_demo


def demo(project: Spec, *, keep: bool) -> dict[str, Any]:
    """Run every step. The first failure ends the demo and stops everything that it started."""
    context = Context(
        root=Path(project.root),
        cwd=Path(project.root),
        console=Console(quiet=True),
        environ=os.environ,
        overrides=project.overrides,
    )

    def load(overrides: Sequence[str]) -> Settings:
        return _under(context, overrides).settings()

    def make(overrides: Sequence[str]) -> None:
        _generate(_under(context, overrides))

    result = run_demo(load, make, say=lambda line: put(sys.stdout, f"{line}\n"), keep=keep)
    return {"wrote": [], "result": asdict(result)}


def _under(context: Context, overrides: Sequence[str]) -> Context:
    return context.replace(overrides=(*context.overrides, *overrides))


def _generate(context: Context) -> None:
    report = generate(context, {}, is_quiet=True)
    if report.exit_code == 0:
        return
    if any(failure.kind == "FindingsError" for failure in report.failures):
        raise FindingsError(report.findings)
    raise GenerateFailed(report)


class GenerateFailed(ContrastError):
    """`generate` failed; has the message and exit code of its first failure."""

    def __init__(self, report: Report) -> None:
        first = next(iter(report.failures), None)
        again = f"run '{command('generate')}' to see it all"
        super().__init__(
            first.message if first else f"generate ended with {report.exit_code}",
            hint=(first.hint if first else "") or again,
            where=first.where if first else None,
        )
        self.exit_code = report.exit_code
