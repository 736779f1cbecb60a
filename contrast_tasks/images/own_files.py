"""The files that an image's recipe takes from a project, or from this package, as entries of layers."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from contrast_tasks.errors import ImageError
from contrast_tasks.images.modules import source_files
from contrast_tasks.images.pack import Entry
from contrast_tasks.images.recipe import ImageRecipe

# The folder of contrast_tasks and coordinator, both in a checkout and in an installation.
PYTHON_ROOT = Path(__file__).resolve().parents[2]
OURS = ("contrast_tasks", "coordinator")
_SHELL = "/sbin/nologin"


def accounts(recipe: ImageRecipe) -> tuple[Entry, Entry]:
    """Return the account files; policies resolve users with them."""
    users = {"root": 0, "nonroot": 65532, **recipe.users}
    passwd = "".join(
        f"{name}:x:{number}:{number}:{name}:{'/root' if number == 0 else '/'}:{_SHELL}\n"
        for name, number in users.items()
    )
    group = "".join(f"{name}:x:{number}:\n" for name, number in users.items())
    return (
        Entry(path="etc/passwd", content=passwd.encode()),
        Entry(path="etc/group", content=group.encode()),
    )


def own_entries(
    recipe: ImageRecipe, folder: Path, packages: tuple[str, ...] = ()
) -> Iterator[Entry]:
    """Yield the files of a recipe from those in a folder; raises ImageError.

    packages: those below the folder to follow; by default each place of modules is the root of its packages.
    """
    for target, place in recipe.executables.items():
        yield Entry(path=target, content=_read(folder / place, place), executable=True)
    for target, place in recipe.files.items():
        for path, name in _tree(folder / place):
            joined = PurePosixPath(target, name).as_posix()
            yield Entry(path=joined, content=_read(path, f"{place}/{name}".rstrip("/")))
    for place, sources in module_files(recipe, folder, packages):
        for name, content in sources.items():
            yield Entry(path=f"{place}/{name}", content=content)


def module_files(
    recipe: ImageRecipe, folder: Path, packages: tuple[str, ...] = ()
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield each place of modules with its files by name; arguments as in `own_entries`."""
    for place, modules in recipe.modules.items():
        root = folder if packages else folder / place
        yield place, source_files(root, modules, packages=packages)


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
