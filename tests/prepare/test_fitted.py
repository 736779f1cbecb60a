"""What contrast.toml answers findings with, in the pod as it will be deployed. Source: docs/internals/generate.md 10."""

import json
from typing import Any

import pytest
import yaml

from contrast_tasks.errors import Location
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.lock import LockedImage
from contrast_tasks.prepare.fitted import (
    cover_image_volumes,
    empty_volumes,
    fit,
    remove_fields,
    set_memory,
    split_empty_dirs,
)
from contrast_tasks.settings.workloads import ContainerSettings, WorkloadSettings

WHERE = Location(file="contrast.toml")


def spec_of(container: str, more: str = "") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(f"containers: [{{name: web{container}}}]\n{more}")
    return found


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (
            "{limits: {cpu: 500m, memory: 1Gi}}",
            {"limits": {"memory": "1Gi"}, "requests": {"cpu": "500m"}},
        ),
        ("{limits: {cpu: 2}, requests: {cpu: 1}}", {"requests": {"cpu": 1}}),
        ("{limits: {cpu: much}}", None),
        ("{limits: {cpu: 1}}", {"requests": {"cpu": 1}}),
        ("{requests: {cpu: 1}}", {"requests": {"cpu": 1}}),
    ],
)
def test_what_a_cpu_limit_reserved_stays_reserved(
    resources: str, expected: dict[str, Any] | None
) -> None:
    spec = spec_of(f", resources: {resources}")

    fit(spec, WorkloadSettings(where=WHERE, cpu_limits=False))

    assert spec["containers"][0].get("resources") == expected


@pytest.mark.parametrize(
    ("resources", "amount"),
    [
        ("{limits: {memory: 1Gi}, requests: {memory: 64Mi}}", "1Gi"),
        ("{limits: {memory: 64Mi}, requests: {memory: 1Gi}}", "1Gi"),
        ("{requests: {memory: 64Mi}}", "64Mi"),
        ("{limits: {memory: 64Mi}}", "64Mi"),
        ("{limits: {memory: 0}, requests: {memory: 64Mi}}", "64Mi"),
    ],
)
def test_the_greater_of_request_and_limit_is_both(resources: str, amount: str) -> None:
    spec = spec_of(f", resources: {resources}")

    fit(spec, WorkloadSettings(where=WHERE, fit_memory=True))

    assert spec["containers"][0]["resources"] == {
        "limits": {"memory": amount},
        "requests": {"memory": amount},
    }


@pytest.mark.parametrize("resources", ["{limits: {memory: lots}, requests: {memory: 1Gi}}", "{}"])
def test_memory_of_which_nothing_is_known_stays(resources: str) -> None:
    spec = spec_of(f", resources: {resources}")

    fit(spec, WorkloadSettings(where=WHERE, fit_memory=True))

    assert spec == spec_of(f", resources: {resources}")


def test_a_container_gets_what_is_said_of_it() -> None:
    spec = spec_of(", securityContext: {runAsUser: 5, capabilities: {add: [CAP_X], drop: [ALL]}}")
    own = ContainerSettings(memory="1Gi", user="6:7", add_capabilities=("NET_ADMIN",))
    absent = ContainerSettings()

    unknown = fit(spec, WorkloadSettings(where=WHERE, containers={"web": own, "wep": absent}))

    assert unknown == ["wep"]
    assert spec["containers"][0] == {
        "name": "web",
        "resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "1Gi"}},
        "securityContext": {
            "runAsUser": 6,
            "runAsGroup": 7,
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
        },
    }


def test_service_links_are_switched() -> None:
    spec = spec_of("")

    fit(spec, WorkloadSettings(where=WHERE, service_links=False))

    assert spec["enableServiceLinks"] is False


@pytest.mark.parametrize(
    ("field", "left"),
    [
        ("hostNetwork", {"containers": [{"name": "web", "tty": True, "env": [{"name": "A"}]}]}),
        (
            "containers.web.tty",
            {"hostNetwork": True, "containers": [{"name": "web", "env": [{"name": "A"}]}]},
        ),
        (
            "containers.*.env.A",
            {"hostNetwork": True, "containers": [{"name": "web", "tty": True, "env": []}]},
        ),
    ],
)
def test_fields_are_left_out_by_their_names(field: str, left: dict[str, Any]) -> None:
    spec = spec_of(", tty: true, env: [{name: A}]", "hostNetwork: true\n")

    assert remove_fields(spec, [field, "hostPID", "containers.other.tty"]) == [
        "hostPID",
        "containers.other.tty",
    ]
    assert spec == left


def test_volumes_and_claims_become_empty() -> None:
    obj = yaml.safe_load(
        "kind: StatefulSet\napiVersion: apps/v1\n"
        "spec:\n  volumeClaimTemplates: [{metadata: {name: data}}, {metadata: {name: wal}}]\n"
        "  template: {spec: {volumes: [{name: logs, hostPath: {path: /x}}, {name: kept, hostPath: {path: /y}}]}}\n"
    )

    assert empty_volumes(obj, ["logs", "data", "none"]) == ["none"]
    assert obj["spec"]["template"]["spec"]["volumes"] == [
        {"name": "logs", "emptyDir": {}},
        {"name": "kept", "hostPath": {"path": "/y"}},
        {"name": "data", "emptyDir": {}},
    ]
    assert [claim["metadata"]["name"] for claim in obj["spec"]["volumeClaimTemplates"]] == ["wal"]


def test_each_container_gets_a_volume_of_its_own_for_a_folder_of_its_image() -> None:
    obj = yaml.safe_load(
        "kind: Pod\napiVersion: v1\nspec:\n"
        "  initContainers: [{name: prepare, image: i}]\n"
        "  containers: [{name: db, image: i, volumeMounts: [{name: own, mountPath: /data/}]}]\n"
        "  volumes: [{name: own, emptyDir: {}}, {name: image-volume-1, emptyDir: {}}]\n"
    )
    config = ImageConfig(entrypoint=("/db",), volumes=("/data", "/logs"))
    image = LockedImage(
        reference="i", digest="sha256:" + "0" * 64, config=config, layers=(), passwd="", group=""
    )

    cover_image_volumes(obj, {"i": image})

    prepare, db = obj["spec"]["initContainers"][0], obj["spec"]["containers"][0]
    assert [(each["name"], each["mountPath"]) for each in prepare["volumeMounts"]] == [
        ("image-volume-2", "/data"),
        ("image-volume-3", "/logs"),
    ]
    assert [each["mountPath"] for each in db["volumeMounts"]] == ["/data/", "/logs"]
    names = [each["name"] for each in obj["spec"]["volumes"]]
    assert len(set(names)) == len(names) == 5


def test_other_resources_stay_where_memory_is_set() -> None:
    holder = {"resources": {"limits": {"gpu": 1}}}

    set_memory(holder, "1Gi")

    assert holder == {
        "resources": {"limits": {"gpu": 1, "memory": "1Gi"}, "requests": {"memory": "1Gi"}}
    }


@pytest.mark.parametrize(
    ("mounts", "wanted"),
    [
        pytest.param([("a", "x"), ("b", "y"), ("a", "x/")], ["e x", "e-2 y", "e x"], id="parts"),
        pytest.param([("a", "x"), ("b", "x/y")], None, id="one part in the other"),
        pytest.param([("a", "x"), ("b", "")], None, id="the whole too"),
        pytest.param([("a", "../x")], None, id="leads out"),
        pytest.param([("a", "/x")], None, id="absolute"),
        pytest.param([("a", "x"), ("b", "xy")], ["e x", "e-2 xy"], id="equal beginnings"),
    ],
)
def test_parts_of_an_empty_dir_become_volumes(
    mounts: list[tuple[str, str]], wanted: list[str] | None
) -> None:
    listed = [
        {"name": "e", "mountPath": f"/{n}", "subPath": part} for n, (_, part) in enumerate(mounts)
    ]
    spec = {
        "initContainers": [{"name": "a", "volumeMounts": listed[:1]}],
        "containers": [{"name": "b", "volumeMounts": listed[1:]}],
        "volumes": [
            {"name": "e", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "kept", "configMap": {"name": "c"}},
        ],
    }
    obj = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    before = json.loads(json.dumps(spec))

    split_empty_dirs(obj)

    if wanted is None:
        assert spec == before
        return
    names = [each.partition(" ")[0] for each in wanted]
    found = [*spec["initContainers"][0]["volumeMounts"], *spec["containers"][0]["volumeMounts"]]
    assert found == [{"name": name, "mountPath": f"/{n}"} for n, name in enumerate(names)]
    assert spec["volumes"] == [
        {"name": "e", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "kept", "configMap": {"name": "c"}},
        {"name": "e-2", "emptyDir": {"sizeLimit": "1Gi"}},
    ]


@pytest.mark.parametrize(
    "more",
    [
        "metadata: {annotations: {contrast.edgeless.systems/secure-pv: 'data:plain'}}",
        # Kubernetes API reference, StatefulSetSpec: a claim template comes before a volume of the same name.
        "spec: {volumeClaimTemplates: [{metadata: {name: plain}}]}",
    ],
)
def test_parts_of_what_is_no_empty_dir_in_the_end_stay_as_they_are(more: str) -> None:
    obj = yaml.safe_load(f"apiVersion: apps/v1\nkind: StatefulSet\n{more}")
    obj.setdefault("spec", {})["template"] = yaml.safe_load(
        "spec:\n  volumes: [{name: plain, emptyDir: {}}, {name: c, configMap: {name: c}}]\n"
        "  containers:\n  - name: a\n    volumeMounts:\n"
        "    - {name: plain, mountPath: /a, subPath: x}\n    - {name: plain, mountPath: /c, subPath: z}\n"
        "    - {name: c, mountPath: /b, subPath: y}\n"
    )
    before = json.loads(json.dumps(obj))

    split_empty_dirs(obj)

    assert obj == before


def test_an_empty_dir_keeps_its_size_and_loses_a_medium_that_no_guest_has() -> None:
    obj = yaml.safe_load(
        "kind: Pod\napiVersion: v1\nspec:\n  volumes:\n"
        "  - {name: a, emptyDir: {sizeLimit: 1Gi}}\n  - {name: b, emptyDir: {medium: HugePages}}\n"
    )

    assert empty_volumes(obj, ["*"]) == []
    assert [each["emptyDir"] for each in obj["spec"]["volumes"]] == [{"sizeLimit": "1Gi"}, {}]
