"""CreateContainer: what a host might change in a request, each with the code of its denial (docs/internals/policy.md 9.3)."""

from collections.abc import Callable
from typing import Any

import pytest

from contrast_tasks.policy.engine import ENGINES, Decision, PolicyEngine
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.text import render_policy
from tests.fakes.policy import (
    OTHER_DIGEST,
    bent,
    one_container,
    policy_of,
    rich,
    set_state,
    walk,
    walked,
    web,
)

Change = Callable[[dict[str, Any]], dict[str, Any]]
ANNOTATIONS = "OCI/Annotations/"
CRI = "OCI/Annotations/io.kubernetes.cri."


def yes(path: str) -> Change:
    return to(path, value=True)


def no(path: str) -> Change:
    return to(path, value=False)


def to(path: str, value: Any) -> Change:
    return lambda request: bent(request, path, value)


def without(path: str) -> Change:
    def change(request: dict[str, Any]) -> dict[str, Any]:
        *parents, last = path.split("/")
        changed = bent(request, path, None)
        place: Any = changed
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place[part]
        del place[int(last) if isinstance(place, list) else last]
        return changed

    return change


def mount_of(destination: str, field: str, value: Any) -> Change:
    def change(request: dict[str, Any]) -> dict[str, Any]:
        mounts = [m["destination"] for m in request["OCI"]["Mounts"]]
        return bent(request, f"OCI/Mounts/{mounts.index(destination)}/{field}", value)

    return change


def mounts(edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Change:
    return lambda request: bent(request, "OCI/Mounts", edit(list(request["OCI"]["Mounts"])))


def env(edit: Callable[[list[str]], list[str]]) -> Change:
    return lambda request: bent(
        request, "OCI/Process/Env", edit(list(request["OCI"]["Process"]["Env"]))
    )


def plus_env(entry: str) -> Change:
    return env(lambda entries: [*entries, entry])


def in_env(name: str, entry: str) -> Change:
    return env(lambda entries: [entry if e.startswith(f"{name}=") else e for e in entries])


def options_of_pull(edit: Callable[[str], str]) -> Change:
    return lambda request: bent(
        request, "storages/0/driver_options", [edit(request["storages"][0]["driver_options"][0])]
    )


def hosts_source(request: dict[str, Any]) -> str:
    return str(
        next(m["source"] for m in request["OCI"]["Mounts"] if m["destination"] == "/etc/hosts")
    )


EXTRA_MOUNT = {"destination": "/etc", "source": "/run", "type_": "bind", "options": ["rbind", "rw"]}
VOLUME = {
    "driver": "ephemeral",
    "driver_options": [],
    "source": "tmpfs",
    "fstype": "tmpfs",
    "options": [],
    "mount_point": "/run/kata-containers/sandbox/ephemeral/other",
    "fs_group": None,
    "shared": False,
}
MAIN: list[tuple[str, str, Change]] = [
    ("N01 unknown name", "E_SELECT", to(CRI + "container-name", "other")),
    ("N01 no name", "E_TYPE", without(CRI + "container-name")),
    ("N02 another's name", "E_ARGS", to(CRI + "container-name", "contrast-service-mesh")),
    ("N03 sandbox", "E_TYPE", to(CRI + "container-type", "sandbox")),
    (
        "N03 sandbox for the agent",
        "E_TYPE",
        to(ANNOTATIONS + "io.katacontainers.pkg.oci.container_type", "pod_sandbox"),
    ),
    ("N04 no image", "E_IMG_COUNT", to("storages", [])),
    ("N05 two images", "E_IMG_COUNT", lambda r: bent(r, "storages/+", r["storages"][0])),
    (
        "N06 other digest",
        "E_IMG_REF",
        lambda r: bent(
            r,
            "storages/0/source",
            r["storages"][0]["source"].partition("@")[0] + "@" + OTHER_DIGEST,
        ),
    ),
    (
        "N07 other repository",
        "E_IMG_REF",
        lambda r: bent(
            r, "storages/0/source", "evil.example/x@" + r["storages"][0]["source"].partition("@")[2]
        ),
    ),
    ("N08 tag only", "E_IMG_REF", to("storages/0/source", "docker.io/buoyantio/emojivoto-web:v11")),
    ("N08 pause image", "E_IMG_REF", to("storages/0/source", "pause")),
    (
        "N09 metadata of a sandbox",
        "E_IMG_OPTS",
        options_of_pull(lambda o: o.replace('"container"', '"sandbox"')),
    ),
    (
        "N09 metadata of another",
        "E_IMG_OPTS",
        options_of_pull(lambda o: o.replace('"web-svc"', '"other"')),
    ),
    (
        "N09 metadata twice",
        "E_IMG_OPTS",
        options_of_pull(
            lambda o: o.replace("}}", ',"io.kubernetes.cri.container-type":"sandbox"}}')
        ),
    ),
    (
        "N09 metadata with escapes",
        "E_IMG_OPTS",
        options_of_pull(
            lambda o: o.replace("}}", ',"io.kubernetes.cri.container\\u002dtype":"sandbox"}}')
        ),
    ),
    (
        "N09 metadata of another runtime",
        "E_IMG_OPTS",
        options_of_pull(
            lambda o: o.replace("}}", ',"io.kubernetes.cri-o.ContainerType":"sandbox"}}')
        ),
    ),
    (
        "N09 metadata beside its object",
        "E_IMG_OPTS",
        options_of_pull(lambda o: o.replace(":{", ':{"a":"b"},"z":{', 1)),
    ),
    (
        "N09 metadata in an object of it",
        "E_IMG_OPTS",
        options_of_pull(lambda o: o.replace(":{", ':{"a":{', 1) + "}"),
    ),
    (
        "N09 something after the metadata",
        "E_IMG_OPTS",
        options_of_pull(lambda o: o.removesuffix("}") + ',"a":"b"}'),
    ),
    (
        "N09 metadata without type",
        "E_IMG_OPTS",
        to("storages/0/driver_options", ['image_guest_pull={"metadata":{"a":"b"}}']),
    ),
    ("N09 other option", "E_IMG_OPTS", to("storages/0/driver_options", ["volume_name=x"])),
    ("N09 second option", "E_IMG_OPTS", lambda r: bent(r, "storages/0/driver_options/+", "x=y")),
    (
        "N10 image elsewhere",
        "E_IMG_MOUNT",
        to("storages/0/mount_point", "/run/kata-containers/other/rootfs"),
    ),
    ("N11 fstype", "E_IMG_OPTS", to("storages/0/fstype", "ext4")),
    ("N11 options", "E_IMG_OPTS", to("storages/0/options", ["upperdir=/run"])),
    (
        "N11 fs_group",
        "E_IMG_OPTS",
        to("storages/0/fs_group", {"group_id": 0, "group_change_policy": 0}),
    ),
    ("N11 shared", "E_IMG_OPTS", yes("storages/0/shared")),
    (
        "N12 root prefix",
        "E_ROOT_PATH",
        lambda r: bent(r, "OCI/Root/Path", "/tmp" + r["OCI"]["Root"]["Path"]),
    ),
    (
        "N12 root suffix",
        "E_ROOT_PATH",
        lambda r: bent(r, "OCI/Root/Path", r["OCI"]["Root"]["Path"] + "/.."),
    ),
    (
        "N12 shared directory",
        "E_ROOT_PATH",
        lambda r: bent(
            r, "OCI/Root/Path", f"/run/kata-containers/shared/containers/{r['container_id']}/rootfs"
        ),
    ),
    ("N13 root read-only", "E_ROOT_RO", yes("OCI/Root/Readonly")),
    ("N20 argument changed", "E_ARGS", to("OCI/Process/Args/0", "/bin/sh")),
    ("N20 argument added", "E_ARGS", to("OCI/Process/Args/+", "-c")),
    ("N20 no argument", "E_ARGS", to("OCI/Process/Args", [])),
    ("N22 unknown variable", "E_ENV", plus_env("EVIL=1")),
    ("N23 other value", "E_ENV", in_env("WEB_PORT", "WEB_PORT=9090")),
    ("N24 duplicate", "E_ENV", plus_env("WEB_PORT=8080")),
    ("N24 again in its place", "E_ENV", env(lambda e: [*e[:2], "PATH=/usr/bin", *e[2:]])),
    ("N24 other order of runtime and image", "E_ENV", env(lambda e: [e[1], e[0], *e[2:]])),
    ("N24 duplicate with other value", "E_ENV", plus_env("WEB_PORT=9090")),
    ("N25 missing", "E_ENV", env(lambda e: [x for x in e if not x.startswith("WEB_PORT")])),
    ("N25 none at all", "E_ENV", to("OCI/Process/Env", [])),
    ("N26 LD_PRELOAD", "E_ENV", plus_env("LD_PRELOAD=/x.so")),
    ("N26 PATH", "E_ENV", in_env("PATH", "PATH=/evil")),
    ("N27 newline", "E_ENV", plus_env("X_SERVICE_HOST=10.0.0.1\nLD_PRELOAD=x")),
    ("N27 second equals sign", "E_ENV", plus_env("X_SERVICE_PORT=80=80")),
    ("N27 shell characters", "E_ENV", plus_env("X_SERVICE_HOST=$(id)")),
    ("N27 lower-case name", "E_ENV", plus_env("x_SERVICE_HOST=10.0.0.1")),
    ("N22 no equals sign", "E_ENV", plus_env("WEB_PORT")),
    ("N22 empty", "E_ENV", plus_env("")),
    ("N22 empty name", "E_ENV", plus_env("=x")),
    ("N28 variable of a Service", "E_ENV", in_env("WEB_PORT", "WEB_PORT=tcp://10.0.0.1:80")),
    ("N28 beside the pod's", "E_ENV", plus_env("WEB_PORT=tcp://10.0.0.1:80")),
    ("N30 directory", "E_CWD", to("OCI/Process/Cwd", "/tmp")),
    ("N31 uid", "E_USER", to("OCI/Process/User/UID", 1)),
    ("N31 gid", "E_USER", to("OCI/Process/User/GID", 1)),
    ("N31 group added", "E_USER", to("OCI/Process/User/AdditionalGids", [0, 5])),
    ("N31 group removed", "E_USER", to("OCI/Process/User/AdditionalGids", [])),
    ("N31 user name", "E_USER", to("OCI/Process/User/Username", "root")),
    (
        "N31 string user",
        "E_USER",
        to("string_user", {"uid": "0", "gid": "0", "additionalGids": []}),
    ),
    ("N32 capability added", "E_CAPS", to("OCI/Process/Capabilities/Effective/+", "CAP_SYS_ADMIN")),
    ("N32 capability removed", "E_CAPS", to("OCI/Process/Capabilities/Permitted", [])),
    ("N32 ambient", "E_CAPS", to("OCI/Process/Capabilities/Ambient", ["CAP_KILL"])),
    ("N32 inheritable", "E_CAPS", to("OCI/Process/Capabilities/Inheritable", ["CAP_KILL"])),
    ("N32 none", "E_CAPS", to("OCI/Process/Capabilities", None)),
    ("N33 no new privileges", "E_NNP", yes("OCI/Process/NoNewPrivileges")),
    ("N34 terminal", "E_TTY", yes("OCI/Process/Terminal")),
    ("N34 console", "E_TTY", to("OCI/Process/ConsoleSize", {"Height": 1, "Width": 1})),
    ("N35 SELinux", "E_LSM", to("OCI/Process/SelinuxLabel", "a:b:c")),
    (
        "N36 rlimits",
        "E_RLIMITS",
        to("OCI/Process/Rlimits", [{"Type": "RLIMIT_CORE", "Hard": 1, "Soft": 1}]),
    ),
    ("N37 stdin", "E_STDIO", to("stdin_port", 5)),
    ("N37 stdout", "E_STDIO", to("stdout_port", 5)),
    ("N37 stderr", "E_STDIO", to("stderr_port", 5)),
    ("N40 mount added", "E_MOUNT_EXTRA", to("OCI/Mounts/+", EXTRA_MOUNT)),
    ("N41 mount twice", "E_MOUNT_DUP", lambda r: bent(r, "OCI/Mounts/+", r["OCI"]["Mounts"][0])),
    (
        "N42 mount missing",
        "E_MOUNT_MISSING",
        mounts(lambda m: [x for x in m if x["destination"] != "/contrast"]),
    ),
    ("N42 no mount", "E_MOUNT_MISSING", to("OCI/Mounts", [])),
    ("N43 source /", "E_MOUNT_SRC", mount_of("/contrast", "source", "/")),
    ("N43 source /run", "E_MOUNT_SRC", mount_of("/etc/hosts", "source", "/run")),
    (
        "N43 another volume",
        "E_MOUNT_SRC",
        mount_of("/contrast", "source", "/run/kata-containers/sandbox/ephemeral/x"),
    ),
    (
        "N43 another container's rootfs",
        "E_MOUNT_SRC",
        mount_of("/contrast", "source", "/run/kata-containers/" + "a" * 64 + "/rootfs"),
    ),
    (
        "N43 another container's file",
        "E_MOUNT_SRC",
        lambda r: mount_of(
            "/etc/hosts", "source", hosts_source(r).replace(r["container_id"], "a" * 64)
        )(r),
    ),
    (
        "N43 another file",
        "E_MOUNT_SRC",
        lambda r: mount_of("/etc/hosts", "source", hosts_source(r) + "name")(r),
    ),
    (
        "N43 path upwards",
        "E_MOUNT_SRC",
        lambda r: mount_of("/etc/hosts", "source", hosts_source(r) + "/../../../..")(r),
    ),
    (
        "N44 read-write",
        "E_MOUNT_OPTS",
        mount_of(
            "/var/run/secrets/kubernetes.io/serviceaccount", "options", ["rbind", "rprivate", "rw"]
        ),
    ),
    ("N44 noexec dropped", "E_MOUNT_OPTS", mount_of("/proc", "options", ["nosuid", "nodev"])),
    (
        "N44 propagation",
        "E_MOUNT_OPTS",
        mount_of("/contrast", "options", ["rbind", "rshared", "rw"]),
    ),
    (
        "N44 option added",
        "E_MOUNT_OPTS",
        mount_of(
            "/sys/fs/cgroup",
            "options",
            ["nosuid", "noexec", "nodev", "relatime", "ro", "memory_hugetlb"],
        ),
    ),
    ("N45 type", "E_MOUNT_TYPE", mount_of("/proc", "type_", "bind")),
    ("N46 trailing slash", "E_MOUNT_EXTRA", mount_of("/contrast", "destination", "/contrast/")),
    ("N46 double slash", "E_MOUNT_EXTRA", mount_of("/contrast", "destination", "//contrast")),
    ("N46 path upwards", "E_MOUNT_EXTRA", mount_of("/contrast", "destination", "/contrast/../etc")),
    ("reordered mounts", "E_MOUNT_ORDER", mounts(lambda m: list(reversed(m)))),
    ("N47 unknown storage", "E_STORAGE", to("storages/+", {**VOLUME, "driver": "nfs"})),
    ("N47 storage added", "E_STORAGE", to("storages/+", VOLUME)),
    ("N47 storage twice", "E_STORAGE", lambda r: bent(r, "storages/+", r["storages"][1])),
    (
        "N47 storage on the root",
        "E_STORAGE",
        lambda r: bent(r, "storages/+", {**VOLUME, "mount_point": r["OCI"]["Root"]["Path"]}),
    ),
    (
        "N47 storage without driver",
        "E_STORAGE",
        lambda r: bent(r, "storages/+", {"mount_point": "/"}),
    ),
    ("N47 storage missing", "E_STORAGE", lambda r: bent(r, "storages", r["storages"][:1])),
    ("N47 storage options", "E_STORAGE", to("storages/1/options", ["exec"])),
    ("N47 storage source", "E_STORAGE", to("storages/1/source", "/dev/vda")),
    (
        "N49 fs_group",
        "E_STORAGE",
        to("storages/1/fs_group", {"group_id": 5, "group_change_policy": 0}),
    ),
    (
        "N50 device",
        "E_DEVICE",
        to(
            "devices/+",
            {
                "id": "d",
                "type_": "blk",
                "vm_path": "",
                "container_path": "/dev/evil",
                "options": [],
            },
        ),
    ),
    (
        "N51 device node",
        "E_DEVICE",
        to("OCI/Linux/Devices", [{"Path": "/dev/mem", "Type": "c", "Major": 1, "Minor": 1}]),
    ),
    (
        "N53 shared mounts",
        "E_SHARED_MOUNTS",
        to(
            "shared_mounts",
            [{"name": "x", "src_ctr": "a", "src_path": "/", "dst_ctr": "b", "dst_path": "/"}],
        ),
    ),
    ("N60 hooks", "E_HOOKS", to("OCI/Hooks", {"Prestart": [{"Path": "/bin/sh"}]})),
    ("N60 empty hooks", "E_HOOKS", to("OCI/Hooks", {})),
    (
        "N61 pid namespace",
        "E_NAMESPACES",
        to("OCI/Linux/Namespaces/+", {"Type": "pid", "Path": ""}),
    ),
    (
        "N61 user namespace",
        "E_NAMESPACES",
        to("OCI/Linux/Namespaces/+", {"Type": "user", "Path": ""}),
    ),
    ("N61 path", "E_NAMESPACES", to("OCI/Linux/Namespaces/0/Path", "/proc/1/ns/ipc")),
    (
        "N61 cgroup path",
        "E_NAMESPACES",
        to("OCI/Linux/Namespaces/+", {"Type": "cgroup", "Path": "/x"}),
    ),
    ("N61 missing", "E_NAMESPACES", without("OCI/Linux/Namespaces/1")),
    ("N61 twice", "E_NAMESPACES", to("OCI/Linux/Namespaces/+", {"Type": "ipc", "Path": ""})),
    (
        "N61 twice by alias",
        "E_NAMESPACES",
        to("OCI/Linux/Namespaces/+", {"Type": "mnt", "Path": ""}),
    ),
    (
        "N62 network namespace of its own",
        "E_NETNS",
        to("OCI/Linux/Namespaces/+", {"Type": "network", "Path": ""}),
    ),
    ("hostname of another pod", "E_HOSTNAME", to("OCI/Hostname", "other")),
    (
        "last words elsewhere",
        "E_ANNOTATION",
        to(ANNOTATIONS + "io.kubernetes.container.terminationMessagePath", "/../x"),
    ),
    (
        "N62 network namespace",
        "E_NETNS",
        to("OCI/Linux/Namespaces/+", {"Type": "network", "Path": "/run/netns/x"}),
    ),
    ("N63 masked path", "E_MASKED", without("OCI/Linux/MaskedPaths/1")),
    ("N63 own file masked", "E_MASKED", to("OCI/Linux/MaskedPaths/+", "/contrast/tls-config")),
    ("N63 upwards", "E_MASKED", to("OCI/Linux/MaskedPaths/+", "/proc/../contrast")),
    ("N63 all of proc", "E_MASKED", to("OCI/Linux/MaskedPaths/+", "/proc/")),
    ("N63 proc", "E_MASKED", to("OCI/Linux/MaskedPaths/+", "/proc")),
    ("N63 relative", "E_MASKED", to("OCI/Linux/MaskedPaths/+", "contrast")),
    ("N63 no path", "E_MASKED", to("OCI/Linux/MaskedPaths/+", None)),
    ("N64 read-only path", "E_READONLY", without("OCI/Linux/ReadonlyPaths/0")),
    ("N63 by way of a process", "E_MASKED", to("OCI/Linux/MaskedPaths/+", "/proc/self/root/x")),
    ("N63 by its number", "E_MASKED", to("OCI/Linux/MaskedPaths/+", "/proc/1/root/x")),
    ("N63 by its thread", "E_MASKED", to("OCI/Linux/MaskedPaths/+", "/proc/thread-self/root/x")),
    ("N63 unknown", "E_MASKED", to("OCI/Linux/MaskedPaths/+", "/proc/cpuinfo")),
    ("N63 twice", "E_MASKED", to("OCI/Linux/MaskedPaths/+", "/proc/kcore")),
    ("N64 unknown", "E_READONLY", to("OCI/Linux/ReadonlyPaths/+", "/proc/latency_stats")),
    ("N64 own file read-only", "E_READONLY", to("OCI/Linux/ReadonlyPaths/+", "/srv")),
    ("N65 unknown sysctl", "E_SYSCTL", to("OCI/Linux/Sysctl/kernel.core_pattern", "|/bin/sh")),
    ("N65 other value", "E_SYSCTL", to("OCI/Linux/Sysctl/net.ipv4.ping_group_range", "0 0")),
    (
        "N66 uid mapping",
        "E_IDMAP",
        to("OCI/Linux/UIDMappings", [{"HostID": 0, "ContainerID": 0, "Size": 1}]),
    ),
    (
        "N66 gid mapping",
        "E_IDMAP",
        to("OCI/Linux/GIDMappings", [{"HostID": 0, "ContainerID": 0, "Size": 1}]),
    ),
    ("N67 seccomp", "E_LINUX", to("OCI/Linux/Seccomp", {})),
    ("N67 rdt", "E_LINUX", to("OCI/Linux/IntelRdt", {})),
    ("N67 mount label", "E_LINUX", to("OCI/Linux/MountLabel", "x")),
    ("N67 propagation", "E_PROPAGATION", to("OCI/Linux/RootfsPropagation", "rshared")),
    ("N68 device rules", "E_RESOURCES", to("OCI/Linux/Resources/Devices", [{"Allow": True}])),
    ("N68 pids", "E_RESOURCES", to("OCI/Linux/Resources/Pids", {"Limit": 1})),
    ("N69 cgroup path", "E_CGROUP", to("OCI/Linux/CgroupsPath", "/kubepods/../../x")),
    ("N70 pid sharing", "E_PIDNS", yes("sandbox_pidns")),
    (
        "N71 unknown annotation",
        "E_ANNOTATION",
        to(ANNOTATIONS + "io.katacontainers.config.agent.trace", "1"),
    ),
    ("N71 unknown CRI annotation", "E_ANNOTATION", to(CRI + "other", "1")),
    (
        "N72 bundle",
        "E_ANNOTATION",
        to(ANNOTATIONS + "io.katacontainers.pkg.oci.bundle_path", "/run/x"),
    ),
    ("N72 uid", "E_ANNOTATION", to(CRI + "sandbox-uid", "x")),
    (
        "N72 termination policy",
        "E_ANNOTATION",
        to(ANNOTATIONS + "io.kubernetes.container.terminationMessagePolicy", "x"),
    ),
    (
        "N72 sandbox's annotation",
        "E_ANNOTATION",
        to(ANNOTATIONS + "nerdctl~1network-namespace".replace("~1", "~1"), "x"),
    ),
    ("N72 uid missing", "E_ANNOTATION", without(CRI + "sandbox-uid")),
    ("N73 other pod's name", "E_POD_NAME", to(CRI + "sandbox-name", "other")),
    (
        "N73 another pod of the same set",
        "E_POD_NAME",
        to(CRI + "sandbox-name", "web-6c9d7f8b54-zzzzz"),
    ),
    ("N74 namespace", "E_POD_NAMESPACE", to(CRI + "sandbox-namespace", "other")),
    ("N75 sandbox", "E_SANDBOX_ID", to(CRI + "sandbox-id", "b" * 64)),
    (
        "N75 uid of another pod",
        "E_SANDBOX_ID",
        to(CRI + "sandbox-uid", "00000000-0000-0000-0000-000000000000"),
    ),
    ("N85 empty id", "E_ID", to("container_id", "")),
    ("N85 slash", "E_ID", to("container_id", "a/b")),
    ("N85 tilde", "E_ID", to("container_id", "a~1b")),
    ("N85 long", "E_ID", to("container_id", "a" * 129)),
    ("N85 exec id", "E_ID", to("exec_id", "other")),
    ("host name", "E_HOSTNAME", to("OCI/Hostname", "Evil Host")),
    ("version", "E_VERSION", to("OCI/Version", "2.0")),
    ("windows", "E_OS", to("OCI/Windows", {})),
    ("solaris", "E_OS", to("OCI/Solaris", {})),
]
RICH: list[tuple[str, str, Change]] = [
    (
        "N20 argument order",
        "E_ARGS",
        lambda r: bent(r, "OCI/Process/Args", list(reversed(r["OCI"]["Process"]["Args"]))),
    ),
    ("N21 smuggled expansion", "E_ARGS", to("OCI/Process/Args/1", "--ip=10.0.0.7 --evil")),
    ("N21 another expansion", "E_ARGS", to("OCI/Process/Args/3", "here")),
    ("N23 address", "E_ENV", in_env("POD_IP", "POD_IP=evil.example")),
    ("N23 namespace", "E_ENV", in_env("POD_NS", "POD_NS=other")),
    ("N23 uid", "E_ENV", in_env("POD_UID", "POD_UID=00000000-0000-0000-0000-000000000000")),
    ("N23 number", "E_ENV", in_env("CPUS", "CPUS=2; evil")),
    ("N25 pattern missing", "E_ENV", env(lambda e: [x for x in e if not x.startswith("POD_IP")])),
    ("N22 optional variable from nowhere", "E_ENV", plus_env("MAYBE=x")),
    ("N13 root read-write", "E_ROOT_RO", no("OCI/Root/Readonly")),
    ("N33 new privileges", "E_NNP", no("OCI/Process/NoNewPrivileges")),
    (
        "N42 configuration missing",
        "E_MOUNT_MISSING",
        mounts(lambda m: [x for x in m if x["destination"] != "/etc/settings"]),
    ),
    (
        "N43 directory of another volume",
        "E_MOUNT_SRC",
        mount_of(
            "/scratch", "source", "/run/kata-containers/shared/containers/x/rootfs/local/scratch"
        ),
    ),
    (
        "N44 writable configuration",
        "E_MOUNT_OPTS",
        mount_of("/etc/settings", "options", ["rbind", "rprivate", "rw"]),
    ),
    (
        "hidden mount",
        "E_MOUNT_ORDER",
        mounts(lambda m: sorted(m, key=lambda x: -len(x["destination"]))),
    ),
    ("N50 device missing", "E_DEVICE", to("devices", [])),
    ("N50 device twice", "E_DEVICE", lambda r: bent(r, "devices/+", r["devices"][0])),
    ("N50 device type", "E_DEVICE", to("devices/0/type_", "vfio-pci")),
    ("N50 device by its path in the guest", "E_DEVICE", to("devices/0/type_", "mmioblk")),
    ("N51 character device", "E_DEVICE", to("OCI/Linux/Devices/0/Type", "c")),
    ("N70 pids not shared", "E_PIDNS", no("sandbox_pidns")),
    ("N31 fsGroup missing", "E_USER", to("OCI/Process/User/AdditionalGids", [1000])),
]
PAUSE: list[tuple[str, str, Change]] = [
    ("N03 container", "E_TYPE", to(CRI + "container-type", "container")),
    ("a name", "E_SELECT", to(CRI + "container-name", "pause")),
    ("an empty name", "E_ANNOTATION", to(CRI + "container-name", "")),
    ("N12 other id", "E_SANDBOX_ID", to(CRI + "sandbox-id", "b" * 64)),
    ("N13 root read-write", "E_ROOT_RO", no("OCI/Root/Readonly")),
    ("N20 other program", "E_ARGS", to("OCI/Process/Args", ["/bin/sh"])),
    ("N22 service variable", "E_ENV", plus_env("X_SERVICE_HOST=10.0.0.1")),
    ("N22 empty variable", "E_ENV", plus_env("")),
    ("N31 uid", "E_USER", to("OCI/Process/User/UID", 0)),
    ("N33 new privileges", "E_NNP", no("OCI/Process/NoNewPrivileges")),
    ("N40 token", "E_MOUNT_EXTRA", to("OCI/Mounts/+", EXTRA_MOUNT)),
    ("N61 no uts", "E_NAMESPACES", without("OCI/Linux/Namespaces/2")),
    (
        "N72 log directory",
        "E_ANNOTATION",
        to(
            CRI + "sandbox-log-directory",
            "/var/log/pods/../x_y_31df313a-931f-4979-a405-cc3f3ccb6a56",
        ),
    ),
    (
        "N72 log directory of another",
        "E_ANNOTATION",
        to(
            CRI + "sandbox-log-directory",
            "/var/log/pods/default_other_31df313a-931f-4979-a405-cc3f3ccb6a56",
        ),
    ),
    (
        "N72 network namespace",
        "E_ANNOTATION",
        to(ANNOTATIONS + "nerdctl~1network-namespace", "/proc/1/ns/net"),
    ),
    ("N06 real image", "E_IMG_REF", to("storages/0/source", "docker.io/library/pause:3.6")),
    (
        "N09 metadata beside its object",
        "E_IMG_OPTS",
        options_of_pull(lambda o: o.replace(":{", ':{"a":"b"},"z":{', 1)),
    ),
]


def _cases(table: list[tuple[str, str, Change]]) -> Any:
    return pytest.mark.parametrize(
        ("code", "change"), [pytest.param(c, f, id=n) for n, c, f in table]
    )


class Ready:
    """A guest that has done everything up to one request."""

    def __init__(self, policy: bytes, data: PolicyData, purpose: str, engine: str) -> None:
        self.guest = PolicyEngine(policy, engine=engine)
        known = {policy_of(name): name for name in ("web", "rich")}
        steps = walked(known[policy]) if policy in known else walk(data, policy)
        self.request, self.state = next(step for step in steps if step[0].purpose == purpose)
        set_state(self.guest, self.state)
        self.input = dict(self.request.input)

    def ask(self, changed: dict[str, Any]) -> Decision:
        decision = self.guest.ask(self.request.kind, changed)
        if decision.allowed:
            set_state(self.guest, self.state)
        return decision


@pytest.fixture(scope="module", params=ENGINES)
def main(request: pytest.FixtureRequest) -> Ready:
    return Ready(policy_of("web"), web(), "create web-svc", request.param)


@pytest.fixture(scope="module", params=ENGINES)
def full(request: pytest.FixtureRequest) -> Ready:
    return Ready(policy_of("rich"), rich(), "create app", request.param)


@pytest.fixture(scope="module", params=ENGINES)
def pause(request: pytest.FixtureRequest) -> Ready:
    return Ready(policy_of("web"), web(), "create pause", request.param)


@pytest.mark.first(40)
@_cases(MAIN)
def test_a_changed_request_for_a_container_is_denied(
    main: Ready, code: str, change: Change
) -> None:
    decision = main.ask(change(main.input))

    assert not decision.allowed
    assert code in decision.codes


@pytest.mark.first(8)
@_cases(RICH)
def test_a_changed_request_for_a_full_container_is_denied(
    full: Ready, code: str, change: Change
) -> None:
    decision = full.ask(change(full.input))

    assert not decision.allowed
    assert code in decision.codes


@_cases(PAUSE)
def test_a_changed_request_for_the_pause_container_is_denied(
    pause: Ready, code: str, change: Change
) -> None:
    decision = pause.ask(change(pause.input))

    assert not decision.allowed
    assert code in decision.codes


@pytest.mark.parametrize(
    ("change", "denial"),
    [
        (plus_env("LD_PRELOAD=/secret"), "codes=E_ENV(LD_PRELOAD)"),
        (plus_env("=\n"), "codes=E_ENV(?)"),
        (to("OCI/Mounts/+", EXTRA_MOUNT), "codes=E_MOUNT_EXTRA(/etc)"),
        (to("OCI/Process/Cwd", "/secret"), "codes=E_CWD"),
        (to(CRI + "container-name", "<script>"), "container=?"),
        (
            env(lambda e: [*e, *(f"VARIABLE_NUMBER_{i}=x" for i in range(100))]),
            "codes=E_ENV(VARIABLE_NUMBER_0",
        ),
    ],
)
def test_a_denial_is_one_short_line_without_values(
    main: Ready, change: Change, denial: str
) -> None:
    (line,) = main.ask(change(main.input)).prints

    text = line[line.index("DENY") :]
    assert text.startswith("DENY CreateContainerRequest container=")
    assert denial in text
    assert "secret" not in text
    assert len(text.encode()) <= 400


def test_variables_of_the_mesh_are_not_accepted_for_the_application(main: Ready) -> None:
    decision = main.ask(plus_env("CONTRAST_INGRESS_PROXY_CONFIG=")(main.input))

    assert decision.codes["E_ENV"] == ("CONTRAST_INGRESS_PROXY_CONFIG",)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_service_variable_may_not_stand_for_a_defined_name(engine: str) -> None:
    data = one_container('env: [{name: DB_SERVICE_HOST, value: "10.9.9.9"}]')
    ready = Ready(render_policy(data), data, "create app", engine)

    decision = ready.ask(in_env("DB_SERVICE_HOST", "DB_SERVICE_HOST=10.0.0.1")(ready.input))

    assert decision.codes == {"E_ENV": ("DB_SERVICE_HOST",)}


@pytest.mark.parametrize("engine", ENGINES)
def test_service_variables_are_denied_without_service_links(engine: str) -> None:
    data = one_container("", pod="enableServiceLinks: false")
    ready = Ready(render_policy(data), data, "create app", engine)

    decision = ready.ask(plus_env("DB_SERVICE_HOST=10.0.0.1")(ready.input))

    assert decision.codes == {"E_ENV": ("DB_SERVICE_HOST",)}


@pytest.mark.parametrize(
    "change",
    [
        plus_env("DB_SERVICE_HOST=10.0.0.1"),
        plus_env("DB_PORT_5432_TCP=tcp://10.0.0.1:5432"),
        to("storages/0/driver_options", []),
        to("OCI/Version", "1.2.1"),
        to("OCI/Process/ApparmorProfile", ""),
        to("OCI/Process/OOMScoreAdj", -998),
        to("OCI/Linux/Resources/Memory", None),
        to("OCI/Linux/CgroupsPath", "/kubepods/besteffort/pod1/x"),
        to("OCI/Linux/Sysctl", {}),
        to("OCI/Linux/Namespaces/+", {"Type": "cgroup", "Path": ""}),
        to("OCI/Linux/Namespaces/2/Type", "mnt"),
        without("OCI/Linux/MaskedPaths/2"),
        to("OCI/Linux/MaskedPaths/+", "/sys/devices/system/cpu/cpu7/thermal_throttle"),
        lambda r: bent(
            r,
            "OCI/Linux",
            {
                **r["OCI"]["Linux"],
                "ReadonlyPaths": ["/proc/asound", *r["OCI"]["Linux"]["ReadonlyPaths"]],
                "MaskedPaths": [
                    path for path in r["OCI"]["Linux"]["MaskedPaths"] if path != "/proc/asound"
                ],
            },
        ),
        mount_of(
            "/sys/fs/cgroup",
            "options",
            ["nosuid", "noexec", "nodev", "relatime", "ro", "nsdelegate"],
        ),
        lambda r: mount_of(
            "/etc/hosts",
            "source",
            hosts_source(r).replace(
                "shared/containers/", "shared/containers/passthrough/watchable/"
            ),
        )(r),
        lambda r: bent(
            r,
            "OCI/Process/Capabilities",
            {
                **r["OCI"]["Process"]["Capabilities"],
                "Effective": [
                    c.removeprefix("CAP_") for c in r["OCI"]["Process"]["Capabilities"]["Effective"]
                ],
            },
        ),
        lambda r: bent(
            r,
            "storages/0/source",
            "docker.io/buoyantio/emojivoto-web@" + r["storages"][0]["source"].partition("@")[2],
        ),
        lambda r: bent(
            bent(r, "storages/0/driver_options", []),
            ANNOTATIONS + "io.kubernetes.container.terminationMessagePath",
            "/dev/termination-log",
        ),
        to("storages/0/options", []),
    ],
)
def test_what_other_runtimes_send_is_allowed(main: Ready, change: Change) -> None:
    decision = main.ask(change(main.input))

    assert decision.codes == {}
    assert decision.allowed
