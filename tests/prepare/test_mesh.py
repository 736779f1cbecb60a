"""Pinned peers and the admin interface, whose effect depends on whose proxy the pod gets."""

from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.errors import Location
from contrast_tasks.findings import Severity
from contrast_tasks.kube.documents import parse_documents
from contrast_tasks.prepare.workload import Prepared, prepare
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.workloads import PodSettings, WorkloadSettings

THEIRS = ComponentSettings(
    initializer="theirs/initializer",
    service_mesh="theirs/mesh",
    coordinator="theirs/coordinator",
    are_declared_reference=True,
)
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - {name: web, image: web, args: ["127.137.0.1:8081"]}
"""
WHERE = Location(file="contrast.toml", line=7)


def prepared(components: ComponentSettings | None = None, **declared: Any) -> Prepared:
    settings = Settings(
        root=Path(),
        platform="metal-qemu-snp",
        release_name="v1.21.0",
        sources=("d",),
        for_all=PodSettings(memory="700Mi"),
        components=components or ComponentSettings(),
        workloads={"Pod/web": WorkloadSettings(where=WHERE, **declared)},
    )
    document = parse_documents(POD, "web.yml")[0]
    return prepare(document, settings=settings, runtime_class="contrast-cc")


def pinned(components: ComponentSettings | None = None) -> Prepared:
    return prepared(
        components,
        ingress="",
        egress="emoji#127.137.0.1:8081#emoji-svc:8080",
        ingress_peers="8080=vote-bot,web",
        egress_peers="emoji=emoji",
    )


def test_peers_of_the_settings_reach_the_sidecar() -> None:
    result = pinned()

    sidecar = result.obj["spec"]["initContainers"][-1]
    assert result.findings == ()
    assert {"name": "CONTRAST_INGRESS_PEERS", "value": "8080=vote-bot,web"} in sidecar["env"]
    assert {"name": "CONTRAST_EGRESS_PEERS", "value": "emoji=emoji"} in sidecar["env"]
    assert result.mesh is not None
    assert result.mesh.ingress_peers == {8080: ("vote-bot", "web")}


def test_the_reference_products_proxy_checks_no_peers_which_is_an_error() -> None:
    found = [each for each in pinned(THEIRS).findings if each.rule == "mesh-peers"]

    assert [(each.severity, str(each.where)) for each in found] == [
        (Severity.ERROR, "contrast.toml:7")
    ] * 2
    assert "which the reference product's proxy does not check" in found[0].message


@pytest.mark.parametrize(("components", "rules"), [(None, ["mesh-admin-private"]), (THEIRS, [])])
def test_an_ingress_entry_opens_the_admin_port_of_the_other_proxy_only(
    components: ComponentSettings | None, rules: list[str]
) -> None:
    result = prepared(components, ingress="admin#9901#true", admin_port=9901)

    assert [each.rule for each in result.findings] == rules
