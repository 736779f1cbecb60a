"""What happens one after the other in the life of a pod.

Source: docs/internals/policy.md 2; Kubernetes, documents on init containers, sidecars, probes and hooks; recordings of the shim.
"""

from typing import Any

from contrast_tasks.runtime.containerd_versions import containerd_version
from contrast_tasks.runtime.drawing import drawn_for
from contrast_tasks.runtime.life import Cluster, PodLife, live
from contrast_tasks.runtime.node import Image, Node
from contrast_tasks.runtime.shim_versions import shim_version
from tests.fakes.runtime import IMAGE, REFERENCE, pod_of

CONFIG = {"kind": "ConfigMap", "metadata": {"name": "cm"}, "data": {"a": "1", "b": "22"}}


def lived(
    pod: dict[str, Any], *, image: Image = IMAGE, objects: Any = (), shim: str = "contrast-3.30.0"
) -> PodLife:
    named = {**pod, "metadata": {"name": "web", **pod["metadata"]}}
    node = Node(containerd=containerd_version("2"))
    cluster = Cluster(node=node, shim=shim_version(shim), objects=objects)
    return live(named, {REFERENCE: image}, cluster, drawn_for(named))


def purposes(life: PodLife, *starts: str) -> list[str]:
    return [each.purpose for each in life.requests if each.purpose.startswith(starts)]


def test_init_containers_end_before_the_next_one_starts_and_sidecars_stay() -> None:
    inits = [
        {"name": "one", "image": REFERENCE},
        {"name": "side", "image": REFERENCE, "restartPolicy": "Always"},
    ]
    pod = pod_of(spec={"initContainers": inits, "restartPolicy": "Never"})

    assert purposes(lived(pod), "create ", "remove ") == [
        "create the sandbox",
        "create pause",
        "create one",
        "remove one",
        "remove stale mounts",
        "create side",
        "create app",
        "remove app",
        "remove stale mounts",
        "remove side",
        "remove stale mounts",
        "remove pause",
        "remove stale mounts",
        "remove the sandbox",
    ]


def test_a_container_is_restarted_under_another_identifier_unless_the_pod_wants_none() -> None:
    creates = [
        each.input["container_id"]
        for each in lived(pod_of()).requests
        if each.purpose == "create app"
    ]

    assert len(set(creates)) == len(creates) == 2
    once = lived(pod_of(spec={"restartPolicy": "OnFailure"}))
    assert purposes(once, "create app") == ["create app"]


def test_probes_and_hooks_run_where_they_belong() -> None:
    def run(command: str) -> dict[str, Any]:
        return {"exec": {"command": [command]}}

    pod = pod_of(
        {
            "startupProbe": run("/up"),
            "livenessProbe": run("/alive"),
            "readinessProbe": run("/ready"),
            "lifecycle": {"postStart": run("/post"), "preStop": run("/pre")},
        },
        spec={"restartPolicy": "Never"},
    )

    found = purposes(lived(pod), "start app", "run ", "stop app")

    assert found == [
        "start app",
        "run post in app",
        "run up in app",
        "run alive in app",
        "run ready in app",
        "run pre in app",
        "stop app",
    ]


def test_variables_of_probes_have_the_values_of_the_pod_alone_and_hooks_none() -> None:
    # Source: Kubernetes, pkg/kubelet/container/helpers.go, ExpandContainerCommandOnlyStatic.
    env = [
        {"name": "A", "value": "x$(B)"},
        {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    command = {"exec": {"command": ["/c", "$(A)", "$(B)", "$(HOME)"]}}
    pod = pod_of({"env": env, "livenessProbe": command, "lifecycle": {"preStop": command}})

    args = [
        each.input["process"]["Args"]
        for each in lived(pod).requests
        if each.kind == "ExecProcessRequest"
    ]

    assert args == [["/c", "x$(B)", "", "$(HOME)"], ["/c", "$(A)", "$(B)", "$(HOME)"]]


def test_volumes_of_the_kubelet_change_in_running_containers() -> None:
    volumes = [{"name": "v", "configMap": {"name": "cm"}}]
    mounts = [{"name": "v", "mountPath": "/etc/v"}]
    pod = pod_of({"volumeMounts": mounts}, spec={"volumes": volumes, "restartPolicy": "Never"})

    copies = [
        each.input["path"].rpartition("-v")[2]
        for each in lived(pod, objects=[CONFIG]).requests
        if each.purpose == "copy /etc/v of app"
    ]

    first, later = "..2026_11_30_00_00_00.1234567890", "..2026_11_30_00_10_00.987654321"
    assert copies == [
        *("", f"/{first}", f"/{first}/a", f"/{first}/b", "/..data", "/a", "/b"),
        *(f"/{later}", f"/{later}/a", f"/{later}/b", "/..data"),
    ]


def test_the_token_of_the_account_is_copied_and_renewed() -> None:
    life = lived(pod_of(spec={"restartPolicy": "Never"}))

    names = [
        each.input["path"].rpartition("/")[2]
        for each in life.requests
        if each.purpose == "copy /var/run/secrets/kubernetes.io/serviceaccount of app"
    ]

    assert names.count("token") == 3
    assert names.count("..data") == 2


def test_a_refused_container_is_told_with_the_others_that_could_be_made() -> None:
    life = lived(pod_of(), image=Image(entrypoint=("/app",), user="nobody"))

    assert list(life.refused) == ["app"]
    assert "no such file or directory" in str(life.refused["app"])
    assert purposes(life, "create ") == ["create the sandbox", "create pause"]


def test_a_gpu_is_passed_through_with_mark_and_address() -> None:
    # Source: docs/internals/policy.md 4.13.
    life = lived(pod_of({"resources": {"limits": {"nvidia.com/pgpu": 2}}}))

    create = next(each for each in life.requests if each.purpose == "create app").input
    assert [each["container_path"] for each in create["devices"]] == [
        "/dev/vfio/devices/vfio0",
        "/dev/vfio/devices/vfio1",
    ]
    assert create["OCI"]["Annotations"]["cdi.k8s.io/vfio1"] == "nvidia.com/gpu=1"
    assert create["OCI"]["Linux"]["Devices"] == []
    entry = "PCI_RESOURCE_NVIDIA_COM_PGPU=0000:00:00.0,0000:01:00.0"
    assert entry in create["OCI"]["Process"]["Env"]


def test_where_the_node_attaches_layers_they_are_disks() -> None:
    # Source: docs/internals/aks.md 1.4.
    image = IMAGE.replace(layers=(("upper", "a" * 64), ("lower", "b" * 64)))

    life = lived(pod_of(), image=image, shim="aks-3.15")

    create = next(each for each in life.requests if each.purpose == "create app").input["base"]
    assert [each["driver"] for each in create["storages"]] == ["blk", "blk", "overlayfs"]
    assert create["storages"][0]["mount_point"].endswith("/upper")
