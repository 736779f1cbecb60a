"""coordinator.yml against docs/internals/runtime.md 5, the files of the releases, and the process itself."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from contrast_tasks.prepare.coordinator import render_coordinator
from contrast_tasks.releases.table import RELEASES, V1_9, V1_16, V1_21, Release
from contrast_tasks.settings.components import ComponentSettings
from coordinator.options import parse_options

OURS = ComponentSettings()
THEIRS = ComponentSettings(coordinator="reference/coordinator:v1.21.0", are_declared_reference=True)
Objects = Mapping[tuple[str, str], dict[str, Any]]


def objects(
    release: Release = V1_21, components: ComponentSettings = OURS, image_mib: int = 0
) -> Objects:
    text = render_coordinator(release, components, image_mib=image_mib)
    return {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all(text)}


def pod(found: Objects) -> dict[str, Any]:
    template: dict[str, Any] = found["StatefulSet", "coordinator"]["spec"]["template"]
    return template


def container(found: Objects) -> dict[str, Any]:
    first: dict[str, Any] = pod(found)["spec"]["containers"][0]
    return first


def unsorted_mappings(value: Any, path: str = "") -> list[str]:
    if isinstance(value, list):
        return [p for i, entry in enumerate(value) for p in unsorted_mappings(entry, f"{path}/{i}")]
    if not isinstance(value, dict):
        return []
    here = [] if list(value) == sorted(value) else [path]
    return here + [p for key in value for p in unsorted_mappings(value[key], f"{path}/{key}")]


def test_the_objects_are_those_of_the_table() -> None:
    assert list(objects()) == [
        ("ServiceAccount", "coordinator"),
        ("Role", "coordinator"),
        ("RoleBinding", "coordinator"),
        ("Service", "coordinator"),
        ("Service", "coordinator-ready"),
        ("StatefulSet", "coordinator"),
    ]


@pytest.mark.parametrize("components", [OURS, THEIRS], ids=["ours", "theirs"])
@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_it_is_plain_yaml_with_keys_in_order_and_no_namespace(
    release: Release, components: ComponentSettings
) -> None:
    text = render_coordinator(release, components)

    assert not any(mark in text for mark in ("{{", "{%", "${", "<", "# ours"))
    for found in objects(release, components).values():
        assert unsorted_mappings(found) == []
        assert "namespace" not in found["metadata"]


def test_the_role_is_annotation_and_label_so_that_anti_affinity_matches() -> None:
    role = {"contrast.edgeless.systems/pod-role": "coordinator"}
    template = pod(objects())
    (preferred,) = template["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]

    assert template["metadata"]["annotations"] == role
    assert preferred["podAffinityTerm"]["labelSelector"]["matchLabels"] == role
    assert role.items() <= template["metadata"]["labels"].items()


def test_the_pod_is_confidential_and_its_memory_request_is_its_limit() -> None:
    found = container(objects(image_mib=300))

    assert pod(objects())["spec"]["runtimeClassName"] == "contrast-cc"
    assert found["resources"] == {"limits": {"memory": "500Mi"}, "requests": {"memory": "500Mi"}}
    assert found["image"] == "contrast-tasks/coordinator:0.1.0"
    assert found["securityContext"] == {"capabilities": {"add": ["NET_ADMIN"]}}


@pytest.mark.parametrize(
    ("release", "memory", "ports", "failures"),
    [
        # docs/internals/releases.md 5.5
        pytest.param(V1_9, "200Mi", [1313, 7777], 3, id="v1.9"),
        pytest.param(RELEASES[1], "200Mi", [1313, 7777, 8200], 60, id="v1.10"),
        pytest.param(RELEASES[4], "50Mi", [1313, 7777, 8200], 60, id="v1.13"),
        pytest.param(V1_16, "200Mi", [1313, 1314, 7777, 8200], 60, id="v1.16"),
        pytest.param(V1_21, "400Mi", [1313, 1314, 7777, 8200], 60, id="v1.21"),
    ],
)
def test_the_reference_products_has_the_figures_of_its_release(
    release: Release, memory: str, ports: list[int], failures: int
) -> None:
    found = container(objects(release, THEIRS, image_mib=300))

    assert found["image"] == "reference/coordinator:v1.21.0"
    assert found["resources"] == {"limits": {"memory": memory}, "requests": {"memory": memory}}
    assert [port["containerPort"] for port in found["ports"]] == ports
    assert found["startupProbe"]["failureThreshold"] == failures


def test_the_ports_are_those_the_process_listens_on_by_default() -> None:
    options = parse_options([], {})
    found = container(objects())
    ports = {port["name"]: port["containerPort"] for port in found["ports"]}
    probes = {found[f"{name}Probe"]["httpGet"]["port"] for name in ("startup", "liveness")}

    assert (ports["userapi"], ports["meshapi"]) == (options.user_api[1], options.mesh_api[1])
    assert ports["httpapi"] == options.http_api[1]
    assert ports["transitapi"] == options.transit_api[1]
    assert probes == {options.http[1]}
    assert found["readinessProbe"]["httpGet"] == {"path": "/probe/readiness", "port": 9102}


def test_only_the_first_service_reaches_a_coordinator_that_is_not_ready() -> None:
    found = objects()
    first = found["Service", "coordinator"]["spec"]
    ready = found["Service", "coordinator-ready"]["spec"]

    assert first["publishNotReadyAddresses"] is True
    assert "publishNotReadyAddresses" not in ready
    assert first["ports"] == ready["ports"]
    assert first["selector"].items() <= pod(found)["metadata"]["labels"].items()


def test_replicas_and_metrics_are_as_the_settings_say() -> None:
    text = render_coordinator(V1_21, OURS, replicas=3, with_metrics=True)
    found = {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all(text)}

    assert found["StatefulSet", "coordinator"]["spec"]["replicas"] == 3
    assert container(found)["env"] == [{"name": "CONTRAST_METRICS", "value": "1"}]
    assert {"containerPort": 9102, "name": "prometheus"} in container(found)["ports"]
    assert unsorted_mappings(found["StatefulSet", "coordinator"]) == []
    assert objects(V1_21)["StatefulSet", "coordinator"]["spec"]["replicas"] == 1
    assert "env" not in container(objects(V1_21))
