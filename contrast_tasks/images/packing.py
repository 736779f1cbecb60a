"""Pack the project's images and our own components into the OCI layout `<build>/images`.

An `images.toml` next to a source folder describes the project's images (examples/emojivoto/images.toml for
examples/emojivoto/deployment); the components are described below. The images contain no Python: the local backend runs
them with its own, and for a cluster they need a base image that has it.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from contrast_tasks.errors import ImageError, Location
from contrast_tasks.files import norm_path
from contrast_tasks.images.documents import Descriptor, ImageConfig
from contrast_tasks.images.layout import REF_NAME, Layout, declared_layouts, find_layout
from contrast_tasks.images.modules import source_files
from contrast_tasks.images.pack import Entry, PackedImage, pack_image, write_layout
from contrast_tasks.images.recipe import ImageRecipe, parse_recipes
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.settings.model import Settings

RECIPE = "images.toml"

# The folder of contrast_tasks and coordinator, both in a checkout and in an installation.
_PYTHON_ROOT = Path(__file__).resolve().parents[2]
_OURS = ("contrast_tasks", "coordinator")
_APP = "app"

_ENV = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE=1",
)
# The bottom layer of every image; policies resolve users with these files.
_ACCOUNTS = (
    Entry(
        path="etc/passwd",
        content=b"root:x:0:0:root:/root:/sbin/nologin\n"
        b"nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n",
    ),
    Entry(path="etc/group", content=b"root:x:0:\nnonroot:x:65532:\n"),
)


def recipe_files(settings: Settings) -> tuple[str, ...]:
    """Return the images.toml files of the project, relative to its root, sorted."""
    names = {norm_path(Path(source).parent / RECIPE) for source in settings.sources}
    return tuple(sorted(name for name in names if (settings.root / name).is_file()))


def pack(settings: Settings) -> dict[str, Any]:
    """Write the layout; return `changed` and the digest of each image by reference. Raises ImageError."""
    images = [_pack(recipe, _PYTHON_ROOT, _OURS) for recipe in component_recipes()]
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
    images = [_pack(recipe, _PYTHON_ROOT, _OURS) for recipe in recipes]
    directory = settings.root / own
    return write_layout(directory, images, kept=_others(directory))


def _others(directory: Path) -> list[Descriptor]:
    """Return the entries of a layout that are not our components; [] if it is unreadable and will be replaced."""
    ours = {recipe.reference for recipe in component_recipes()}
    try:
        entries = Layout(directory).entries
    except ImageError:
        return []
    return [entry for entry in entries if entry.annotations.get(REF_NAME) not in ours]


def component_recipes() -> tuple[ImageRecipe, ...]:
    """Return the images of our own containers, with their default names in contrast.toml.

    All run as root: initializer and sidecar set up the network and write files for all users of the pod, and the
    Coordinator's state is on a volume that root owns.
    """
    names = ComponentSettings()
    # The Coordinator verifies hardware evidence with the vendors' root certificates.
    roots = "contrast_tasks/attestation/roots"
    return (
        _component(names.initializer, "contrast_tasks.guest.initializer"),
        _component(names.service_mesh, "contrast_tasks.guest.sidecar"),
        _component(names.coordinator, "coordinator", data=(roots,)),
    )


def _component(reference: str, module: str, *, data: tuple[str, ...] = ()) -> ImageRecipe:
    # `python -m package` runs its __main__.
    entry_module = module if "." in module else f"{module}.__main__"
    return ImageRecipe(
        reference=reference,
        config=ImageConfig(
            entrypoint=("python3", "-m", module), env=(*_ENV, f"PYTHONPATH=/{_APP}")
        ),
        executables={},
        files={f"{_APP}/{folder}": folder for folder in data},
        modules={_APP: (entry_module,)},
    )


def _pack(recipe: ImageRecipe, folder: Path, packages: tuple[str, ...] = ()) -> PackedImage:
    """Return the image of a recipe from the files in a folder.

    packages: those below the folder to follow; by default each place of modules is the root of its packages.
    """
    entries = tuple(_entries(recipe, folder, packages))
    return pack_image(recipe.reference, recipe.config, [_ACCOUNTS, entries])


def _entries(recipe: ImageRecipe, folder: Path, packages: tuple[str, ...]) -> Iterator[Entry]:
    for target, place in recipe.executables.items():
        yield Entry(path=target, content=_read(folder / place, place), executable=True)
    for target, place in recipe.files.items():
        for path, name in _tree(folder / place):
            joined = PurePosixPath(target, name).as_posix()
            yield Entry(path=joined, content=_read(path, f"{place}/{name}".rstrip("/")))
    for place, modules in recipe.modules.items():
        root = folder if packages else folder / place
        for name, content in source_files(root, modules, packages=packages).items():
            yield Entry(path=f"{place}/{name}", content=content)


def _tree(place: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file of a folder with its path below it, or a single file with the path "".

    Python's caches and hidden files are left out.
    """
    if not place.is_dir():
        yield place, ""
        return
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place)
        skipped = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
        if not skipped and (path.is_symlink() or not path.is_dir()):
            yield path, name.as_posix()


def _read(path: Path, shown: str) -> bytes:
    # Links and devices differ between machines.
    if path.is_symlink() or not path.is_file():
        raise ImageError(f"cannot pack {shown}: not a regular file")
    return path.read_bytes()
