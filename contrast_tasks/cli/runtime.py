"""`runtime`: the Kubernetes resources that install the platform's runtime on the nodes."""

import argparse

from contrast_tasks.cli.context import Context
from contrast_tasks.errors import UsageError
from contrast_tasks.report.hints import command
from contrast_tasks.report.model import Report

EXAMPLE = "runtime --installer NAME@sha256:DIGEST --write runtime.yml"
_UNINSTALL = "runtime --uninstall --installer NAME@sha256:DIGEST --write uninstall.yml"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--reference-values", metavar="PLATFORM", help="the platform")
    parser.add_argument("--release", metavar="NAME", help="release of the runtime to install")
    parser.add_argument(
        "--installer",
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
    parser.add_argument(
        "--uninstall",
        action="store_true",
        help="what removes the runtime from the nodes again; the installer is ours",
    )
    parser.add_argument(
        "--credentials",
        action="store_true",
        help="only the Secret of [guest_pulls], for kubectl; it holds passwords",
    )
    parser.add_argument("--write", metavar="FILE", help="write to FILE instead of stdout")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Print the resources, or write them."""
    if arguments.credentials:
        return _credentials(arguments, context)
    if arguments.installer is None:
        raise UsageError(
            "no --installer was given, expected the node installer of the runtime's release",
            hint=f"write it as '{command(_UNINSTALL if arguments.uninstall else EXAMPLE)}'",
        )
    from contrast_tasks.deploy.runtime import render_runtime, render_uninstall
    from contrast_tasks.platforms import platform
    from contrast_tasks.steps.project import chosen_class, handlers_of

    settings = context.settings(
        platform=arguments.reference_values, runtime__release=arguments.release
    )
    handler = arguments.handler or chosen_class(settings, handlers_of(settings))
    if arguments.uninstall:
        text = render_uninstall(
            platform(settings.platform),
            handler,
            settings.release,
            installer=arguments.installer,
            target=arguments.target,
        )
        return context.deliver("runtime", text, arguments.write)
    text = render_runtime(
        platform(settings.platform),
        handler,
        settings.release,
        installer=arguments.installer,
        snapshotter=arguments.snapshotter,
        target=arguments.target,
    )
    return context.deliver("runtime", text, arguments.write)


def _credentials(arguments: argparse.Namespace, context: Context) -> Report:
    """Print the Secret into a pipe; passwords reach neither files, nor terminals, nor logs of documents."""
    import sys
    from pathlib import Path

    from contrast_tasks.deploy.pull_secret import NAME, render_pull_secret
    from contrast_tasks.images.credentials import Credentials, auth_files

    if arguments.write or not context.console.is_text or sys.stdout.isatty():
        raise UsageError(
            "the Secret holds passwords, so it is printed into a pipe only",
            hint=f"write '{command('runtime --credentials')} | kubectl apply -f -'",
        )
    settings = context.settings(
        platform=arguments.reference_values, runtime__release=arguments.release
    )

    def read(name: str) -> str:
        try:
            return (settings.root / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as err:
            where = settings.where("guest_pulls")
            raise UsageError(f"{name} cannot be read as text", where=where) from err

    text = render_pull_secret(
        settings.guest_pulls,
        settings.release,
        find=Credentials(auth_files(context.environ, Path.home())).find,
        read=read,
    )
    context.console.data(text)
    return Report(command="runtime", result={"secret": NAME})
