"""Mounts: docs/internals/reality.md 1.4 and 1.14, from the rules of the recordings."""

from typing import Any

import pytest

from tests.fakes.runtime import IMAGE, UID, VERSIONS, app, node_with, pod_of, refusal, sandbox

POD = f"/var/lib/kubelet/pods/{UID}"
QUIET = {"automountServiceAccountToken": False}
DEFAULTS = ["/proc", "/dev", "/dev/pts", "/dev/mqueue", "/sys", "/sys/fs/cgroup"]
FILES = ["/etc/hosts", "/dev/termination-log", "/etc/hostname", "/etc/resolv.conf", "/dev/shm"]


def pod_with(*paths: str, **more: Any) -> dict[str, Any]:
    """Return a pod with an emptyDir at each path."""
    volumes = [{"name": f"v{index}", "emptyDir": {}} for index in range(len(paths))]
    mounts = [{"name": f"v{index}", "mountPath": path} for index, path in enumerate(paths)]
    return pod_of({"volumeMounts": mounts, **more}, spec={**QUIET, "volumes": volumes})


def destinations(spec: dict[str, Any]) -> list[str]:
    return [each["destination"] for each in spec["mounts"]]


def at(spec: dict[str, Any], destination: str) -> dict[str, Any]:
    (found,) = (each for each in spec["mounts"] if each["destination"] == destination)
    return dict(found)


def test_bind_mounts_come_after_the_defaults() -> None:
    assert destinations(app(pod_with())) == [*DEFAULTS, *FILES]


def test_bind_mounts_are_sorted_by_depth_and_written_as_in_the_pod() -> None:
    spec = app(pod_with("/d/sub/conf", "//a//b", "/d", "/x/./y/../z", "data"))

    assert destinations(spec) == [
        *DEFAULTS,
        *("/d", "/data", "//a//b", "/x/./y/../z"),
        *FILES,
        "/d/sub/conf",
    ]


@pytest.mark.parametrize("path", ["/dev/shm", "/dev/shm/", "/dev//shm", "/dev/./shm"])
def test_a_mount_takes_the_place_of_a_default_one_in_any_spelling(path: str) -> None:
    found = destinations(app(pod_with(path)))

    assert [each for each in found if "shm" in each] == [path]


@pytest.mark.parametrize("path", ["/sys/fs/cgroup/", "/etc/resolv.conf/", "/etc/hostname", "/sys"])
def test_so_it_does_with_the_others(path: str) -> None:
    found = destinations(app(pod_with(path)))

    assert path in found
    assert found.count(path.rstrip("/")) == (1 if not path.endswith("/") else 0)


def test_a_mount_at_dev_takes_all_below_it() -> None:
    found = destinations(app(pod_with("/dev")))

    assert [each for each in found if each.startswith("/dev")] == [
        *("/dev", "/dev/termination-log", "/dev/shm")
    ]


def test_the_kubelet_compares_etc_hosts_as_written() -> None:
    exact = destinations(app(pod_with("/etc/hosts")))
    other = destinations(app(pod_with("/etc/hosts/")))

    assert [each for each in exact if "hosts" in each] == ["/etc/hosts"]
    assert [each for each in other if "hosts" in each] == ["/etc/hosts/", "/etc/hosts"]


def test_a_volume_of_the_image_gives_way_to_a_mount_in_any_spelling() -> None:
    image = IMAGE.replace(volumes=("/data", "/var/lib/x/"))

    spec = app(pod_with("/var/lib/x"), image=image)

    assert [each for each in destinations(spec) if "lib" in each or "data" in each] == [
        *("/data", "/var/lib/x")
    ]
    assert at(spec, "/data")["options"] == ["rbind", "rprivate", "rw"]


@pytest.mark.parametrize(
    ("version", "expected"), [("1.6.20", "rel"), ("1.7.29", "/rel"), ("2.4.2", "/rel")]
)
def test_a_relative_volume_of_the_image(version: str, expected: str) -> None:
    spec = app(pod_with(), image=IMAGE.replace(volumes=("rel",)), node=node_with(version))

    assert [each for each in destinations(spec) if "rel" in each] == [expected]


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        ({"name": "v", "recursiveReadOnly": "IfPossible"}, "but it is not read-only"),
        (
            {"name": "v", "readOnly": True, "recursiveReadOnly": "Enabled"}
            | {"mountPropagation": "HostToContainer"},
            'but it is not compatible with propagation "HostToContainer"',
        ),
        ({"name": "no"}, 'cannot find volume "no" to mount into container "app"'),
        ({"name": "v", "subPathExpr": "$(NO)"}, 'missing value for "NO"'),
    ],
)
def test_mounts_that_the_kubelet_refuses(mount: dict[str, Any], expected: str) -> None:
    # Source: Kubernetes, pkg/kubelet/kubelet_pods.go.
    container = {"volumeMounts": [{"mountPath": "/d", **mount}]}

    by, message = refusal(pod_of(container, spec={"volumes": [{"name": "v"}]}))

    assert by == "kubelet"
    assert message.endswith(expected)


@pytest.mark.parametrize(
    ("member", "option", "root"),
    [
        ({}, "rprivate", None),
        ({"mountPropagation": "None"}, "rprivate", None),
        ({"mountPropagation": "HostToContainer"}, "rslave", "rslave"),
        ({"mountPropagation": "Bidirectional"}, "rshared", "rshared"),
    ],
)
def test_propagation_of_a_mount_is_that_of_the_root_file_system(
    member: dict[str, Any], option: str, root: str | None
) -> None:
    mounts = [{"name": "v", "mountPath": "/d", **member}]
    pod = pod_of({"volumeMounts": mounts}, spec={**QUIET, "volumes": [{"name": "v"}]})

    spec = app(pod)

    assert at(spec, "/d")["options"] == ["rbind", option, "rw"]
    assert spec["linux"].get("rootfsPropagation") == root


@pytest.mark.parametrize(
    ("version", "option"), list(zip(VERSIONS, ("ro", "ro", "rro"), strict=True))
)
def test_recursive_readonly_needs_containerd_2(version: str, option: str) -> None:
    mounts = [
        {"name": "v", "mountPath": "/d", "readOnly": True, "recursiveReadOnly": "Enabled"},
        {"name": "v", "mountPath": "/e", "readOnly": True, "recursiveReadOnly": "Disabled"},
    ]
    pod = pod_of({"volumeMounts": mounts}, spec={**QUIET, "volumes": [{"name": "v"}]})

    spec = app(pod, node=node_with(version))

    assert at(spec, "/d")["options"] == ["rbind", "rprivate", option]
    assert at(spec, "/e")["options"] == ["rbind", "rprivate", "ro"]


@pytest.mark.parametrize(
    ("volume", "source", "option"),
    [
        ({}, f"{POD}/volumes/kubernetes.io~empty-dir/v", "rw"),
        ({"emptyDir": {"medium": "Memory"}}, f"{POD}/volumes/kubernetes.io~empty-dir/v", "rw"),
        ({"configMap": {"name": "c"}}, f"{POD}/volumes/kubernetes.io~configmap/v", "ro"),
        ({"secret": {"secretName": "s"}}, f"{POD}/volumes/kubernetes.io~secret/v", "ro"),
        ({"projected": {"sources": []}}, f"{POD}/volumes/kubernetes.io~projected/v", "ro"),
        ({"downwardAPI": {"items": []}}, f"{POD}/volumes/kubernetes.io~downward-api/v", "ro"),
        ({"hostPath": {"path": "/srv"}}, "/srv", "rw"),
        ({"nfs": {"path": "/", "readOnly": True}}, f"{POD}/volumes/kubernetes.io~nfs/v", "ro"),
    ],
)
def test_where_volumes_lie_and_which_are_read_only(
    volume: dict[str, Any], source: str, option: str
) -> None:
    mounts = [{"name": "v", "mountPath": "/d"}]
    pod = pod_of({"volumeMounts": mounts}, spec={**QUIET, "volumes": [{"name": "v", **volume}]})

    assert at(app(pod), "/d") == {
        "destination": "/d",
        "type": "bind",
        "source": source,
        "options": ["rbind", "rprivate", option],
    }


def test_a_part_of_a_volume_is_mounted_on_the_node_first() -> None:
    mounts = [
        {"name": "v", "mountPath": "/a"},
        {"name": "v", "mountPath": "/b", "subPath": "f"},
        {"name": "v", "mountPath": "/c", "subPathExpr": "$(NAME)"},
        {"name": "v", "mountPath": "/e", "subPath": ""},
    ]
    env = [{"name": "NAME", "value": "x"}]
    pod = pod_of({"volumeMounts": mounts, "env": env}, spec={"volumes": [{"name": "v"}]})

    spec = app(pod)

    assert at(spec, "/b")["source"] == f"{POD}/volume-subpaths/v/app/1"
    assert at(spec, "/c")["source"] == f"{POD}/volume-subpaths/v/app/2"
    assert at(spec, "/e")["source"] == at(spec, "/a")["source"]


def test_the_token_is_mounted_unless_somebody_refuses_it() -> None:
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    account = {
        "kind": "ServiceAccount",
        "metadata": {"name": "default"},
        "automountServiceAccountToken": False,
    }

    assert token in destinations(app(pod_of()))
    assert token not in destinations(app(pod_of(spec=QUIET)))
    assert token not in destinations(app(pod_of(), objects=[account]))
    willing = pod_of(spec={"automountServiceAccountToken": True})
    assert token in destinations(app(willing, objects=[account]))


def test_files_of_containerd_are_read_only_with_the_root_file_system() -> None:
    spec = app(pod_with(securityContext={"readOnlyRootFilesystem": True}))

    assert spec["root"] == {"path": "rootfs", "readonly": True}
    options = {each: at(spec, each)["options"][2] for each in FILES}
    assert options == {
        "/etc/hosts": "rw",
        "/dev/termination-log": "rw",
        "/etc/hostname": "ro",
        "/etc/resolv.conf": "ro",
        "/dev/shm": "rw",
    }


def test_the_termination_log_is_where_the_pod_wants_it() -> None:
    found = destinations(app(pod_with(terminationMessagePath="/tmp/why/")))

    assert "/tmp/why/" in found
    assert "/dev/termination-log" not in found


@pytest.mark.parametrize(
    ("version", "shm", "options"),
    [
        ("1.6.20", ["tmpfs", "bind"], ["rbind", "ro"]),
        ("1.7.29", ["bind"], ["rbind", "ro", "nosuid", "nodev", "noexec"]),
        ("2.4.2", ["bind"], ["rbind", "ro", "nosuid", "nodev", "noexec"]),
    ],
)
def test_the_sandbox_s_mounts(version: str, shm: list[str], options: list[str]) -> None:
    spec = sandbox(pod_of(), node=node_with(version))

    assert [m["type"] for m in spec["mounts"] if m["destination"] == "/dev/shm"] == shm
    assert spec["mounts"][-2]["options"] == spec["mounts"][-1]["options"] == options


@pytest.mark.parametrize(
    ("version", "access"), list(zip(VERSIONS, ("ro", "ro", "rw"), strict=True))
)
def test_sys_of_a_privileged_pod(version: str, access: str) -> None:
    pod = pod_of({"securityContext": {"privileged": True}}, {})

    assert at(sandbox(pod, node=node_with(version)), "/sys")["options"][3] == access
    assert at(app(pod, node=node_with(version)), "/sys")["options"][3] == "rw"
    assert at(app(pod, node=node_with(version)), "/sys/fs/cgroup")["options"][4] == "rw"


def test_shared_memory_of_the_node() -> None:
    pod = pod_of(spec={"hostIPC": True})

    assert at(app(pod), "/dev/shm")["source"] == "/dev/shm"
    assert at(sandbox(pod), "/dev/shm")["source"] == "/dev/shm"
