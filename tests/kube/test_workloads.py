"""What a workload is, where its pod stands, and what the pod refers to."""

import base64
from typing import Any

import pytest

from contrast_tasks import annotations
from contrast_tasks.kube import workloads
from contrast_tasks.platforms import is_confidential_class
from contrast_tasks.pointers import Path

PREFIX = "contrast.edgeless.systems/"


def workload(kind: str, api_version: str, **spec: Any) -> dict[str, Any]:
    obj: dict[str, Any] = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}
    place = obj
    for step in workloads.template_path(obj):
        place = place.setdefault(step, {})
    place["spec"] = spec
    return obj


KINDS = [
    ("Pod", "v1"),
    ("ReplicationController", "v1"),
    ("Deployment", "apps/v1"),
    ("ReplicaSet", "apps/v1"),
    ("StatefulSet", "apps/v1"),
    ("DaemonSet", "apps/v1"),
    ("Job", "batch/v1"),
    ("CronJob", "batch/v1"),
]


@pytest.mark.parametrize(("kind", "api_version"), KINDS)
def test_the_pod_spec_of_every_kind_is_found(kind: str, api_version: str) -> None:
    obj = workload(kind, api_version, hostname="h")

    assert workloads.is_workload(obj)
    assert workloads.pod_spec(obj) == {"hostname": "h"}
    assert workloads.spec_path(obj)[-1] == "spec"


@pytest.mark.parametrize(
    ("kind", "api_version"),
    [("Service", "v1"), ("Deployment", "v1"), ("Deployment", "example.com/v1"), ("Pod", "example.com/v1")],
)  # fmt: skip
def test_other_kinds_and_groups_are_no_workloads(kind: str, api_version: str) -> None:
    assert not workloads.is_workload({"kind": kind, "apiVersion": api_version})


@pytest.mark.parametrize("spec", [None, [], "text", {"template": None}, {"template": {"spec": []}}])
def test_a_template_without_pod_spec_is_empty(spec: object) -> None:
    obj = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "a"}, "spec": spec}

    assert workloads.pod_spec(obj) == {}
    assert workloads.role(obj) == ""
    assert workloads.images(obj) == []
    assert workloads.config_references(obj) == []


def test_a_key_has_the_namespace_only_if_it_is_written() -> None:
    obj = workload("Deployment", "apps/v1")

    assert workloads.workload_key(obj) == "Deployment/a"
    obj["metadata"]["namespace"] = "shop"
    assert workloads.workload_key(obj) == "shop/Deployment/a"


def test_the_template_annotation_wins() -> None:
    obj = workload("CronJob", "batch/v1")
    key = PREFIX + "skip-initializer"
    obj["metadata"]["annotations"] = {key: "1", PREFIX + "secure-pv": "a:b", "other": "x"}
    obj["spec"]["jobTemplate"]["metadata"] = {"annotations": {key: "2"}}
    obj["spec"]["jobTemplate"]["spec"]["template"]["metadata"] = {"annotations": {key: "3"}}

    assert workloads.annotations(obj) == {key: "3", PREFIX + "secure-pv": "a:b"}


def test_only_a_stateful_set_can_be_the_coordinator() -> None:
    obj = workload("StatefulSet", "apps/v1")
    obj["spec"]["template"]["metadata"] = {"annotations": {annotations.POD_ROLE: "coordinator"}}

    assert workloads.is_coordinator(obj)
    assert not workloads.is_coordinator({**obj, "kind": "Deployment"})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("contrast-cc", True),
        ("contrast-cc-k3s-qemu-snp-12345678", True),
        ("kata-cc-isolation", True),
        ("gvisor", False),
        ("", False),
    ],
)
def test_our_runtime_classes_are_known_by_prefix(name: str, expected: object) -> None:
    assert is_confidential_class(name) is expected


def test_every_reference_to_a_config_is_found() -> None:
    obj = workload(
        "Deployment",
        "apps/v1",
        initContainers=[{"envFrom": [{"secretRef": {"name": "s1"}}, {"configMapRef": {"name": "c1"}}]}],
        containers=[
            {
                "env": [
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c2", "key": "k"}}},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s2", "key": "k", "optional": True}}},
                    {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ]
            }
        ],
        volumes=[
            {"name": "a", "configMap": {"name": "c3"}},
            {"name": "b", "secret": {"secretName": "s3"}},
            {"name": "c", "projected": {"sources": [{"secret": {"name": "s4"}}, {"configMap": {"name": "c4"}}]}},
        ],
    )  # fmt: skip

    found = workloads.config_references(obj)

    assert {(site.kind, site.name) for site in found} == {
        *(("ConfigMap", f"c{number}") for number in range(1, 5)),
        *(("Secret", f"s{number}") for number in range(1, 5)),
    }
    assert [site.name for site in found if site.optional] == ["s2"]


def test_images_are_listed_once_init_containers_first() -> None:
    obj = workload(
        "Pod", "v1", containers=[{"image": "b"}, {"image": "a"}], initContainers=[{"image": "a"}]
    )

    assert workloads.images(obj) == ["a", "b"]


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
    assert workloads.config_data(obj) == wanted


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
    assert workloads.service_account({"kind": "Pod", "spec": spec}) == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("spec", "template", "spec", "hostNetwork"), "hostNetwork"),
        (("spec", "template", "spec", "containers", 0, "tty"), "containers.web.tty"),
        (
            ("spec", "template", "spec", "containers", 0, "resources", "limits", "nvidia.com/gpu"),
            "containers.web.resources.limits.nvidia*com*gpu",
        ),
        (("spec", "template", "spec", "containers", 0, "args", 0), ""),
        (("spec", "template", "metadata", "labels"), ""),
    ],
)
def test_a_field_has_the_name_that_remove_takes(path: Path, name: str) -> None:
    spec = {"containers": [{"name": "web", "args": ["x"]}]}
    obj = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"spec": spec}}}

    assert workloads.field_name(obj, path) == name
