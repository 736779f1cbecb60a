"""Users and groups: docs/internals/reality.md 1.11, from the rules of the recordings."""

from typing import Any

import pytest

from contrast_tasks.runtime.node import Image
from contrast_tasks.runtime.refusals import ContainerRefused
from tests.fakes.runtime import VERSIONS, app, node_with, pod_of, refusal, sandbox, specified

PASSWD = (
    "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nweb:x:33:34::/:/bin/sh\n"
)
GROUP = "root:x:0:\nwheel:x:10:root,app\nstaff:x:50:app\napp:x:1000:app\nwebgrp:x:34:\nvideo:x:44:root\n"


def image_of(user: str = "", passwd: str | None = PASSWD, group: str | None = GROUP) -> Image:
    return Image(entrypoint=("/bin/app",), user=user, passwd=passwd, group=group)


BARE = image_of(passwd=None, group=None)


@pytest.mark.parametrize(
    ("user", "security", "expected"),
    [
        pytest.param("", {}, (0, 0, [0, 10, 44]), id="root"),
        pytest.param("app", {}, (1000, 1000, [10, 50, 1000]), id="by name"),
        pytest.param("1000", {}, (1000, 1000, [10, 50, 1000]), id="by number"),
        pytest.param("app:staff", {}, (1000, 1000, [10, 50, 1000]), id="its group is ignored"),
        pytest.param("1000:50", {}, (1000, 1000, [10, 50, 1000]), id="numbers, group ignored"),
        pytest.param("4242", {}, (4242, 0, [0]), id="unknown number"),
        pytest.param("web", {}, (33, 34, [34]), id="no memberships"),
        pytest.param("app", {"runAsUser": 33, "runAsGroup": 1234}, (33, 1234, [1234]), id="both"),
        pytest.param("app", {"runAsGroup": 7}, (1000, 7, [7, 10, 50]), id="group, named user"),
        pytest.param("", {"runAsGroup": 7}, (0, 7, [7, 10, 44]), id="group alone"),
        pytest.param("app", {"runAsUser": 0}, (0, 0, [0, 10, 44]), id="zero is set"),
    ],
)
def test_a_container_s_user(
    user: str, security: dict[str, Any], expected: tuple[int, int, list[int]]
) -> None:
    found = app(pod_of({"securityContext": security}), image=image_of(user))["process"]["user"]

    assert (found["uid"], found["gid"], found["additionalGids"]) == expected


@pytest.mark.parametrize(
    ("user", "security", "expected"),
    [
        pytest.param("", {}, (0, 0, [0]), id="root"),
        pytest.param("1000:1000", {}, (1000, 0, [0]), id="the image's group does not count"),
        pytest.param("", {"runAsUser": 1000, "runAsGroup": 1000}, (1000, 1000, [1000]), id="both"),
        pytest.param("", {"runAsUser": 1000}, (1000, 0, [0]), id="user alone"),
    ],
)
def test_a_node_that_does_not_see_the_image(
    user: str, security: dict[str, Any], expected: tuple[int, int, list[int]]
) -> None:
    image = BARE.replace(user=user)

    found = app(pod_of({"securityContext": security}), image=image)["process"]["user"]

    assert (found["uid"], found["gid"], found["additionalGids"]) == expected


def test_groups_of_the_pod_come_to_those_of_the_image_sorted_and_once() -> None:
    groups = {"fsGroup": 2000, "supplementalGroups": [4000, 10, 4000]}

    user = app(pod_of(spec={"securityContext": groups}), image=image_of("app"))["process"]["user"]

    assert user["additionalGids"] == [10, 50, 1000, 2000, 4000]


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.6.20", [10, 50, 1000, 4000]), ("1.7.29", [10, 50, 1000, 4000]), ("2.4.2", [1000, 4000])],
)
def test_strict_groups_need_containerd_2(version: str, expected: list[int]) -> None:
    security = {"supplementalGroups": [4000], "supplementalGroupsPolicy": "Strict"}
    pod = pod_of({"securityContext": {"runAsUser": 1000}}, spec={"securityContext": security})

    user = app(pod, image=image_of(), node=node_with(version))["process"]["user"]

    assert user["additionalGids"] == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_a_user_by_name_that_nobody_knows_is_refused(version: str) -> None:
    node = node_with(version)

    unknown = refusal(pod_of(), image=image_of("ghost"), node=node)
    unseen = refusal(pod_of(), image=BARE.replace(user="app"), node=node)

    assert (unknown[0], unseen[0]) == ("containerd", "containerd")
    assert unknown[1].endswith("no users found")
    assert unseen[1].endswith("no such file or directory")


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        pytest.param({}, (65535, 65535, [65535]), id="the pause image's"),
        pytest.param({"runAsUser": 1000}, (1000, 0, [0]), id="user alone"),
        pytest.param({"runAsUser": 1000, "runAsGroup": 3000}, (1000, 3000, [3000]), id="both"),
        pytest.param(
            {"fsGroup": 5, "supplementalGroups": [6]}, (65535, 65535, [65535]), id="no groups"
        ),
    ],
)
def test_the_sandbox_s_user(security: dict[str, Any], expected: tuple[int, int, list[int]]) -> None:
    found = sandbox(pod_of(spec={"securityContext": security}))["process"]["user"]

    assert (found["uid"], found["gid"], found["additionalGids"]) == expected


def test_a_pod_with_a_group_and_no_user_gets_no_sandbox() -> None:
    result = specified(pod_of(spec={"securityContext": {"runAsGroup": 3000}}))

    assert isinstance(result.sandbox, ContainerRefused)
    assert 'user group "3000" is specified without user' in str(result.sandbox)
    assert result.containers == {}


@pytest.mark.parametrize(
    ("user", "security", "message"),
    [
        ("", {"runAsNonRoot": True}, "image will run as root"),
        ("app", {"runAsNonRoot": True}, "image has non-numeric user (app)"),
        ("7", {"runAsNonRoot": True, "runAsUser": 0}, "runAsUser breaks non-root policy"),
    ],
)
def test_the_kubelet_refuses_root_where_the_pod_does(
    user: str, security: dict[str, Any], message: str
) -> None:
    by, found = refusal(pod_of({"securityContext": security}), image=image_of(user))

    assert by == "kubelet"
    assert message in found


def test_malformed_lines_count_as_far_as_they_go() -> None:
    # Source: github.com/moby/sys/user, fields that are missing or no numbers are 0.
    image = image_of(
        "odd", passwd="\n  odd  \nroot:x:0:0\n", group="extra:x:12:odd\nbroken\nz:x:q:odd"
    )

    user = app(pod_of(), image=image)["process"]["user"]

    assert (user["uid"], user["gid"]) == (0, 0)
    assert user["additionalGids"] == [0, 12]
