"""`completion`: print the script with which a shell completes our command line."""

import argparse

from contrast_tasks.cli.context import Context
from contrast_tasks.report.model import Report

EXAMPLE = "completion bash > ~/.local/share/bash-completion/completions/contrast-tasks"
# Where each shell looks for it below /usr or a prefix of the user's.
SHELLS = {
    "bash": "share/bash-completion/completions/contrast-tasks",
    "zsh": "share/zsh/site-functions/_contrast-tasks",
    "fish": "share/fish/vendor_completions.d/contrast-tasks.fish",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("shell", choices=tuple(SHELLS))


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Print the script, which was made of the parsers when this version was."""
    from contrast_tasks.resources import read_text

    text = read_text(SHELLS[arguments.shell])
    context.console.data(text)
    return Report(command="completion", result={"script": text})
