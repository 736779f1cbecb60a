import base64

import pytest

from contrast_tasks.kube.workloads import config_data, service_account
from contrast_tasks.prepare.images import image_sites, pin_images
from contrast_tasks.prepare.policy_input import image_facts
from tests.fakes.workloads import locked

POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "spec": {
        "initContainers": [{"name": "i", "image": "a:1"}],
        "containers": [{"name": "c", "image": "b:2"}, {"name": "d"}, "no container"],
    },
}


def test_images_of_init_containers_come_first() -> None:
    assert list(image_sites(POD)) == [
        (("spec", "initContainers", 0, "image"), "a:1"),
        (("spec", "containers", 0, "image"), "b:2"),
    ]


def test_pinning_copies_and_leaves_the_given_object_as_it_is() -> None:
    pinned = pin_images(POD, {"a:1": locked("a:1")})

    assert pinned["spec"]["initContainers"][0]["image"] == f"a:1@{locked('a:1').digest}"
    assert pinned["spec"]["containers"][0]["image"] == "b:2"
    assert POD["spec"]["initContainers"][0]["image"] == "a:1"  # type: ignore[index]


def test_the_facts_of_an_image_are_those_of_the_lock() -> None:
    facts = image_facts(locked("a:1", env=("A=b",)), "a:1@x")

    assert facts.reference == "a:1@x"
    assert facts.env == ("PATH=/usr/bin:/bin", "A=b")
    assert facts.layers_diff_ids == (locked("a:1").layers[0].diff_id,)


@pytest.mark.parametrize(
    ("obj", "wanted"),
    [
        pytest.param({"kind": "ConfigMap"}, {}, id="empty"),
        pytest.param({"kind": "ConfigMap", "data": {"a": "b"}}, {"a": "b"}, id="text"),
        pytest.param(
            {"kind": "ConfigMap", "binaryData": {"a": base64.b64encode(b"\xff").decode()}},
            {"a": b"\xff"},
            id="binary",
        ),
        pytest.param(
            {"kind": "Secret", "data": {"a": "Yg==", "c": "ZA=="}, "stringData": {"a": "e"}},
            {"a": "e", "c": b"d"},
            id="secret",
        ),
        pytest.param({"kind": "Secret", "data": {"a": 1}}, {}, id="no-text"),
    ],
)
def test_config_data_is_decoded(obj: dict[str, object], wanted: dict[str, object]) -> None:
    assert config_data(obj) == wanted


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({}, "default"),
        ({"serviceAccountName": "own"}, "own"),
        ({"serviceAccount": "alias"}, "alias"),
        ({"serviceAccountName": "own", "serviceAccount": "alias"}, "own"),
        ({"serviceAccountName": "", "serviceAccount": None}, "default"),
    ],
)
def test_the_service_account_is_named_by_either_field(spec: dict[str, object], name: str) -> None:
    assert service_account({"kind": "Pod", "spec": spec}) == name
