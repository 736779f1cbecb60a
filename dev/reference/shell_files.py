"""Completion scripts and the man page, made of the command line's own parsers by shtab and argparse-manpage."""

import argparse
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import shtab
from argparse_manpage.manpage import Manpage  # type: ignore[import-untyped]  # it has no types

from contrast_tasks import __version__
from contrast_tasks.cli.arguments import add_common
from contrast_tasks.cli.commands import SUMMARIES, command_module
from contrast_tasks.cli.completion import SHELLS
from contrast_tasks.platforms import NAMES
from contrast_tasks.report.hints import PROGRAM

_SUMMARY = "make a Kubernetes deployment confidential: YAML, policies and manifest as a task graph"
_FILES = {"FILE", "PEM", "FOLDER/FILE"}
_FOLDERS = {"DIR"}
_TODAY = re.compile(r'^(\.TH \S+ "?1"?) "[^"]*"', re.MULTILINE)


def render_completion(root: Path, *, shell: str) -> str:
    """Return the script for bash, zsh or fish."""
    del root
    return str(shtab.complete(_parser(), shell=shell, root_prefix="contrast_tasks"))


def render_man_page(root: Path) -> str:
    """Return the man page of section 1, in roff."""
    del root
    parser = _parser()
    about = {
        "prog": PROGRAM,
        "project_name": PROGRAM,
        "version": __version__,
        "description": _SUMMARY,
        "author": "the authors of contrast-tasks",
        "url": "",
        "long_description": "",
        "manual_title": "Commands",
    }
    page = str(Manpage(parser, _data=about))
    # The day on which it is made would change it.
    return _TODAY.sub(r'\1 ""', page)


def _parser() -> argparse.ArgumentParser:
    """Return one parser of all commands; each has the arguments of its own one."""
    parser = argparse.ArgumentParser(PROGRAM, description=_SUMMARY)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, summary in SUMMARIES.items():
        module = command_module(name)
        command = commands.add_parser(
            name, help=summary, description=f"{summary}\n\n  {PROGRAM} {module.EXAMPLE}"
        )
        module.configure(command)
        add_common(command)
        for action in command._actions:  # argparse has no public way
            _complete(action)
    return parser


def _complete(action: argparse.Action) -> None:
    """Say what an argument's value is, where its choices do not."""
    if action.metavar in _FILES or action.dest in ("paths", "subjects"):
        action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's own attribute
    elif action.metavar in _FOLDERS:
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # as above
    elif action.metavar == "PLATFORM":
        action.choices = NAMES


SHELL_FILES: Mapping[str, Callable[[Path], str]] = {
    **{file: partial(render_completion, shell=shell) for shell, file in SHELLS.items()},
    f"share/man/man1/{PROGRAM}.1": render_man_page,
}
