import json
from typing import Any

import pytest

from contrast_tasks import resources
from contrast_tasks.errors import ImageError
from contrast_tasks.images.base.pins import ImagePackages, parse_pins, render_pins
from contrast_tasks.images.components import LOCK, component_recipes
from tests.fakes.packages import debian_package, pins, wheel_package

PINS = pins((debian_package(b"cart"),), (wheel_package(b"till"),))


def changed(path: tuple[str | int, ...], value: Any) -> bytes:
    document = json.loads(render_pins(PINS))
    level = document
    for part in path[:-1]:
        level = level[part]
    level[path[-1]] = value
    return json.dumps(document).encode()


def test_what_is_written_is_read() -> None:
    assert parse_pins(render_pins(PINS)) == PINS


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("debian", 0, "path"), "pool/../../etc/cart.deb"),
        (("debian", 0, "path"), "/pool/main/c/cart.deb"),
        (("debian", 0, "path"), "pool/main/.hidden.deb"),
        (("debian", 0, "sha256"), "00"),
        (("debian", 0, "archive"), "other"),
        (("debian", 0, "name"), "../cart"),
        (("debian", 0, "size_bytes"), 0),
        (("wheels", 0, "file"), "../till.whl"),
        (("wheels", 0, "file"), "till.tar.gz"),
        (("wheels", 0, "sha256"), "zz" * 32),
        (("snapshot",), "today"),
        (("python",), "2.7"),
        (("version",), 2),
    ],
)
def test_a_wrong_value_is_refused(path: tuple[str | int, ...], value: Any) -> None:
    with pytest.raises(ImageError, match="expected"):
        parse_pins(changed(path, value))


def test_a_package_that_is_not_listed_is_refused() -> None:
    with pytest.raises(ImageError, match="image shop/cart needs gone, which debian does not list"):
        parse_pins(changed(("images", "shop/cart", "debian"), ["gone"]))


def test_a_package_that_is_listed_twice_is_refused() -> None:
    twice = [json.loads(render_pins(PINS))["debian"][0]] * 2

    with pytest.raises(ImageError, match="debian lists cart twice"):
        parse_pins(changed(("debian",), twice))


def test_packages_are_parted_by_the_images_that_need_them() -> None:
    several = pins(
        (debian_package(b"1", "one"), debian_package(b"2", "two"), debian_package(b"3", "three")),
        (wheel_package(b"4", "four"),),
        a=ImagePackages(debian=("one", "three", "two"), wheels=("four",)),
        b=ImagePackages(debian=("one", "three"), wheels=()),
        c=ImagePackages(debian=("one",), wheels=()),
    )

    assert list(several.shared("a")) == [
        ImagePackages(debian=("one",), wheels=()),
        ImagePackages(debian=("three",), wheels=()),
        ImagePackages(debian=("two",), wheels=()),
        ImagePackages(debian=(), wheels=("four",)),
    ]
    assert list(several.shared("b")) == list(several.shared("a"))[:2]


def test_our_own_file_lists_every_component_and_what_it_names() -> None:
    found = parse_pins(resources.read_bytes(LOCK), LOCK)

    for recipe in component_recipes():
        needed = found.images[recipe.name]
        assert set(recipe.packages) <= set(needed.debian)
        assert {source.partition(":")[0] for source in recipe.programs.values()} <= set(
            needed.wheels
        )


@pytest.mark.parametrize("name", ["doit", "jinja2", "pyyaml", "jsonschema", "sev-snp-measure"])
def test_what_makes_policies_is_in_none_of_our_images(name: str) -> None:
    found = parse_pins(resources.read_bytes(LOCK), LOCK)

    assert all(name not in needed.wheels for needed in found.images.values())
