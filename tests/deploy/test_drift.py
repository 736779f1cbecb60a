"""What differs on a cluster is told from what was not deployed yet, by the managers of its fields as API servers note them."""

import base64
import hashlib
from typing import Any

import pytest

from contrast_tasks.annotations import POLICY
from contrast_tasks.deploy.drift import drift, is_of_another_build, others


def encoded(policy: str) -> str:
    return base64.b64encode(policy.encode()).decode()


def deployment(policy: str, *managers: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    template = {"metadata": {"annotations": {POLICY: encoded(policy)}}, "spec": {"containers": []}}
    owned = [
        {
            "manager": name,
            "operation": "Apply",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:template": fields}},
        }
        for name, fields in managers
    ]
    return {
        "kind": "Deployment",
        "metadata": {"name": "web", "managedFields": owned},
        "spec": {"template": template},
    }


SETS_POLICY = {"f:metadata": {"f:annotations": {f"f:{POLICY}": {}}}, "f:spec": {}}
SETS_IMAGE = {"f:spec": {"f:containers": {'k:{"name":"web"}': {"f:image": {}}}}}
STATUS_ONLY: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("found", "is_another", "by_others"),
    [
        (deployment("old", ("contrast-tasks", SETS_POLICY)), True, []),
        (
            deployment("old", ("contrast-tasks", SETS_POLICY), ("kubectl-edit", SETS_IMAGE)),
            True,
            ["kubectl-edit"],
        ),
        (
            deployment("old", ("contrast-tasks", SETS_POLICY), ("controller", STATUS_ONLY)),
            True,
            [],
        ),
        (deployment("old", ("contrast-tasks", {}), ("kubectl-edit", SETS_POLICY)), False, []),
        (deployment("old"), False, []),
        (deployment("new", ("contrast-tasks", SETS_POLICY)), False, []),
    ],
)
def test_a_policy_that_a_deploy_set_is_of_another_build(
    found: dict[str, Any], is_another: bool, by_others: list[str]
) -> None:
    assert is_of_another_build(deployment("new"), found) is is_another
    assert others(found) == by_others


def test_any_field_that_a_deploy_set_is_of_another_build() -> None:
    def with_image(image: str | None, *managers: tuple[str, dict[str, Any]]) -> dict[str, Any]:
        obj = deployment("same", *managers)
        ports = [{"containerPort": 80, **({"protocol": "TCP"} if managers else {})}]
        web = {"name": "web", "image": image, "ports": ports}
        limits = {"limits": {"cpu": "1000m" if managers else "1"}}
        obj["spec"]["template"]["spec"]["containers"] = [{**web, "resources": limits}]
        return obj

    fields = {
        ".": {},
        "f:name": {},
        "f:image": {},
        "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
        "f:resources": {"f:limits": {"f:cpu": {}}},
    }
    ours = ("contrast-tasks", {"f:spec": {"f:containers": {'k:{"name":"web"}': fields}}})
    theirs = ("kubectl-edit", SETS_IMAGE)

    assert is_of_another_build(with_image("new"), with_image("old", ours))
    assert is_of_another_build(with_image(None), with_image("old", ours))
    assert not is_of_another_build(with_image("new"), with_image("new", ours))
    del fields["f:image"]
    assert not is_of_another_build(with_image("new"), with_image("evil", ours, theirs))


def test_a_changed_policy_is_told_by_its_hash() -> None:
    place = f"spec.template.metadata.annotations.{POLICY}"
    ours, other = (hashlib.sha256(each).hexdigest() for each in (b"new", b"old"))
    unreadable = deployment("new")
    unreadable["spec"]["template"]["metadata"]["annotations"][POLICY] = "?"

    assert drift(deployment("new"), deployment("old")) == [
        f"{place}: deployed policy {ours}, found policy {other}"
    ]
    assert drift(deployment("new"), unreadable) == [
        f"{place}: deployed policy {ours}, found no policy that can be read"
    ]
