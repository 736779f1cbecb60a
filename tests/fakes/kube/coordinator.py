"""The Coordinator's resources and pods on an API server: all of our coordinator.yml, with the rights of its Role and no others."""

from pathlib import Path

import yaml

from contrast_tasks.prepare.coordinator import render_coordinator
from contrast_tasks.releases.table import V1_21
from contrast_tasks.settings.components import ComponentSettings
from coordinator.kubernetes.api import Account, Api
from tests.fakes.kube.cluster import NAMESPACES, RUNTIME_CLASSES, Key
from tests.fakes.kube.kinds import kind
from tests.fakes.kube.servers import AnyCluster, AnyServer

NAMESPACE = "shop"
PODS, CONFIG_MAPS, STATEFUL_SETS = kind("Pod"), kind("ConfigMap"), kind("StatefulSet")


def make_coordinator(cluster: AnyCluster, *, replicas: int = 1) -> None:
    """Apply coordinator.yml in a namespace of its own, and create the pods, which are not ready."""
    cluster.create(NAMESPACES, "", {"metadata": {"name": NAMESPACE}})
    cluster.create(
        RUNTIME_CLASSES, "", {"metadata": {"name": "contrast-cc"}, "handler": "contrast-cc"}
    )
    text = render_coordinator(V1_21, ComponentSettings(), replicas=replicas)
    for document in yaml.safe_load_all(text):
        key = Key(kind(document["kind"]), NAMESPACE, document["metadata"]["name"])
        cluster.apply(key, document, manager="test", force=True)
    owner = cluster.get(Key(STATEFUL_SETS, NAMESPACE, "coordinator"))
    template = owner["spec"]["template"]
    for number in range(replicas):
        reference = {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "name": "coordinator",
            "uid": owner["metadata"]["uid"],
        }
        metadata = {
            **template["metadata"],
            "name": f"coordinator-{number}",
            "ownerReferences": [reference],
        }
        cluster.create(PODS, NAMESPACE, {"metadata": metadata, "spec": template["spec"]})


def set_ready(
    cluster: AnyCluster, number: int, *, is_ready: bool, address: str = "127.0.0.1"
) -> None:
    """Let the kubelet tell the state of a pod."""
    status = {
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True" if is_ready else "False"}],
    }
    cluster.set_status(Key(PODS, NAMESPACE, f"coordinator-{number}"), status)


def coordinator_api(server: AnyServer, folder: Path, *, number: int = 0) -> Api:
    """Return the API as a Coordinator's pod reaches it; folder: for token and CA."""
    server.log_in(folder, "coordinator", NAMESPACE)
    return Api(
        Account(url=server.url, folder=folder, namespace=NAMESPACE, pod=f"coordinator-{number}")
    )
