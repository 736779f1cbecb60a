from contrast_tasks.prepare.images import image_sites, pin_images
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
