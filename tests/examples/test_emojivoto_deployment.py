"""The example's YAML: ordinary Kubernetes objects, laid out as the user document's deployment is."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "examples" / "emojivoto"
DEPLOYMENT = EXAMPLE / "deployment" / "emojivoto.yml"
# The deployment the user document starts from, without the mesh's addresses where it has them already.
DOWNLOADED = REPOSITORY / "tests" / "golden" / "seed" / "emojivoto-demo.yml"


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(DEPLOYMENT.read_text()))


def container(deployment: str) -> dict[str, Any]:
    (found,) = [
        document
        for document in documents()
        if document["kind"] == "Deployment" and document["metadata"]["name"] == deployment
    ]
    (only,) = found["spec"]["template"]["spec"]["containers"]
    return dict(only)


def test_objects_and_their_order() -> None:
    assert [(found["kind"], found["metadata"]["name"]) for found in documents()] == [
        ("Deployment", "emoji"),
        ("Service", "emoji-svc"),
        ("ServiceAccount", "emoji"),
        ("Deployment", "vote-bot"),
        ("Deployment", "voting"),
        ("Service", "voting-svc"),
        ("ServiceAccount", "voting"),
        ("Deployment", "web"),
        ("Service", "web-svc"),
        ("ServiceAccount", "web"),
    ]


@pytest.mark.parametrize("mark", ["contrast", "runtimeClassName", "resources:", "annotations:"])
def test_nothing_in_it_knows_of_confidential_computing(mark: str) -> None:
    assert mark not in DEPLOYMENT.read_text().lower()


def test_it_has_comments_of_every_kind_to_be_kept() -> None:
    lines = DEPLOYMENT.read_text().splitlines()

    assert lines[0].startswith("# ")
    assert [line for line in lines if re.match(r" +# ", line)]
    assert [line for line in lines if re.match(r"[^#]+[^ #] # ", line)]


@pytest.mark.parametrize(
    ("name", "image", "env"),
    [
        ("emoji", "emojivoto/emoji-svc:v11", {"GRPC_PORT": "8080", "PROM_PORT": "8801"}),
        ("voting", "emojivoto/voting-svc:v11", {"GRPC_PORT": "8080", "PROM_PORT": "8801"}),
        (
            "web",
            "emojivoto/web:v11",
            {
                "WEB_PORT": "8080",
                "EMOJISVC_HOST": "emoji-svc:8080",
                "VOTINGSVC_HOST": "voting-svc:8080",
                "INDEX_BUNDLE": "dist/index_bundle.js",
            },
        ),
        ("vote-bot", "emojivoto/web:v11", {"WEB_HOST": "web-svc:443"}),
    ],
)
def test_images_and_environment(name: str, image: str, env: dict[str, str]) -> None:
    found = container(name)

    assert found["image"] == image
    assert {entry["name"]: entry["value"] for entry in found["env"]} == env


def test_every_image_is_packed_by_the_recipe_beside_it() -> None:
    recipe = tomllib.loads((EXAMPLE / "images.toml").read_text())

    used = {container(name)["image"] for name in ("emoji", "voting", "web", "vote-bot")}

    assert used == set(recipe["images"])


def test_no_image_names_a_user_that_the_deployment_does_not() -> None:
    recipe = tomllib.loads((EXAMPLE / "images.toml").read_text())

    assert [image for image in recipe["images"].values() if "user" in image] == []


def test_the_bots_command_is_in_its_image() -> None:
    recipe = tomllib.loads((EXAMPLE / "images.toml").read_text())
    held = recipe["images"]["emojivoto/web:v11"]["executables"]

    assert container("vote-bot")["command"] == ["emojivoto-vote-bot"]
    assert "usr/local/bin/emojivoto-vote-bot" in held


def test_lines_are_those_of_the_downloaded_deployment_but_for_images_names_and_one_annotation() -> (
    None
):
    bare = [
        re.sub(r" # .*", "", line)
        for line in DEPLOYMENT.read_text().splitlines()
        if not line.lstrip().startswith("#")
    ]
    expected = [
        line
        for line in DOWNLOADED.read_text().splitlines()
        if line not in {"  annotations:", '    contrast.edgeless.systems/expose-service: "true"'}
    ]

    differing = [
        (ours.strip(), theirs.strip().partition("@")[0])
        for ours, theirs in zip(bare, expected, strict=True)
        if ours != theirs
    ]

    assert differing == [
        ("image: emojivoto/emoji-svc:v11", "image: docker.io/buoyantio/emojivoto-emoji-svc:v11"),
        ("image: emojivoto/web:v11", "image: ghcr.io/edgelesssys/contrast/emojivoto-web:coco-1"),
        ("image: emojivoto/voting-svc:v11", "image: docker.io/buoyantio/emojivoto-voting-svc:v11"),
        ("value: emoji-svc:8080", "value: 127.137.0.1:8081"),
        ("value: voting-svc:8080", "value: 127.137.0.2:8081"),
        ("image: emojivoto/web:v11", "image: docker.io/buoyantio/emojivoto-web:v11"),
    ]
