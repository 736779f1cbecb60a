"""What a mesh configuration and the pod around it have to say to each other."""

from typing import Any

import pytest

from contrast_tasks.annotations import INGRESS
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding, Findings, Setting, Severity
from contrast_tasks.mesh.checks import check_pod, check_remotes
from contrast_tasks.mesh.grammar import parse_mesh
from contrast_tasks.mesh.model import MeshConfig
from contrast_tasks.mesh.place import Spot
from tests.fakes.mesh import mesh_of

EGRESS = "emoji#127.137.0.1:8081#emoji-svc:8080"


def pod(**members: Any) -> dict[str, Any]:
    container = {"name": "web", "ports": [{"containerPort": 8080, "name": "https"}], **members}
    return {"containers": [container]}


def findings() -> Findings[Spot]:
    return Findings(
        lambda spot: Location(file="pod.yml", pointer="/".join(map(str, spot))), "Deployment/web"
    )


def found_in(config: MeshConfig, spec: dict[str, Any]) -> list[Finding]:
    found = findings()
    check_pod(config, spec, found)
    return found


def found_among(config: MeshConfig, unprotected: dict[tuple[str, str], str]) -> list[Finding]:
    found = findings()
    check_remotes(config, "shop", unprotected, found)
    return found


def test_a_pod_that_fits_has_no_findings() -> None:
    config = mesh_of(ingress="web#8080#false", egress=EGRESS)
    spec = pod(
        env=[{"name": "EMOJI", "value": "127.137.0.1:8081"}],
        readinessProbe={"httpGet": {"scheme": "HTTPS", "port": "https"}},
        livenessProbe={"exec": {"command": ["true"]}},
    )

    assert found_in(config, spec) == []


def test_the_sidecar_of_a_pod_that_was_generated_before_is_not_part_of_it() -> None:
    spec = pod()
    ports = [{"containerPort": 9901, "name": "contrast-admin"}]
    spec["initContainers"] = [{"name": "contrast-service-mesh", "ports": ports}]

    assert found_in(mesh_of(admin_port="9901"), spec) == []


def test_an_exempted_port_is_one_of_the_pods() -> None:
    found = found_in(mesh_of(ingress="web#8081#false"), pod())

    assert [entry.rule for entry in found] == ["mesh-unknown-port"]
    assert "(8080)" in found[0].message


def test_the_admin_port_is_not_the_applications() -> None:
    found = found_in(mesh_of(admin_port="8080"), pod())

    assert [(entry.rule, entry.severity) for entry in found] == [
        ("mesh-reserved-port", Severity.ERROR)
    ]


def test_an_egress_address_that_nobody_uses_is_a_note() -> None:
    found = found_in(mesh_of(egress=EGRESS), pod())

    assert [(entry.rule, entry.severity) for entry in found] == [
        ("mesh-unused-egress", Severity.NOTE)
    ]


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"args": ["--emoji=http://127.137.0.1:8081/"]}, id="argument"),
        pytest.param({"command": ["a", "127.137.0.1:8081"]}, id="command"),
        pytest.param({"envFrom": [{"configMapRef": {"name": "c"}}]}, id="unknown-values"),
        pytest.param({"env": [{"name": "A", "valueFrom": {}}]}, id="unknown-value"),
    ],
)
def test_an_egress_address_may_come_from_elsewhere(members: dict[str, Any]) -> None:
    assert found_in(mesh_of(egress=EGRESS), pod(**members)) == []


@pytest.mark.parametrize(
    ("ingress", "probe", "severity"),
    [
        pytest.param("", {"httpGet": {"port": 8080}}, Severity.WARNING, id="http-protected"),
        pytest.param("", {"httpGet": {"port": 8080, "scheme": "HTTPS"}}, Severity.WARNING, id="https-protected"),
        pytest.param("w#8080#false", {"httpGet": {"port": "https"}}, Severity.WARNING, id="http-on-tls"),
        pytest.param("", {"tcpSocket": {"port": 8080}}, Severity.NOTE, id="tcp-protected"),
        pytest.param("w#8080#false", {"tcpSocket": {"port": 8080}}, Severity.NOTE, id="tcp-on-tls"),
    ],
)  # fmt: skip
def test_a_probe_the_mesh_defeats_is_reported_at_its_place(
    ingress: str, probe: dict[str, Any], severity: Severity
) -> None:
    (found,) = found_in(mesh_of(ingress=ingress), pod(readinessProbe=probe))

    assert (found.rule, found.severity) == ("mesh-probe", severity)
    assert found.where.pointer.startswith("containers/0/readinessProbe")
    # Without a probe a pod is ready at once, so a mere note does not propose it.
    line = 'remove = ["containers.web.readinessProbe"]'
    assert (line in found.hint) is (severity is Severity.WARNING)
    answer = Setting(("workloads", "Deployment/web", "remove"), ["containers.web.readinessProbe"])
    assert found.answer == (answer if severity is Severity.WARNING else None)


@pytest.mark.parametrize("probe", [{"httpGet": {"port": 8080}}, {"tcpSocket": {"port": "https"}}])
def test_a_probe_on_a_plain_port_is_fine(probe: dict[str, Any]) -> None:
    assert found_in(mesh_of(ingress="w#8080#true"), pod(readinessProbe=probe)) == []


@pytest.mark.parametrize(
    ("remote", "is_found"),
    [
        ("emoji-svc", True),
        ("emoji-svc.shop", True),
        ("emoji-svc.shop.svc", True),
        ("emoji-svc.shop.svc.cluster.local", True),
        ("emoji-svc.other", False),
        ("emoji-svc.shop.example.com", False),
        ("other", False),
    ],
)
def test_a_remote_without_mesh_is_a_warning(remote: str, is_found: object) -> None:
    unprotected = {("shop", "emoji-svc"): "Deployment/emoji"}

    found = found_among(mesh_of(egress=f"e#127.0.0.1:1#{remote}:80"), unprotected)

    assert bool(found) is is_found


def test_a_remote_with_mesh_is_fine() -> None:
    assert found_among(mesh_of(egress=EGRESS), {}) == []


def test_a_finding_names_subject_annotation_and_place() -> None:
    found = Findings[Spot](lambda _: Location(file="a.yml", line=7), "Deployment/web")
    parse_mesh({INGRESS: "web#70000#false"}, found)

    assert str(found[0]) == (
        "a.yml:7: error[G040 mesh-port]: Deployment/web: contrast.edgeless.systems/servicemesh-ingress entry 1 port:"
        " found '70000', expected a port from 1 to 65535 in plain digits\n"
        "  hint: write the number; names of ports are not looked up"
    )
