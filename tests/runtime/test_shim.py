"""Rules of Kata's shim that recordings show, beyond the recorded cases.

Source: the table "where the record differs" of the recordings of the shim; docs/internals/policy.md 2 to 5 for the rest.
"""

import base64
import json
from typing import Any

import pytest

from contrast_tasks.errors import UsageError
from contrast_tasks.runtime.host_files import FILE, Entry, HostFiles, one_file, one_folder
from contrast_tasks.runtime.kubelet.volume_files import atomic_tree
from contrast_tasks.runtime.shim.network import Network, Route
from contrast_tasks.runtime.shim_versions import SHIMS, shim_version
from tests.fakes.shim import APP, OTHER, SANDBOX, VOLUMES, kinds, running, service_of, spec_of

DISK, MEMORY = f"{VOLUMES}/kubernetes.io~empty-dir/d", f"{VOLUMES}/kubernetes.io~empty-dir/m"
CONFIG = f"{VOLUMES}/kubernetes.io~configmap/c"
MIB = 2**20


def created(service: Any, spec: dict[str, Any], identifier: str = APP) -> dict[str, Any]:
    """Create a container and return the message."""
    found: dict[str, Any] = list(service.create(identifier, spec))[-1].input
    return found


def test_the_lines_of_resolv_conf_are_split_at_newlines_and_nothing_else() -> None:
    service = service_of(resolv_conf="# x\nsearch\ta  b\n\nnameserver fe80::1%eth0\n")

    sandbox = next(
        each for each in service.create(SANDBOX, spec_of("sandbox")) if "dns" in each.input
    )

    assert sandbox.input["dns"] == ["# x", "search\ta  b", "", "nameserver fe80::1%eth0", ""]


@pytest.mark.parametrize(
    ("content", "policy"),
    [(b"package a\n", "package a\n"), (b"\x1f\x8b\x08\xff", [0x1F, 0x8B, 0x08, 0xFF])],
)
def test_a_policy_comes_before_the_network_and_nowhere_else(content: bytes, policy: object) -> None:
    key = "io.katacontainers.config.agent.policy"
    annotations = {key: base64.b64encode(content).decode(), "io.katacontainers.x": "y"}

    requests = list(service_of().create(SANDBOX, spec_of("sandbox", annotations=annotations)))

    assert kinds(requests)[:3] == ["Check", "SetPolicy", "UpdateInterface"]
    assert requests[1].input == {"policy": policy}
    create = next(each for each in requests if each.kind == "CreateContainerRequest").input
    assert create["OCI"]["Annotations"]["io.katacontainers.x"] == "y"
    assert key not in json.dumps(create)


def test_initdata_is_taken_away_without_a_request() -> None:
    annotations = {"io.katacontainers.config.hypervisor.cc_init_data": "H4sI"}

    requests = list(service_of().create(SANDBOX, spec_of("sandbox", annotations=annotations)))

    assert "SetPolicy" not in kinds(requests)
    assert "cc_init_data" not in json.dumps([each.input for each in requests])


@pytest.mark.parametrize(("shim", "times"), [("contrast-3.30.0", 2), ("contrast-4.1.0", 1)])
def test_the_network_is_set_up_again_before_the_sandbox_starts(shim: str, times: int) -> None:
    found = kinds(list(service_of(shim).create(SANDBOX, spec_of("sandbox"))))

    network = ["UpdateInterface", "UpdateRoutes", "AddARPNeighbors"]
    assert [found.count(each) for each in network] == [times] * 3
    assert found[-3:] == network if times > 1 else found[-1] == "CreateContainer"


def test_addresses_and_routes_of_both_families() -> None:
    network = Network(
        addresses=("10.88.77.2/24", "fd00:88::2/64"),
        routes=(Route("0.0.0.0/0", gateway="10.88.77.1"), Route("::/0", gateway="fd00:88::1")),
        neighbours=(),
    )

    requests = list(service_of(network=network).create(SANDBOX, spec_of("sandbox")))

    interface, routes = (each.input for each in requests[1:3])
    assert [each["family"] for each in interface["interface"]["IPAddresses"]] == [0, 1]
    assert [each["family"] for each in routes["routes"]["Routes"]] == [0, 1]
    assert "AddARPNeighbors" not in kinds(requests)


@pytest.mark.parametrize(
    ("size", "offsets"),
    [(0, [0]), (1, [0]), (MIB, [0]), (MIB + 1, [0, MIB]), (3 * MIB, [0, MIB, 2 * MIB])],
)
def test_a_file_is_copied_by_the_mebibyte(size: int, offsets: list[int]) -> None:
    service = running(files=HostFiles(trees={"/f": one_file(size)}))

    *copies, create = service.create(
        APP, spec_of(mounts=[{"destination": "/etc/big/", "source": "/f"}])
    )

    assert [each.input["offset"] for each in copies] == offsets
    assert {each.input["file_size"] for each in copies} == {size}
    assert {each.input["dir_mode"] for each in copies} == {2147484136}
    (mount,) = create.input["OCI"]["Mounts"]
    assert {each.input["path"] for each in copies} == {mount["source"]}
    assert mount["source"].endswith("-0000000000000001-big")


def test_older_agents_are_asked_with_the_bytes() -> None:
    tree = (Entry("", FILE, 3), Entry("l", 0o120777, target="..data"))
    service = running("contrast-3.22.0", files=HostFiles(trees={"/f": tree}))

    *copies, _ = service.create(APP, spec_of(mounts=[{"destination": "/f", "source": "/f"}]))

    assert [each.input["data"] for each in copies] == [[0, 0, 0], list(b"..data")]
    assert all("file_type" not in each.input for each in copies)


def test_a_mount_of_neither_file_nor_folder_is_left_out() -> None:
    found = created(running(), spec_of(mounts=[{"destination": "/s", "source": "/run/socket"}]))

    assert found["OCI"]["Mounts"] == []


@pytest.mark.parametrize(
    "mount",
    [
        {"destination": "/sys/fs/bpf", "source": "/sys/fs/bpf"},
        {"destination": "/dev/mqueue", "source": "/somewhere"},
    ],
)
def test_mounts_of_system_folders_mean_those_of_the_guest(mount: dict[str, str]) -> None:
    (found,) = created(running(), spec_of(mounts=[mount]))["OCI"]["Mounts"]

    assert found["source"] == mount["source"]


def test_an_empty_directory_in_memory() -> None:
    files = HostFiles(trees={}, in_memory=frozenset({MEMORY}), groups={MEMORY: 2000})

    found = created(running(files=files), spec_of(mounts=[{"destination": "/m", "source": MEMORY}]))

    pull, storage = found["storages"]
    assert pull["driver"] == "image_guest_pull"
    assert (storage["driver"], storage["source"], storage["fstype"]) == (
        "ephemeral",
        "tmpfs",
        "tmpfs",
    )
    assert storage["options"] == ["fsgid=2000"]
    assert storage["mount_point"] == "/run/kata-containers/sandbox/ephemeral/m"
    assert found["OCI"]["Mounts"][0]["source"] == storage["mount_point"]


def test_an_empty_directory_on_an_encrypted_disk() -> None:
    files = HostFiles(trees={}, groups={DISK: 2000})

    found = created(running(files=files), spec_of(mounts=[{"destination": "/d", "source": DISK}]))

    storage = found["storages"][1]
    assert storage["driver_options"] == ["encryption_key=ephemeral", "create_filesystem"]
    assert (storage["driver"], storage["source"], storage["fstype"]) == ("scsi", "0:0", "ext4")
    assert storage["mount_point"] == "/run/kata-containers/sandbox/storage/MDow"
    assert storage["fs_group"] == {"group_id": 2000, "group_change_policy": 0}
    assert storage["shared"] is True


def test_an_empty_directory_in_the_guests_folders() -> None:
    service = running("contrast-4.1.0", files=HostFiles(trees={}, groups={DISK: 2000}))

    found = created(service, spec_of(mounts=[{"destination": "/d", "source": DISK}]))

    folder = f"/run/kata-containers/shared/containers/{SANDBOX}/rootfs/local/d"
    storage = found["storages"][1]
    assert storage["options"] == ["mode=0777", "fsgid=2000"]
    assert storage["mount_point"] == folder
    assert found["OCI"]["Mounts"][0]["type_"] == "local"


def test_storages_come_by_kind_not_in_the_order_of_the_mounts() -> None:
    files = HostFiles(trees={}, in_memory=frozenset({MEMORY}))
    mounts = [{"destination": "/d", "source": DISK}, {"destination": "/m", "source": MEMORY}]

    found = created(running(files=files), spec_of(mounts=mounts))

    assert [each["driver"] for each in found["storages"]] == [
        "image_guest_pull",
        "ephemeral",
        "scsi",
    ]


def test_a_disk_has_one_address_as_long_as_a_container_uses_it() -> None:
    service = running()
    other = f"{VOLUMES}/kubernetes.io~empty-dir/e"
    both = spec_of(mounts=[{"destination": "/d", "source": DISK}])
    own = spec_of(mounts=[{"destination": "/e", "source": other}])

    def address(identifier: str, spec: dict[str, Any]) -> str:
        found: str = created(service, spec, identifier)["storages"][1]["source"]
        return found

    assert [address(APP, both), address(OTHER, both), address("c3", own)] == ["0:0", "0:0", "0:1"]
    list(service.kill(APP, 15))
    assert address("c4", both) == "0:0"
    for each in (OTHER, "c4"):
        list(service.kill(each, 15))
    assert address("c5", spec_of(mounts=[{"destination": "/f", "source": f"{other}2"}])) == "0:0"


def test_a_volume_in_block_mode() -> None:
    device = {"path": "/dev/xvda", "type": "b", "major": 7, "minor": 0, "fileMode": 420, "gid": 6}

    found = created(running(), spec_of(linux={"devices": [device]}))

    assert found["devices"] == [
        {
            "id": "0:0",
            "type_": "scsi",
            "vm_path": "",
            "container_path": "/dev/xvda",
            "options": [],
        }
    ]
    (kept,) = found["OCI"]["Linux"]["Devices"]
    assert (kept["Major"], kept["Minor"], kept["FileMode"], kept["GID"]) == (7, 0, 420, 6)


def test_what_the_agent_pulls_is_described_in_the_json_of_go() -> None:
    annotations = {"io.katacontainers.other": 'a "b"\n<&>\u2028\u00e4'}

    found = created(running(), spec_of(annotations=annotations))

    (option,) = found["storages"][0]["driver_options"]
    assert option.startswith('image_guest_pull={"metadata":{"io.katacontainers.other":')
    assert r'"a \"b\"\n\u003c\u0026\u003e\u2028' + "\u00e4" in option
    assert json.loads(option.partition("=")[2])["metadata"] == found["OCI"]["Annotations"]


def test_the_patched_shim_describes_nothing() -> None:
    assert created(running("contrast-3.30.0"), spec_of())["storages"][0]["driver_options"] == []


def test_what_stays_on_the_host() -> None:
    spec = spec_of(
        hooks={"prestart": [{"path": "/hook"}]},
        linux={
            "seccomp": "default",
            "mountLabel": "x",
            "namespaces": [
                {"type": each, "path": f"/proc/1/ns/{each}"}
                for each in ("pid", "ipc", "network", "cgroup", "time", "mount")
            ],
            "resources": {
                "devices": [{"allow": True}],
                "pids": {"limit": 5},
                "cpu": {"shares": 2, "cpus": "0-1", "mems": "0"},
                "unified": {"memory.oom.group": "1"},
            },
        },
    )
    spec["process"] |= {"selinuxLabel": "system_u", "noNewPrivileges": True}

    found = created(running(), spec)

    oci, linux = found["OCI"], found["OCI"]["Linux"]
    assert (oci["Hooks"], linux["Seccomp"], linux["MountLabel"]) == (None, None, "")
    assert linux["Namespaces"] == [{"Type": "ipc", "Path": ""}, {"Type": "mount", "Path": ""}]
    resources = linux["Resources"]
    assert (resources["Devices"], resources["Pids"], resources["Memory"]) == ([], None, None)
    assert (resources["CPU"]["Shares"], resources["CPU"]["Cpus"]) == (2, "")
    assert (oci["Process"]["SelinuxLabel"], oci["Process"]["NoNewPrivileges"]) == ("", True)
    assert found["sandbox_pidns"] is True


def test_a_process_that_joins_keeps_neither_rights_nor_the_bit_against_new_ones() -> None:
    service = running()
    spec = spec_of()
    spec["process"] |= {
        "noNewPrivileges": True,
        "capabilities": {"bounding": ["CAP_KILL"]},
        "oomScoreAdj": 900,
        "apparmorProfile": "p",
        "rlimits": [{"type": "RLIMIT_CORE", "hard": 1, "soft": 1}],
    }
    list(service.create(APP, spec))
    list(service.start(APP))

    requests = list(service.execute(APP, "probe", spec["process"]))

    process = requests[0].input["process"]
    assert process["NoNewPrivileges"] is False
    assert process["Capabilities"] is None
    assert (process["OOMScoreAdj"], process["ApparmorProfile"], process["Rlimits"]) == (0, "", [])
    assert requests[0].input["exec_id"] != "probe"
    assert kinds(requests) == ["ExecProcess", "ReadStream", "ReadStream"]


def test_a_terminal_has_one_stream() -> None:
    service = running()
    list(service.create(APP, spec_of()))

    assert kinds(list(service.start(APP, tty=True))) == ["StartContainer", "ReadStream"]


def test_a_container_is_killed_again_after_it_has_ended() -> None:
    service = running()
    list(service.create(APP, spec_of()))

    requests = list(service.exit(APP))

    assert kinds(requests) == [
        "WaitProcess",
        "SignalProcess",
        "WaitProcess",
        "RemoveContainer",
        "RemoveStaleVirtiofsShareMounts",
    ]
    assert requests[1].input["signal"] == 9


def test_new_limits_come_without_processors() -> None:
    service = running()
    list(service.create(APP, spec_of()))

    (request,) = service.update(APP, {"cpu": {"quota": 5, "cpus": "1"}, "memory": {"limit": 9}})

    assert request.kind == "UpdateContainerRequest"
    resources = request.input["resources"]
    assert (resources["CPU"]["Quota"], resources["CPU"]["Cpus"]) == (5, "")
    assert resources["Memory"]["Limit"] == 9


def test_a_changed_volume_is_copied_into_each_container_that_mounts_it() -> None:
    old = atomic_tree({"f": (b"1", 0o644)}, "..1")
    service = running(files=HostFiles(trees={CONFIG: old, "/folder": one_folder()}))
    for each in (APP, OTHER):
        mounts = [
            {"destination": "/c", "source": CONFIG},
            {"destination": "/x", "source": "/folder"},
        ]
        list(service.create(each, spec_of(mounts=mounts)))

    requests = list(
        service.changed(CONFIG, atomic_tree({"f": (b"22", 0o644), "g": (b"1", 0o644)}, "..2"))
    )

    paths = [each.input["path"].rpartition("-c/")[2] for each in requests]
    assert paths == ["..2", "..2/f", "..2/g", "..data", "g"] * 2


def test_a_shim_without_a_row_is_refused() -> None:
    assert shim_version("stock-4.1.0") in SHIMS
    with pytest.raises(UsageError, match="is not modelled"):
        shim_version("stock-5.0.0")
