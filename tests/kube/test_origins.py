import pytest

from contrast_tasks.kube.origins import origin
from contrast_tasks.pointers import Path

ONE, TWO = {"name": "one", "image": "a"}, {"name": "two", "image": "b"}
WRITTEN = {
    "spec": {"initContainers": [ONE, TWO], "containers": [{"name": "app", "args": ["x", "y"]}]}
}
PREPARED = {
    "spec": {
        "initContainers": [
            {"name": "added"},
            ONE | {"image": "a@sha256:0", "volumeMounts": [{"name": "m"}]},
            TWO,
        ],
        "containers": [{"name": "app", "args": ["x", "y"]}],
        "volumes": [{"name": "m"}],
    }
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ((), ()),
        (("spec",), ("spec",)),
        (("spec", "initContainers", 1, "image"), ("spec", "initContainers", 0, "image")),
        (("spec", "initContainers", 2), ("spec", "initContainers", 1)),
        (("spec", "initContainers", 0, "image"), ("spec", "initContainers")),
        (("spec", "containers", 0, "args", 1), ("spec", "containers", 0, "args", 1)),
        (
            ("spec", "initContainers", 1, "volumeMounts", 0, "name"),
            ("spec", "initContainers", 0, "volumeMounts", 0, "name"),
        ),
        (("spec", "volumes", 0), ("spec", "volumes", 0)),
        (("spec", "absent", "x"), ("spec", "absent", "x")),
        (("spec", "initContainers", 9), ("spec", "initContainers")),
    ],
)
def test_the_place_in_the_users_own_object_is_found(path: Path, found: Path) -> None:
    assert origin(path, PREPARED, WRITTEN) == found


def test_of_equal_items_the_nearest_is_taken() -> None:
    mounts = [{"name": "m", "mountPath": "/a"}, {"name": "m", "mountPath": "/b"}]

    for number in (0, 1):
        assert origin((number, "mountPath"), mounts, mounts) == (number, "mountPath")
    assert origin((1,), [1, 1, 1], [1, 1, 1]) == (1,)
