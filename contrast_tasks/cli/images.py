"""`images build`: make whole images of our components and of the project, for an OCI layout or a registry."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks.cli.context import Context
from contrast_tasks.errors import UsageError
from contrast_tasks.report.hints import command
from contrast_tasks.report.model import Report, number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contrast_tasks.images.build import Built

EXAMPLE = "images build --registry registry.example/team"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("action", choices=("build",))
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="coordinator, initializer, service-mesh, node-installer or an image of images.toml, all by default; or tool, the command line for stages of CI",
    )
    parser.add_argument(
        "--registry",
        metavar="HOST/PATH",
        help="push there, and name the components in contrast.toml",
    )
    parser.add_argument(
        "--layout",
        metavar="DIR",
        help="write an OCI layout; by default, without --registry, <build>/whole",
    )
    parser.add_argument("--keep-settings", action="store_true", help="leave contrast.toml as it is")
    parser.add_argument(
        "--sbom", metavar="DIR", help="folder of the bills of materials, default <build>/sbom"
    )
    parser.add_argument("--offline", action="store_true", help="download nothing")
    parser.add_argument("--cache", metavar="DIR", help="folder of downloaded packages")
    parser.add_argument(
        "--mirror", metavar="ADDRESS", help="of Debian's archives; also [images] debian_mirror"
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Make the images; tell on stdout which of the project's images to replace by what was pushed."""
    from contrast_tasks.files import cache_folder
    from contrast_tasks.images.base.downloads import Downloads
    from contrast_tasks.images.build import build, wanted_images
    from contrast_tasks.images.credentials import Credentials, auth_files
    from contrast_tasks.images.push import Pusher
    from contrast_tasks.platforms import platform

    settings = context.settings(is_project=False, images__debian_mirror=arguments.mirror)
    registry = (arguments.registry or "").rstrip("/")
    if arguments.registry is not None and not registry:
        raise UsageError(
            f"--registry is {arguments.registry!r}, wanted a host and a path",
            hint=f"write it as '{command(EXAMPLE)}'",
        )
    wanted = wanted_images(settings, arguments.only, registry=registry)
    layout = _folder(arguments.layout, context)
    if layout is None and not registry:
        layout = context.root / settings.build_dir / "whole"
    sboms = _folder(arguments.sbom, context) or context.root / settings.build_dir / "sbom"
    cache = _folder(arguments.cache, context) or cache_folder(context.environ) / "packages"
    find = Credentials(auth_files(context.environ, Path.home())).find
    with (
        Downloads(
            cache,
            mirror=settings.debian_mirror,
            offline=arguments.offline,
            say=context.console.say,
            watch=context.console.progress,
        ) as downloads,
        Pusher(find_credential=find) as pusher,
    ):
        built = build(
            wanted,
            downloads,
            layout=layout,
            sboms=sboms,
            pusher=pusher if registry else None,
            # Source: docs/internals/aks.md 2.
            in_gzip=bool(settings.platform) and platform(settings.platform).attaches_layers,
            say=context.console.say,
            watch=context.console.progress,
        )
    result = {
        "images": [each._asdict() for each in built],
        "layout": os.path.relpath(layout, context.root) if layout else None,
        "sbom": os.path.relpath(sboms, context.root),
        "settings": None,
    }
    if registry:
        if not arguments.keep_settings:
            result["settings"] = _name_components(built, context)
        for each in built:
            if not each.is_ours:
                context.console.data(f"{each.original} = {each.reference}\n")
    size = sum(each.size_bytes for each in built) >> 20
    place = f" in {result['layout']}" if layout else ""
    context.console.say(f"made {number_of(len(built), 'image')} of {size} MiB{place}")
    return Report(command="images", result=result)


def _folder(argument: str | None, context: Context) -> Path | None:
    return context.cwd / argument if argument else None


def _name_components(built: "Sequence[Built]", context: Context) -> str | None:
    """Write the references of components to contrast.toml; return its name if it changed."""
    from contrast_tasks.files import write_atomic
    from contrast_tasks.images.build import components_of
    from contrast_tasks.settings.edit import with_texts
    from contrast_tasks.settings.model import FILE_NAME

    path = context.root / FILE_NAME
    components = components_of(built)
    if not components or not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        text = with_texts(file.read(), "components", components)
    if not write_atomic(path, text.encode()):
        return None
    context.console.say(f"wrote [components] in {FILE_NAME}")
    return FILE_NAME
