"""The injected containers: what they are, where they stand, and what they do not overwrite."""

from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.findings import Severity
from contrast_tasks.kube.documents import parse_documents
from contrast_tasks.prepare.memory import ImageMemory
from contrast_tasks.prepare.versions import impossible_lifetime, impossible_pulls
from contrast_tasks.prepare.workload import Prepared, prepare
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.workloads import PodSettings

PREFIX = "contrast.edgeless.systems/"
MOUNT = {"mountPath": "/contrast", "name": "contrast-secrets"}
# In other containers than the injected ones, from v1.20.
READ_ONLY = {**MOUNT, "readOnly": True}
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    metadata: {labels: {a: b}}
    spec:
      runtimeClassName: contrast-cc
      containers:
        - {name: web, image: web}
"""
SETTINGS = Settings(
    root=Path(),
    platform="local",
    release_name="v1.21.0",
    sources=("d",),
    for_all=PodSettings(memory="700Mi"),
    components=ComponentSettings(
        initializer="ours/initializer:1@sha256:" + "1" * 64, service_mesh="ours/mesh:1"
    ),
)
# On this machine an initializer of ours opens no encrypted volume.
THEIRS = SETTINGS.replace(components=SETTINGS.components.replace(are_declared_reference=True))
POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
  annotations: {annotations}
spec:
  containers:
  - {{name: a, image: a}}
  - {{name: b, image: b}}
"""


def prepared(
    annotations: str = "{}",
    more: str = "",
    *,
    text: str = "",
    namespace: str | None = None,
    settings: Settings | None = None,
) -> Prepared:
    document = parse_documents(text or POD.format(annotations=annotations) + more, "web.yml")[0]
    return prepare(
        document,
        settings=settings or SETTINGS,
        runtime_class="contrast-cc",
        coordinator_namespace=namespace,
    )


def spec_of(result: Prepared) -> dict[str, Any]:
    spec: dict[str, Any] = result.obj["spec"]
    return spec


def names_of(result: Prepared) -> list[str]:
    return [container["name"] for container in spec_of(result).get("initContainers", [])]


def mesh(value: str = '""') -> str:
    return f"{{{PREFIX}servicemesh-ingress: {value}}}"


def test_the_initializer_is_the_specified_one() -> None:
    result = prepared()

    assert result.findings == ()
    assert spec_of(result)["initContainers"] == [
        {
            "env": [
                {"name": "COORDINATOR_HOST", "value": "coordinator-ready"},
                {"name": "CONTRAST_SERVICE_MESH_DISABLED", "value": "true"},
            ],
            "image": "ours/initializer:1@sha256:" + "1" * 64,
            "name": "contrast-initializer",
            "resources": {"limits": {"memory": "64Mi"}, "requests": {"memory": "64Mi"}},
            "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}},
            "volumeMounts": [MOUNT],
        }
    ]
    assert spec_of(result)["volumes"] == [
        {"emptyDir": {"medium": "Memory"}, "name": "contrast-secrets"}
    ]
    assert [container["volumeMounts"] for container in spec_of(result)["containers"]] == [
        [READ_ONLY]
    ] * 2


@pytest.mark.parametrize("asked", ["runAsUser: 1000", "runAsNonRoot: true"])
def test_ours_run_as_root_whatever_user_the_pod_names_for_its_own(asked: str) -> None:
    """Without root a container has none of its added capabilities, and the kubelet starts no root where none may be."""
    pod = f"  securityContext: {{{asked}}}\n"

    initializer, sidecar = spec_of(prepared(mesh(), pod))["initContainers"]
    (theirs,) = spec_of(prepared("{}", pod, settings=THEIRS))["initContainers"]

    root = {"runAsNonRoot": False, "runAsUser": 0}
    assert initializer["securityContext"] == {"capabilities": {"add": ["NET_ADMIN"]}, **root}
    assert root.items() <= sidecar["securityContext"].items()
    # The workload reads the key as the user that it would have asked for it with.
    owner = {"name": "CONTRAST_KEY_UID", "value": "1000"}
    assert [owner in each["env"] for each in (initializer, sidecar)] == ["1000" in asked] * 2
    assert root.keys().isdisjoint(theirs["securityContext"])


def test_the_sidecar_is_the_specified_one() -> None:
    listening = "  - {name: c, image: c, ports: [{containerPort: 8080}]}\n"

    result = prepared(mesh('"a#8080#true"'), listening)

    assert result.findings == ()
    assert spec_of(result)["initContainers"][-1] == {
        "env": [
            {"name": "CONTRAST_INGRESS_PROXY_CONFIG", "value": "a#8080#true"},
            {"name": "COORDINATOR_HOST", "value": "coordinator-ready"},
        ],
        "image": "ours/mesh:1",
        "name": "contrast-service-mesh",
        "resources": {"limits": {"memory": "208Mi"}, "requests": {"memory": "208Mi"}},
        "restartPolicy": "Always",
        "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}, "privileged": True},
        "startupProbe": {
            "exec": {"command": ["test", "-f", "/ready"]},
            "failureThreshold": 5,
            "initialDelaySeconds": 1,
            "periodSeconds": 5,
        },
        "volumeMounts": [MOUNT],
    }  # fmt: skip


def test_a_pod_with_a_mesh_leaves_the_deny_rule_to_the_sidecar() -> None:
    initializer, sidecar = spec_of(prepared(mesh()))["initContainers"]

    assert initializer["env"] == [{"name": "COORDINATOR_HOST", "value": "coordinator-ready"}]
    assert sidecar["env"] == initializer["env"]


def test_the_admin_port_is_named_and_passed_on() -> None:
    sidecar = spec_of(prepared(f'{{{PREFIX}servicemesh-admin-interface-port: "9901"}}'))[
        "initContainers"
    ][1]

    assert sidecar["env"][0] == {"name": "CONTRAST_ADMIN_PORT", "value": "9901"}
    assert sidecar["ports"] == [{"containerPort": 9901, "name": "contrast-admin"}]


def test_users_init_containers_stand_in_between_in_their_order() -> None:
    users = "  initContainers:\n  - {name: x, image: x}\n  - {name: w, image: w}\n"

    result = prepared(mesh(), users)

    assert names_of(result) == ["contrast-initializer", "x", "w", "contrast-service-mesh"]
    assert spec_of(result)["initContainers"][1]["volumeMounts"] == [READ_ONLY]


def test_our_own_containers_of_another_version_are_replaced() -> None:
    old = (
        "  initContainers:\n  - {name: contrast-service-mesh, image: 'ours/mesh:0'}\n"
        "  - {name: x, image: x}\n  - {name: contrast-initializer, image: 'ours/initializer:0'}\n"
    )

    result = prepared(mesh(), old)

    assert result.findings == ()
    assert names_of(result) == ["contrast-initializer", "x", "contrast-service-mesh"]
    assert spec_of(result)["initContainers"][2]["image"] == "ours/mesh:1"


def test_a_sidecar_whose_annotation_is_gone_goes_too() -> None:
    old = "  initContainers:\n  - {name: contrast-service-mesh, image: 'ours/mesh:0'}\n"

    assert names_of(prepared("{}", old)) == ["contrast-initializer"]


def test_a_mount_at_another_path_is_replaced_and_there_is_only_one() -> None:
    text = POD.format(annotations="{}").replace(
        "{name: a, image: a}",
        "{name: a, image: a, volumeMounts: [{name: contrast-secrets, mountPath: /x},"
        " {name: v, mountPath: /v}, {name: contrast-secrets, mountPath: /contrast}]}",
    )
    text += "  volumes: [{name: v, emptyDir: {}}, {name: contrast-secrets, emptyDir: {}}]\n"

    result = prepared(text=text)

    assert spec_of(result)["containers"][0]["volumeMounts"] == [
        {"name": "v", "mountPath": "/v"},
        READ_ONLY,
    ]


def test_an_existing_folder_is_kept_and_moved_to_memory() -> None:
    result = prepared("{}", "  volumes: [{name: contrast-secrets, emptyDir: {sizeLimit: 1Mi}}]\n")

    assert spec_of(result)["volumes"] == [
        {"name": "contrast-secrets", "emptyDir": {"sizeLimit": "1Mi", "medium": "Memory"}}
    ]


@pytest.mark.parametrize(
    "more",
    [
        pytest.param("  volumes: [{name: contrast-secrets, configMap: {name: c}}]\n", id="volume-type"),
        pytest.param("  volumes: [{name: contrast-secrets, emptyDir: {medium: HugePages}}]\n", id="volume-medium"),
        pytest.param("  initContainers: [{name: contrast-initializer, image: mine}]\n", id="initializer"),
        pytest.param("  initContainers: [{name: contrast-service-mesh, image: mine}]\n", id="sidecar"),
        pytest.param("  - {name: contrast-initializer, image: 'ours/initializer:1'}\n", id="main-container"),
    ],
)  # fmt: skip
def test_something_of_the_users_in_our_place_is_an_error(more: str) -> None:
    result = prepared("{}", more)

    assert [finding.code for finding in result.findings] == ["G100"]
    assert "expected" in result.findings[0].message


def test_the_initializer_can_be_skipped() -> None:
    result = prepared(f'{{{PREFIX}skip-initializer: "true"}}')

    assert names_of(result) == []
    assert "volumes" not in spec_of(result)


def test_an_initializer_of_the_users_own_is_kept_when_ours_is_skipped() -> None:
    result = prepared(
        f'{{{PREFIX}skip-initializer: "true", {PREFIX}servicemesh-ingress: ""}}',
        "  initContainers: [{name: contrast-initializer, image: mine}]\n",
    )

    assert result.findings == ()
    assert names_of(result) == ["contrast-initializer", "contrast-service-mesh"]
    assert spec_of(result)["initContainers"][0]["image"] == "mine"


def test_the_coordinator_gets_neither() -> None:
    text = f"""\
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: coordinator}}
spec:
  template:
    metadata:
      annotations: {{{PREFIX}pod-role: coordinator}}
    spec:
      containers:
      - {{name: coordinator, image: c}}
"""

    result = prepared(text=text)

    spec = result.obj["spec"]["template"]["spec"]
    assert set(spec) == {"containers", "runtimeClassName"}
    assert spec["runtimeClassName"] == "contrast-cc"


@pytest.mark.parametrize(
    ("coordinator", "host"),
    [
        (None, "coordinator-ready"),
        ("", "coordinator-ready"),
        ("default", "coordinator-ready.default"),
        ("contrast", "coordinator-ready.contrast"),
    ],
)
def test_a_coordinator_with_a_namespace_is_called_by_its_full_name(
    coordinator: str | None, host: str
) -> None:
    result = prepared(namespace=coordinator)

    assert spec_of(result)["initContainers"][0]["env"][0]["value"] == host


def test_up_to_v1_15_the_full_name_is_for_another_namespace_only() -> None:
    old = SETTINGS.replace(release_name="v1.15.0")

    hosts = [
        spec_of(prepared(namespace=name, settings=old))["initContainers"][0]["env"][0]["value"]
        for name in ("default", "contrast")
    ]

    assert hosts == ["coordinator-ready", "coordinator-ready.contrast"]


def test_an_encrypted_volume_makes_the_initializer_stay() -> None:
    result = prepared(
        f'{{{PREFIX}secure-pv: "disk:data", {PREFIX}workload-secret-id: db}}',
        "  volumes: [{name: disk, persistentVolumeClaim: {claimName: c}}]\n",
        settings=THEIRS,
    )

    assert result.findings == ()
    initializer = spec_of(result)["initContainers"][0]
    assert initializer["volumeDevices"] == [{"devicePath": "/dev/csi0", "name": "disk"}]
    assert initializer["volumeMounts"] == [
        MOUNT,
        {"mountPath": "/state", "mountPropagation": "Bidirectional", "name": "data"},
    ]
    assert initializer["restartPolicy"] == "Always"
    assert initializer["securityContext"] == {"privileged": True}
    assert [variable["name"] for variable in initializer["env"]] == [
        "COORDINATOR_HOST",
        "CRYPTSETUP_DEVICE",
        "CONTRAST_SERVICE_MESH_DISABLED",
    ]
    assert initializer["env"][1]["value"] == "/dev/csi0"
    assert {"emptyDir": {"medium": "Memory"}, "name": "data"} in spec_of(result)["volumes"]


@pytest.mark.parametrize(
    ("annotations", "codes"),
    [
        pytest.param(f'{{{PREFIX}servicemesh-egress: ""}}', ["G041"], id="egress-empty"),
        pytest.param(f'{{{PREFIX}servicemesh-egress: "a#10.0.0.1:1#b:2"}}', ["G040"], id="egress-listen"),
        pytest.param(f'{{{PREFIX}servicemesh-admin-interface-port: "x"}}', ["G040"], id="admin-port"),
        pytest.param(f'{{{PREFIX}servicemesh-ingress-peers: "1=a"}}', ["G040"], id="peers-alone"),
    ],
)  # fmt: skip
def test_a_bad_mesh_annotation_is_named_with_its_line(annotations: str, codes: list[str]) -> None:
    result = prepared(annotations)

    assert [finding.code for finding in result.findings] == codes
    assert str(result.findings[0].where) == "web.yml:5"


def test_a_mesh_annotation_without_our_runtime_class_is_an_error() -> None:
    result = prepared(mesh(), "  runtimeClassName: gvisor\n")

    assert [finding.rule for finding in result.findings] == ["mesh-without-runtime-class"]
    assert "web.yml:5" in result.findings[0].message


def test_the_settings_leave_the_initializer_out_of_every_pod() -> None:
    settings = SETTINGS.replace(initializer=False)

    assert names_of(prepared(settings=settings)) == []
    assert names_of(prepared(mesh(), settings=settings)) == ["contrast-service-mesh"]


def test_an_encrypted_volume_is_not_left_without_initializer() -> None:
    value = f'{{{PREFIX}secure-pv: "disk:data", {PREFIX}workload-secret-id: db}}'
    volume = "  volumes: [{name: disk, persistentVolumeClaim: {claimName: c}}]\n"

    result = prepared(value, volume, settings=SETTINGS.replace(initializer=False))

    assert [(each.code, each.severity) for each in result.findings] == [("G050", Severity.ERROR)]


def test_a_mesh_that_the_settings_leave_out_is_told() -> None:
    result = prepared(mesh(), settings=SETTINGS.replace(service_mesh=False))

    assert [(each.rule, each.severity) for each in result.findings] == [
        ("mesh-skipped", Severity.WARNING)
    ]
    # Nobody lifts the guest's rule against incoming connections (docs/internals/releases.md 4).
    (container,) = spec_of(result)["initContainers"]
    assert [variable["name"] for variable in container["env"]] == ["COORDINATOR_HOST"]
    assert result.mesh is None


SHORT = SETTINGS.replace(certificate_lifetime="24h")


@pytest.mark.parametrize(
    ("annotations", "settings", "rules"),
    [
        pytest.param("{}", SHORT, ["certificate-unrenewed"], id="no sidecar"),
        pytest.param(
            f'{{{PREFIX}servicemesh-ingress: ""}}', SHORT, [], id="renewed by the sidecar"
        ),
        pytest.param(f'{{{PREFIX}skip-initializer: "true"}}', SHORT, [], id="no certificate"),
        pytest.param(
            f'{{{PREFIX}servicemesh-ingress: ""}}',
            SHORT.replace(service_mesh=False),
            ["mesh-skipped", "certificate-unrenewed"],
            id="sidecar left out",
        ),
        pytest.param("{}", SHORT.replace(certificate_lifetime="999d"), [], id="longer"),
        pytest.param("{}", SETTINGS, [], id="as usual"),
    ],
)
def test_a_certificate_that_ends_early_and_is_not_renewed_is_noted(
    annotations: str, settings: Settings, rules: list[str]
) -> None:
    result = prepared(annotations, settings=settings)

    assert [each.rule for each in result.findings] == rules
    assert all(
        each.severity is Severity.NOTE for each in result.findings if each.rule in rules[-1:]
    )


def test_an_initializer_that_holds_volumes_renews() -> None:
    value = f'{{{PREFIX}secure-pv: "disk:data", {PREFIX}workload-secret-id: db}}'
    volume = "  volumes: [{name: disk, persistentVolumeClaim: {claimName: c}}]\n"
    metal = SHORT.replace(platform="metal-qemu-snp", release_name="v1.13.0")

    rules = [each.rule for each in prepared(value, volume, settings=metal).findings]

    assert "certificate-unrenewed" not in rules
    assert "certificate-unrenewed" in [each.rule for each in prepared(settings=metal).findings]


def test_a_lifetime_that_the_coordinator_would_not_honour_is_an_error() -> None:
    (found,) = impossible_lifetime(THEIRS.replace(certificate_lifetime="24h"))

    assert (found.rule, found.severity) == ("lifetime-without-effect", Severity.ERROR)
    assert impossible_lifetime(THEIRS) == []
    assert impossible_lifetime(SHORT) == []


def test_a_decrypted_volume_that_would_never_appear_in_the_container_is_told() -> None:
    value = f'{{{PREFIX}secure-pv: "disk:data", {PREFIX}workload-secret-id: db}}'
    volume = "  volumes: [{name: disk, persistentVolumeClaim: {claimName: c}}]\n"
    mounted = "image: a, volumeMounts: [{name: data, mountPath: /d%s}]}}"
    text = POD.format(annotations=value) + volume

    for more, expected in (("", ["secure-pv-mount"]), (", mountPropagation: HostToContainer", [])):
        text_with = text.replace("image: a}", mounted[:-1] % more, 1)
        result = prepared(text=text_with, settings=THEIRS)
        assert [each.rule for each in result.findings] == expected


METAL = SETTINGS.replace(platform="metal-qemu-snp", release_name="v1.13.0")


@pytest.mark.parametrize(
    ("release", "asked", "has_store"),
    [
        # docs/internals/releases.md 5.3
        ("v1.12.0", None, False),
        ("v1.13.0", None, True),
        ("v1.15.0", None, True),
        ("v1.15.0", False, False),
        ("v1.16.0", None, False),
        ("v1.21.0", True, True),
    ],
)
def test_pods_get_an_image_store_by_release_and_setting(
    release: str, asked: bool | None, has_store: bool
) -> None:
    settings = METAL.replace(release_name=release, image_store=asked)

    result = prepared(settings=settings)

    assert result.findings == ()
    assert ("pvc-holder" in names_of(result)) is has_store


def test_the_store_comes_first_and_holds_as_much_as_the_annotation_says() -> None:
    result = prepared(f'{{{PREFIX}image-store-size: "3Gi"}}', settings=METAL)
    holder, initializer = spec_of(result)["initContainers"]

    assert (holder["name"], initializer["name"]) == ("pvc-holder", "contrast-initializer")
    assert holder["image"] == SETTINGS.components.initializer
    claim = spec_of(result)["volumes"][-1]["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert claim["resources"] == {"requests": {"storage": "3Gi"}}


def test_a_pod_can_do_without_store() -> None:
    assert names_of(prepared(f'{{{PREFIX}image-store-size: "0"}}', settings=METAL)) == [
        "contrast-initializer"
    ]


def test_a_store_that_is_there_already_stays_as_it_is() -> None:
    once = prepared(settings=METAL)
    spec = spec_of(once)
    there = (
        "  initContainers: [{name: pvc-holder, image: x}]\n"
        "  volumes: [{name: image-store, ephemeral: {}}]\n"
    )

    assert names_of(prepared("{}", there, settings=METAL)) == ["pvc-holder", "contrast-initializer"]
    assert [volume["name"] for volume in spec["volumes"]] == ["contrast-secrets", "image-store"]


def test_a_size_without_a_store_is_told() -> None:
    (finding,) = prepared(f'{{{PREFIX}image-store-size: "3Gi"}}').findings

    assert (finding.rule, finding.where.line) == ("annotation-without-effect", 5)


def test_a_pod_without_initializer_and_the_coordinator_get_a_store_too() -> None:
    skipping = prepared(f'{{{PREFIX}skip-initializer: "true"}}', settings=METAL)
    text = (
        f"apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: coordinator}}\nspec:\n  template:\n"
        f"    metadata:\n      annotations: {{{PREFIX}pod-role: coordinator}}\n"
        "    spec:\n      containers:\n      - {name: coordinator, image: c}\n"
    )
    coordinator = prepared(text=text, settings=METAL).obj["spec"]["template"]["spec"]

    assert names_of(skipping) == ["pvc-holder"]
    assert [each["name"] for each in coordinator["initContainers"]] == ["pvc-holder"]


@pytest.mark.parametrize(
    "image", ["registry.example/contrast/initializer:v1.12.0@sha256:" + "3" * 64, "x/initializer:1"]
)
def test_an_initializer_that_the_reference_product_injected_is_replaced(image: str) -> None:
    result = prepared(
        "{}", f"  initContainers: [{{name: contrast-initializer, image: '{image}'}}]\n"
    )

    assert result.findings == ()
    (container,) = spec_of(result)["initContainers"]
    assert container["image"] == SETTINGS.components.initializer


def test_a_mesh_without_initializer_leaves_the_application_as_it_is() -> None:
    result = prepared(f'{{{PREFIX}skip-initializer: "true", {PREFIX}servicemesh-ingress: ""}}')

    assert names_of(result) == ["contrast-service-mesh"]
    assert not any("volumeMounts" in each for each in spec_of(result)["containers"])
    assert [each["name"] for each in spec_of(result)["volumes"]] == ["contrast-secrets"]


@pytest.mark.parametrize("release", ["v1.12.0", "v1.21.0"])
def test_our_images_find_room_in_a_guest_that_pulls_them(release: str) -> None:
    document = parse_documents(POD.format(annotations=mesh()), "web.yml")[0]

    result = prepare(
        document,
        settings=METAL.replace(release_name=release),
        runtime_class="contrast-cc-metal-qemu-snp-00000000",
        memory=ImageMemory(initializer_mib=200, service_mesh_mib=300),
    )

    first, *_, last = spec_of(result)["initContainers"]
    assert first["resources"]["requests"] == {"memory": "264Mi"}
    assert ("limits" in first["resources"]) is (release == "v1.21.0")
    assert ("resources" in last) is (release == "v1.21.0")


def test_the_settings_say_how_large_a_store_is() -> None:
    result = prepared(settings=METAL.replace(image_store_size="25Gi"))

    claim = spec_of(result)["volumes"][-1]["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert claim["resources"] == {"requests": {"storage": "25Gi"}}


def settings_with(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "contrast.toml").write_text(
        f'platform = "metal-qemu-snp"\nsources = ["d"]\nruntime.release = "v1.21.0"\n{text}'
    )
    return load_settings(tmp_path, environ={})


def test_a_workload_says_how_large_its_store_is(tmp_path: Path) -> None:
    settings = settings_with(
        tmp_path,
        'defaults.image_store = true\n[workloads."Deployment/web"]\nimage_store_size = "50Gi"\n',
    )

    result = prepared(text=DEPLOYMENT, settings=settings)

    template = result.obj["spec"]["template"]
    # docs/internals/releases.md 6: read on the pod template.
    assert template["metadata"]["annotations"][f"{PREFIX}image-store-size"] == "50Gi"
    claim = template["spec"]["volumes"][-1]["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert claim["resources"] == {"requests": {"storage": "50Gi"}}


def test_a_workload_can_do_without_a_store_by_the_settings(tmp_path: Path) -> None:
    settings = settings_with(
        tmp_path,
        'defaults.image_store = true\n[workloads."Deployment/web"]\nimage_store_size = "0"\n',
    )

    spec = prepared(text=DEPLOYMENT, settings=settings).obj["spec"]["template"]["spec"]

    assert [each["name"] for each in spec["initContainers"]] == ["contrast-initializer"]


def test_two_sizes_of_a_store_are_refused_with_both_places(tmp_path: Path) -> None:
    settings = settings_with(
        tmp_path,
        'defaults.image_store = true\n[workloads."Deployment/web"]\nimage_store_size = "1Gi"\n',
    )
    text = DEPLOYMENT.replace(
        "metadata: {labels", f"metadata: {{annotations: {{{PREFIX}image-store-size: 2Gi}}, labels"
    )

    found = prepared(text=text, settings=settings).findings

    (finding,) = [each for each in found if each.rule == "store-size-conflict"]
    assert finding.code == "G040"
    assert "is '2Gi' at web.yml:" in finding.message
    assert "'1Gi' at contrast.toml:6" in finding.message


@pytest.mark.parametrize(
    ("release", "platform", "rules"),
    [
        # docs/internals/releases.md 4: the Secret is read from v1.15 on.
        ("v1.13.0", "metal-qemu-snp", ["guest-pulls-absent"]),
        ("v1.15.0", "metal-qemu-snp", []),
        ("v1.21.0", "metal-qemu-tdx", []),
        ("v1.12.0", "aks-clh-snp", ["guest-pulls-absent"]),
        ("v1.21.0", "local", ["guest-pulls-absent"]),
    ],
)
def test_credentials_for_guests_that_are_not_told_are_an_error(
    tmp_path: Path, release: str, platform: str, rules: list[str]
) -> None:
    (tmp_path / "contrast.toml").write_text(
        f'platform = "{platform}"\nsources = ["d"]\nruntime.release = "{release}"\n'
        '[guest_pulls.registries."r.example"]\ncredentials = true\n'
    )

    found = impossible_pulls(load_settings(tmp_path, environ={}))

    assert [each.rule for each in found] == rules
    assert [str(each.where) for each in found] == ["contrast.toml:5"] * len(rules)


def test_credentials_for_a_registry_without_a_certificate_are_an_error(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, '[guest_pulls.registries."r.example"]\nskip_verify = true\n')

    (finding,) = impossible_pulls(settings)

    assert (finding.rule, str(finding.where)) == ("guest-pulls-unsafe", "contrast.toml:5")
