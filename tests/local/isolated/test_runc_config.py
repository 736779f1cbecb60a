"""What runc gets of a specification that containerd 2 makes of a privileged and of an ordinary container."""

from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.errors import ClusterError
from contrast_tasks.local.isolated.ability import Ability
from contrast_tasks.local.isolated.bridge import PodNetwork, place_of
from contrast_tasks.local.isolated.runc_config import Additions, runc_config, runc_process

ALL = Ability(users="all", limits=True)
ONE = Ability(users="one", limits=False)
POD = PodNetwork(
    place=place_of("127.77.0.4"), network=Path("/n/net"), uts=Path("/n/uts"), ipc=Path("/n/ipc")
)
PROCESS = {
    "user": {"uid": 0, "gid": 0, "additionalGids": [0, 5]},
    "args": ["serve"],
    "env": ["A=1"],
    "cwd": "/",
    "capabilities": {"bounding": ["CAP_CHOWN", "CAP_NEWER_THAN_THIS_KERNEL"]},
    "oomScoreAdj": 1000,
    "apparmorProfile": "cri-containerd.apparmor.d",
    "terminal": True,
}
SPEC = {
    "ociVersion": "1.3.0",
    "process": PROCESS,
    "root": {"path": "rootfs", "readonly": True},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]},
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["newinstance", "gid=5"],
        },
        {
            "destination": "/data",
            "type": "bind",
            "source": "/var/lib/kubelet/pods/1/volumes/x",
            "options": ["rbind", "rprivate", "rw"],
        },
    ],
    "annotations": {"io.kubernetes.cri.container-name": "web"},
    "linux": {
        "resources": {
            "devices": [{"allow": False, "access": "rwm"}],
            "memory": {"limit": 1 << 20},
            "cpu": {"shares": 2},
            "unified": {"memory.oom.group": "1"},
        },
        "cgroupsPath": "/kubepods/1",
        "namespaces": [
            {"type": "pid"},
            {"type": "ipc", "path": "/proc/4711/ns/ipc"},
            {"type": "mount"},
            {"type": "network", "path": "/proc/4711/ns/net"},
        ],
        "seccomp": "default",
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
    },
}


def config(ability: Ability, **changes: Any) -> dict[str, Any]:
    return runc_config(
        {**SPEC, **changes},
        root=Path("/r"),
        pod=POD,
        place=lambda path: Path(f"/here{path}"),
        ability=ability,
        group="contrast-tasks-77/ab",
        sysctls={"net.ipv4.ip_unprivileged_port_start": "0"},
        additions=Additions(variables={"B": "2"}, mounts=({"destination": "/own"},)),
    )


def test_what_names_the_node_is_translated_and_the_rest_stays() -> None:
    found = config(ALL)

    assert found["root"] == {"path": "/r", "readonly": True}
    assert [each["destination"] for each in found["mounts"]] == [
        *("/proc", "/dev/pts", "/data", "/own"),
    ]
    assert found["mounts"][2]["source"] == "/here/var/lib/kubelet/pods/1/volumes/x"
    linux = found["linux"]
    assert {each["type"]: each.get("path") for each in linux["namespaces"]} == {
        "pid": None,
        "mount": None,
        "cgroup": None,
        "ipc": "/n/ipc",
        "uts": "/n/uts",
        "network": "/n/net",
    }
    assert (linux["maskedPaths"], linux["readonlyPaths"]) == (["/proc/kcore"], ["/proc/sys"])
    assert linux["sysctl"] == {"net.ipv4.ip_unprivileged_port_start": "0"}
    assert linux["cgroupsPath"] == "/contrast-tasks-77/ab"
    # Nodes of confidential pods have no seccomp in the guest, and one member exists in newer control groups only.
    assert set(linux["resources"]) == {"devices", "memory", "cpu"}
    assert "seccomp" not in linux
    assert "annotations" not in found


def test_the_process_is_the_modelled_one_without_what_this_machine_cannot_give() -> None:
    process = config(ALL)["process"]

    assert process["args"] == ["serve"]
    assert process["env"] == ["A=1", "B=2"]
    assert process["user"]["additionalGids"] == [0, 5]
    assert process["terminal"] is False
    assert "apparmorProfile" not in process
    assert "CAP_NEWER_THAN_THIS_KERNEL" not in process["capabilities"]["bounding"]
    assert process["oomScoreAdj"] == 1000


def test_with_one_user_there_are_no_groups_no_limits_and_no_group_of_terminals() -> None:
    found = config(ONE)

    assert found["process"]["user"] == {"uid": 0, "gid": 0}
    assert found["mounts"][1]["options"] == ["newinstance"]
    assert not {"cgroupsPath", "resources"} & set(found["linux"])


def test_with_one_user_another_one_is_refused_with_the_way_out() -> None:
    process = {**PROCESS, "user": {"uid": 999, "gid": 999, "additionalGids": [999]}}

    with pytest.raises(ClusterError) as raised:
        runc_process(process, ONE, {})

    assert "user 999 and group 999" in str(raised.value)
    assert "/etc/subuid" in raised.value.hint


def test_a_pod_has_the_same_place_in_the_node_as_on_this_machine() -> None:
    assert (POD.address, POD.address_6, POD.mac) == (
        *("10.244.0.4", "fd00:10:244::4", "02:42:0a:f4:00:04"),
    )
