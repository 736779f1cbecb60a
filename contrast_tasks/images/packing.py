"""Pack the project's images and our own components into the OCI layout `<build>/images`.

An `images.toml` next to a source folder describes the project's images (examples/emojivoto/images.toml for
examples/emojivoto/deployment), components.py the components. These images contain no Python: the local backend runs them with
its own. Whole images for a cluster are made by whole.py.
"""

from pathlib import Path
from typing import Any

from contrast_tasks.errors import ImageError, Location
from contrast_tasks.files import norm_path
from contrast_tasks.images.components import component_recipes
from contrast_tasks.images.documents import Descriptor, digest_of
from contrast_tasks.images.layout import REF_NAME, Layout, declared_layouts, find_layout
from contrast_tasks.images.own_files import OURS, PYTHON_ROOT, accounts, own_entries
from contrast_tasks.images.pack import PackedImage, pack_image, render_layer, write_layout
from contrast_tasks.images.recipe import ImageRecipe, parse_recipes
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.settings.model import Settings

RECIPE = "images.toml"
# Accounts and files, see _pack.
_PACKED_LAYERS = 2


def recipe_files(settings: Settings) -> tuple[str, ...]:
    """Return the images.toml files of the project, relative to its root, sorted."""
    names = {norm_path(Path(source).parent / RECIPE) for source in settings.sources}
    return tuple(sorted(name for name in names if (settings.root / name).is_file()))


def pack(settings: Settings) -> dict[str, Any]:
    """Write the layout; return `changed` and the digest of each image by reference. Raises ImageError."""
    images = [_pack(recipe, PYTHON_ROOT, OURS) for recipe in component_recipes()]
    for name in recipe_files(settings):
        folder = (settings.root / name).parent
        for recipe in parse_recipes((settings.root / name).read_bytes(), name):
            try:
                images.append(_pack(recipe, folder))
            except ImageError as err:
                where = err.where or Location(file=name)
                raise ImageError(
                    f"image {recipe.reference}: {err}", hint=err.hint, where=where
                ) from err
    changed = write_layout(settings.root / settings.packed_layout, images)
    digests = {image.reference: image.descriptor.digest for image in images}
    return {"changed": changed, "images": dict(sorted(digests.items()))}


def pack_components(settings: Settings) -> bool:
    """Add our components to the layout; return whether it changed.

    All are packed, used or not: a source that is temporarily unreadable must not remove an image. Components that
    another declared layout has are left out.
    """
    own = settings.packed_layout
    elsewhere = declared_layouts(settings, but=own)
    recipes = [
        recipe
        for recipe in component_recipes()
        if find_layout(elsewhere, parse_reference(recipe.reference)) is None
    ]
    if not recipes:
        return False
    images = [_pack(recipe, PYTHON_ROOT, OURS) for recipe in recipes]
    directory = settings.root / own
    return write_layout(directory, images, kept=_others(directory))


def foreign_components(settings: Settings) -> list[str]:
    """Return which of our components come from a declared layout and were packed by another version of this tool.

    Each as `<reference> in <layout>`. Of whole images, which have packages too, nobody can tell.
    """
    elsewhere = declared_layouts(settings, but=settings.packed_layout)
    found = []
    for recipe in component_recipes() if elsewhere else ():
        reference = parse_reference(recipe.reference)
        layout = find_layout(elsewhere, reference)
        if layout is None:
            continue
        layers = layout.image(reference).diff_ids
        own = tuple(own_entries(recipe, PYTHON_ROOT, OURS))
        if len(layers) == _PACKED_LAYERS and layers[-1] != digest_of(render_layer(own)):
            found.append(f"{recipe.reference} in {layout.name}")
    return found


def _others(directory: Path) -> list[Descriptor]:
    """Return the entries of a layout that are not our components; [] if it is unreadable and will be replaced."""
    ours = {recipe.reference for recipe in component_recipes()}
    try:
        entries = Layout(directory).entries
    except ImageError:
        return []
    return [entry for entry in entries if entry.annotations.get(REF_NAME) not in ours]


def _pack(recipe: ImageRecipe, folder: Path, packages: tuple[str, ...] = ()) -> PackedImage:
    entries = tuple(own_entries(recipe, folder, packages))
    return pack_image(recipe.reference, recipe.config, [accounts(recipe), entries])
