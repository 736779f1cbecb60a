"""`coordinator`: the Kubernetes resources of the Coordinator, to be added to a deployment, and what watches it."""

import argparse

from contrast_tasks.cli.context import Context
from contrast_tasks.report.model import Report

_WATCHING = {
    "alerts": "templates/monitoring/alerts.yml",
    "dashboard": "templates/monitoring/dashboard.json",
}
EXAMPLE = "coordinator --write deployment/coordinator.yml"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "what",
        nargs="?",
        choices=("resources", *_WATCHING),
        default="resources",
        help="its resources (the default), alert rules for Prometheus, or a dashboard for Grafana",
    )
    parser.add_argument("--write", metavar="FILE", help="write to FILE instead of stdout")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Print it, or write it; generate adds the resources by itself unless [coordinator] include is false."""
    from contrast_tasks import resources
    from contrast_tasks.prepare.coordinator import coordinator_of, render_coordinator
    from contrast_tasks.releases.table import RELEASES
    from contrast_tasks.settings.components import ComponentSettings

    if arguments.what in _WATCHING:
        text = resources.read_text(_WATCHING[arguments.what])
        return context.deliver("coordinator", text, arguments.write)
    settings = context.settings_if_any()
    if settings is None:
        text = render_coordinator(RELEASES[-1], ComponentSettings())
    else:
        text = coordinator_of(settings)
    return context.deliver("coordinator", text, arguments.write)
