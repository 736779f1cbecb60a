"""A task of the pipeline or of the project's dodo.py, called by its name; words after `--` go to the task."""

import argparse
import ast
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from contrast_tasks.cli.commands import DESTRUCTIVE, SUMMARIES
from contrast_tasks.cli.context import Context
from contrast_tasks.errors import UsageError, did_you_mean
from contrast_tasks.report.model import Report, Step, exit_code_of

EXAMPLE = "test -- -k manifest"
_DODO = "dodo.py"
_PREFIX = "task_"
_ELSEWHERE = {
    "policy": "'simulate' checks policies against all requests, 'explain --policy' says why one denied a request",
    "demo": "it is a task of our repository: run './doitw demo' in a checkout",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("names", nargs="+", help="tasks")
    parser.add_argument("--always", action="store_true", help="run also what is up to date")


def own_tasks(root: Path) -> dict[str, str] | None:
    """Return the tasks that a project's dodo.py adds to the pipeline, with the first paragraph of their docstrings.

    None: the file cannot be parsed.

    The file is parsed, not run, so help is fast and works for a broken file too.
    """
    try:
        module = ast.parse((root / _DODO).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, SyntaxError, ValueError):
        return None
    return {
        node.name.removeprefix(_PREFIX): (ast.get_docstring(node) or "").partition("\n\n")[0]
        for node in module.body
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith(_PREFIX)
        and not _uses_pipeline(node)
    }


def _uses_pipeline(creator: ast.FunctionDef) -> bool:
    """Return whether a task creator yields the pipeline, whose tasks have commands of their own."""
    return any(isinstance(node, ast.Name) and node.id == "pipeline" for node in ast.walk(creator))


class _Lines:
    def __init__(self, context: Context) -> None:
        self._console = context.console
        self.result: dict[str, Any] = {}

    def started(self, name: str) -> None:
        """Show nothing, because these tasks have output of their own."""

    def skipped(self, name: str) -> None:
        """Show nothing."""

    def finished(self, step: Step, values: dict[str, Any]) -> None:
        """Show what the task wrote, and keep its result."""
        self.result.update(values.get("result") or {})
        self._console.step(step)
        for path in step.wrote:
            self._console.say(f"wrote {path}")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Run the tasks. Raises UsageError, with the nearest name, for an unknown one."""
    from contrast_tasks.cli.arguments import parser_of_task
    from contrast_tasks.settings.model import FILE_NAME
    from contrast_tasks.tasks.face import DODO, load_tasks
    from contrast_tasks.tasks.run import run_tasks

    first = arguments.names[0]
    if not any((context.root / name).is_file() for name in (FILE_NAME, DODO)):
        raise unknown_command(first, list(SUMMARIES))
    tasks = load_tasks(context.workspace())
    by_name = {task.name: task for task in tasks}
    if first not in by_name:
        raise unknown_command(first, [*SUMMARIES, *(name for name in by_name if ":" not in name)])
    end = [*arguments.switches, "--"].index("--")
    options, words = _options(arguments.switches[:end], by_name[first].params)
    takes_words = by_name[first].pos_arg is not None
    if unknown := [word for word in words if word.startswith("-") or not takes_words]:
        parser_of_task(first).refuse(unknown)
    selected = [first, *options]
    # A task with a positional argument takes the rest of the line.
    if takes_words:
        by_name[first].pos_arg_val = [*arguments.names[1:], *words, *arguments.switches[end + 1 :]]
    else:
        selected += arguments.names[1:]
    lines = _Lines(context)
    # In the other forms stdout is for the document.
    with nullcontext() if context.console.is_text else redirect_stdout(sys.stderr):
        run = run_tasks(tasks, selected, listener=lines, always=arguments.always)
    reporter = run.reporter
    idle = all(step.status == "up-to-date" for step in reporter.steps)
    if idle and not reporter.errors:
        context.console.say("up to date")
    return Report(
        command=first if takes_words else " ".join(arguments.names),
        exit_code=exit_code_of(reporter.errors),
        findings=reporter.findings,
        failures=reporter.failures(),
        steps=tuple(reporter.steps),
        result=lines.result,
    )


def _options(
    words: Sequence[str], params: Sequence[Mapping[str, Any]]
) -> tuple[list[str], list[str]]:
    """Return the options of a task, each with the word behind it if it takes one, and the other words.

    Raises UsageError if that word is not there.
    """
    takes_value = {f"--{param['long']}": param["type"] is not bool for param in params}
    options: list[str] = []
    others: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, _ = word.partition("=")
        if name not in takes_value or (equals and not takes_value[name]):
            others.append(word)
            continue
        options.append(word)
        if takes_value[name] and not equals:
            if not left:
                raise UsageError(f"{word} stands alone, expected its value behind it")
            options.append(left.pop(0))
    return options, others


def unknown_command(name: str, known: list[str]) -> UsageError:
    """Return the error of a first word that is neither a command nor a task; known: what it may have been meant to be."""
    near = did_you_mean(name, known)
    if any(f"'{each}'" in near for each in DESTRUCTIVE):
        near = ""  # nor the one after it: whoever mistyped `stop` means no `set`
    hint = _ELSEWHERE.get(name) or near or "see 'contrast-tasks --help'"
    return UsageError(f"unknown command '{name}'", hint=hint)
