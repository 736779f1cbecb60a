"""`status`: show what runs, one line per pod."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from contrast_tasks.cli.cluster_flags import cluster_flags, configure_cluster
from contrast_tasks.cli.context import Context
from contrast_tasks.cli.values import seconds
from contrast_tasks.errors import ClusterError
from contrast_tasks.report.model import Report, number_of

if TYPE_CHECKING:
    from contrast_tasks.cli.console import Console
    from contrast_tasks.deploy.apply import StatusResult

EXAMPLE = "status --wait 30"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    configure_cluster(parser)
    parser.add_argument(
        "--wait",
        type=seconds,
        default=0.0,
        metavar="SECONDS",
        help="how long to wait until everything is ready",
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Print workload, address, phase, readiness and restarts; exit with 30 if --wait is over before all is ready."""
    from contrast_tasks.cli.summaries import status_hint, status_line
    from contrast_tasks.deploy.apply import run_status
    from contrast_tasks.report.hints import command

    settings = context.settings(**cluster_flags(arguments))
    console = context.console
    result = run_status(settings, say=console.say, wait_s=arguments.wait, watch=console.progress)
    _say_of_cluster(result, console)
    width = max((len(pod.workload) for pod in result.pods), default=0)
    for pod in result.pods:
        readiness = "ready" if pod.ready else "not ready"
        line = f"{pod.workload:<{width}}  {pod.address}  {pod.phase}  {readiness}"
        if pod.restarts:
            line += f"  {number_of(pod.restarts, 'restart')}"
        console.data(f"{line}  {pod.message}".rstrip() + "\n")
    if arguments.wait and not result.running and not result.behind:
        raise ClusterError("nothing is running", hint=f"start it with '{command('deploy')}'")
    if result.behind:
        hint = status_hint(result) or "see 'kubectl describe pods'"
        raise ClusterError(result.behind, hint=hint)
    if line := status_line(result):
        console.say(line)
    if hint := status_hint(result):
        console.say(f"  hint: {hint}")
    return Report(command="status", result=asdict(result))


def _say_of_cluster(result: "StatusResult", console: "Console") -> None:
    from contrast_tasks.cli.summaries import cluster_lines
    from contrast_tasks.report.hints import command

    for line in cluster_lines(result.on_cluster):
        console.data(f"{line}\n")
    for line in result.untold:
        console.say(f"warning: {line}")
    for line in result.outdated:
        console.say(f"not deployed yet: {line}")
    if result.outdated:
        console.say(f"  hint: '{command('deploy')}' brings this build there")
    for changed in result.drift:
        console.say(f"warning: changed on the cluster: {changed}")
    if result.drift:
        console.say(f"  hint: '{command('deploy --take-over')}' sets it back")
