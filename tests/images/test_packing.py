import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.layout import Layout
from contrast_tasks.images.pack import Entry
from contrast_tasks.images.packing import (
    component_recipes,
    foreign_components,
    pack,
    pack_components,
)
from contrast_tasks.images.unpack import unpack
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.settings.model import Settings
from tests.fakes.images import make_image, write_images

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "emojivoto"
RECIPE = """
[images."shop/cart:v1"]
entrypoint = ["/usr/local/bin/cart"]
user = "65532"
executables = { "usr/local/bin/cart" = "bin/cart" }
files = { "app/page" = "page", "etc/one" = "page/index.html" }
modules = { "app" = ["shop.cart"] }
"""


@pytest.fixture
def _project_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out our own components, which have tests of their own, to be quick."""
    monkeypatch.setattr("contrast_tasks.images.packing.component_recipes", lambda: ())


alone = pytest.mark.usefixtures("_project_alone")


def project(root: Path, recipe: str = RECIPE) -> Settings:
    sources = {
        "shop/images.toml": recipe,
        "shop/bin/cart": "#!/bin/sh\n",
        "shop/page/index.html": "page\n",
        "shop/page/deep/style.css": "style\n",
        "shop/page/.hidden": "no\n",
        "shop/page/__pycache__/x.pyc": "no\n",
        "shop/app/shop/__init__.py": "",
        "shop/app/shop/cart.py": "from shop import till\n",
        "shop/app/shop/till.py": "",
        "shop/app/shop/unused.py": "",
    }
    for name, text in sources.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "shop/deployment").mkdir()
    return Settings(root=root, platform="local", sources=("shop/deployment",))


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def unpacked(settings: Settings, reference: str, target: Path) -> list[str]:
    layout = Layout(settings.root / settings.packed_layout)
    unpack(layout.image(parse_reference(reference)), target)
    return list(files(target))


@alone
def test_the_images_of_a_project_hold_what_its_recipe_says(tmp_path: Path) -> None:
    settings = project(tmp_path / "project")

    result = pack(settings)

    assert result["changed"] is True
    assert unpacked(settings, "shop/cart:v1", tmp_path / "root") == [
        "app/page/deep/style.css",
        "app/page/index.html",
        "app/shop/__init__.py",
        "app/shop/cart.py",
        "app/shop/till.py",
        "etc/group",
        "etc/one",
        "etc/passwd",
        "usr/local/bin/cart",
    ]
    assert os.access(tmp_path / "root/usr/local/bin/cart", os.X_OK)


@alone
def test_packing_again_changes_nothing(tmp_path: Path) -> None:
    settings = project(tmp_path)
    first = pack(settings)

    again = pack(settings)

    assert again == first | {"changed": False}


@alone
def test_a_changed_file_changes_its_image_and_no_other(tmp_path: Path) -> None:
    settings = project(tmp_path)
    before = pack(settings)["images"]
    (tmp_path / "shop/bin/cart").write_text("#!/bin/sh\nexit 1\n")

    after = pack(settings)

    assert after["changed"] is True
    assert {name for name in before if before[name] != after["images"][name]} == {"shop/cart:v1"}


@alone
def test_bytes_are_equal_whatever_directory_umask_times_and_modes(tmp_path: Path) -> None:
    one = project(tmp_path / "one")
    pack(one)
    before = os.umask(0o077)
    try:
        other = project(tmp_path / "some" / "other place")
        for path in (tmp_path / "some").rglob("*"):
            os.utime(path, (1, 1))
            if path.is_file():
                path.chmod(0o400)
        pack(other)
    finally:
        os.umask(before)

    assert files(one.root / "build") == files(other.root / "build")


@alone
def test_the_example_packs_to_the_same_bytes_in_any_directory(tmp_path: Path) -> None:
    for place in ("one", "other"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(EXAMPLE, tmp_path / place / "shop", ignore=skip)
        pack(
            Settings(
                root=tmp_path / place,
                platform="local",
                sources=("shop/deployment",),
                build_dir="out",
            )
        )

    assert files(tmp_path / "one/out") == files(tmp_path / "other/out")


def test_a_project_without_a_recipe_has_our_components_only(tmp_path: Path) -> None:
    names = ComponentSettings()
    settings = Settings(root=tmp_path, platform="local", sources=("deployment",))

    result = pack(settings)

    components = {names.initializer, names.service_mesh, names.coordinator}
    assert set(result["images"]) == components


@alone
@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        pytest.param("images = 1", 'wanted tables [images."<reference>"]', id="recipe"),
        pytest.param(
            '[images."a:1"]\nfiles = { "x" = "gone" }',
            "image a:1: cannot pack gone: not a regular file",
            id="missing file",
        ),
        pytest.param(
            '[images."a:1"]\nexecutables = { "x" = "page" }',
            "image a:1: cannot pack page: not a regular file",
            id="folder as executable",
        ),
        pytest.param(
            '[images."a:1"]\nmodules = { "app" = ["shop.gone"] }',
            "image a:1: found no module shop.gone",
            id="missing module",
        ),
        pytest.param(
            '[images."a:1"]\nfiles = { "../x" = "page/index.html" }',
            "image a:1: cannot pack '../x'",
            id="path out of the image",
        ),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_named(
    tmp_path: Path, recipe: str, problem: str
) -> None:
    settings = project(tmp_path, recipe)

    with pytest.raises(ImageError) as caught:
        pack(settings)

    assert problem in str(caught.value)
    assert str(caught.value.where) == "shop/images.toml"


@alone
def test_a_link_is_not_packed(tmp_path: Path) -> None:
    settings = project(tmp_path)
    (tmp_path / "shop/page/link").symlink_to("/etc/hostname")

    with pytest.raises(ImageError, match="cannot pack page/link: not a regular file"):
        pack(settings)


def test_components_start_the_programs_of_the_guest_and_the_coordinator(tmp_path: Path) -> None:
    entrypoints = {recipe.reference: recipe.config.entrypoint for recipe in component_recipes()}

    names = ComponentSettings()
    assert entrypoints == {
        names.initializer: ("python3", "-m", "contrast_tasks.guest.initializer"),
        names.service_mesh: ("python3", "-m", "contrast_tasks.guest.sidecar"),
        names.coordinator: ("python3", "-m", "coordinator"),
    }


def test_components_pack_to_the_same_bytes_in_any_directory(tmp_path: Path) -> None:
    for place in ("one", "other"):
        pack(Settings(root=tmp_path / place, platform="local", sources=()))

    assert files(tmp_path / "one") == files(tmp_path / "other")


def test_the_coordinator_holds_nothing_of_the_build_side(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path / "project", platform="local", sources=())
    pack(settings)

    held = unpacked(settings, ComponentSettings().coordinator, tmp_path / "root")

    ours = {name.split("/")[2] for name in held if name.startswith("app/contrast_tasks/")}
    assert {"manifest", "attestation", "atls", "api"} <= ours
    assert not ours & {"tasks", "steps", "cli", "kube", "images", "policy", "mesh", "local"}
    assert "app/coordinator/__main__.py" in held
    assert "app/contrast_tasks/attestation/roots/amd_milan_ask_ark.pem" in held


def test_containers_of_the_guest_hold_nothing_of_the_build_side(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path / "project", platform="local", sources=())
    pack(settings)
    names = ComponentSettings()

    # The sidecar renews certificates over attested TLS, so it holds attestation; the initializer needs no mesh.
    for name, more in ((names.service_mesh, set()), (names.initializer, {"mesh"})):
        held = unpacked(settings, name, tmp_path / name)
        ours = {path.split("/")[2] for path in held if path.startswith("app/contrast_tasks/")}
        assert {"guest", "attestation", "atls", "api"} <= ours
        assert not ours & ({"tasks", "steps", "cli", "kube", "images", "policy", "local"} | more)
        # A pod may demand a certain Coordinator (docs/internals/runtime.md 7.2).
        assert "app/contrast_tasks/attestation/roots/amd_milan_ask_ark.pem" in held


_IMPORT_ALL = """
import importlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
names = [
    ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(root.rglob("*.py"))
]
for name in names:
    module = importlib.import_module(name)
    assert module.__file__.startswith(str(root)), module.__file__
print(len(names))
"""


@pytest.mark.e2e
@pytest.mark.parametrize("component", ["initializer", "service_mesh", "coordinator"])
def test_every_module_of_a_component_can_be_imported_from_its_image_alone(
    tmp_path: Path, component: str
) -> None:
    settings = Settings(root=tmp_path / "project", platform="local", sources=())
    pack(settings)
    held = unpacked(settings, getattr(ComponentSettings(), component), tmp_path / "root")
    app = tmp_path / "root" / "app"

    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL, str(app)],
        env={"PYTHONPATH": str(app), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert int(done.stdout) == len([name for name in held if name.endswith(".py")])


@pytest.fixture
def _small_components(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our components with nothing in them."""
    recipes = [recipe.replace(modules={}, files={}) for recipe in component_recipes()]
    monkeypatch.setattr("contrast_tasks.images.packing.component_recipes", lambda: recipes)


small = pytest.mark.usefixtures("_small_components")
NAMES = ComponentSettings()
OURS = (NAMES.coordinator, NAMES.initializer, NAMES.service_mesh)


def own_project(root: Path) -> Settings:
    if not (root / "mine").exists():
        write_images(root / "mine", {})
    return Settings(root=root, platform="local", sources=("deployment",), image_layouts=("mine",))


@small
def test_components_are_packed_once(tmp_path: Path) -> None:
    settings = own_project(tmp_path)

    assert pack_components(settings) is True
    assert pack_components(settings) is False
    assert Layout(tmp_path / "build/images").references == OURS


@small
def test_a_component_that_a_declared_layout_has_is_not_packed(tmp_path: Path) -> None:
    write_images(tmp_path / "mine", {OURS[2]: make_image()})

    pack_components(own_project(tmp_path))

    assert Layout(tmp_path / "build/images").references == OURS[:2]


@small
def test_a_component_of_a_declared_layout_is_known_to_be_of_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = own_project(tmp_path)
    pack_components(settings)
    (tmp_path / "build/images").replace(tmp_path / "mine2")
    found = settings.replace(image_layouts=("mine2",))
    assert foreign_components(settings) == []
    assert foreign_components(found) == []

    changed = (Entry(path="app/new.py"),)
    monkeypatch.setattr("contrast_tasks.images.packing.own_entries", lambda *_: changed)

    assert sorted(foreign_components(found)) == [f"{name} in mine2" for name in OURS]
    # A whole image has layers of packages, too.
    write_images(tmp_path / "mine", {OURS[0]: make_image([b""] * 3)})
    assert foreign_components(settings) == []


@small
def test_other_images_of_the_packed_layout_stay(tmp_path: Path) -> None:
    other = make_image()
    write_images(tmp_path / "build/images", {"a/other:v1": other})

    pack_components(own_project(tmp_path))

    layout = Layout(tmp_path / "build/images")
    assert layout.references == ("a/other:v1", *OURS)
    assert layout.image(parse_reference("a/other:v1")).digest == other.digest


@small
def test_a_packed_layout_that_cannot_be_read_is_made_anew(tmp_path: Path) -> None:
    settings = own_project(tmp_path)
    pack_components(settings)
    (tmp_path / "build/images/index.json").write_text("{")

    assert pack_components(settings) is True
    assert Layout(tmp_path / "build/images").references == OURS
