import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.recipe import parse_recipes

WHOLE = """
[images."shop/cart:v1"]
entrypoint = ["/usr/local/bin/cart"]
cmd = ["-v"]
user = "65532"
working_dir = "/app"
env = ["A=1"]
volumes = ["/data"]
exposed_ports = ["80/tcp"]
executables = { "usr/local/bin/cart" = "bin/cart" }
files = { "app/page" = "page" }
modules = { "app" = ["shop.cart"] }
"""


def test_a_recipe_is_read() -> None:
    (recipe,) = parse_recipes(WHOLE.encode(), "images.toml")

    assert recipe.reference == "shop/cart:v1"
    assert recipe.config == ImageConfig(
        entrypoint=("/usr/local/bin/cart",),
        cmd=("-v",),
        user="65532",
        working_dir="/app",
        env=("A=1",),
        volumes=("/data",),
        exposed_ports=("80/tcp",),
    )
    assert recipe.executables == {"usr/local/bin/cart": "bin/cart"}
    assert recipe.files == {"app/page": "page"}
    assert recipe.modules == {"app": ("shop.cart",)}


def test_everything_may_be_left_out() -> None:
    (recipe,) = parse_recipes(b'[images."a:1"]', "images.toml")

    assert recipe.config == ImageConfig()
    assert (recipe.executables, recipe.files, recipe.modules) == ({}, {}, {})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("images = [", "is not TOML", id="syntax"),
        pytest.param("", 'found nothing, wanted tables [images."<reference>"]', id="empty"),
        pytest.param("[image.a]", "found image, wanted", id="other table"),
        pytest.param("images = 1", "found images, wanted", id="no table"),
        pytest.param('[images."A"]', "image reference 'A'", id="reference"),
        pytest.param("[images]\na = 1", "images.a is 1, expected a table", id="image"),
        pytest.param(
            '[images.a]\nusr = "1"', "unknown key 'usr' in [images.a], expected one of", id="key"
        ),
        pytest.param("[images.a]\nuser = 1", "images.a.user is 1, expected a string", id="user"),
        pytest.param(
            '[images.a]\ncmd = "x"', 'images.a.cmd is "x", expected an array of strings', id="cmd"
        ),
        pytest.param(
            "[images.a]\nenv = [1]", "images.a.env is [1], expected an array of strings", id="env"
        ),
        pytest.param(
            "[images.a]\nfiles = []", "images.a.files is [], expected a table", id="files"
        ),
        pytest.param(
            '[images.a]\nfiles.x = "/etc"',
            'images.a.files.x is "/etc", expected a path',
            id="absolute",
        ),
        pytest.param('[images.a]\nfiles.x = "a/../../b"', "expected a path below", id="parent"),
        pytest.param(
            "[images.a]\nexecutables.x = 1", "images.a.executables.x is 1", id="executable"
        ),
        pytest.param(
            "[images.a]\nmodules.app = 1",
            "images.a.modules.app is 1, expected an array",
            id="modules",
        ),
    ],
)
def test_a_malformed_recipe_is_refused_with_file_and_key(text: str, problem: str) -> None:
    with pytest.raises(ImageError) as caught:
        parse_recipes(text.encode(), "shop/images.toml")

    assert problem in str(caught.value)
    assert str(caught.value.where) == "shop/images.toml"
