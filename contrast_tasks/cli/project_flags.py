"""The arguments of every command that generates first, and the settings that they override."""

import argparse
from collections.abc import Iterable
from typing import Any

from contrast_tasks.cli.context import Context
from contrast_tasks.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of every command that generates first."""
    parser.add_argument("paths", nargs="*", help="files and folders of the deployment")
    parser.add_argument("--reference-values", metavar="PLATFORM", help="the platform")
    parser.add_argument("--release", metavar="NAME", help="release of the runtime on the nodes")
    parser.add_argument("-m", "--manifest", metavar="FILE", help="where the manifest goes")
    parser.add_argument(
        "--in-place",
        action="store_true",
        default=None,
        help="annotate the files of the deployment themselves",
    )
    parser.add_argument(
        "--image-replacements",
        metavar="FILE",
        help="lines of 'original = replacement', images to use instead of others",
    )
    for name, what in (("initializer", "certificates"), ("service-mesh", "mutual TLS")):
        parser.add_argument(
            f"--skip-{name}",
            action="store_false",
            default=None,
            dest=name.replace("-", "_"),
            help=f"add no container for {what}",
        )
    stores = parser.add_mutually_exclusive_group()
    for word, wanted in (("inject", True), ("skip", False)):
        stores.add_argument(
            f"--{word}-image-store",
            action="store_const",
            const=wanted,
            default=None,
            dest="image_store",
            help=f"{'add a' if wanted else 'add no'} volume that images are unpacked into",
        )
    owners = parser.add_mutually_exclusive_group()
    owners.add_argument(
        "-w",
        "--add-workload-owner-key",
        action="append",
        metavar="FILE",
        dest="workload_owners",
        help="key that may update the manifest; created if it does not exist",
    )
    parser.add_argument(
        "--add-seedshare-owner-key",
        action="append",
        metavar="FILE",
        dest="seedshare_owners",
        help="key that may recover the Coordinator; created if it does not exist",
    )
    owners.add_argument(
        "-d",
        "--disable-updates",
        action="store_true",
        default=None,
        help="make the manifest immutable",
    )


def flags_of(arguments: argparse.Namespace, context: Context) -> dict[str, Any]:
    """Return the settings that the arguments override: dotted keys with `__` for `.`."""

    def paths(values: list[str] | None) -> tuple[str, ...] | None:
        return tuple(context.path(value) for value in values) if values else None

    def path(value: str | None) -> str | None:
        return None if value is None else context.path(value)

    _check_paths(arguments.paths, context)
    return {
        "sources": paths(arguments.paths),
        "platform": arguments.reference_values,
        "runtime__release": arguments.release,
        "manifest": path(arguments.manifest),
        "output__in_place": arguments.in_place,
        "images__replacements": path(arguments.image_replacements),
        "defaults__initializer": arguments.initializer,
        "defaults__service_mesh": arguments.service_mesh,
        "defaults__image_store": arguments.image_store,
        "owners__workload": paths(arguments.workload_owners),
        "owners__seedshare": paths(arguments.seedshare_owners),
        "owners__disable_updates": arguments.disable_updates,
    }


def _check_paths(paths: Iterable[str], context: Context) -> None:
    """Raise UsageError for a path that does not exist, before anything is generated."""
    for path in paths:
        if not (context.cwd / path).exists():
            wanted = "a directory with .yml, .yaml or .json files, or such a file"
            raise UsageError(
                f"found nothing at '{path}', expected {wanted}",
                hint="name the folder of the deployment, relative to the current directory",
            )
