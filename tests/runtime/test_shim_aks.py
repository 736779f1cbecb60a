"""The shim of AKS, held against the recorded request of a pause container and what runtime and agent are known to do.

Source: aks-requests.json, of the vendor's own test data (its workload request is made by hand from a published policy);
docs/internals/aks.md 1.
"""

import json
from typing import Any

import pytest

from contrast_tasks.runtime.containerd_versions import containerd_version
from contrast_tasks.runtime.host_files import FILE, Entry, HostFiles, one_file
from contrast_tasks.runtime.node import Drawn, Node
from contrast_tasks.runtime.shim.layers import snapshot_mount
from contrast_tasks.runtime.specifications import specify
from tests.fakes.shim import APP, SANDBOX, VOLUMES, service_of, spec_of
from tests.fakes.testdata import AKS

AT_HAND = pytest.mark.skipif(not AKS.is_dir(), reason="the recorded requests are not at hand")
STOCK = "/var/lib/containerd/io.containerd.snapshotter.v1.tardev"
PAUSE = (
    "5a5aad80055ff20012a50dc25f8df7a29924474324d65f7d5306ee8ee27ff71d",
    "817250f1a3e336da76f5bd3fa784e1b26d959b9c131876815ba2604048b70c18",
)
UPPER = (
    "2c342a137e693c7898aec36da1047f191dc7c1687e66198adacc439cf4adf379",
    "8568c70c0ccfe0051092e818da769111a59882cd19dd799d3bca5ffa82791080",
)
LOWER = (
    "2570e3a19e1bf20ddda45498a9627f61555d2d6c01479b9b76460b679b27d552",
    "b643b6217748983830b26ac14a35a3322dd528c00963eaadd91ef55f513dc73f",
)
PORTS = {"stdin_port", "stdout_port", "stderr_port"}


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((AKS / "aks-requests.json").read_text())[name]
    return found


def running_aks(generation: str, **host: Any) -> Any:
    service = service_of(generation, **host)
    list(service.create(SANDBOX, spec_of("sandbox"), [snapshot_mount([PAUSE], STOCK)]))
    return service


@AT_HAND
def test_the_pause_container_is_created_as_recorded() -> None:
    expected = recorded("pause")
    identifier = expected["base"]["container_id"]
    spec = sandbox_of(identifier)

    resolv_conf = next(each for each in spec["mounts"] if each["destination"] == "/etc/resolv.conf")
    service = service_of("aks-3.2", files=HostFiles(trees={resolv_conf["source"]: one_file(10)}))

    *_, request = service.create(identifier, spec, [snapshot_mount([PAUSE], STOCK)])

    # The node has another driver for control groups, and the shim draws a name for each copy.
    recorded_key = "a03e767168d4d11d"
    linux = expected["base"]["OCI"]["Linux"]
    assert linux.pop("CgroupsPath").startswith("/kubepods/")
    found = json.loads(json.dumps(request.input).replace("0" * 15 + "1", recorded_key))
    del found["base"]["OCI"]["Linux"]["CgroupsPath"]
    assert found == expected


def sandbox_of(identifier: str) -> dict[str, Any]:
    """Return the specification of the recorded pod's sandbox, by the containerd of its node."""
    pod = {
        "metadata": {"name": "exec-test", "namespace": "default"},
        "spec": {"hostname": "busybox", "containers": []},
    }
    drawn = Drawn(
        uid="eb1495ed-331a-44ff-ad6d-fce1a69280cd",
        sandbox_id=identifier,
        container_ids={},
        network_namespace="cni-27ff7b1c-fc08-da24-6925-706999f65227",
    )
    row = containerd_version("1.7")
    masked = tuple(path for path in row.sandbox_masked if "powercap" not in path)
    node = Node(containerd=row.replace(oci_version="1.1.0-rc.1", sandbox_masked=masked))
    found = specify(pod, {}, node, drawn).sandbox
    assert isinstance(found, dict)
    return found


@AT_HAND
def test_layers_and_overlay_are_as_in_the_published_policy() -> None:
    expected = recorded("workload")["base"]["storages"]

    *_, request = running_aks("aks-3.15").create(
        APP, spec_of(), [snapshot_mount([UPPER, LOWER], STOCK)]
    )

    *layers, overlay = request.input["base"]["storages"]
    assert layers == expected[:2]
    assert overlay == {
        **expected[2],
        "mount_point": f"/run/kata-containers/shared/containers/{APP}",
    }


def test_a_layer_of_two_containers_is_one_disk() -> None:
    service = running_aks("aks-3.15")
    (*_, one) = service.create(APP, spec_of(), [snapshot_mount([UPPER, LOWER], STOCK)])
    (*_, other) = service.create("c2" * 32, spec_of(), [snapshot_mount([LOWER], STOCK)])

    assert other.input["base"]["storages"][0] == one.input["base"]["storages"][1]


@pytest.mark.parametrize(
    ("generation", "ports", "path"),
    [("aks-3.2", set(), "pciPath"), ("aks-3.15", PORTS, "devicePath")],
)
def test_the_generations_differ_in_members(generation: str, ports: set[str], path: str) -> None:
    requests = list(
        service_of(generation).create(SANDBOX, spec_of("sandbox"), [snapshot_mount([PAUSE], STOCK)])
    )

    found = {each.kind: each.input for each in requests}
    assert found["CreateContainerRequest"]["base"].keys() & PORTS == ports
    interface = found["UpdateInterfaceRequest"]["interface"]
    assert {"pciPath", "devicePath"} & interface.keys() == {path}
    assert all("mtu" not in each for each in found["UpdateRoutesRequest"]["routes"]["Routes"])
    assert [each.keys() & {"shared"} for each in found["CreateSandboxRequest"]["storages"]] == [
        set()
    ]


def test_the_environment_is_described_beside_the_request() -> None:
    spec = spec_of()
    spec["process"]["env"] = ["A=1", "B", "A=2=3"]

    *_, request = running_aks("aks-3.2").create(APP, spec, [snapshot_mount([LOWER], STOCK)])

    assert request.input["env_map"] == {"A": "2=3"}
    assert request.input["base"]["OCI"]["Process"]["Env"] == ["A=1", "B", "A=2=3"]


def test_files_are_copied_with_the_targets_of_links_alone() -> None:
    tree = (Entry("", FILE, 3), Entry("l", 0o120777, target="..data"))
    service = running_aks("aks-3.2", files=HostFiles(trees={"/f": tree}))

    *copies, _ = service.create(
        APP,
        spec_of(mounts=[{"destination": "/f", "source": "/f"}]),
        [snapshot_mount([LOWER], STOCK)],
    )

    assert [each.input["symlink_src"] for each in copies] == ["", "..data"]
    assert all({"data", "file_type"}.isdisjoint(each.input) for each in copies)


def test_an_empty_dir_is_not_below_a_root_file_system() -> None:
    source = f"{VOLUMES}/kubernetes.io~empty-dir/d"

    *_, request = running_aks("aks-3.2").create(
        APP,
        spec_of(mounts=[{"destination": "/d", "source": source}]),
        [snapshot_mount([LOWER], STOCK)],
    )

    path = f"/run/kata-containers/shared/containers/{SANDBOX}/local/d"
    assert request.input["base"]["storages"][-1]["mount_point"] == path
    assert request.input["base"]["OCI"]["Mounts"][0]["source"] == path
