"""The rest of a specification: docs/internals/reality.md 1.5, 1.13 and 1.15, from the records and their table of differences.

Amounts and scores: Kubernetes, pkg/kubelet/cm and pkg/kubelet/qos.
"""

from typing import Any

import pytest

from contrast_tasks.decode import DecodeError
from contrast_tasks.errors import UsageError
from contrast_tasks.runtime.containerd_versions import containerd_version
from contrast_tasks.runtime.cri import Dns
from contrast_tasks.runtime.kubelet_versions import kubelet_version
from contrast_tasks.runtime.node import RUNC, Device
from tests.fakes.runtime import (
    REFERENCE,
    UID,
    VERSIONS,
    app,
    node_with,
    pod_of,
    refusal,
    sandbox,
    specified,
)

PRIVILEGED = {"securityContext": {"privileged": True}}
NULL = Device(path="/dev/mine", kind="c", major=1, minor=3, file_mode=0o666, access="rw")
OPEN_PORTS = {
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
}


@pytest.mark.parametrize(
    ("version", "expected"), [("1.6.20", "1.0.2-dev"), ("1.7.29", "1.1.0"), ("2.4.2", "1.3.0")]
)
def test_versions_of_the_specification(version: str, expected: str) -> None:
    node = node_with(version)

    assert app(pod_of(), node=node)["ociVersion"] == expected
    assert sandbox(pod_of(), node=node)["ociVersion"] == expected


@pytest.mark.parametrize("version", ["1.5.9", "3.0.0", "1.70", "latest"])
def test_a_version_without_a_row_is_refused(version: str) -> None:
    with pytest.raises(UsageError, match="is not modelled"):
        containerd_version(version)


@pytest.mark.parametrize(
    ("version", "switch", "expected"),
    [
        ("1.6.20", None, {}),
        ("1.7.29", None, {}),
        ("2.4.2", None, OPEN_PORTS),
        ("1.6.20", True, OPEN_PORTS),
        ("2.4.2", False, {}),
    ],
)
def test_the_two_settings_for_unprivileged_ports(
    version: str, switch: bool | None, expected: dict[str, str]
) -> None:
    node = node_with(version, opens_ports=switch)
    own = {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"}]}

    assert sandbox(pod_of(), node=node)["linux"].get("sysctl", {}) == expected
    assert sandbox(pod_of(PRIVILEGED), node=node)["linux"].get("sysctl", {}) == expected
    on_node = sandbox(pod_of(spec={"hostNetwork": True}), node=node)
    assert "sysctl" not in on_node["linux"]
    given = sandbox(pod_of(spec={"securityContext": own}), node=node)["linux"]["sysctl"]
    assert given == expected | {"net.ipv4.ip_unprivileged_port_start": "80"}
    assert "sysctl" not in app(pod_of(spec={"securityContext": own}), node=node)["linux"]


@pytest.mark.parametrize(
    ("version", "count", "last"),
    [
        ("1.6.20", 10, set()),
        ("1.7.29", 11, {"/sys/devices/virtual/powercap"}),
        ("2.4.2", 12, {"/sys/devices/virtual/powercap", "/proc/interrupts"}),
    ],
)
def test_masked_paths_of_the_sandbox(version: str, count: int, last: set[str]) -> None:
    found = sandbox(pod_of(PRIVILEGED), node=node_with(version))["linux"]["maskedPaths"]

    assert len(found) == count
    assert last <= set(found)


@pytest.mark.parametrize(
    ("version", "count", "hidden", "shown"),
    [
        ("1.26.0", 9, set(), {"/proc/asound", "/proc/interrupts"}),
        ("1.27.0", 10, {"/proc/asound"}, {"/proc/interrupts", "/sys/devices/virtual/powercap"}),
        ("v1.33.0+k3s1", 11, {"/sys/devices/virtual/powercap"}, {"/proc/interrupts"}),
        ("1.34.0", 15, {"/proc/interrupts"}, set()),
        ("1.36.2", 15, {"/sys/devices/system/cpu/cpu2/thermal_throttle"}, set()),
    ],
)
def test_masked_paths_of_containers_come_from_the_kubelet(
    version: str, count: int, hidden: set[str], shown: set[str]
) -> None:
    # Source: Kubernetes of these versions, pkg/securitycontext/util.go.
    node = node_with("1.6.20", cpus=3, kubelet=kubelet_version(version))

    linux = app(pod_of(), node=node)["linux"]

    masked = set(linux["maskedPaths"])
    assert len(masked) == count
    assert hidden <= masked
    assert not shown & masked
    assert ("/proc/asound" in linux["readonlyPaths"]) == (version == "1.26.0")


@pytest.mark.parametrize("version", ["1.25.9", "2.0", "latest"])
def test_a_kubelet_without_a_row_is_refused(version: str) -> None:
    with pytest.raises(UsageError, match="is not modelled"):
        kubelet_version(version)


def test_nothing_is_hidden_from_privileged_and_unmasked_containers() -> None:
    for pod in (pod_of(PRIVILEGED), pod_of({"securityContext": {"procMount": "Unmasked"}})):
        assert not {"maskedPaths", "readonlyPaths"} & set(app(pod)["linux"])


def kinds(spec: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["type"], each.get("path", "")) for each in spec["linux"]["namespaces"]]


OWN = [
    ("pid", ""),
    ("ipc", "/proc/4711/ns/ipc"),
    ("uts", "/proc/4711/ns/uts"),
    ("mount", ""),
    ("network", "/proc/4711/ns/net"),
    ("cgroup", ""),
]
NETNS = "/var/run/netns/cni-00000000-0000-0000-0000-000000000001"
OF_SANDBOX = [("pid", ""), ("ipc", ""), ("uts", ""), ("mount", ""), ("network", NETNS)]


@pytest.mark.parametrize(
    ("spec", "of_sandbox", "of_container"),
    [
        pytest.param({}, OF_SANDBOX, OWN, id="plain"),
        pytest.param(
            {"hostNetwork": True}, [OF_SANDBOX[0], OF_SANDBOX[1], OF_SANDBOX[3]], OWN, id="network"
        ),
        pytest.param({"hostIPC": True}, [OF_SANDBOX[0], *OF_SANDBOX[2:]], OWN, id="ipc"),
        pytest.param(
            {"hostPID": True}, OF_SANDBOX[1:], [("pid", "/proc/4711/ns/pid"), *OWN[1:]], id="pid"
        ),
        pytest.param(
            {"shareProcessNamespace": True},
            OF_SANDBOX,
            [("pid", "/proc/4711/ns/pid"), *OWN[1:]],
            id="shared",
        ),
    ],
)
def test_namespaces(
    spec: dict[str, Any], of_sandbox: list[tuple[str, str]], of_container: list[tuple[str, str]]
) -> None:
    assert kinds(sandbox(pod_of(spec=spec))) == of_sandbox
    assert kinds(app(pod_of(spec=spec))) == of_container


def test_a_privileged_container_sees_the_node_s_control_groups() -> None:
    assert kinds(app(pod_of(PRIVILEGED))) == OWN[:-1]


def test_a_device_of_a_plugin_comes_with_a_rule_that_allows_it() -> None:
    linux = app(pod_of(), devices={"app": (NULL,)})["linux"]

    assert linux["devices"] == [
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 438}
        | {"uid": 0, "gid": 0}
    ]
    assert linux["resources"]["devices"] == [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
    ]


def test_a_privileged_container_gets_the_node_s_devices_unless_its_handler_says_otherwise() -> None:
    kata = app(pod_of(PRIVILEGED), node=node_with("2.4.2", devices=(NULL,)))["linux"]
    runc = app(pod_of(PRIVILEGED), node=node_with("2.4.2", devices=(NULL,), handler=RUNC))["linux"]

    assert "devices" not in kata
    assert kata["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert [each["path"] for each in runc["devices"]] == ["/dev/mine"]
    assert runc["resources"]["devices"] == [{"allow": True, "access": "rwm"}]


@pytest.mark.parametrize("version", VERSIONS)
def test_annotations_of_a_pod_reach_every_container_if_the_handler_forwards_them(
    version: str,
) -> None:
    given = {
        "io.katacontainers.other": "a b\nc",
        "io.katacontainers.a/b": "a star is no slash",
        "example.com/x": "y",
        "io.kubernetes.cri.sandbox-name": "spoof",
    }
    identity = {
        "io.kubernetes.cri.sandbox-id": "5a",
        "io.kubernetes.cri.sandbox-name": "web",
        "io.kubernetes.cri.sandbox-namespace": "default",
        "io.kubernetes.cri.sandbox-uid": UID,
    }
    pause = {"io.kubernetes.cri.podsandbox.image-name": "registry.k8s.io/pause:3.10"}
    pod = pod_of(annotations=given)

    assert app(pod, node=node_with(version))["annotations"] == {
        "io.katacontainers.other": "a b\nc",
        "io.kubernetes.cri.container-name": "app",
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.image-name": REFERENCE,
        **identity,
    }
    assert sandbox(pod, node=node_with(version))["annotations"] == {
        "io.katacontainers.other": "a b\nc",
        "io.kubernetes.cri.container-type": "sandbox",
        "io.kubernetes.cri.sandbox-cpu-period": "100000",
        "io.kubernetes.cri.sandbox-cpu-quota": "0",
        "io.kubernetes.cri.sandbox-cpu-shares": "2",
        "io.kubernetes.cri.sandbox-log-directory": f"/var/log/pods/default_web_{UID}",
        "io.kubernetes.cri.sandbox-memory": "0",
        **identity,
        **(pause if version == "2.4.2" else {}),
    }
    plain = app(pod, node=node_with(version, handler=RUNC))["annotations"]
    assert "io.katacontainers.other" not in plain


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (None, None),
        ({"type": "Unconfined"}, None),
        ({"type": "RuntimeDefault"}, "default"),
        ({"type": "Localhost", "localhostProfile": "p.json"}, {"defaultAction": "SCMP_ACT_LOG"}),
    ],
)
def test_seccomp(profile: dict[str, str] | None, expected: object) -> None:
    node = node_with("2.4.2", seccomp_profiles={"p.json": {"defaultAction": "SCMP_ACT_LOG"}})
    pod = pod_of(spec={"securityContext": {"seccompProfile": profile}})

    assert app(pod, node=node)["linux"].get("seccomp") == expected
    assert sandbox(pod, node=node)["linux"]["seccomp"] == "default"
    privileged = pod_of(PRIVILEGED, spec={"securityContext": {"seccompProfile": profile}})
    assert "seccomp" not in app(privileged, node=node)["linux"]
    assert "seccomp" not in sandbox(privileged, node=node)["linux"]


@pytest.mark.parametrize("kind", ["RuntimeDefault", "Localhost"])
def test_apparmor_on_a_node_without_it_is_refused(kind: str) -> None:
    profile = {"type": kind, "localhostProfile": "mine"}

    by, message = refusal(pod_of({"securityContext": {"appArmorProfile": profile}}))

    assert (by, message.rpartition(": ")[2]) == ("containerd", "apparmor is not supported")
    app(pod_of({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}))


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        ({}, "cri-containerd.apparmor.d"),
        ({"appArmorProfile": {"type": "RuntimeDefault"}}, "cri-containerd.apparmor.d"),
        ({"appArmorProfile": {"type": "Unconfined"}}, None),
        ({"appArmorProfile": {"type": "Localhost", "localhostProfile": "mine"}}, "mine"),
        ({"privileged": True}, None),
        ({"privileged": True, "appArmorProfile": {"type": "RuntimeDefault"}}, None),
    ],
)
def test_apparmor_on_a_node_that_has_it(security: dict[str, Any], expected: str | None) -> None:
    # Source: containerd 2.4, internal/cri/sputil, GenerateApparmorSpecOpts.
    pod, node = pod_of({"securityContext": security}), node_with("2.4.2", apparmor=("mine",))

    assert app(pod, node=node)["process"].get("apparmorProfile") == expected
    assert "apparmorProfile" not in sandbox(pod, node=node)["process"]


def test_an_apparmor_profile_that_is_not_loaded_is_refused() -> None:
    profile = {"type": "Localhost", "localhostProfile": "other"}
    pod = pod_of({"securityContext": {"appArmorProfile": profile}})

    _, message = refusal(pod, node=node_with("2.4.2", apparmor=("mine",)))

    assert message.endswith("apparmor profile not found other")


LIMITS = {"cpu": "500m", "memory": "128Mi"}


@pytest.mark.parametrize(
    ("resources", "group", "score", "cpu", "memory"),
    [
        pytest.param({}, "besteffort-", 1000, {"shares": 2}, {}, id="none"),
        pytest.param(
            {"limits": LIMITS},
            "",
            -997,
            {"shares": 512, "quota": 50000},
            {"limit": 134217728},
            id="limits",
        ),
        pytest.param(
            {"limits": {"memory": "256Mi"}, "requests": {"cpu": "250m", "memory": "128Mi"}},
            "burstable-",
            993,
            {"shares": 256},
            {"limit": 268435456},
            id="requests below limits",
        ),
        pytest.param(
            {"requests": {"cpu": "1m"}}, "burstable-", 999, {"shares": 2}, {}, id="least shares"
        ),
        pytest.param(
            {"limits": {"cpu": "1m"}},
            "burstable-",
            999,
            {"shares": 2, "quota": 1000},
            {},
            id="least quota",
        ),
        pytest.param(
            {"requests": {"memory": "32Gi"}}, "burstable-", 3, {"shares": 2}, {}, id="all memory"
        ),
        pytest.param({"limits": {"cpu": "0"}}, "besteffort-", 1000, {"shares": 2}, {}, id="zero"),
    ],
)
def test_control_groups(
    resources: dict[str, Any],
    group: str,
    score: int,
    cpu: dict[str, int],
    memory: dict[str, int],
) -> None:
    spec = app(pod_of({"resources": resources}))
    found = spec["linux"]["resources"]

    slice_ = f"kubepods-{group}pod{UID.replace('-', '_')}.slice"
    assert spec["linux"]["cgroupsPath"] == f"{slice_}:cri-containerd:id-app"
    assert spec["process"]["oomScoreAdj"] == score
    assert found["cpu"] == {**cpu, "period": 100000}
    assert found["memory"] == memory
    assert found["unified"] == {"memory.oom.group": "1"}


def test_the_sandbox_s_amounts_are_those_of_the_pod_as_it_starts_and_runs() -> None:
    # Source: Kubernetes, sidecar containers: max(sum of main and sidecars, each init with the sidecars before it).
    first = {"name": "i0", "image": REFERENCE, "resources": {"limits": {"cpu": "3"}}}
    sidecar = {
        "name": "i1",
        "image": REFERENCE,
        "restartPolicy": "Always",
        "resources": {"limits": {"cpu": "1", "memory": "1Mi"}},
    }
    last = {"name": "i2", "image": REFERENCE, "resources": {"limits": {"memory": "9Mi"}}}
    main = {"resources": {"limits": {"cpu": "1", "memory": "4Mi"}}}
    spec = {"initContainers": [first, sidecar, last]}

    found = sandbox(pod_of(main, {}, spec=spec))["annotations"]

    assert found["io.kubernetes.cri.sandbox-cpu-shares"] == "3072"
    assert found["io.kubernetes.cri.sandbox-cpu-quota"] == "300000"
    assert found["io.kubernetes.cri.sandbox-memory"] == str(10 * 2**20)


def test_an_amount_of_the_pod_as_a_whole_counts() -> None:
    pod = pod_of(spec={"resources": {"limits": {"cpu": "2", "memory": "8Mi"}}})

    found = sandbox(pod)

    resources = app(pod)["linux"]["resources"]
    assert resources["memory"] == {"limit": 8 * 2**20}
    assert resources["cpu"]["quota"] == 200000
    assert found["annotations"]["io.kubernetes.cri.sandbox-memory"] == str(8 * 2**20)
    assert found["linux"]["cgroupsPath"].startswith("kubepods-pod")


@pytest.mark.parametrize(
    ("spec", "name", "expected"),
    [
        ({}, "web", "web"),
        ({"hostname": "other", "subdomain": "sub"}, "web", "other"),
        ({}, "a" * 70, "a" * 63),
        ({}, "a" * 60 + ".-.b" * 3, "a" * 60),
        (
            {"hostname": "h", "subdomain": "s", "setHostnameAsFQDN": True},
            "web",
            "h.s.default.svc.cluster.local",
        ),
        ({"hostNetwork": True}, "web", None),
    ],
)
def test_the_host_name(spec: dict[str, Any], name: str, expected: str | None) -> None:
    pod = pod_of(spec=spec, name=name)
    node = node_with("2.4.2", hostname="node-1")

    assert sandbox(pod, node=node).get("hostname") == expected
    assert f"HOSTNAME={expected or 'node-1'}" in app(pod, node=node)["process"]["env"]
    assert "hostname" not in app(pod, node=node)


CLUSTER = "default.svc.cluster.local svc.cluster.local cluster.local"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(
            {}, f"search {CLUSTER} corp\nnameserver 10.96.0.10\noptions ndots:5\n", id="cluster"
        ),
        pytest.param(
            {"dnsPolicy": "Default"},
            "search corp\nnameserver 192.0.2.53\nnameserver 192.0.2.54\n",
            id="node",
        ),
        pytest.param(
            {"hostNetwork": True},
            "search corp\nnameserver 192.0.2.53\nnameserver 192.0.2.54\n",
            id="node's network",
        ),
        pytest.param(
            {
                "dnsPolicy": "None",
                "dnsConfig": {
                    "nameservers": ["192.0.2.1"],
                    "searches": ["a.test"],
                    "options": [{"name": "edns0"}],
                },
            },
            "search a.test\nnameserver 192.0.2.1\noptions edns0\n",
            id="pod",
        ),
        pytest.param(
            {"dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}},
            f"search {CLUSTER} corp\nnameserver 10.96.0.10\noptions ndots:2 edns0\n",
            id="an option of the same name",
        ),
        pytest.param(
            {
                "dnsPolicy": "None",
                "dnsConfig": {
                    "nameservers": [
                        "192.0.2.1",
                        "192.0.2.2",
                        "192.0.2.1",
                        "192.0.2.3",
                        "192.0.2.4",
                    ],
                    "searches": ["a" * 254, *(f"{number:02}.test" for number in range(40))],
                },
            },
            f"search {' '.join(f'{number:02}.test' for number in range(31))}\n"
            "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n",
            id="too many",
        ),
    ],
)
def test_resolv_conf(spec: dict[str, Any], expected: str) -> None:
    resolver = Dns(servers=("192.0.2.53", "192.0.2.54"), searches=("corp",))

    found = specified(pod_of(spec=spec), node=node_with("2.4.2", resolver=resolver))

    assert found.resolv_conf == expected


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1", "docker.io/library/nginx:1"),
        (f"ghcr.io/a/b:v1@sha256:{'0' * 64}", f"ghcr.io/a/b@sha256:{'0' * 64}"),
    ],
)
def test_an_image_is_called_as_it_is_stored(image: str, expected: str) -> None:
    # Source: github.com/distribution/reference, ParseDockerRef: a digest takes the tag's place.
    from contrast_tasks.runtime.containerd.annotations import stored_name

    assert stored_name(image) == expected


def test_init_containers_come_first() -> None:
    init = [{"name": "setup", "image": REFERENCE}]

    assert list(specified(pod_of({}, {}, spec={"initContainers": init})).containers) == [
        *("setup", "app", "c1")
    ]


@pytest.mark.parametrize("bent", [{"command": "/bin/app"}, {"tty": "yes"}, {"env": {"A": "1"}}])
def test_a_member_of_another_type_is_an_error(bent: dict[str, Any]) -> None:
    with pytest.raises(DecodeError, match="wanted"):
        specified(pod_of(bent))
