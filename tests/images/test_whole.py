"""Whole images of made-up packages; that real ones run is tested in tests/e2e/test_whole_images.py."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.base.downloads import Downloads
from contrast_tasks.images.base.pins import ImagePackages, Pins, render_pins
from contrast_tasks.images.pack import PackedImage
from contrast_tasks.images.recipe import parse_recipes
from contrast_tasks.images.whole import Assembly, Plan, WholeImage, plans_beside
from tests.fakes.packages import (
    deb,
    debian_package,
    folder,
    member,
    pins,
    wheel,
    wheel_package,
)

BASE = deb(
    folder("./tmp", 0o1777), folder("./proc"), member("./bin", kind=tarfile.SYMTYPE, link="usr/bin")
)
AUTHORITIES = deb(
    member("./usr/share/ca-certificates/mozilla/B.crt", b"second\n"),
    member("./usr/share/ca-certificates/mozilla/A.crt", b"first"),
)
PYTHON = wheel({"till.py": b"till = 1\n", "bin/proxy": b"\x7fELF"})
LISTED = pins(
    (debian_package(BASE, "base"), debian_package(AUTHORITIES, "ca-certificates")),
    (wheel_package(PYTHON),),
)
RECIPE = """
[images."shop/cart:v1"]
entrypoint = ["/usr/bin/cart"]
executables = { "usr/bin/cart" = "cart.sh" }
packages = ["base"]
programs = { "usr/bin/proxy" = "till:bin/proxy" }
links = { "usr/bin/sh" = "cart" }
users = { shop = 999 }
folders = { "data" = 999 }
"""


def plan(root: Path, recipe: str = RECIPE, listed: Pins = LISTED) -> Plan:
    (root / "cart.sh").write_text("#!/bin/sh\n")
    (root / "packages.lock").write_bytes(render_pins(listed))
    recipes = parse_recipes(recipe.encode(), "images.toml")
    return plans_beside(root, recipes, shown="images.toml")[0]


def made(root: Path, found: Plan, reference: str = "shop/cart:v1") -> WholeImage:
    cache = root / "cache"
    cache.mkdir(exist_ok=True)
    for content, package in (
        (BASE, LISTED.debian[0]),
        (AUTHORITIES, LISTED.debian[1]),
        (PYTHON, LISTED.wheels[0]),
    ):
        (cache / f"{package.sha256}-{package.file}").write_bytes(content)
    with Downloads(cache, offline=True) as downloads:
        assembly = Assembly(downloads)
        assembly.fetch([found])
        return assembly.make(found, reference)


def members(image: PackedImage) -> list[dict[str, tarfile.TarInfo]]:
    return [
        {info.name: info for info in tarfile.open(fileobj=io.BytesIO(blob))}
        for blob in image.blobs.values()
        if not blob.startswith(b"{")
    ]


def content(image: PackedImage, path: str) -> bytes:
    for blob in image.blobs.values():
        if not blob.startswith(b"{"):
            with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
                if path in archive.getnames():
                    stream = archive.extractfile(path)
                    assert stream is not None
                    return stream.read()
    raise AssertionError(path)


def test_packages_lie_below_the_images_own_files(tmp_path: Path) -> None:
    packages, own = members(made(tmp_path, plan(tmp_path)).packed)

    assert {"bin", "tmp", "proc", "var/lib/dpkg/status.d/base"} <= packages.keys()
    assert {"usr/bin/cart", "usr/bin/proxy", "usr/bin/sh", "etc/passwd", "data"} <= own.keys()
    assert (packages["tmp"].mode, packages["proc"].mode) == (0o1777, 0o755)
    assert (own["data"].uid, own["data"].gid, own["usr/bin/cart"].uid) == (999, 999, 0)
    assert (own["usr/bin/sh"].linkname, own["usr/bin/proxy"].mode) == ("cart", 0o755)


def test_users_of_the_recipe_are_in_the_account_files(tmp_path: Path) -> None:
    image = made(tmp_path, plan(tmp_path)).packed

    assert b"\nshop:x:999:999:shop:/:/sbin/nologin\n" in content(image, "etc/passwd")
    assert b"\nshop:x:999:\n" in content(image, "etc/group")


def test_certificate_authorities_become_the_bundle_that_openssl_reads(tmp_path: Path) -> None:
    image = made(tmp_path, plan(tmp_path)).packed

    assert content(image, "etc/ssl/certs/ca-certificates.crt") == b"first\nsecond\n"
    assert (
        members(image)[0]["usr/lib/ssl/cert.pem"].linkname == "/etc/ssl/certs/ca-certificates.crt"
    )


def test_a_wheel_that_a_program_is_taken_from_is_not_installed(tmp_path: Path) -> None:
    with_modules = made(tmp_path, plan(tmp_path, RECIPE.replace("programs", "# programs")))

    assert content(with_modules.packed, "usr/local/lib/python3.13/dist-packages/till.py")
    with pytest.raises(AssertionError):
        content(
            made(tmp_path, plan(tmp_path)).packed,
            "usr/local/lib/python3.13/dist-packages/till.py",
        )


def test_an_image_is_the_same_in_every_registry_and_again(tmp_path: Path) -> None:
    here = made(tmp_path, plan(tmp_path))
    there = made(tmp_path, plan(tmp_path), "registry.example/team/cart:v9")

    assert here.packed.descriptor.digest == there.packed.descriptor.digest
    assert here.sbom == there.sbom


def test_images_of_one_file_share_the_layers_of_what_all_need(tmp_path: Path) -> None:
    first = ImagePackages(debian=("base",), wheels=())
    second = ImagePackages(debian=("base", "ca-certificates"), wheels=("till",))
    listed = LISTED.replace(images={"shop/cart": first, "shop/till": second})
    recipe = """
[images."shop/cart:v1"]
packages = ["base"]
[images."shop/till:v1"]
packages = ["base", "ca-certificates"]
"""
    (tmp_path / "packages.lock").write_bytes(render_pins(listed))
    plans = plans_beside(tmp_path, parse_recipes(recipe.encode(), "i"), shown="images.toml")

    cart, till = (made(tmp_path, each, "shop/x:v1").packed for each in plans)

    layers = [
        [key for key, blob in image.blobs.items() if blob[:1] != b"{"] for image in (cart, till)
    ]
    assert layers[0][0] == layers[1][0]
    assert (len(layers[0]), len(layers[1])) == (2, 4)


def test_the_bill_of_materials_names_every_package_with_its_hash(tmp_path: Path) -> None:
    image = made(tmp_path, plan(tmp_path))

    document = json.loads(image.sbom)

    assert document["spdxVersion"] == "SPDX-2.3"
    assert {
        (each["name"], each["versionInfo"], each["externalRefs"][0]["referenceLocator"])
        for each in document["packages"][1:3]
    } == {
        ("base", "1.0-1", "pkg:deb/debian/base@1.0-1?arch=amd64"),
        ("ca-certificates", "1.0-1", "pkg:deb/debian/ca-certificates@1.0-1?arch=amd64"),
    }
    digests = [each["checksums"][0]["checksumValue"] for each in document["packages"][:3]]
    assert digests == [
        image.packed.descriptor.digest.removeprefix("sha256:"),
        *(each.sha256 for each in LISTED.debian),
    ]
    # SPDX 2.3, 3.2: an identifier occurs once.
    identifiers = [each["SPDXID"] for each in document["packages"]]
    assert len(set(identifiers)) == len(identifiers)


def test_an_image_with_packages_that_no_file_lists_is_refused(tmp_path: Path) -> None:
    recipes = parse_recipes(RECIPE.encode(), "images.toml")

    with pytest.raises(ImageError, match=r"packages\.lock does not list them"):
        plans_beside(tmp_path, recipes, shown="shop/images.toml")


def test_a_program_that_its_wheel_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"package till 2\.0 has no file bin/other"):
        made(tmp_path, plan(tmp_path, RECIPE.replace(":bin/proxy", ":bin/other")))


def test_two_packages_with_one_file_are_refused(tmp_path: Path) -> None:
    found = plan(tmp_path, RECIPE.replace('"usr/bin/cart" = ', '"etc/passwd" = '))

    with pytest.raises(ImageError, match="'etc/passwd': it occurs twice"):
        made(tmp_path, found)
