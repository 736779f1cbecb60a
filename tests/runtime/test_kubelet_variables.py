"""Variables that the kubelet sends: docs/internals/reality.md 1.6, 1.8 and 1.12.

Sources: the recordings; Kubernetes' API reference for references to variables and for the downward API.
"""

from typing import Any

import pytest

from contrast_tasks.runtime.kubelet.expansion import expand
from contrast_tasks.runtime.objects import Namespace
from tests.fakes.runtime import IMAGE, UID, app, node_with, pod_of, refusal

CONFIG = {"kind": "ConfigMap", "metadata": {"name": "cm"}, "data": {"a": "1", "b.c": "2"}}
SECRET = {
    "kind": "Secret",
    "metadata": {"name": "se", "namespace": "default"},
    "data": {"TOKEN": "dA==", "PLAIN": "dA=="},
    "stringData": {"PLAIN": "over"},
}
OTHER = {"kind": "ConfigMap", "metadata": {"name": "cm", "namespace": "x"}, "data": {"a": "9"}}
REDIS = {
    "kind": "Service",
    "metadata": {"name": "red-is"},
    "spec": {
        "clusterIP": "10.96.0.7",
        "ports": [{"name": "tls-port", "port": 6379}, {"name": "u", "port": 53, "protocol": "UDP"}],
    },
}
API_SERVER = {
    "KUBERNETES_PORT": "tcp://10.96.0.1:443",
    "KUBERNETES_PORT_443_TCP": "tcp://10.96.0.1:443",
    "KUBERNETES_PORT_443_TCP_ADDR": "10.96.0.1",
    "KUBERNETES_PORT_443_TCP_PORT": "443",
    "KUBERNETES_PORT_443_TCP_PROTO": "tcp",
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
    "KUBERNETES_SERVICE_PORT_HTTPS": "443",
}


def sent(
    container: dict[str, Any], *objects: dict[str, Any], spec: dict[str, Any] | None = None
) -> list[str]:
    """Return the variables behind those of containerd."""
    found = app(pod_of(container, spec=spec), objects=objects)["process"]["env"]
    return list(found[2:])


def own(container: dict[str, Any], *objects: dict[str, Any], **more: Any) -> dict[str, str]:
    """Return the variables without those of the API server."""
    pairs = (each.partition("=") for each in sent(container, *objects, **more))
    return {name: value for name, _, value in pairs if name not in API_SERVER}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x$(A)$(A)y", "x11y"),
        ("$(NO)", "$(NO)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$", "$"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("a$$b", "a$b"),
        ("$()", "$()"),
    ],
)
def test_references_to_variables(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}.get) == expected


def test_the_api_server_is_always_told() -> None:
    for links in ({}, {"enableServiceLinks": False}):
        assert sent({}, spec=links) == [f"{name}={value}" for name, value in API_SERVER.items()]


def test_a_service_is_told_by_its_name_and_ports() -> None:
    assert own({}, REDIS) == {
        "RED_IS_SERVICE_HOST": "10.96.0.7",
        "RED_IS_SERVICE_PORT": "6379",
        "RED_IS_SERVICE_PORT_TLS_PORT": "6379",
        "RED_IS_SERVICE_PORT_U": "53",
        "RED_IS_PORT": "tcp://10.96.0.7:6379",
        "RED_IS_PORT_6379_TCP": "tcp://10.96.0.7:6379",
        "RED_IS_PORT_6379_TCP_PROTO": "tcp",
        "RED_IS_PORT_6379_TCP_PORT": "6379",
        "RED_IS_PORT_6379_TCP_ADDR": "10.96.0.7",
        "RED_IS_PORT_53_UDP": "udp://10.96.0.7:53",
        "RED_IS_PORT_53_UDP_PROTO": "udp",
        "RED_IS_PORT_53_UDP_PORT": "53",
        "RED_IS_PORT_53_UDP_ADDR": "10.96.0.7",
    }


@pytest.mark.parametrize("address", ["None", "", None])
def test_a_service_without_an_address_is_not_told(address: str | None) -> None:
    service = {**REDIS, "spec": {**REDIS["spec"], "clusterIP": address}}  # type: ignore[dict-item]  # a mapping

    assert own({}, service) == {}


def test_services_of_other_namespaces_and_without_links_are_not_told() -> None:
    elsewhere = {**REDIS, "metadata": {"name": "redis", "namespace": "x"}}

    assert own({}, elsewhere) == {}
    assert own({}, REDIS, spec={"enableServiceLinks": False}) == {}


def test_an_image_s_entry_stays_in_front_of_the_service_s() -> None:
    image = IMAGE.replace(env=("KUBERNETES_PORT=none",))

    env = app(pod_of(spec={"enableServiceLinks": False}), image=image)["process"]["env"]

    assert [each for each in env if each.startswith("KUBERNETES_PORT=")] == [
        "KUBERNETES_PORT=none",
        "KUBERNETES_PORT=tcp://10.96.0.1:443",
    ]


def test_the_pod_s_own_override_those_of_services_and_come_first() -> None:
    container = {"env": [{"name": "KUBERNETES_PORT", "value": "mine"}, {"name": "Z", "value": "1"}]}

    found = sent(container)

    assert found[:2] == ["KUBERNETES_PORT=mine", "Z=1"]
    assert "KUBERNETES_PORT=tcp://10.96.0.1:443" not in found


def test_variables_see_those_before_them_and_services() -> None:
    env = [
        {"name": "A", "value": "1"},
        {"name": "A", "value": "2-$(A)"},
        {"name": "B", "value": "$(A) $(C) $(KUBERNETES_SERVICE_PORT) $(PATH)"},
        {"name": "C", "value": "later"},
        {"name": "EMPTY", "value": ""},
        {"name": "NONE"},
    ]

    assert own({"env": env}) == {
        "A": "2-1",
        "B": "2-1 $(C) 443 $(PATH)",
        "C": "later",
        "EMPTY": "",
        "NONE": "",
    }


def test_words_see_all_variables() -> None:
    container = {
        "command": ["/bin/app", "$(A)", "$(PATH)", "$$(A)"],
        "args": ["$(KUBERNETES_SERVICE_PORT)", "$"],
        "env": [{"name": "A", "value": "1"}],
    }

    args = app(pod_of(container))["process"]["args"]

    assert args == ["/bin/app", "1", "$(PATH)", "$(A)", "443", "$"]


def test_whole_objects() -> None:
    container = {
        "envFrom": [
            {"configMapRef": {"name": "cm"}, "prefix": "P_"},
            {"secretRef": {"name": "se"}},
            {"secretRef": {"name": "no", "optional": True}},
        ]
    }

    assert own(container, CONFIG, SECRET, OTHER) == {
        "P_a": "1",
        "P_b.c": "2",
        "TOKEN": "t",
        "PLAIN": "over",
    }


def key_of(kind: str, **reference: Any) -> dict[str, Any]:
    return {"env": [{"name": "K", "valueFrom": {kind: reference}}]}


def test_keys_of_objects() -> None:
    assert own(key_of("configMapKeyRef", name="cm", key="a"), CONFIG, OTHER) == {"K": "1"}
    assert own(key_of("secretKeyRef", name="se", key="TOKEN"), SECRET) == {"K": "t"}
    for reference in ({"name": "cm", "key": "no"}, {"name": "no", "key": "a"}):
        assert own(key_of("configMapKeyRef", **reference, optional=True), CONFIG) == {}


@pytest.mark.parametrize(
    ("container", "message"),
    [
        (
            key_of("configMapKeyRef", name="cm", key="no"),
            "couldn't find key no in ConfigMap default/cm",
        ),
        (key_of("secretKeyRef", name="no", key="a"), 'secret "no" not found'),
        ({"envFrom": [{"configMapRef": {"name": "no"}}]}, 'configmap "no" not found'),
        (key_of("fieldRef", fieldPath="status.phase"), "unsupported fieldPath: status.phase"),
        (key_of("secretKeyRef", name="bytes", key="k"), "string field contains invalid UTF-8"),
    ],
)
def test_a_value_that_is_missing_stops_the_container(
    container: dict[str, Any], message: str
) -> None:
    secret = {"kind": "Secret", "metadata": {"name": "bytes"}, "data": {"k": "//8="}}

    by, found = refusal(pod_of(container), objects=[CONFIG, secret])

    assert by == "kubelet"
    assert message in found


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "default"),
        ("metadata.uid", UID),
        ("metadata.labels['app']", "x"),
        ("metadata.labels['no']", ""),
        ("metadata.annotations['a/b']", "y"),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "default"),
        ("status.hostIP", "192.0.2.10"),
        ("status.podIP", "10.88.77.2"),
        ("status.podIPs", "10.88.77.2,fd00::2"),
    ],
)
def test_fields_of_the_pod(path: str, expected: str) -> None:
    pod = pod_of(key_of("fieldRef", fieldPath=path), labels={"app": "x"}, annotations={"a/b": "y"})

    spec = app(pod, node=node_with("2.4.2", name="node-1"), addresses=("10.88.77.2", "fd00::2"))

    assert f"K={expected}" in spec["process"]["env"]


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        ("limits.cpu", None, "2"),
        ("limits.cpu", "1m", "1500"),
        ("limits.memory", None, "67108864"),
        ("limits.memory", "1Mi", "64"),
        ("requests.cpu", None, "2"),
        ("requests.ephemeral-storage", None, "0"),
    ],
)
def test_resources_of_the_container(resource: str, divisor: str | None, expected: str) -> None:
    reference = {"resource": resource, **({"divisor": divisor} if divisor else {})}
    container = {
        **key_of("resourceFieldRef", **reference),
        "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}},
    }

    assert own(container) == {"K": expected}


@pytest.mark.parametrize("limits", [{}, {"memory": 0}])
def test_a_limit_that_is_not_set_is_what_the_node_has(limits: dict[str, int]) -> None:
    container = {
        **key_of("resourceFieldRef", resource="limits.memory"),
        "resources": {"limits": limits},
    }
    pod = pod_of(container)

    env = app(pod, node=node_with("2.4.2", memory_bytes=4096))["process"]["env"]

    assert "K=4096" in env


def test_line_breaks_in_base64_are_passed_over_as_by_the_decoder_of_go() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"K": "YWJj\nZA==\n"}}

    assert Namespace([secret], "default").config("Secret", "s") == {"K": b"abcd"}
