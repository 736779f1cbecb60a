"""docs/reference/commands.md: every command with its arguments, the tasks of this repository, and the exit codes."""

import argparse
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path

from contrast_tasks import errors
from contrast_tasks.cli import main, planned
from contrast_tasks.cli.arguments import COMMON, parser_of
from contrast_tasks.cli.commands import SUMMARIES, command_module
from contrast_tasks.cli.task import own_tasks
from contrast_tasks.findings import Severity
from contrast_tasks.report.hints import PROGRAM
from dev.reference.markdown import NOTICE, code, prose, table

INTRODUCTION = f"""\
# Commands

One line may have several commands, which run in order until one fails: `{PROGRAM} generate deploy set verify`. Data goes to stdout,
messages to stderr. In this repository `./doitw` does the same as `{PROGRAM}`.
"""


def render_commands(root: Path) -> str:
    """Return the page."""
    lines = [NOTICE, "", *INTRODUCTION.splitlines(), "", "## Arguments of every command", ""]
    lines += _arguments(action for action in _actions("lint") if action.dest in COMMON)
    for name, summary in SUMMARIES.items():
        example = command_module(name).EXAMPLE
        lines += ["", f"## {name}", "", f"{prose(summary[:1].upper() + summary[1:])}.", ""]
        lines += ["<!-- elsewhere: an example of one command -->"]
        lines += ["```sh", f"{PROGRAM} {example}", "```"]
        own = [action for action in _actions(name) if action.dest not in COMMON]
        lines += ["", *_arguments(own)] if own else []
    lines += ["", "## Tasks", ""]
    lines += ["A task of the project's `dodo.py` is a command too; this repository has these."]
    lines += [
        "",
        *table(
            ("task", "does"),
            ((code(name), prose(does)) for name, does in (own_tasks(root) or {}).items()),
        ),
    ]
    lines += ["", "## Exit codes", "", *table(("code", "meaning"), _exit_codes())]
    return "\n".join(lines) + "\n"


def _actions(command: str) -> list[argparse.Action]:
    return [action for action in parser_of(command)._actions if action.dest != "help"]


def _arguments(actions: Iterable[argparse.Action]) -> list[str]:
    return table(("argument", "meaning"), map(_argument, actions))


def _argument(action: argparse.Action) -> tuple[str, str]:
    value = str(action.metavar or action.dest)
    if action.choices is not None and not action.metavar:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    if action.nargs in ("*", "+"):
        value = f"[{value} ...]" if action.nargs == "*" else f"{value} ..."
    names = ", ".join(action.option_strings)
    shown = names if action.nargs == 0 else f"{names} {value}".strip()
    says = [action.help or ""]
    if action.required and action.option_strings:
        says.append("required")
    if action.default not in (None, False, "", argparse.SUPPRESS) and action.nargs != 0:
        says.append(f"default {action.default}")
    return code(shown), prose("; ".join(text for text in says if text))


def _exit_codes() -> Iterator[tuple[str, str]]:
    yield "0", "success"
    codes = {planned.CHANGES: "`plan --detailed-exitcode` or `generate --check` found changes"}
    for severity in Severity:
        codes[10 + severity.rank] = f"findings, the worst of severity {severity.value}"
    codes[main.INTERRUPTED] = "interrupted; finished work is kept"
    codes[main.TERMINATED] = "terminated; finished work is kept"
    for error in vars(errors).values():
        number: object = getattr(error, "exit_code", None)
        if inspect.isclass(error) and isinstance(number, int):
            first = (inspect.getdoc(error) or "").partition("\n")[0].rstrip(".")
            codes.setdefault(number, prose(first[:1].lower() + first[1:]))
    codes[errors.ContrastError.exit_code] = "a bug of ours"
    yield from ((str(number), text) for number, text in sorted(codes.items()))
