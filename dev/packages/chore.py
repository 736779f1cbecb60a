"""`./doitw lock_packages`: write packages.lock for our components, the command line, the example's images and the tests' images of others."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ImageError
from contrast_tasks.files import write_atomic
from contrast_tasks.images.base.pins import (
    NAME,
    DebianPackage,
    ImagePackages,
    Pins,
    parse_pins,
    render_pins,
)
from contrast_tasks.images.components import (
    LOCK,
    TOOL_LOCK,
    component_recipes,
    installer_recipe,
    tool_recipe,
)
from contrast_tasks.images.own_files import OURS, PYTHON_ROOT
from contrast_tasks.images.packing import RECIPE
from contrast_tasks.images.recipe import parse_recipes
from contrast_tasks.images.whole import Plan
from dev.checkout import ROOT
from dev.packages import debian, python

_FOLDERS = ("examples/emojivoto", "dev/others")


def run_lock_packages(words: Sequence[str] = ()) -> dict[str, Any]:
    """Write the files, each from Debian's index as it is now; words: the files to write, all by default."""
    wrote = []
    with debian.in_new_folder() as folder:
        machine = debian.prepare(Path(folder))
        for name, plans in _files():
            if words and name not in words:
                continue
            pins = pins_of(plans, machine)
            if not _has_all(ROOT / name, pins) and write_atomic(ROOT / name, render_pins(pins)):
                wrote.append(name)
    return {"wrote": wrote}


def _has_all(path: Path, pins: Pins) -> bool:
    """Return whether a file lists the same, at an earlier time."""
    if not path.is_file():
        return False
    try:
        before = parse_pins(path.read_bytes())
    except ImageError:
        return False
    return before.replace(snapshot=pins.snapshot) == pins


def _files() -> Iterable[tuple[str, list[Plan]]]:
    yield LOCK, component_plans()
    yield TOOL_LOCK, [tool_plan()]
    for folder in _FOLDERS:
        recipes = parse_recipes((ROOT / folder / RECIPE).read_bytes(), f"{folder}/{RECIPE}")
        yield f"{folder}/{NAME}", [Plan(each, ROOT / folder, (), None) for each in recipes]


def component_plans() -> list[Plan]:
    """Return our components and the node installer, without pins."""
    recipes = (*component_recipes(), installer_recipe())
    return [Plan(recipe, PYTHON_ROOT, OURS, None) for recipe in recipes]


def tool_plan() -> Plan:
    """Return the image of the command line, without pins."""
    return Plan(tool_recipe(), PYTHON_ROOT, OURS, None)


def pins_of(plans: Sequence[Plan], machine: debian.Machine) -> Pins:
    """Return what images need, as Debian has it now."""
    images: dict[str, ImagePackages] = {}
    packages: dict[str, DebianPackage] = {}
    modules: set[str] = set()
    for plan in plans:
        found = debian.closure(machine, plan.recipe.packages) if plan.recipe.packages else ()
        packages.update({each.name: each for each in found})
        needed = python.packages_of(plan)
        modules.update(needed)
        images[plan.recipe.name] = ImagePackages(
            debian=tuple(each.name for each in found), wheels=needed
        )
    return Pins(
        suite=debian.SUITE,
        snapshot=datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
        python=debian.PYTHON,
        images=images,
        debian=tuple(packages[name] for name in sorted(packages)),
        wheels=python.wheels(tuple(sorted(modules))) if modules else (),
    )
