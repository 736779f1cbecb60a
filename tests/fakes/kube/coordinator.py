"""The Coordinator's StatefulSet and pods on the fake API server, with the rights of our template's Role and no others."""

from pathlib import Path
from typing import Any

import yaml

from contrast_tasks.prepare.coordinator import render_coordinator
from contrast_tasks.releases.table import V1_21
from contrast_tasks.settings.components import ComponentSettings
from coordinator.kubernetes.api import Account as PodAccount
from coordinator.kubernetes.api import Api
from tests.fakes.kube.cluster import NAMESPACES, Cluster, Key
from tests.fakes.kube.kinds import RESOURCES
from tests.fakes.kube.server import Account, KubeServer

NAMESPACE = "shop"
TOKEN = "coordinator-token"  # of the fake
PODS = next(each for each in RESOURCES if each.kind == "Pod")
CONFIG_MAPS = next(each for each in RESOURCES if each.kind == "ConfigMap")
STATEFUL_SETS = next(each for each in RESOURCES if each.kind == "StatefulSet")


def make_coordinator(cluster: Cluster, *, replicas: int = 1) -> None:
    """Create namespace, StatefulSet and pods; the pods are not ready."""
    cluster.create(NAMESPACES, "", {"metadata": {"name": NAMESPACE}})
    owner = cluster.create(STATEFUL_SETS, NAMESPACE, {"metadata": {"name": "coordinator"}})
    for number in range(replicas):
        reference = {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "name": "coordinator",
            "uid": owner["metadata"]["uid"],
        }
        metadata = {
            "name": f"coordinator-{number}",
            "labels": {"app.kubernetes.io/name": "coordinator"},
            "annotations": {"contrast.edgeless.systems/pod-role": "coordinator"},
            "ownerReferences": [reference],
        }
        cluster.create(PODS, NAMESPACE, {"metadata": metadata})


def set_ready(cluster: Cluster, number: int, *, is_ready: bool, address: str = "127.0.0.1") -> None:
    """Let the kubelet tell the state of a pod."""
    status = {
        "podIP": address,
        "conditions": [{"type": "Ready", "status": "True" if is_ready else "False"}],
    }
    key = Key(PODS, NAMESPACE, f"coordinator-{number}")
    cluster.patch(key, lambda live: {**live, "status": status})


def role() -> list[dict[str, Any]]:
    """Return the rules of our coordinator.yml."""
    documents = yaml.safe_load_all(render_coordinator(V1_21, ComponentSettings(), image_mib=0))
    rules: list[dict[str, Any]] = next(one["rules"] for one in documents if one["kind"] == "Role")
    return rules


def coordinator_api(server: KubeServer, folder: Path, *, number: int = 0) -> Api:
    """Return the API as a Coordinator's pod reaches it; folder: for token and CA."""
    account = Account("coordinator", NAMESPACE, role())
    server.write_account(folder, account, token=TOKEN)
    return Api(
        PodAccount(url=server.url, folder=folder, namespace=NAMESPACE, pod=f"coordinator-{number}")
    )
