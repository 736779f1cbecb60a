"""The files of a pod on its node, with the content that its containers read."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.decode import Json
from contrast_tasks.errors import ClusterError
from contrast_tasks.local.isolated.host_files import PodFiles
from contrast_tasks.runtime.drawing import drawn_for
from contrast_tasks.runtime.kubelet.volume_files import Written
from contrast_tasks.runtime.kubelet.volumes import sub_path
from contrast_tasks.runtime.node import Node, Surroundings
from contrast_tasks.runtime.node_files import host_files
from contrast_tasks.runtime.objects import Namespace

OBJECTS = (
    {"kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"a.txt": "one", "b": "two"}},
    {"kind": "Secret", "metadata": {"name": "key"}, "stringData": {"key.pem": "secret"}},
)


class Pod:
    """The files of a pod below a folder; they are written at once."""

    def __init__(self, base: Path, *, claims: Any = None, mounts: Any = (), **spec: Any) -> None:
        containers = [{"name": "app", "image": "app", "volumeMounts": list(mounts)}]
        self.document = {
            "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
            "spec": {"containers": containers, "automountServiceAccountToken": False, **spec},
        }
        self.drawn = drawn_for(self.document).replace(addresses=("10.244.0.4", "fd00::4"))
        around = Surroundings(Namespace(OBJECTS, "default"), Node(), self.drawn)
        written = Written(Json(self.document), around)
        self.files = PodFiles(base, written, claims or {})
        self.files.write(host_files(written, "web-1", "nameserver 10.96.0.10\n"), "web-1", "n\n")
        self.files.lead_parts()

    def volume(self, kind: str, name: str) -> Path:
        folder = f"/var/lib/kubelet/pods/{self.drawn.uid}/volumes/kubernetes.io~{kind}/{name}"
        return self.files.place(folder)


def test_objects_are_written_as_the_kubelet_does_through_a_link(tmp_path: Path) -> None:
    item = [{"key": "key.pem", "path": "tls/key", "mode": 0o400}]
    pod = Pod(
        tmp_path,
        volumes=[
            {"name": "conf", "configMap": {"name": "conf"}},
            {"name": "key", "secret": {"secretName": "key", "items": item}},
            {
                "name": "down",
                "downwardAPI": {
                    "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
                },
            },
        ],
    )

    conf, key = pod.volume("configmap", "conf"), pod.volume("secret", "key")

    assert (conf / "a.txt").read_text() == "one"
    assert (conf / "a.txt").readlink() == Path("..data/a.txt")
    assert (conf / "b").stat().st_mode & 0o777 == 0o644
    assert (key / "tls" / "key").read_text() == "secret"
    assert (key / "tls" / "key").stat().st_mode & 0o777 == 0o400
    assert (pod.volume("downward-api", "down") / "labels").read_text() == 'app="web"'


def test_the_names_of_the_pod_are_in_its_hosts(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    folder = f"/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/{pod.drawn.sandbox_id}"

    hosts = pod.files.place(f"{folder}/hosts").read_text()

    assert hosts.endswith("10.244.0.4\tweb-1\nfd00::4\tweb-1\n")
    assert "127.0.0.1\tlocalhost\n" in hosts
    assert pod.files.place(f"{folder}/hostname").read_text() == "web-1\n"
    assert pod.files.place(f"{folder}/resolv.conf").read_text() == "n\n"
    log = f"/var/lib/kubelet/pods/{pod.drawn.uid}/containers/app/{pod.drawn.termination_log}"
    assert pod.files.place(log).stat().st_mode & 0o777 == 0o666


def test_everybody_may_write_to_an_empty_folder_and_a_claim_is_where_it_always_is(
    tmp_path: Path,
) -> None:
    claim = tmp_path / "claims" / "data"
    claim.mkdir(parents=True)
    pod = Pod(
        tmp_path / "node",
        claims={"data": str(claim)},
        volumes=[
            {"name": "tmp", "emptyDir": {}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        ],
    )

    assert stat.S_IMODE(pod.volume("empty-dir", "tmp").stat().st_mode) == 0o777
    assert pod.volume("csi", "pvc-data/mount") == claim


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_group_of_the_pod_owns_its_volumes(tmp_path: Path) -> None:
    pod = Pod(
        tmp_path,
        securityContext={"fsGroup": 999},
        volumes=[{"name": "tmp", "emptyDir": {}}, {"name": "c", "configMap": {"name": "conf"}}],
    )

    assert pod.volume("empty-dir", "tmp").stat().st_gid == 999
    assert (pod.volume("configmap", "c") / "b").stat().st_gid == 999


def test_a_part_of_a_volume_is_that_of_the_volume_and_made_if_it_is_not_there(
    tmp_path: Path,
) -> None:
    mounts = [
        {"name": "conf", "mountPath": "/etc/a.txt", "subPath": "a.txt"},
        {"name": "tmp", "mountPath": "/data", "subPath": "deep/er"},
    ]
    volumes = [{"name": "conf", "configMap": {"name": "conf"}}, {"name": "tmp", "emptyDir": {}}]
    pod = Pod(tmp_path, mounts=mounts, volumes=volumes)

    first, second = (
        pod.files.place(sub_path(Json(mount), "app", index, pod.drawn))
        for index, mount in enumerate(mounts)
    )

    assert first.read_text() == "one"
    assert second == pod.volume("empty-dir", "tmp") / "deep" / "er"
    assert second.is_dir()


@pytest.mark.parametrize("part", ["../other", "/etc", "a/../../b"])
def test_a_part_outside_of_its_volume_is_refused(tmp_path: Path, part: str) -> None:
    mounts = [{"name": "tmp", "mountPath": "/data", "subPath": part}]

    with pytest.raises(ClusterError, match="leads out of its volume"):
        Pod(tmp_path, mounts=mounts, volumes=[{"name": "tmp", "emptyDir": {}}])
