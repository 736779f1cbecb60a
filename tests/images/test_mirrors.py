"""registries.conf. Sources: the examples of containers-registries.conf(5); skopeo reads the same file in test_real_registry."""

import json
import os
from pathlib import Path

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.describe import describe
from contrast_tasks.images.mirrors import Mirrors
from contrast_tasks.images.registry import Registry
from contrast_tasks.pods.references import parse_reference
from tests.fakes.images import file, make_image, tar
from tests.fakes.registry import FakeRegistry

DIGEST = "sha256:" + "0" * 64
IMAGE = make_image([tar(file("a", b"1"))], process={"Cmd": ["/a"]})


def mirrors(folder: Path, text: str) -> Mirrors:
    path = folder / "registries.conf"
    path.write_text(text)
    return Mirrors((path,))


def places(folder: Path, text: str, reference: str) -> list[str]:
    found = mirrors(folder, text).places(parse_reference(reference))
    return [f"{place.registry}/{place.repository}" for place in found]


MIRRORED = """
[[registry]]
prefix = "example.com/foo"
location = "internal.example/bar"
[[registry.mirror]]
location = "one.example/m"
[[registry.mirror]]
location = "two.example"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "three.example"
pull-from-mirror = "tag-only"
"""


@pytest.mark.parametrize(
    ("text", "reference", "found"),
    [
        ("", "nginx", ["docker.io/library/nginx"]),
        ('unqualified-search-registries = ["a.example"]', "a", ["docker.io/library/a"]),
        (MIRRORED, "other.example/a", ["other.example/a"]),
        (MIRRORED, "example.com/food/a", ["example.com/food/a"]),
        (
            MIRRORED,
            "example.com/foo/image:latest",
            ["one.example/m/image", "three.example/image", "internal.example/bar/image"],
        ),
        (
            MIRRORED,
            f"example.com/foo/image@{DIGEST}",
            ["one.example/m/image", "two.example/image", "internal.example/bar/image"],
        ),
        ('[[registry]]\nlocation = "docker.io"', "nginx", ["docker.io/library/nginx"]),
        (
            '[[registry]]\nprefix = "docker.io"\n[[registry.mirror]]\nlocation = "m.example:5000/hub"',
            "nginx",
            ["m.example:5000/hub/library/nginx", "docker.io/library/nginx"],
        ),
        (
            '[[registry]]\nprefix = "*.example.com"\n[[registry.mirror]]\nlocation = "m.example/x"',
            "a.b.example.com/y",
            ["m.example/x", "a.b.example.com/y"],
        ),
        (
            '[[registry]]\nlocation = "a.example"\n[[registry]]\nprefix = "a.example/b"\nlocation = "c.example"',
            "a.example/b/c",
            ["c.example/c"],
        ),
        (
            '[[registry]]\nprefix = "a.example/b:v1"\nlocation = "c.example/d"',
            "a.example/b:v1",
            ["c.example/d"],
        ),
        (
            '[[registry]]\nprefix = "a.example/b:v1"\nlocation = "c.example/d"',
            "a.example/b:v10",
            ["a.example/b"],
        ),
        (
            '[[registry]]\nlocation = "a.example"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = "m.example"',
            "a.example/b",
            ["a.example/b"],
        ),
    ],
)  # fmt: skip
def test_mirrors_come_before_the_place_itself(
    tmp_path: Path, text: str, reference: str, found: list[str]
) -> None:
    assert places(tmp_path, text, reference) == found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[[registry]]\nlocation = "a.example"\nblocked = true', "a.example is blocked"),
        ("oops", "not valid TOML"),
        ("registry = 5", "registry is no array of tables"),
        ("[[registry]]\nlocation = 5", "location is 5, expected a string"),
        ("[[registry]]", "neither prefix nor location"),
        (
            '[[registry]]\nlocation = "a.example"\n[[registry.mirror]]\nlocation = ""',
            "'/b' is no registry and repository",
        ),
        (
            '[[registry]]\nlocation = "a.example"\n[[registry.mirror]]\npull-from-mirror = "x"',
            "pull-from-mirror is 'x', expected one of all, digest-only, tag-only",
        ),
    ],
)
def test_what_is_blocked_or_malformed_is_refused_with_the_file(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(ImageError) as caught:
        places(tmp_path, text, "a.example/b")

    assert problem in str(caught.value)
    assert caught.value.where is not None
    assert caught.value.where.file == str(tmp_path / "registries.conf")


def written(path: Path, location: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'[[registry]]\nprefix = "a.example"\nlocation = "{location}"\n')


@pytest.mark.parametrize(
    ("files", "location"),
    [
        ([], "a.example"),
        (["system/registries.conf"], "system"),
        (["system/registries.conf", "system/registries.conf.d/a.conf"], "system.d"),
        (["system/registries.conf.d/a.conf", "user/registries.conf.d/a.conf"], "user.d"),
        (["system/registries.conf.d/a.conf", "user/registries.conf"], "user"),
        (["user/registries.conf", "user/registries.conf.d/a.conf"], "user.d"),
        (["user/registries.conf", "named"], "named"),
    ],
)
def test_the_files_of_user_and_system_are_read_in_their_order(
    tmp_path: Path, files: list[str], location: str
) -> None:
    folders = {"system": tmp_path / "etc", "user": tmp_path / "home/.config/containers"}
    environ = {}
    for name in files:
        owner, _, rest = name.partition("/")
        if not rest:
            environ["CONTAINERS_REGISTRIES_CONF"] = str(tmp_path / name)
        path = folders[owner] / rest if rest else tmp_path / name
        written(path, f"{owner}.d" if ".d/" in rest else owner)

    found = Mirrors.from_environment(environ, tmp_path / "home", system=tmp_path / "etc")

    (place,) = found.places(parse_reference("a.example/b"))
    assert place.registry == location


def test_a_mirror_is_asked_first_and_after_a_failure_no_more(tmp_path: Path) -> None:
    with FakeRegistry() as mirror, FakeRegistry() as server:
        mirror.mischief.fail_with = (503, json.dumps({"errors": []}).encode())
        reference = parse_reference(server.add("shop/cart", "v1", IMAGE))
        text = f'[[registry]]\nlocation = "{server.host}"\n[[registry.mirror]]\nlocation = "{mirror.host}"\n'
        slept: list[float] = []
        with Registry(
            find_credential=lambda *_: None,
            sleep=slept.append,
            mirrors=mirrors(tmp_path, text),
        ) as registry:
            assert describe(reference, registry).digest == IMAGE.digest
            assert mirror.paths() == ["/v2/shop/cart/manifests/v1"]
            assert slept == []

        mirror.mischief.fail_with = None
        mirror.add("shop/cart", "v1", IMAGE)
        asked = len(server.seen)
        with Registry(find_credential=lambda *_: None, mirrors=mirrors(tmp_path, text)) as registry:
            assert describe(reference, registry).digest == IMAGE.digest
            assert len(server.seen) == asked


def test_where_every_place_fails_each_is_named(tmp_path: Path) -> None:
    with FakeRegistry() as mirror, FakeRegistry() as server:
        text = f'[[registry]]\nlocation = "{server.host}"\n[[registry.mirror]]\nlocation = "{mirror.host}/m"\n'
        with (
            Registry(find_credential=lambda *_: None, mirrors=mirrors(tmp_path, text)) as registry,
            pytest.raises(ImageError) as caught,
        ):
            describe(parse_reference(f"{server.host}/shop/cart:v1"), registry)

    first, before, second = str(caught.value).partition("; before: ")
    assert before
    assert f"{server.host} answered 404" in first
    assert f"{mirror.host} answered 404" in second


def test_the_mirrors_of_the_environment_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeRegistry() as mirror:
        mirror.add("m/shop/cart", "v1", IMAGE)
        path = tmp_path / "registries.conf"
        path.write_text(f'[[registry]]\nprefix = "no.example"\nlocation = "{mirror.host}/m"\n')
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(path))

        with Registry.from_environment(os.environ) as registry:
            entry = describe(parse_reference("no.example/shop/cart:v1"), registry)

    assert (entry.reference, entry.digest) == ("no.example/shop/cart:v1", IMAGE.digest)
