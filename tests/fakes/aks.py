"""A pod on AKS: its policy, and its life as the model of kubelet, containerd and the shim of AKS makes it.

The layers are those of a published image, with their published root hashes (vectors-*.json of the vendor's test data).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from contrast_tasks.agent_messages import Request
from contrast_tasks.decode import Json
from contrast_tasks.policy.derive import derive
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.model import ImageFacts, LayerFacts, Profile
from contrast_tasks.policy.profiles import KATA_AKS
from contrast_tasks.prepare.policy_input import policy_input
from contrast_tasks.runtime.containerd_versions import containerd_version
from contrast_tasks.runtime.host_files import HostFiles
from contrast_tasks.runtime.kubelet.admission import admitted
from contrast_tasks.runtime.kubelet.volume_files import Written
from contrast_tasks.runtime.kubelet.volumes import volume_path
from contrast_tasks.runtime.node import Drawn, Image, Node, Surroundings
from contrast_tasks.runtime.node_files import host_files
from contrast_tasks.runtime.objects import Namespace
from contrast_tasks.runtime.shim.layers import snapshot_mount
from contrast_tasks.runtime.shim.network import Network
from contrast_tasks.runtime.shim.service import Host, ShimService
from contrast_tasks.runtime.shim_versions import shim_version
from contrast_tasks.runtime.specifications import specify

SNAPSHOTS = (
    "/var/lib/containerd/io.containerd.snapshotter.v1.tardev-contrast-cc-aks-clh-snp-7173acb5"
)
STOCK = "/var/lib/containerd/io.containerd.snapshotter.v1.tardev"
GENERATIONS = ("aks-3.2", "aks-3.15")
DIGEST = "sha256:" + "5a" * 32
IMAGE = f"mcr.microsoft.com/aks/e2e/library-busybox:master@{DIGEST}"
SANDBOX, APP = "5a" * 32, "c1" * 32
UID = "31df313a-931f-4979-a405-cc3f3ccb6a56"
SHARED = "/run/kata-containers/shared/containers/"
Named = tuple[str, str]
PAUSE: Named = (
    "5a5aad80055ff20012a50dc25f8df7a29924474324d65f7d5306ee8ee27ff71d",
    "817250f1a3e336da76f5bd3fa784e1b26d959b9c131876815ba2604048b70c18",
)
OTHER_PAUSE: Named = (
    "d03400e24b7df53aa293959a5f6fba82f01e73b996eeb3309c2f7368a259a645",
    "aace8344d84c64b141d4824a9bc42c7f766619cc5efc71072afc7af1dfa66650",
)
UPPER: Named = (
    "2c342a137e693c7898aec36da1047f191dc7c1687e66198adacc439cf4adf379",
    "8568c70c0ccfe0051092e818da769111a59882cd19dd799d3bca5ffa82791080",
)
LOWER: Named = (
    "2570e3a19e1bf20ddda45498a9627f61555d2d6c01479b9b76460b679b27d552",
    "b643b6217748983830b26ac14a35a3322dd528c00963eaadd91ef55f513dc73f",
)
LAYERS = (
    LayerFacts(
        diff_id="sha256:1be74353c3d0fd55fb5638a52953e6f1bc441e5b1710921db9ec2aa202725569",
        root=LOWER[1],
    ),
    LayerFacts(
        diff_id="sha256:84ff92691f909a05b224e1c56abb4864f01b4f8e3c854e4bb4c7baf1d3f6d652",
        root=UPPER[1],
    ),
)
FACTS = ImageFacts(
    reference=IMAGE,
    digest=DIGEST,
    cmd=("sh",),
    env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",),
    layers=LAYERS,
)
POD: dict[str, Any] = yaml.safe_load(f"""
apiVersion: v1
kind: Pod
metadata: {{name: exec-test, namespace: default}}
spec:
  runtimeClassName: contrast-cc
  containers:
  - name: busybox
    image: {IMAGE}
    command: [/bin/sh, -c, "sleep 10"]
    livenessProbe: {{exec: {{command: [test, -e, /cm]}}}}
    volumeMounts:
    - {{name: cm, mountPath: /cm}}
    - {{name: disk, mountPath: /disk}}
  volumes:
  - {{name: cm, configMap: {{name: cm}}}}
  - {{name: disk, emptyDir: {{}}}}
""")
CONFIG_MAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "cm", "namespace": "default"},
    "data": {"key": "value"},
}


class Life(NamedTuple):
    """The requests of a pod by their purpose, in order."""

    requests: tuple[Request, ...]

    def until(self, purpose: str) -> tuple[Request, ...]:
        """Return the requests before the first of a purpose, and that one as the last."""
        for index, each in enumerate(self.requests):
            if each.purpose == purpose:
                return self.requests[: index + 1]
        raise KeyError(purpose)


def policy_data(
    pod: Mapping[str, Any] = POD, *, profile: Profile = KATA_AKS, facts: ImageFacts = FACTS
) -> PolicyData:
    given = policy_input(
        pod, images={IMAGE: facts}, configs={("ConfigMap", "default", "cm"): {"key": "value"}}
    )
    return derive(given, profile)


def life(
    generation: str,
    *,
    pod: Mapping[str, Any] = POD,
    snapshots: str = SNAPSHOTS,
    version: str = "1.1.0-rc.1",
    pause: Named = PAUSE,
    layers: tuple[Named, ...] = (UPPER, LOWER),
) -> Life:
    """Return what a node of AKS asks of its guest from the pod's start to its end.

    In between a probe runs, and the ConfigMap changes.
    """
    drawn = Drawn(uid=UID, sandbox_id=SANDBOX, container_ids={"busybox": APP})
    node = Node(containerd=containerd_version("1.7").replace(oci_version=version))
    image = Image(cmd=FACTS.cmd, env=FACTS.env, passwd="", group="")
    made = specify(pod, {IMAGE: image}, node, drawn, [CONFIG_MAP])
    assert isinstance(made.sandbox, dict)
    app = made.containers["busybox"]
    assert isinstance(app, dict), app
    files, changed = _files(pod, node, drawn, made.sandbox["hostname"], made.resolv_conf)
    host = Host(files=files, network=Network(), resolv_conf=made.resolv_conf)
    shim = ShimService(shim_version(generation), host)
    source = volume_path("configmap", "cm", drawn)
    probe = {**app["process"], "args": ["test", "-e", "/cm"]}
    return Life(
        (
            *shim.create(SANDBOX, made.sandbox, [snapshot_mount([pause], snapshots)]),
            *shim.start(SANDBOX),
            *shim.create(APP, app, [snapshot_mount(layers, snapshots)]),
            *shim.start(APP),
            *shim.execute(APP, "probe", probe),
            *shim.exit(APP, "probe"),
            *shim.changed(source, changed.trees[source]),
            *shim.stats(APP),
            *shim.kill(APP, 15),
            *shim.kill(SANDBOX, 9),
        )
    )


def _files(
    pod: Mapping[str, Any], node: Node, drawn: Drawn, hostname: str, resolv_conf: str
) -> tuple[HostFiles, HostFiles]:
    """Return the files when the pod starts, and after its ConfigMap has changed."""
    later = {**CONFIG_MAP, "data": {"key": "other", "more": "value"}}
    found = []
    for config_map, stamp in (
        (CONFIG_MAP, "..2026_11_30_00_00_00.1"),
        (later, "..2026_11_30_00_09_00.2"),
    ):
        namespace = Namespace([config_map], "default")
        around = Surroundings(namespace, node, drawn.replace(stamp=stamp))
        written = Written(admitted(Json(pod), namespace, drawn), around)
        found.append(host_files(written, hostname, resolv_conf))
    return found[0], found[1]
