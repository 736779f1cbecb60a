"""`plan`: show what `generate` would change, and what `set` would then change at the Coordinator."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from contrast_tasks.cli import project_flags
from contrast_tasks.cli.cluster_flags import (
    cluster_flags,
    configure_cluster,
    coordinator_argument,
)
from contrast_tasks.cli.context import Context
from contrast_tasks.cli.planned import CHANGES, Planned, plan_changes, show
from contrast_tasks.cli.set import configure_signatures, signatures_argument
from contrast_tasks.errors import ClusterError
from contrast_tasks.report.model import Report, sorted_findings

if TYPE_CHECKING:
    from contrast_tasks.findings import Finding
    from contrast_tasks.steps.project import Project

EXAMPLE = "plan --detailed-exitcode"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    project_flags.configure(parser)
    parser.add_argument(
        "-c",
        "--coordinator",
        metavar="HOST:PORT",
        help="compare with the manifest in force there; default: the deployment's, if one runs",
    )
    configure_cluster(parser)
    configure_signatures(parser)
    parser.add_argument(
        "--detailed-exitcode", action="store_true", help=f"exit with {CHANGES} if there are changes"
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Print one line per difference."""
    flags = {**project_flags.flags_of(arguments, context), **cluster_flags(arguments)}
    with plan_changes(context, flags) as planned:
        if planned.refusal is not None:
            return planned.refusal.replace(command="plan")
        return _compare(planned, arguments, context)


def _compare(planned: Planned, arguments: argparse.Namespace, context: Context) -> Report:
    from contrast_tasks.client.plan import running_difference
    from contrast_tasks.steps.id_blocks import refuse_without_id_block

    now, project = planned.now, planned.workspace.project
    refuse_without_id_block(project, planned.workspace.heads())
    found = planned.differences
    findings = _look_at_cluster(project, context)
    say = context.console.say
    with coordinator_argument(arguments, now.settings, context.console) as coordinator:
        running = running_difference(
            now.settings,
            (now.root / project.paths.manifest).read_bytes(),
            say=say,
            policies=lambda: _policies(project),
            # Where the cluster does not answer, no Coordinator is looked for there.
            coordinator=arguments.coordinator if findings is None else coordinator,
            signatures=signatures_argument(arguments, context),
        )
    if running is not None:
        found.append(running)
    show(found, context)
    return Report(
        command="plan",
        findings=sorted_findings(findings or ()),
        exit_code=CHANGES if found and arguments.detailed_exitcode else 0,
        result={"changes": [asdict(difference) for difference in found]},
    )


def _policies(planned: "Project") -> list[bytes]:
    """Return the planned policies; none if they are to go into sources, which have the present ones."""
    from contrast_tasks.kube.annotated import load_annotated, policies_of

    settings = planned.settings
    return [] if settings.in_place else list(policies_of(load_annotated(settings)).values())


def _look_at_cluster(planned: "Project", context: Context) -> "tuple[Finding, ...] | None":
    """Return a warning if the cluster lacks the runtime class, and say what somebody changed in deployed workloads.

    None if the cluster does not answer, which changes no plan.
    """
    from contrast_tasks.deploy.apply import kubectl_of
    from contrast_tasks.deploy.classes import absent_classes
    from contrast_tasks.deploy.cluster_status import drift_of
    from contrast_tasks.kube.annotated import load_annotated

    settings = planned.settings
    if settings.is_local:
        return ()
    cluster = kubectl_of(settings, context.console.say)
    try:
        found = absent_classes(settings, (planned.runtime_class,), cluster)
        if (settings.root / settings.build_dir / "deployment").exists() or settings.in_place:
            drift = drift_of(load_annotated(settings), cluster)
            for line in drift.outdated:
                context.console.say(f"not deployed yet: {line}")
            for line in drift.changed:
                context.console.say(f"warning: changed on the cluster: {line}")
    except ClusterError as err:
        context.console.say(f"the cluster was not looked at: {err}")
        return None
    return found
