"""`deploy`: generate, then make what runs equal to the annotated YAML."""

import argparse
from dataclasses import asdict

from contrast_tasks.cli import generate, project_flags
from contrast_tasks.cli.cluster_flags import cluster_flags, configure_cluster
from contrast_tasks.cli.context import Context
from contrast_tasks.errors import MissingReferenceValues
from contrast_tasks.report.model import Report

EXAMPLE = "deploy set verify"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    project_flags.configure(parser)
    configure_cluster(parser)
    parser.add_argument(
        "--take-over",
        action="store_true",
        help="set fields that another tool owns too (clusters only)",
    )
    parser.add_argument(
        "--prune",
        action="store_true",
        help="remove objects of earlier deploys that are gone from the sources (clusters only)",
    )
    parser.add_argument(
        "--without-mesh",
        action="store_true",
        help="leave out Envoy and the applications behind it (local only)",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="delete the Coordinator's history (local only)"
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Deploy, unless generate fails; reference values may still be missing in the manifest."""
    from contrast_tasks.deploy.apply import run_deploy

    flags = project_flags.flags_of(arguments, context)
    generated = generate.generate(context, flags)
    if generated.exit_code == MissingReferenceValues.exit_code:
        # Only set needs them, and `probe` can read them from the running Coordinator.
        missing = " ".join(failure.message for failure in generated.failures)
        context.console.say(f"warning: {missing}: deployed without, set will need them")
    elif generated.exit_code != 0:
        return generated.replace(command="deploy")
    result = run_deploy(
        context.settings(**flags, **cluster_flags(arguments)),
        say=context.console.say,
        environ=context.environ,
        with_mesh=not arguments.without_mesh,
        fresh=arguments.fresh,
        take_over=arguments.take_over,
        prune=arguments.prune,
        watch=context.console.progress,
    )
    if not result.changed:
        is_local = result.platform == "local"
        context.console.say("everything runs already" if is_local else "nothing changed")
    if result.coordinator:
        context.console.say(f"coordinator {result.coordinator}")
    return Report(
        command="deploy",
        findings=generated.findings,
        steps=generated.steps,
        result=asdict(result),
    )
