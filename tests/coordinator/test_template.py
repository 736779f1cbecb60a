"""templates/coordinator/coordinator.yml against docs/internals/runtime.md 5 and the process itself."""

from typing import Any

import pytest
import yaml

from contrast_tasks import resources
from coordinator.options import parse_options

TEXT = resources.read_text("templates/coordinator/coordinator.yml")
DOCUMENTS = {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all(TEXT)}
POD = DOCUMENTS["StatefulSet", "coordinator"]["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]


def unsorted_mappings(value: Any, path: str = "") -> list[str]:
    if isinstance(value, list):
        return [p for i, entry in enumerate(value) for p in unsorted_mappings(entry, f"{path}/{i}")]
    if not isinstance(value, dict):
        return []
    here = [] if list(value) == sorted(value) else [path]
    return here + [p for key in value for p in unsorted_mappings(value[key], f"{path}/{key}")]


def test_the_objects_are_those_of_the_table() -> None:
    assert list(DOCUMENTS) == [
        ("ServiceAccount", "coordinator"),
        ("Role", "coordinator"),
        ("RoleBinding", "coordinator"),
        ("Service", "coordinator"),
        ("Service", "coordinator-ready"),
        ("StatefulSet", "coordinator"),
    ]


@pytest.mark.parametrize("identity", list(DOCUMENTS), ids="/".join)
def test_keys_are_alphabetical_and_no_namespace_is_set(identity: tuple[str, str]) -> None:
    assert unsorted_mappings(DOCUMENTS[identity]) == []
    assert "namespace" not in DOCUMENTS[identity]["metadata"]


def test_it_is_plain_yaml_without_placeholders() -> None:
    assert not any(mark in TEXT for mark in ("{{", "{%", "${", "<%"))


def test_the_role_is_annotation_and_label_so_that_anti_affinity_matches() -> None:
    role = {"contrast.edgeless.systems/pod-role": "coordinator"}
    (preferred,) = POD["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]

    assert POD["metadata"]["annotations"] == role
    assert preferred["podAffinityTerm"]["labelSelector"]["matchLabels"] == role
    assert role.items() <= POD["metadata"]["labels"].items()


def test_the_pod_is_confidential_and_its_memory_request_is_its_limit() -> None:
    assert POD["spec"]["runtimeClassName"] == "contrast-cc"
    assert CONTAINER["resources"]["requests"] == CONTAINER["resources"]["limits"]
    assert CONTAINER["image"] == "contrast-tasks/coordinator:0.1.0"
    assert CONTAINER["securityContext"] == {"capabilities": {"add": ["NET_ADMIN"]}}


def test_the_ports_are_those_the_process_listens_on_by_default() -> None:
    options = parse_options([], {})
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    probes = {CONTAINER[f"{name}Probe"]["httpGet"]["port"] for name in ("startup", "liveness")}

    assert ports == {"userapi": options.user_api[1], "meshapi": options.mesh_api[1]}
    assert probes == {options.http[1]}
    assert CONTAINER["readinessProbe"]["httpGet"] == {"path": "/probe/readiness", "port": 9102}


def test_only_the_first_service_reaches_a_coordinator_that_is_not_ready() -> None:
    first = DOCUMENTS["Service", "coordinator"]["spec"]
    ready = DOCUMENTS["Service", "coordinator-ready"]["spec"]

    assert first["publishNotReadyAddresses"] is True
    assert "publishNotReadyAddresses" not in ready
    assert first["ports"] == ready["ports"]
    assert first["selector"].items() <= POD["metadata"]["labels"].items()
