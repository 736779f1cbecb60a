"""Our components' recipes, and the file for those who build them with an engine."""

import re

import pytest

from contrast_tasks import resources
from contrast_tasks.images.components import component_recipes, installer_recipe
from contrast_tasks.images.recipe import ImageRecipe

RECIPES = {
    recipe.name.rpartition("/")[2]: recipe for recipe in (*component_recipes(), installer_recipe())
}


def stages() -> dict[str, str]:
    text = resources.read_text("components/Containerfile")
    return {
        found[1]: found[2]
        for found in re.finditer(r"^FROM \S+ AS (\S+)\n((?:(?!FROM ).*\n?)*)", text, re.MULTILINE)
    }


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_containerfile_installs_and_starts_what_the_recipe_does(recipe: ImageRecipe) -> None:
    own = stages()[recipe.name.rpartition("/")[2]]
    words = set(f"{stages()['common']} {own}".split())

    assert set(recipe.packages) <= words
    for path, place in recipe.executables.items():
        assert f"COPY {place} /{path}" in own
    entrypoint = ", ".join(f'"{word}"' for word in recipe.config.entrypoint)
    assert f"ENTRYPOINT [{entrypoint}]" in own


def test_probes_find_their_program() -> None:
    # templates/inject: /bin/test of an encrypted volume, test of the mesh.
    assert (
        RECIPES["initializer"].links == RECIPES["service-mesh"].links == {"usr/bin/test": "busybox"}
    )
