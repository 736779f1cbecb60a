"""A node without a kubelet: containerd with a recorder in runc's place, in namespaces of its own.

    unshare --net --mount --pid --fork --kill-child python -m tests.fakes.containerd.node FOLDER

FOLDER has job.json, a `Job`, and images.tar; results.json is written there. Nothing outlives the namespaces: their first
process takes all others with it. /run, /var/lib and /var/log are empty there, so paths are those of a real node.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

import grpc

from tests.fakes.containerd.messages import PACKAGE, SECCOMP_FOLDER, compiled, message

SOCKET = "/run/containerd/containerd.sock"
SANDBOXES = Path("/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes")
DEADLINE_S = 60
AT_ONCE = 4


class Pod(TypedDict):
    """A pod to start; sandbox and containers: members of their CRI messages."""

    name: str
    handler: str
    strict: bool
    sandbox: dict[str, Any]
    containers: dict[str, dict[str, Any]]


class Job(TypedDict):
    """What to run.

    version: of containerd. profiles: seccomp documents by name, devices: kind, major, minor and mode by path; the node
    has them. images: how many the archive has.
    """

    containerd: str
    version: str
    pause: str
    images: int
    profiles: dict[str, Any]
    devices: dict[str, tuple[str, int, int, int]]
    pods: list[Pod]


def main(folder: Path) -> None:
    """Run a job."""
    job: Job = json.loads((folder / "job.json").read_text())
    _prepare(folder, job)
    results: dict[str, Any] = {}
    for strict in (False, True):
        pods = [each for each in job["pods"] if each["strict"] == strict]
        if pods:
            daemon = _containerd(folder, job, strict=strict)
            with daemon as node, ThreadPoolExecutor(AT_ONCE) as workers:
                found = list(workers.map(node.run, pods))
            results |= {pod["name"]: each for pod, each in zip(pods, found, strict=True)}
    (folder / "results.json").write_text(json.dumps(results))


def _prepare(folder: Path, job: Job) -> None:
    for arguments in (
        ["mount", "--make-rprivate", "/"],
        ["mount", "-t", "proc", "proc", "/proc"],
        ["ip", "link", "set", "lo", "up"],
        *(["mount", "-t", "tmpfs", "tmpfs", place] for place in ("/run", "/var/lib", "/var/log")),
        ["mount", "--make-rshared", "/var/lib"],
    ):
        subprocess.run(arguments, check=True)
    # containerd acts as on a node with the unified hierarchy alone.
    if Path("/sys/fs/cgroup/unified").is_dir():
        unified = ["mount", "--bind", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        subprocess.run(unified, check=True)
    for name, profile in job["profiles"].items():
        path = Path(SECCOMP_FOLDER, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(profile))
    for place, (kind, major, minor, mode) in job["devices"].items():
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        how = [f"--mode={mode:o}", place, kind, str(major), str(minor)]
        subprocess.run(["mknod", *how], check=True)
    (folder / "records").mkdir()
    shutil.copy(Path(__file__).with_name("recorder.sh"), folder / "recorder")
    (folder / "recorder").chmod(0o755)
    network = {
        "cniVersion": "0.4.0",
        "name": "net",
        "plugins": [
            {
                "type": "ptp",
                "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.77.0/24"}]]},
            }
        ],
    }
    (folder / "cni").mkdir()
    (folder / "cni/10-net.conflist").write_text(json.dumps(network))


def _settings(folder: Path, job: Job, *, strict: bool) -> str:
    """Return containerd's configuration; what depends on the machine is switched off."""
    new = job["version"].startswith("2.")
    runtime = f"plugins.'{'io.containerd.cri.v1.runtime' if new else 'io.containerd.grpc.v1.cri'}'"
    switch = "true" if strict else "false"
    lines = [
        f"version = {3 if new else 2}",
        f"[{runtime}]",
        "disable_apparmor = true",
        "disable_hugetlb_controller = true",
        f"restrict_oom_score_adj = {switch}",
        *(
            f"{each} = true"
            for each in ("enable_unprivileged_ports", "enable_unprivileged_icmp")
            if strict
        ),
        *([] if new else [f'sandbox_image = "{job["pause"]}"']),
        f"[{runtime}.containerd]",
        *([] if new else ['snapshotter = "native"']),
    ]
    for handler in ("runc", "kata"):
        lines += [
            f"[{runtime}.containerd.runtimes.{handler}]",
            'runtime_type = "io.containerd.runc.v2"',
            *(
                [
                    'pod_annotations = ["io.katacontainers.*"]',
                    "privileged_without_host_devices = true",
                ]
                if handler == "kata"
                else []
            ),
            f"[{runtime}.containerd.runtimes.{handler}.options]",
            f'BinaryName = "{folder / "recorder"}"',
        ]
    lines += [
        f"[{runtime}.cni]",
        f'conf_dir = "{folder / "cni"}"',
        'bin_dirs = ["/usr/lib/cni"]' if new else 'bin_dir = "/usr/lib/cni"',
    ]
    if new:
        images = "plugins.'io.containerd.cri.v1.images'"
        lines += [f"[{images}]", 'snapshotter = "native"']
        lines += [f"[{images}.pinned_images]", f'sandbox = "{job["pause"]}"']
    return "".join(f"{line}\n" for line in lines)


@contextlib.contextmanager
def _containerd(folder: Path, job: Job, *, strict: bool) -> "Iterator[_Node]":
    settings = folder / ("strict.toml" if strict else "default.toml")
    settings.write_text(_settings(folder, job, strict=strict))
    binary = Path(job["containerd"])
    path = f"{binary.parent}:{os.environ['PATH']}"
    with settings.with_suffix(".log").open("wb") as log:
        daemon = subprocess.Popen(
            [binary, "-c", settings], stdout=log, stderr=log, env={**os.environ, "PATH": path}
        )
        try:
            with grpc.insecure_channel(f"unix://{SOCKET}") as channel:
                grpc.channel_ready_future(channel).result(timeout=DEADLINE_S)
                node = _Node(folder, channel)
                node.import_images(binary, job, local=job["version"].startswith("2."))
                yield node
        finally:
            daemon.terminate()
            daemon.wait(DEADLINE_S)


class _Node:
    def __init__(self, folder: Path, channel: grpc.Channel) -> None:
        self._records = folder / "records"
        self._folder = folder
        self._channel = channel
        self._kinds = compiled(folder)

    def import_images(self, binary: Path, job: Job, *, local: bool) -> None:
        """Import the archive, then wait until the interface knows all images: it learns of them by events."""
        how = ["--snapshotter", "native", *(["--local"] if local else [])]
        archive = self._folder / "images.tar"
        command = [binary.with_name("ctr"), "-n", "k8s.io", "images", "import", *how, archive]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + DEADLINE_S
        known: list[Any] = []
        while len(known) < job["images"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"containerd knows {len(known)} of {job['images']} images")
            with contextlib.suppress(grpc.RpcError):
                known = self._call("ImageService/ListImages", {}).images

    def run(self, pod: Pod) -> dict[str, Any]:
        """Start a pod and stop it; return what was recorded, or why nothing was."""
        asked = {"config": pod["sandbox"], "runtime_handler": pod["handler"]}
        try:
            sandbox = self._call("RuntimeService/RunPodSandbox", asked).pod_sandbox_id
        except grpc.RpcError as err:
            return {"sandbox": {"error": err.details()}}
        resolv = SANDBOXES / sandbox / "resolv.conf"
        found = {
            "sandbox": {"id": sandbox, "spec": self._record(sandbox)},
            "pid": (self._records / f"{sandbox}.pid").read_text(),
            "resolv.conf": resolv.read_text() if resolv.is_file() else "",
            "containers": {
                name: self._container(sandbox, pod["sandbox"], members)
                for name, members in pod["containers"].items()
            },
        }
        for verb in ("Stop", "Remove"):
            self._call(f"RuntimeService/{verb}PodSandbox", {"pod_sandbox_id": sandbox})
        return found

    def _container(
        self, sandbox: str, config: dict[str, Any], members: dict[str, Any]
    ) -> dict[str, Any]:
        logs = Path(config["log_directory"], members["metadata"]["name"])
        logs.mkdir(parents=True, exist_ok=True)
        asked = {"pod_sandbox_id": sandbox, "config": members, "sandbox_config": config}
        try:
            identifier = self._call("RuntimeService/CreateContainer", asked).container_id
        except grpc.RpcError as err:
            return {"error": err.details()}
        # The recorder refuses to make it, once it has the specification.
        with contextlib.suppress(grpc.RpcError):
            self._call("RuntimeService/StartContainer", {"container_id": identifier})
        return {"id": identifier, "spec": self._record(identifier)}

    def _record(self, identifier: str) -> Any:
        return json.loads((self._records / f"{identifier}.json").read_text())

    def _call(self, method: str, members: dict[str, Any]) -> Any:
        verb = method.partition("/")[2]
        request, response = self._kinds[f"{verb}Request"], self._kinds[f"{verb}Response"]
        call = self._channel.unary_unary(
            f"/{PACKAGE}.{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return call(message(request, members), timeout=DEADLINE_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
