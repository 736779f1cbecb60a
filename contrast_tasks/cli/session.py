"""One command line, from its words to the exit code; the outermost error handler."""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from contrast_tasks import __version__
from contrast_tasks.cli.arguments import (
    COMMON,
    PROJECT,
    HelpShown,
    parser_of,
    parser_of_task,
    split_commands,
    usage,
)
from contrast_tasks.cli.commands import SUMMARIES, command_module
from contrast_tasks.cli.console import FORMS, Console
from contrast_tasks.cli.context import Context
from contrast_tasks.cli.streams import OutputLost, put
from contrast_tasks.cli.task import own_tasks, unknown_command
from contrast_tasks.cli.values import LOG_LEVELS
from contrast_tasks.errors import ContrastError, UsageError, did_you_mean
from contrast_tasks.file_errors import file_error
from contrast_tasks.report.hints import PROGRAM
from contrast_tasks.report.model import Report, sorted_findings
from contrast_tasks.variables import PREFIX, READ

_VERSION = ("--version", "-V")
_HELP = ("--help", "-h", "help")


def run_command_line(words: Sequence[str], root: str) -> int:
    """Return the exit code of a command line; root: the project unless --project names another one."""
    if words[:1] == ["help"] and len(words) > 1 and not words[1].startswith("-"):
        words = [words[1], "--help"]
    if not words or words[0] in _HELP:
        stream = sys.stdout if words else sys.stderr
        put(stream, usage(own_tasks(_project_of(words, root)) or {}))
        return 0 if words else UsageError.exit_code
    if words[0] in _VERSION:
        put(sys.stdout, f"{PROGRAM} {__version__}\n")
        return 0
    console = Console(form=_wanted_form(words))
    report = Report(command=" ".join(words[:1]))
    is_debug = False
    try:
        parsed = _parse(words, root)
        context = _context(parsed, words, root)
        console, is_debug = context.console, context.debug
        report = _run_all(parsed, context)
    except HelpShown as help_shown:
        put(sys.stdout, help_shown.text)
        return 0
    except ContrastError as error:
        report = Report.of_error(report.command, error)
    if is_debug:
        for failure in report.failures:
            _put_trace(failure.trace)
    console.end(report)
    return report.exit_code


def _put_trace(text: str) -> None:
    """Write a traceback, in which there may be text of files and peers."""
    from contrast_tasks.report.text import shown

    put(sys.stderr, shown(text))


def _wanted_form(words: Sequence[str]) -> str:
    """Return the output form before the line is parsed, so that usage errors are reported in it too."""
    for position, word in enumerate(words):
        value = word.partition("=")[2] if word.startswith("--output=") else ""
        if word == "--output" and position + 1 < len(words):
            value = words[position + 1]
        if value in FORMS:
            return value
    return "text"


def _project_of(words: Sequence[str], root: str) -> Path:
    """Return the project's folder before the line is parsed, for the tasks in help texts."""
    for word, value in pairwise((*words, "")):
        name, equals, inline = word.partition("=")
        if name in PROJECT and (inline if equals else value):
            return Path(inline if equals else value)
    return Path(root)


def _parse(words: Sequence[str], root: str) -> list[tuple[str, argparse.Namespace]]:
    parsed = []
    for command, *rest in split_commands(words):
        if command in SUMMARIES:
            parsed.append((command, parser_of(command).parse_args(rest)))
            continue
        is_help = any(word in _HELP for word in rest)
        summary = ""
        if is_help:
            own = own_tasks(_project_of(words, root))
            if own is not None and command not in own:
                raise unknown_command(command, [*SUMMARIES, *own])
            summary = (own or {}).get(command, "")
        parser = parser_of_task(command, summary)
        arguments, switches = parser.parse_known_args([command, *rest])
        arguments.switches = switches
        parsed.append(("task", arguments))
    return parsed


def _context(
    parsed: Sequence[tuple[str, argparse.Namespace]], words: Sequence[str], root: str
) -> Context:
    common: dict[str, Any] = dict.fromkeys(COMMON)
    for _, arguments in parsed:
        for name in COMMON:
            value = getattr(arguments, name)
            if value is not None:
                common[name] = value
    cwd = _current_directory()
    place = (cwd / (common["project"] or root)).resolve()
    if not place.is_dir():
        raise UsageError(f"project {common['project'] or root} is not a directory")
    os.chdir(place)
    level = 0 if common["log_level"] is None else common["log_level"]
    default = "github" if os.environ.get("GITHUB_ACTIONS") == "true" else "text"
    console = Console(
        form=common["output"] or default,
        colour=common["color"] or "auto",
        quiet=bool(common["quiet"]) or level >= LOG_LEVELS["error"],
    )
    return Context(
        root=place,
        cwd=cwd,
        console=console,
        environ=os.environ,
        overrides=tuple(common["overrides"] or ()),
        argv=tuple(words),
        debug=bool(common["debug"]) or level <= LOG_LEVELS["debug"],
    )


def _current_directory() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        hint = "go to a directory that exists, as with 'cd'"
        raise UsageError("the current directory does not exist any more", hint=hint) from error


def _run_all(parsed: Sequence[tuple[str, argparse.Namespace]], context: Context) -> Report:
    """Run the commands in order until one fails, and merge their reports into one."""
    title = " ".join(name for name, _ in parsed)
    context.console.begin(title)
    _warn_of_variables(context)
    reports: list[Report] = []
    for name, arguments in parsed:
        reports.append(_run(name, arguments, context))
        if reports[-1].exit_code != 0:
            break
    if len(reports) == 1 and len(parsed) == 1:
        return reports[0]
    return Report(
        command=title,
        exit_code=reports[-1].exit_code,
        findings=sorted_findings(finding for report in reports for finding in report.findings),
        failures=tuple(failure for report in reports for failure in report.failures),
        steps=tuple(step for report in reports for step in report.steps),
        result={report.command: dict(report.result) for report in reports},
    )


def _warn_of_variables(context: Context) -> None:
    """Say which CONTRAST_* variables nothing reads; a misspelled one would be ignored without a word."""
    named = {name for name in context.environ if name.startswith(PREFIX)}
    if named <= READ:
        return
    from contrast_tasks.settings.layers import variable
    from contrast_tasks.settings.model import fixed_members

    known = READ | {variable(path) for path, _ in fixed_members()}
    for name in sorted(named - known):
        context.console.say(f"warning: {name} is set, and nothing reads a variable of this name")
        if near := did_you_mean(name, sorted(known)):
            context.console.say(f"  hint: {near}")


def _run(name: str, arguments: argparse.Namespace, context: Context) -> Report:
    try:
        return command_module(name).run(arguments, context)
    except ContrastError as error:
        if context.debug:
            _put_trace(traceback.format_exc())
        return Report.of_error(name, error)
    except OSError as error:
        refused = file_error(error)
        if refused is None:
            return _bug(name, error, context)
        if context.debug:
            _put_trace(traceback.format_exc())
        return Report.of_error(name, refused)
    except OutputLost:
        raise
    except Exception as error:  # noqa: BLE001  # the outermost handler
        return _bug(name, error, context)


def _bug(name: str, error: Exception, context: Context) -> Report:
    if context.debug:
        _put_trace("".join(traceback.format_exception(error)))
    message = f"this is a bug: {type(error).__name__}: {error}"
    hint = "run again with --debug and report what it shows"
    return Report.of_error(name, ContrastError(message, hint=hint))
