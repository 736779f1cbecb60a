"""`coordinator`: the Kubernetes resources of the Coordinator, to put next to a deployment's own."""

import argparse

from contrast_tasks import resources
from contrast_tasks.cli.context import Context
from contrast_tasks.files import write_atomic
from contrast_tasks.report.model import Report

EXAMPLE = "coordinator --write deployment/coordinator.yml"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--write", metavar="FILE", help="write to FILE instead of stdout")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Print coordinator.yml, or write it; generate adds it by itself unless [coordinator] include is false."""
    from contrast_tasks.settings.model import ComponentSettings

    image = ComponentSettings().coordinator
    if (context.root / "contrast.toml").is_file():
        image = context.settings().components.coordinator
    text = resources.read_text("templates/coordinator/coordinator.yml").replace(
        f"image: {ComponentSettings().coordinator}\n", f"image: {image}\n"
    )
    if arguments.write is None:
        context.console.data(text)
        return Report(command="coordinator", result={"yaml": text})
    name = context.path(arguments.write)
    if write_atomic(context.root / name, text.encode()):
        context.console.say(f"wrote {name}")
    return Report(command="coordinator", result={"file": name})
