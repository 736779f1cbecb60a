"""The model of containerd against containerd itself: Debian's, in namespaces of its own, with a recorder in runc's place.

The recorded pods and some more are started by CRI as the model of the kubelet asks for them. CONTAINERD names the binary
of another version, with its shim and ctr beside it.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.runtime.containerd_versions import containerd_version
from contrast_tasks.runtime.node import KATA, KERNEL_CAPABILITIES, RUNC, Device, Drawn, Image, Node
from contrast_tasks.runtime.refusals import ContainerRefused
from contrast_tasks.runtime.specifications import PodSpecifications, specify
from dev.recorded.cases import find_cases
from dev.recorded.differences import differences
from dev.recorded.machine import SECCOMP_PROFILES, host_device
from tests.fakes.containerd.pods import PATH, PAUSE, Real, one, recorded_pod, write_job
from tests.fakes.testdata import RECORDINGS

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("CONTAINERD") or shutil.which("containerd")
ALONE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"]


def _obstacle() -> str:
    """Return why containerd cannot be run here, "" if it can."""
    if PROGRAM is None or shutil.which("runc") is None or not Path("/usr/lib/cni/ptp").exists():
        return "containerd, runc or containernetworking-plugins is not installed (apt packages)"
    if os.geteuid() != 0:
        return "needs root, for namespaces and mounts"
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode != 0:
        return "namespaces cannot be made here"
    if not any(Path("/sys/fs/cgroup", name).exists() for name in ("cgroup.procs", "unified")):
        return "no unified hierarchy of control groups"
    return ""


pytestmark = pytest.mark.e2e


def _mounts(*paths: str, **more: Any) -> dict[str, Any]:
    return {"volumeMounts": [{"name": "v", "mountPath": path, **more} for path in paths]}


VOLUME = {"volumes": [{"name": "v"}]}
PRIVILEGED = {"securityContext": {"privileged": True}}
NULL = (
    "/dev/null",
    Device(path="/dev/mine", kind="c", major=1, minor=3, file_mode=0o666, access="rw"),
)
# What no recording shows.
OWN = {
    each.pod["metadata"]["name"]: each
    for each in (
        one("bare-name-removes", process={"Env": ["PATH", "HOSTNAME", "A", "A=1"]}),
        one("removed-and-set", {"env": [{"name": "PATH", "value": "/x"}]}, process={"Env": ["PATH"]}),
        one("tty-bare-term", {"tty": True}, process={"Env": ["TERM", "=x", ""]}),
        one("dev", _mounts("/dev"), spec=VOLUME),
        one("dev-below", _mounts("/dev/mqueue/", "/dev/pts"), spec=VOLUME),
        one("proc", _mounts("/proc", "/sys/", "/proc/x"), spec=VOLUME),
        one("privileged-sys", {**_mounts("/sys"), **PRIVILEGED}, spec=VOLUME),
        one("root", _mounts("//", "/."), spec=VOLUME),
        one("etc-hosts-slash", _mounts("/etc/hosts/"), spec=VOLUME),
        one("etc-hosts-read-only", {"securityContext": {"readOnlyRootFilesystem": True}}),
        one("rro-volume", _mounts("/d", readOnly=True, recursiveReadOnly="IfPossible"), spec=VOLUME),
        one("volumes", _mounts("/b/c"), process={"Volumes": {"/b/c/": {}, "rel": {}}}, spec=VOLUME),
        one("slave-and-shared", {**_mounts("/s", mountPropagation="HostToContainer"), **PRIVILEGED}, spec=VOLUME),
        one("user-malformed", process={"User": "odd"}, passwd="\n odd \nroot:x:0:0\n", group="e:x:12:odd\nbroken\nz:x:q:odd"),
        one("user-plus", process={"User": "+7:3"}),
        one("user-zeros", process={"User": "007"}, passwd="x:x:7:9\n", group="g:x:5:x,x\n"),
        one("user-colon", process={"User": ":50"}),
        one("user-first-of-two", process={"User": "5"}, passwd="a:x:5:6\nb:x:5:7\n", group="g:x:8:a\nh:x:9:b\n"),
        one("user-named-group", {"securityContext": {"runAsGroup": 77}}, process={"User": "a"}, passwd="a:x:5:6\n", group="a:x:8:a\n"),
        one("user-no-group-file", process={"User": "root"}, group=None),
        one("user-no-passwd-file", passwd=None),
        one("group-alone", spec={"securityContext": {"runAsGroup": 3000}}),
        one("groups-of-the-pod", spec={"securityContext": {"runAsUser": 5, "runAsGroup": 6, "fsGroup": 7, "supplementalGroups": [3, 7]}}),
        one("groups-and-pause", spec={"securityContext": {"fsGroup": 7, "supplementalGroups": [3]}}),
        one("nothing-to-run", process={"Entrypoint": None}),
        one("nothing-but-empty", process={"Entrypoint": [""]}),
        one("empty-and-word", process={"Entrypoint": ["", "x"]}),
        one("host-pid", spec={"hostPID": True}),
        one("all-of-the-host", spec={"hostPID": True, "hostIPC": True, "hostNetwork": True}),
        one("unmasked", {"securityContext": {"procMount": "Unmasked"}}),
        one("apparmor-default", {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}),
        one("apparmor-privileged", {"securityContext": {"privileged": True, "appArmorProfile": {"type": "RuntimeDefault"}}}),
        one("seccomp-localhost", {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "profiles/audit.json"}}}),
        one("seccomp-missing", {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "no.json"}}}),
        one("caps-mixed", {"securityContext": {"capabilities": {"add": ["all", "kill"], "drop": ["Chown", "x"]}}}),
        one("caps-repeated", {"securityContext": {"capabilities": {"add": ["KILL", "SYS_TIME", "sys_time"]}}}),
        one("plugin", devices={"app": [NULL]}),
        one("plugin-privileged", PRIVILEGED, devices={"app": [NULL]}),
        one("sysctl-slash", spec={"securityContext": {"sysctls": [{"name": "net/ipv4/ip_unprivileged_port_start", "value": "9"}]}}, strict=True),
        one("dns-none", spec={"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1", "192.0.2.2"], "options": [{"name": "a", "value": "1"}]}}),
        one("short", reference="own-short:v1", stored="docker.io/library/own-short:v1"),
        one("quota", {"resources": {"limits": {"cpu": "1m", "memory": "1.5Gi"}, "requests": {"memory": "1e9"}}}),
        one("quoted", {"env": [{"name": "Q", "value": "\"'\\<>&\n\t\u0001"}], "args": ["<&>", "\u2028"]}),
    )
}  # fmt: skip
PODS = {case.path.name: recorded_pod(case) for case in find_cases(RECORDINGS)} | OWN


def _version() -> str:
    done = subprocess.run([str(PROGRAM), "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\bv?(\d+\.\d+\.\d+)", done.stdout)
    assert found is not None, done.stdout
    return found[1]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Start every pod; give what was recorded, by the pod's name."""
    obstacle = _obstacle()
    if obstacle:
        pytest.skip(obstacle)
    folder = tmp_path_factory.mktemp("containerd")
    node = Node(containerd=containerd_version(_version()), seccomp_profiles=SECCOMP_PROFILES)
    write_job(folder, PODS.values(), node, program=str(PROGRAM), version=_version())
    done = subprocess.run(
        [*ALONE, sys.executable, "-m", "tests.fakes.containerd.node", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr + _logs(folder)
    found: Mapping[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def _logs(folder: Path) -> str:
    return "".join(path.read_text()[-2000:] for path in folder.glob("*.log"))


def _capabilities() -> tuple[str, ...]:
    """Return what this process has, and so the daemon, which it starts."""
    status = Path("/proc/self/status").read_text()
    effective = int(re.findall(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)[0], 16)
    return tuple(name for bit, name in enumerate(KERNEL_CAPABILITIES) if effective >> bit & 1)


def _node(real: Real, recorded: Mapping[str, Any]) -> Node:
    specs = [each.get("spec", {}) for each in recorded.get("containers", {}).values()]
    listed = next(
        (spec["linux"].get("devices", []) for spec in specs
         if spec and spec["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]),
        [],
    )  # fmt: skip
    return Node(
        containerd=containerd_version(_version()),
        handler={"kata": KATA, "runc": RUNC}[real.handler],
        pause=Image(entrypoint=("/pause",), user="65535:65535", working_dir="/", env=(PATH,)),
        pause_image=PAUSE,
        opens_ports=True if real.strict else None,
        restrict_oom_score=real.strict,
        daemon_oom_score=int(Path("/proc/self/oom_score_adj").read_text()),
        hostname=socket.gethostname(),
        capabilities=_capabilities(),
        devices=tuple(map(host_device, listed)),
        seccomp_profiles=SECCOMP_PROFILES,
    )


def _drawn(real: Real, recorded: Mapping[str, Any]) -> Drawn:
    """Return what this node drew for a pod, as its records tell."""
    content = json.dumps(recorded)
    network = re.search(r"/netns/(cni-[0-9a-f-]+)", content)
    return real.drawn(
        sandbox_id=recorded["sandbox"]["id"],
        container_ids={
            name: each.get("id", "<ID>") for name, each in recorded["containers"].items()
        },
        sandbox_pid=recorded["pid"],
        network_namespace=network[1] if network else "",
    )


def _expected(real: Real, recorded: Mapping[str, Any]) -> PodSpecifications:
    refused = "error" in recorded["sandbox"]
    drawn = real.drawn() if refused else _drawn(real, recorded)
    return specify(real.pod, real.images, _node(real, recorded), drawn, real.objects)


def _plain(spec: Any) -> Any:
    """Return a record with the model's names for what is long or drawn many times."""
    text = re.sub(r"(/volumes/)[0-9a-f]{64}", rf"\g<1>{'0' * 64}", json.dumps(spec))
    found = json.loads(text)
    profile = found["linux"].get("seccomp")
    if profile and len(profile.get("syscalls", ())) > 1:
        found["linux"]["seccomp"] = "default"
    return found


def _same(made: Any, recorded: Mapping[str, Any]) -> Iterator[str]:
    """Yield where what the model made differs from what containerd made."""
    if isinstance(made, ContainerRefused):
        said = re.sub(r"[0-9a-f]{64}", "<ID>", recorded.get("error", "a specification"))
        said = re.sub(r"mount[0-9]{6,}", "mount<N>", said)
        if str(made) != said:
            yield f"refused: found {str(made)!r}, recorded {said!r}"
    elif "error" in recorded:
        yield f"found a specification, recorded {recorded['error']!r}"
    else:
        yield from differences(made, _plain(recorded["spec"]))


@pytest.mark.parametrize("name", PODS)
def test_containerd_makes_of_a_pod_what_the_model_makes(
    name: str, results: Mapping[str, Any]
) -> None:
    real = PODS[name]
    recorded = results[real.pod["metadata"]["name"]]

    expected = _expected(real, recorded)

    assert list(_same(expected.sandbox, recorded["sandbox"])) == []
    found = recorded.get("containers", {})
    assert list(expected.containers) == list(found)
    for each, made in expected.containers.items():
        assert list(_same(made, found[each])) == []
    assert expected.resolv_conf == recorded.get("resolv.conf", "")


def test_many_pods_were_started(results: Mapping[str, Any]) -> None:
    assert len(results) == len(PODS) > 100
