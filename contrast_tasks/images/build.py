"""Make whole images: into an OCI layout, into a registry, and their bills of materials beside them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from contrast_tasks import __version__
from contrast_tasks.errors import UsageError
from contrast_tasks.files import write_atomic
from contrast_tasks.images.base.downloads import Downloads
from contrast_tasks.images.pack import write_layout
from contrast_tasks.images.push import Pusher
from contrast_tasks.images.whole import (
    Assembly,
    Plan,
    WholeImage,
    component_plans,
    project_plans,
    tool_plan,
)
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.progress import Watch
from contrast_tasks.settings.components import COMPONENT_IMAGES
from contrast_tasks.settings.model import Settings

Say = Callable[[str], None]


class Wanted(NamedTuple):
    """One image to make. name: as the user calls it; reference: its new name. is_ours: it is of this tool, not of the project."""

    name: str
    plan: Plan
    reference: str
    is_ours: bool


class Built(NamedTuple):
    """An image that was made. reference: with its digest where it was pushed. size_bytes: of all its layers."""

    name: str
    is_ours: bool
    original: str
    reference: str
    digest: str
    size_bytes: int


def wanted_images(settings: Settings, names: Sequence[str], *, registry: str) -> tuple[Wanted, ...]:
    """Return the images of these names, of all but the command line's without any: our components first, then those of images.toml.

    registry: registry and path that new names begin with, "" keeps the names. Raises UsageError for
    an unknown name, and ImageError.
    """
    known: dict[str, Wanted] = {}
    tool = tool_plan()
    for plan in (*component_plans(), tool):
        name = plan.recipe.name.rpartition("/")[2]
        reference = f"{plan.recipe.name}:{__version__}"
        reference = f"{registry}/{name}:{__version__}" if registry else reference
        known[name] = Wanted(name, plan, reference, is_ours=True)
    for plan in project_plans(settings):
        original = plan.recipe.reference
        reference = f"{registry}/{original}" if registry else original
        known[plan.recipe.name] = Wanted(plan.recipe.name, plan, reference, is_ours=False)
    for name in names:
        if name not in known:
            raise UsageError(
                f"there is no image {name}", hint=f"images are {', '.join(sorted(known))}"
            )
    chosen = tuple(
        known[name]
        for name in dict.fromkeys(names or known)
        if names or known[name].plan is not tool  # no cluster needs it
    )
    for each in chosen:
        parse_reference(each.reference)
    return chosen


def build(
    wanted: Sequence[Wanted],
    downloads: Downloads,
    *,
    layout: Path | None,
    sboms: Path | None,
    pusher: Pusher | None,
    in_gzip: bool,
    say: Say,
    watch: Watch,
) -> tuple[Built, ...]:
    """Make the images and write them to a layout, to a registry or both; sboms: folder for bills of materials.

    in_gzip: as in `pack_image`. watch: shows the progress.

    Raises ImageError; what was pushed before stays, and a second run sends only what is missing.
    """
    assembly = Assembly(downloads, in_gzip=in_gzip)
    assembly.fetch(each.plan for each in wanted)
    made = []
    with watch("making", len(wanted), "image") as progress:
        for each in wanted:
            progress.begin(each.name)
            made.append((each, assembly.make(each.plan, each.reference)))
            progress.end(each.name)
    if layout is not None:
        write_layout(layout, [image.packed for _, image in made])
    built = []
    for each, image in made:
        if sboms is not None:
            write_atomic(sboms / f"{each.name.replace('/', '-')}.spdx.json", image.sbom)
        reference = each.reference
        if pusher is not None:
            reference = pusher.push(image.packed)
            say(f"pushed {reference}")
        built.append(_described(each, image, reference))
    return tuple(built)


def _described(wanted: Wanted, image: WholeImage, reference: str) -> Built:
    return Built(
        name=wanted.name,
        is_ours=wanted.is_ours,
        original=wanted.plan.recipe.reference,
        reference=reference,
        digest=image.packed.descriptor.digest,
        size_bytes=sum(map(len, image.packed.blobs.values())),
    )


def components_of(built: Sequence[Built]) -> Mapping[str, str]:
    """Return the members of [components] that were made, with their references."""
    named = {each.name.replace("-", "_"): each.reference for each in built if each.is_ours}
    return {key: reference for key, reference in named.items() if key in COMPONENT_IMAGES}
