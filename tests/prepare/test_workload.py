"""What the settings make of a workload, and what they may not overrule."""

from pathlib import Path
from typing import Any

import pytest

from contrast_tasks import __version__
from contrast_tasks.errors import Location, SettingsError
from contrast_tasks.findings import Finding, Severity
from contrast_tasks.kube.documents import parse_documents
from contrast_tasks.kube.edits import rewrite
from contrast_tasks.kube.index import index_file
from contrast_tasks.prepare.workload import Prepared, check_sources, prepare
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.workloads import PodSettings, WorkloadSettings

PREFIX = "contrast.edgeless.systems/"
INGRESS = PREFIX + "servicemesh-ingress"
WHERE = Location(file="contrast.toml", line=9)
COMPONENTS = ComponentSettings(
    initializer="theirs/initializer:dev",
    service_mesh="theirs/mesh:dev",
    coordinator="theirs/coordinator:dev",
    are_declared_reference=True,
)
CLASS = "contrast-cc-k3s-qemu-snp-0a1b2c3d"
WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      containers:
      - name: web
        image: web:1
"""


def project(
    *, memory: str | None = "700Mi", runtime_class: bool = True, **declared: Any
) -> Settings:
    workloads = {"Deployment/web": WorkloadSettings(where=WHERE, **declared)} if declared else {}
    return Settings(
        root=Path(),
        platform="k3s-qemu-snp",
        release_name="v1.12.0",
        components=COMPONENTS,
        sources=("deployment",),
        for_all=PodSettings(memory=memory),
        runtime_class=runtime_class,
        workloads=workloads,
    )


def declaring(**declared: Any) -> Settings:
    workloads = {"Deployment/web": WorkloadSettings(where=WHERE, **declared)}
    return project().replace(workloads=workloads)


def prepared(text: str, settings: Settings, namespace: str | None = None) -> Prepared:
    return prepare(
        parse_documents(text, "web.yml")[0],
        settings=settings,
        runtime_class=CLASS,
        coordinator_namespace=namespace,
    )


def spec_of(result: Prepared) -> dict[str, Any]:
    spec: dict[str, Any] = result.obj["spec"]["template"]["spec"]
    return spec


def short(findings: tuple[Finding, ...]) -> list[str]:
    return [f"{finding.where} {finding.code} {finding.rule}" for finding in findings]


def test_the_document_itself_is_never_changed() -> None:
    document = parse_documents(WEB, "web.yml")[0]
    settings = project(ingress="", env={"A": "b"})

    prepare(document, settings=settings, runtime_class=CLASS)

    assert document.obj == parse_documents(WEB, "web.yml")[0].obj


def test_an_object_without_pods_is_left_alone() -> None:
    text = "apiVersion: example.com/v1\nkind: Deployment\nmetadata:\n  name: web\n"

    result = prepared(text, project())

    assert result.obj == parse_documents(text, "a.yml")[0].obj
    assert result.findings == ()


@pytest.mark.parametrize("found", ["", "contrast-cc", "contrast-cc-aks-clh-snp", "contrast-cc-aks-clh-snp-12345678", "kata-cc-isolation"])  # fmt: skip
def test_the_runtime_class_becomes_the_platforms(found: str) -> None:
    text = WEB + (f"      runtimeClassName: {found}\n" if found else "")

    result = prepared(text, project())

    assert spec_of(result)["runtimeClassName"] == CLASS
    assert result.findings == ()


def test_a_runtime_class_of_somebody_else_stays() -> None:
    result = prepared(WEB + "      runtimeClassName: gvisor\n", project())

    assert spec_of(result) == {
        **parse_documents(WEB, "a")[0].obj["spec"]["template"]["spec"],
        "runtimeClassName": "gvisor",
    }


def test_a_workload_may_be_left_out() -> None:
    untouched = parse_documents(WEB, "a.yml")[0].obj

    assert prepared(WEB, project(runtime_class=False)).obj == untouched
    assert prepared(WEB, declaring(runtime_class=False)).obj == untouched


def test_a_single_workload_may_be_taken_in() -> None:
    settings = declaring(runtime_class=True).replace(runtime_class=False)

    assert spec_of(prepared(WEB, settings))["runtimeClassName"] == CLASS


@pytest.mark.parametrize(
    ("found", "declared"),
    [("gvisor", True), ("contrast-cc", False)],
)
def test_a_declared_runtime_class_conflicts_with_the_opposite_in_the_yaml(
    found: str, declared: bool
) -> None:
    settings = declaring(runtime_class=declared)

    result = prepared(WEB + f"      runtimeClassName: {found}\n", settings)

    assert short(result.findings)[0] == "web.yml:11 G070 runtime-class-conflict"
    assert "contrast.toml:9" in result.findings[0].message


def test_an_unknown_platform_in_a_runtime_class_is_named() -> None:
    result = prepared(WEB + "      runtimeClassName: contrast-cc-k3s-quemu-snp\n", project())

    assert short(result.findings) == ["web.yml:11 G070 unknown-platform"]


def test_memory_is_set_where_there_is_none() -> None:
    (container,) = spec_of(prepared(WEB, project()))["containers"]

    assert container["resources"] == {
        "limits": {"memory": "700Mi"},
        "requests": {"memory": "700Mi"},
    }


def test_the_workloads_memory_wins_over_the_default() -> None:
    (container,) = spec_of(prepared(WEB, declaring(memory="2Gi")))["containers"]

    assert container["resources"]["limits"] == {"memory": "2Gi"}


def test_a_missing_request_becomes_the_limit() -> None:
    result = prepared(WEB + "        resources: {limits: {memory: 1Gi, cpu: 500m}}\n", project())

    assert spec_of(result)["containers"][0]["resources"]["requests"] == {"memory": "1Gi"}
    assert short(result.findings) == ["web.yml:11 G033 cpu-limit"]


def test_memory_in_the_yaml_stays() -> None:
    text = WEB + "        resources: {limits: {memory: 1Gi}, requests: {memory: 1Gi}}\n"

    result = prepared(text, project())

    assert spec_of(result)["containers"][0]["resources"]["limits"] == {"memory": "1Gi"}
    assert result.findings == ()


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        pytest.param("{requests: {memory: 1Gi}}", "web.yml:11 G030 memory-limit", id="request-only"),
        pytest.param("{limits: {memory: 1Gi}, requests: {memory: 1Mi}}", "web.yml:11 G030 memory-request", id="unlike"),
    ],
)  # fmt: skip
def test_memory_that_contradicts_itself_is_an_error(resources: str, expected: str) -> None:
    assert short(prepared(WEB + f"        resources: {resources}\n", project()).findings) == [
        expected
    ]


def test_no_memory_anywhere_is_an_error() -> None:
    assert short(prepared(WEB, project(memory=None)).findings) == ["web.yml:9 G030 memory-limit"]


def test_declared_memory_conflicts_with_another_in_the_yaml() -> None:
    settings = declaring(memory="2Gi")
    text = WEB + "        resources: {limits: {memory: 1Gi}, requests: {memory: 1Gi}}\n"

    (found,) = prepared(text, settings).findings

    assert (str(found.where), found.code) == ("web.yml:11", "G030")
    assert "contrast.toml:9" in found.message


def test_declared_variables_replace_and_add() -> None:
    text = (
        WEB
        + "        env: [{name: A, value: old}, {name: B, valueFrom: {fieldRef: {fieldPath: x}}}]\n"
    )

    result = prepared(text, project(env={"A": "new", "B": "b", "C": "c"}))

    assert spec_of(result)["containers"][0]["env"] == [
        {"name": "A", "value": "new"},
        {"name": "B", "value": "b"},
        {"name": "C", "value": "c"},
    ]


def test_declared_annotations_stand_on_the_object_up_to_v1_12() -> None:
    result = prepared(WEB, project(ingress="", egress="a#127.0.0.1:1#b:2", admin_port=9901))

    assert result.obj["metadata"]["annotations"] == {
        PREFIX + "servicemesh-egress": "a#127.0.0.1:1#b:2",
        INGRESS: "",
        PREFIX + "servicemesh-admin-interface-port": "9901",
    }
    assert "metadata" not in result.obj["spec"]["template"]


def test_declared_annotations_stand_on_the_pod_template_from_v1_13() -> None:
    settings = project(ingress="", admin_port=9901)

    result = prepared(WEB, settings.replace(platform="metal-qemu-snp", release_name="v1.13.0"))

    assert result.findings == ()
    assert result.obj["spec"]["template"]["metadata"]["annotations"] == {
        INGRESS: "",
        PREFIX + "servicemesh-admin-interface-port": "9901",
    }
    assert "annotations" not in result.obj["metadata"]


@pytest.mark.parametrize(("place", "release"), [("object", "v1.12.0"), ("template", "v1.21.0")])
def test_an_equal_annotation_in_the_yaml_is_honoured(place: str, release: str) -> None:
    annotation = f"annotations: {{{INGRESS}: ''}}\n"
    text = (
        WEB.replace("  name: web\n", f"  {annotation}  name: web\n", 1)
        if place == "object"
        else WEB.replace("  template:\n", f"  template:\n    metadata:\n      {annotation}")
    )

    settings = project(ingress="").replace(platform="metal-qemu-snp", release_name=release)
    result = prepared(text, settings)

    assert result.findings == ()
    assert str(result.obj).count(INGRESS) == 1


def test_another_annotation_in_the_yaml_is_an_error_naming_both_places() -> None:
    text = WEB.replace("  name: web\n", f"  annotations: {{{INGRESS}: ''}}\n  name: web\n", 1)

    found = prepared(text, project(ingress="web#8080#false")).findings[0]

    assert (found.code, found.severity) == ("G040", Severity.ERROR)
    assert "at web.yml:4" in found.message
    assert "at contrast.toml:9" in found.message


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(WEB.partition("  template:")[0], id="no-template"),
        pytest.param(WEB.partition("    spec:")[0], id="no-pod-spec"),
        pytest.param(WEB.replace("    spec:", "    spec: []\n    other:"), id="sequence"),
    ],
)
def test_a_workload_without_pod_spec_is_an_error(text: str) -> None:
    assert [finding.code for finding in prepared(text, project()).findings] == ["G011"]


@pytest.mark.parametrize(
    "members",
    [
        pytest.param("        env: {A: b}\n", id="env"),
        pytest.param("        volumeMounts: text\n", id="mounts"),
        pytest.param("        ports: 80\n", id="ports"),
        pytest.param("      initContainers: {}\n", id="init-containers"),
        pytest.param("      volumes: [a]\n", id="volumes"),
    ],
)
def test_a_malformed_pod_is_an_error_and_no_crash(members: str) -> None:
    result = prepared(WEB + members, project(ingress="", env={"B": "c"}))

    assert any(finding.severity is Severity.ERROR for finding in result.findings)


def test_preparing_twice_changes_nothing_more() -> None:
    settings = project(ingress="web#8080#false", env={"A": "b"})
    once = rewrite(WEB, {0: prepared(WEB, settings).obj})

    assert rewrite(once, {0: prepared(once, settings).obj}) == once


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Deployment", ("spec", "template")),
        ("StatefulSet", ("spec", "template")),
        ("DaemonSet", ("spec", "template")),
        ("ReplicaSet", ("spec", "template")),
        ("ReplicationController", ("spec", "template")),
        ("Job", ("spec", "template")),
        ("CronJob", ("spec", "jobTemplate", "spec", "template")),
        ("Pod", ()),
    ],
)
def test_every_kind_is_prepared_and_stable(kind: str, path: tuple[str, ...]) -> None:
    groups = {"Job": "batch/v1", "CronJob": "batch/v1", "Pod": "v1", "ReplicationController": "v1"}
    lines = [f"{'  ' * depth}{step}:" for depth, step in enumerate((*path, "spec"))]
    pad = "  " * len(lines)
    text = (
        f"apiVersion: {groups.get(kind, 'apps/v1')}\nkind: {kind}\nmetadata:\n  name: web\n"
        + "\n".join(lines)
        + f"\n{pad}containers: # all\n{pad}- name: web\n{pad}  image: web:1\n"
    )

    once = rewrite(text, {0: prepared(text, project()).obj})

    assert "contrast-initializer" in once
    assert "# all" in once
    assert rewrite(once, {0: prepared(once, project()).obj}) == once


def test_settings_for_a_workload_that_is_nowhere_are_an_error() -> None:
    wrong = {"Deployment/wab": WorkloadSettings(where=WHERE)}
    settings = project().replace(workloads=wrong)

    (found,) = check_sources([index_file(WEB, "web.yml")], settings)

    assert (str(found.where), found.code) == ("contrast.toml:9", "G006")
    assert found.hint == "did you mean 'Deployment/web'?"


@pytest.mark.parametrize(
    ("reference", "is_other"),
    [
        (f"r.example/initializer:{__version__}", False),
        (f"r.example/initializer:v{__version__}", False),
        ("r.example/initializer@sha256:" + "0" * 64, False),
        ("r.example/initializer", False),
        ("r.example/initializer:9.0.0-dev", False),
        ("r.example/initializer:9.0.0", True),
        ("r.example/initializer:latest@sha256:" + "0" * 64, True),
    ],
)
def test_an_injected_image_of_another_version_is_an_error(reference: str, is_other: object) -> None:
    settings = project().replace(
        components=ComponentSettings(initializer=reference),
        origins={"components.initializer": "contrast.toml:7"},
    )

    found = [f for f in check_sources([], settings) if f.code == "G090"]

    assert [str(finding.where) for finding in found] == ["contrast.toml:7"] * bool(is_other)


def test_sources_are_judged_with_the_settings_applied() -> None:
    service = (
        "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: s\nspec: {selector: {app: web}}\n"
    )
    labelled = WEB.replace("  template:\n", "  template:\n    metadata: {labels: {app: web}}\n")
    index = index_file(labelled + service, "web.yml")

    assert [f.code for f in check_sources([index], project(runtime_class=False))] == ["G004"]
    assert [f.code for f in check_sources([index], project())] == ["G042"]
    assert check_sources([index], project(ingress="")) == []


def test_an_egress_to_a_pod_without_mesh_is_a_warning() -> None:
    emoji = WEB.replace("web", "emoji").replace(
        "  template:\n", "  template:\n    metadata: {labels: {app: emoji}}\n"
    )
    service = "apiVersion: v1\nkind: Service\nmetadata:\n  name: emoji-svc\nspec: {selector: {app: emoji}}\n"
    index = index_file(f"{WEB}---\n{emoji}---\n{service}", "web.yml")

    found = check_sources([index], project(egress="e#127.0.0.1:1#emoji-svc:8080"))

    assert [f"{finding.where} {finding.rule}" for finding in found] == [
        "web.yml:12 mesh-ingress-absent",
        "web.yml:1 mesh-unprotected-remote",
    ]


def test_an_egress_is_judged_by_every_workload_behind_the_service() -> None:
    behind = [
        WEB.replace("web", name).replace(
            "  template:\n", "  template:\n    metadata: {labels: {app: emoji}}\n"
        )
        for name in ("bare", "meshed")
    ]
    behind[1] = behind[1].replace(
        "metadata:\n", f"metadata:\n  annotations: {{{INGRESS}: ''}}\n", 1
    )
    service = "apiVersion: v1\nkind: Service\nmetadata:\n  name: emoji-svc\nspec: {selector: {app: emoji}}\n"
    index = index_file("---\n".join([WEB, *behind, service]), "web.yml")

    found = check_sources([index], project(egress="e#127.0.0.1:1#emoji-svc:8080"))

    (remote,) = (finding for finding in found if finding.rule == "mesh-unprotected-remote")
    assert "leads to Deployment/bare without a mesh on its ingress" in remote.message


def test_an_egress_to_a_workload_that_takes_plain_connections_is_reported() -> None:
    behind = WEB.replace("web", "plain").replace(
        "  template:\n", "  template:\n    metadata: {labels: {app: emoji}}\n"
    )
    behind = behind.replace(
        "metadata:\n", f"metadata:\n  annotations: {{{INGRESS}: DISABLED}}\n", 1
    )
    service = "apiVersion: v1\nkind: Service\nmetadata:\n  name: emoji-svc\nspec: {selector: {app: emoji}}\n"
    index = index_file(f"{WEB}---\n{behind}---\n{service}", "web.yml")

    found = check_sources([index], project(egress="e#127.0.0.1:1#emoji-svc:8080"))

    assert "mesh-unprotected-remote" in {finding.rule for finding in found}


def test_disabled_is_refused_by_releases_whose_proxy_refuses_it() -> None:
    text = WEB.replace("  name: web\n", f"  annotations: {{{INGRESS}: DISABLED}}\n  name: web\n", 1)

    (found,) = prepared(text, project()).findings

    assert short((found,)) == ["web.yml:4 G040 mesh-ingress-disabled"]
    assert "which the proxy of release v1.12.0 refuses" in found.message
    assert 'set release = "v1.13.0" or later under [runtime]' in str(found.hint)


MIRRORS = {"https://kdsintf.amd.com": "http://m/amd", "https://a": "https://b"}
TOLD = {
    "name": "CONTRAST_ENDORSEMENTS_MIRRORS",
    "value": "https://a=https://b https://kdsintf.amd.com=http://m/amd",
}
COORDINATOR = WEB.replace("Deployment", "StatefulSet").replace(
    "    spec:", f"    metadata: {{annotations: {{{PREFIX}pod-role: coordinator}}}}\n    spec:", 1
)


def test_guests_are_told_of_the_mirrors_that_stand_in_for_vendors() -> None:
    mirrored = project().replace(components=ComponentSettings(), mirrors=MIRRORS)

    workload = spec_of(prepared(WEB, mirrored))
    coordinator = spec_of(prepared(COORDINATOR, mirrored))

    assert TOLD in workload["initContainers"][0]["env"]
    assert "env" not in workload["containers"][0]
    assert coordinator["containers"][0]["env"] == [TOLD]


def test_guests_are_told_of_the_proxy_to_vendors() -> None:
    told = {"name": "CONTRAST_ENDORSEMENTS_PROXY", "value": "http://proxy.example:3128"}
    proxied = project().replace(components=ComponentSettings(), proxy="http://proxy.example:3128")

    assert told in spec_of(prepared(WEB, proxied))["initContainers"][0]["env"]
    assert spec_of(prepared(COORDINATOR, proxied))["containers"][0]["env"] == [told]


def test_mirrors_that_the_coordinator_names_itself_are_kept() -> None:
    own = COORDINATOR + "        env: [{name: CONTRAST_ENDORSEMENTS_MIRRORS, value: own}]\n"

    coordinator = spec_of(prepared(own, project().replace(mirrors=MIRRORS)))

    assert coordinator["containers"][0]["env"] == [{**TOLD, "value": "own"}]


def test_without_mirrors_nothing_is_told() -> None:
    assert TOLD["name"] not in str(spec_of(prepared(WEB, project())))
    assert "env" not in spec_of(prepared(COORDINATOR, project()))["containers"][0]


def test_the_lifetime_of_certificates_reaches_the_coordinator() -> None:
    short = project().replace(components=ComponentSettings(), certificate_lifetime="24h")

    env = spec_of(prepared(COORDINATOR, short))["containers"][0]["env"]

    assert env == [{"name": "CONTRAST_CERTIFICATE_LIFETIME", "value": "24h"}]


def test_id_blocks_of_an_earlier_run_are_removed() -> None:
    prefix = "io.katacontainers.config.hypervisor.snp_"
    text = WEB.replace(
        "  template:\n",
        "  template:\n    metadata:\n      annotations:\n        kept: x\n"
        f"        {prefix}id_block_Milan: AAAA\n        {prefix}guest_policy_Turin: '1'\n",
    )

    obj = prepared(text, project()).obj

    assert obj["spec"]["template"]["metadata"]["annotations"] == {"kept": "x"}


# Names of users: of nobody, of the container, of the pod; and what the setting adds to the container.
NOBODY = "      containers: [{name: web, image: 'web:1'}]\n"
OF_CONTAINER = "      containers: [{name: web, image: 'web:1', securityContext: {runAsUser: 5}}]\n"
OF_POD = NOBODY + "      securityContext: {runAsUser: 5}\n"
GROUP_OF_POD = NOBODY + "      securityContext: {runAsGroup: 6}\n"


@pytest.mark.parametrize(
    ("pod", "user", "expected"),
    [
        (NOBODY, "472", {"runAsUser": 472}),
        (NOBODY, "472:10", {"runAsUser": 472, "runAsGroup": 10}),
        (NOBODY, "0:0", {"runAsUser": 0, "runAsGroup": 0}),
        (OF_CONTAINER, "472:10", {"runAsUser": 5}),
        (OF_POD, "472:10", None),
        (GROUP_OF_POD, "472:10", {"runAsUser": 472, "runAsGroup": 6}),
    ],
)
def test_a_user_is_for_containers_for_which_nobody_names_one(
    tmp_path: Path, pod: str, user: str, expected: dict[str, int] | None
) -> None:
    (tmp_path / "contrast.toml").write_text(
        'platform = "metal-qemu-snp"\nsources = ["d"]\n'
        f'[workloads."Deployment/web"]\nuser = "{user}"\n'
    )
    text = WEB.partition("      containers:")[0] + pod

    result = prepared(text, load_settings(tmp_path, environ={}))

    (web,) = spec_of(result)["containers"]
    assert web.get("securityContext") == expected
    # Ours runs as root in any case, which it says where the pod says otherwise.
    (initializer,) = spec_of(result)["initContainers"]
    assert initializer["securityContext"].get("runAsUser") == (0 if pod == OF_POD else None)


@pytest.mark.parametrize("user", ["app", "-1", "1:", ":1", "1:2:3", "1 ", ""])
def test_a_user_of_the_settings_is_a_number(tmp_path: Path, user: str) -> None:
    (tmp_path / "contrast.toml").write_text(
        f'platform = "local"\nsources = ["d"]\n[workloads."Deployment/web"]\nuser = "{user}"\n'
    )

    with pytest.raises(SettingsError, match=r"workloads.*user"):
        load_settings(tmp_path, environ={})
