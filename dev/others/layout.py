"""The images of images.toml beside this file, in an OCI layout: redis, nginx and postgres from Debian's own packages.

`./doitw other_images` writes them to build/others. Downloads lie in the user's cache.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ImageError
from contrast_tasks.files import cache_folder
from contrast_tasks.images.base.downloads import Downloads
from contrast_tasks.images.pack import write_layout
from contrast_tasks.images.packing import RECIPE
from contrast_tasks.images.recipe import parse_recipes
from contrast_tasks.images.whole import Assembly, Plan, plans_beside
from dev.checkout import ROOT
from dev.packages import debian
from dev.packages.chore import pins_of

_FOLDER = ROOT / "dev" / "others"


def run_other_images(words: Sequence[str] = ()) -> dict[str, Any]:
    """Write the layout; words: its folder, build/others by default."""
    folder = ROOT / (words[0] if words else "build/others")
    return {"wrote": [], "images": write_other_images(folder)}


def write_other_images(
    folder: Path, names: Sequence[str] = (), *, offline: bool = False
) -> dict[str, str]:
    """Write the images to an OCI layout; return the digest of each by reference.

    names: those to write, as `others/redis:v1`; all by default. offline: of packages that were downloaded before; raises
    ImageError for one that was not.
    """
    recipes = [
        recipe
        for recipe in parse_recipes((_FOLDER / RECIPE).read_bytes(), RECIPE)
        if not names or recipe.reference in names
    ]
    plans = plans_beside(_FOLDER, recipes, shown=RECIPE)
    with Downloads(cache_folder(os.environ) / "packages", offline=offline) as downloads:
        assembly = Assembly(downloads)
        plans = fetched(assembly, plans)
        images = [assembly.make(plan, plan.recipe.reference).packed for plan in plans]
    write_layout(folder, images)
    return {image.reference: image.descriptor.digest for image in images}


def fetched(assembly: Assembly, plans: Sequence[Plan]) -> list[Plan]:
    """Download what images need; where the mirror has other versions by now, pin those instead and return other plans."""
    try:
        assembly.fetch(plans)
    except ImageError as err:
        if "has it no more" not in str(err):
            raise
    else:
        return list(plans)
    with debian.in_new_folder() as folder:
        pins = pins_of(plans, debian.prepare(Path(folder)))
    again = [plan._replace(pins=pins) for plan in plans]
    assembly.fetch(again)
    return again
