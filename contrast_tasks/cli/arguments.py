"""The parts of a command line: several commands in a row, their options, and help.

A command ends at the name of the next one: `deploy set verify` are three. A path with the name of a command is written
`./deploy`, but for what is there when a project begins. An action with such a name belongs to its command, as in `evidence verify`.
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from contrast_tasks.cli.commands import SUMMARIES, CommandModule, command_module
from contrast_tasks.cli.console import FORMS
from contrast_tasks.cli.values import log_level
from contrast_tasks.errors import UsageError, did_you_mean
from contrast_tasks.report.hints import PROGRAM
from contrast_tasks.settings.outputs import YAML_SUFFIXES


class HelpShown(Exception):
    """The user asked for help; `text` is the answer."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class _Form(argparse.Action):
    """Takes the form of the output; for a command that writes one YAML file, also the name of that file.

    The reference product's `--output` names the file, for which `-o` is the spelling here.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the value where it belongs. Raises UsageError for what is neither."""
        del option_string
        if values in FORMS:
            namespace.output = values
        elif hasattr(namespace, "combined") and values.endswith(YAML_SUFFIXES):
            namespace.combined = values
        else:
            parser.error(
                f"argument --output: invalid choice: {values!r} (choose from {', '.join(FORMS)})"
            )


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError and HelpShown instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError for an argument that argparse refuses."""
        raise self._refusal(message[0].lower() + message[1:])

    def parse_args(self, args: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]  # no other use
        """Return the arguments. Raises UsageError."""
        arguments, unknown = self.parse_known_args(args)
        if unknown:
            self.refuse(unknown)
        return arguments

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Raise UsageError for unknown arguments; the hint is the option with the nearest name."""
        raise self._refusal(f"unrecognized arguments: {' '.join(unknown)}", unknown[0])

    def check_known(self, word: str) -> None:
        """Raise UsageError if an option does not exist."""
        if word.partition("=")[0] not in self._option_string_actions:
            self.refuse([word])

    def _refusal(self, message: str, unknown: str = "") -> UsageError:
        near = ""
        if unknown.startswith("-"):
            near = did_you_mean(unknown.partition("=")[0], sorted(self._option_string_actions))
        name = self.prog.removeprefix(PROGRAM).lstrip()
        return UsageError(
            f"{name}: {message}" if name else message, hint=near or f"see '{self.prog} --help'"
        )

    def print_help(self, file: Any = None) -> NoReturn:
        """Raise HelpShown."""
        del file
        raise HelpShown(self.format_help())


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that every command has."""
    group = parser.add_argument_group("for every command")
    group.add_argument("--output", action=_Form, metavar="FORM", help=", ".join(FORMS))
    when = ("auto", "always", "never")
    group.add_argument("--color", choices=when, metavar="WHEN", help=", ".join(when))
    group.add_argument(*PROJECT, metavar="DIR", dest="project", help="folder of contrast.toml")
    group.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        dest="overrides",
        help="override a setting, as a line of TOML",
    )
    group.add_argument("--quiet", action="store_true", default=None, help="only errors and data")
    group.add_argument("--debug", action="store_true", default=None, help="show tracebacks")
    group.add_argument(
        "--log-level",
        type=log_level,
        metavar="LEVEL",
        help="debug as --debug, error as --quiet; info and warn change nothing",
    )


_INIT = "init"
_TASK = "run a task of the project's dodo.py"
COMMON = ("output", "color", "project", "overrides", "quiet", "debug", "log_level")
PROJECT = ("--project", "--workspace-dir")


@cache
def parser_of(command: str) -> Parser:
    """Return the parser of a command; its help begins with an example."""
    module = command_module(command)
    return _parser(module, command, f"{SUMMARIES[command]}\n\n  {PROGRAM} {module.EXAMPLE}")


def parser_of_task(name: str, summary: str = "") -> Parser:
    """Return the parser of a task that is called like a command."""
    return _parser(command_module("task"), name, f"{summary or _TASK}\n\n  {PROGRAM} {name}")


def _parser(module: CommandModule, command: str, description: str) -> Parser:
    parser = Parser(
        prog=f"{PROGRAM} {command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.configure(parser)
    add_common(parser)
    return parser


def _takes_value(parser: argparse.ArgumentParser, word: str) -> bool:
    if "=" in word:
        return False
    action = parser._option_string_actions.get(word)  # noqa: SLF001  # argparse has no public way
    return action is not None and action.nargs is None and action.const is None


def _actions_of(parser: argparse.ArgumentParser) -> Sequence[str]:
    """Return the actions of a command, as `show` of `config`."""
    every = parser._actions  # noqa: SLF001  # as above
    return next((tuple(each.choices or ()) for each in every if each.dest == "action"), ())


def split_commands(argv: Sequence[str]) -> list[list[str]]:
    """Split a command line into commands, each with its arguments.

    Options before the first command belong to it. A first word that is not a command may be a task of the project, and
    takes all other words as its arguments. Raises UsageError if there is no command.
    """
    options = Parser(prog=PROGRAM, add_help=False)
    add_common(options)
    leading: list[str] = []
    words = list(argv)
    while words and words[0].startswith("-"):
        leading.append(words.pop(0))
        if words and _takes_value(options, leading[-1]):
            leading.append(words.pop(0))
        elif words and words[0] not in SUMMARIES and not words[0].startswith("-"):
            # An unknown option, or an option of a command that stands before the command with its value.
            options.check_known(leading[-1])
    if not words:
        raise UsageError("no command was given", hint=f"see '{PROGRAM} --help'")
    if words[0] not in SUMMARIES:
        return [[words[0], *leading, *words[1:]]]
    parts: list[list[str]] = []
    parser: argparse.ArgumentParser = options
    actions: Sequence[str] = ()
    is_value = False
    for position, word in enumerate(words):
        if word == "--":
            parts[-1].extend(words[position:])
            break
        is_action = word in actions and not is_value
        # Nobody begins a project and deploys it at once, and many a deployment lies in a folder of that name.
        is_folder = bool(parts) and parts[-1][0] == _INIT and Path(word).exists()
        if word in SUMMARIES and not is_value and not is_action and not is_folder:
            parts.append([word, *(leading if not parts else ())])
            parser = parser_of(word)
            actions = (*_actions_of(parser), *getattr(command_module(word), "ACTIONS", ()))
            continue
        if is_action:
            actions = ()
        is_value = not is_value and _takes_value(parser, word)
        parts[-1].append(word)
    return parts


def usage(tasks: Mapping[str, str]) -> str:
    """Return the overview: an example, the commands, and the project's own tasks; tasks: name -> docstring."""
    width = max(map(len, (*SUMMARIES, *tasks)))
    lines = [f"{PROGRAM} generate deploy set verify", "", "commands:"]
    lines += [f"  {name:<{width}}  {summary}" for name, summary in SUMMARIES.items()]
    if tasks:
        lines += ["", "tasks of this project:"]
        lines += [f"  {name:<{width}}  {_brief(text)}".rstrip() for name, text in tasks.items()]
    lines += ["", f"'{PROGRAM} COMMAND --help' shows the options of a command", ""]
    return "\n".join(lines)


def _brief(text: str) -> str:
    """Return the first line of a docstring in the style of the commands' summaries."""
    line = text.partition("\n")[0].rstrip(".")
    return line[:1].lower() + line[1:]
