"""`runtime`: the Kubernetes resources that install the platform's runtime on the nodes."""

import argparse

from contrast_tasks.cli.context import Context
from contrast_tasks.report.model import Report

EXAMPLE = "runtime --installer NAME@sha256:DIGEST --write runtime.yml"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--reference-values", metavar="PLATFORM", help="the platform")
    parser.add_argument("--release", metavar="NAME", help="release of the runtime to install")
    parser.add_argument(
        "--installer",
        required=True,
        metavar="IMAGE",
        help="node installer of the runtime's release, by digest",
    )
    parser.add_argument(
        "--snapshotter", metavar="IMAGE", help="snapshotter of the release, by digest; AKS only"
    )
    parser.add_argument(
        "--handler",
        metavar="NAME",
        help="name of the runtime, default: that of the reference values",
    )
    parser.add_argument(
        "--target",
        choices=("k3s", "rke2"),
        default="",
        help="also say where containerd is on nodes of this distribution",
    )
    parser.add_argument("--write", metavar="FILE", help="write to FILE instead of stdout")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Print the resources, or write them."""
    from contrast_tasks.deploy.runtime import render_runtime
    from contrast_tasks.platforms import platform
    from contrast_tasks.steps.project import chosen_class, handlers_of

    settings = context.settings(
        platform=arguments.reference_values, runtime__release=arguments.release
    )
    text = render_runtime(
        platform(settings.platform),
        arguments.handler or chosen_class(settings, handlers_of(settings)),
        settings.release,
        installer=arguments.installer,
        snapshotter=arguments.snapshotter,
        target=arguments.target,
    )
    return context.deliver("runtime", text, arguments.write)
