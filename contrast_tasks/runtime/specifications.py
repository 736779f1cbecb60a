"""From a pod to the OCI specifications of its sandbox and containers: first the kubelet, then containerd.

This is a model of its own of what a node does. It knows nothing of policies, whose expectations are held against it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from contrast_tasks.decode import Json
from contrast_tasks.records import Record
from contrast_tasks.runtime.containerd.container import container_spec
from contrast_tasks.runtime.containerd.sandbox import resolv_conf, sandbox_spec
from contrast_tasks.runtime.cri import ContainerConfig, SandboxConfig
from contrast_tasks.runtime.kubelet.admission import admitted
from contrast_tasks.runtime.kubelet.configs import Asked, pod_configs
from contrast_tasks.runtime.node import Drawn, Image, Node, Surroundings
from contrast_tasks.runtime.objects import Namespace, child, text
from contrast_tasks.runtime.refusals import ContainerRefused

Spec = dict[str, Any]
"""The content of a config.json; `linux.seccomp` is `default` for containerd's own profile."""


class PodSpecifications(Record):
    """What a node makes of a pod: a specification, or why there is none; containers in the order of their start.

    Without a sandbox there are no containers.
    """

    sandbox: Spec | ContainerRefused
    containers: Mapping[str, Spec | ContainerRefused]
    resolv_conf: str


def specify(
    pod: Mapping[str, Any],
    images: Mapping[str, Image],
    node: Node,
    drawn: Drawn,
    objects: Iterable[Mapping[str, Any]] = (),
) -> PodSpecifications:
    """Return the specifications of a pod.

    pod: the document, with a name. images: by reference as the pod writes it. objects: ConfigMaps, Secrets, Services and
    ServiceAccounts of any namespace. Raises DecodeError for a member of another type than Kubernetes has.
    """
    asked = ask(pod, images, node, drawn, objects)
    try:
        sandbox = sandbox_spec(asked.sandbox, node, drawn)
    except ContainerRefused as err:
        return PodSpecifications(sandbox=err, containers={}, resolv_conf="")
    return PodSpecifications(
        sandbox=sandbox,
        containers={
            name: config
            if isinstance(config, ContainerRefused)
            else _container(config, asked.sandbox, images[config.image], node, drawn)
            for name, config in asked.containers.items()
        },
        resolv_conf=resolv_conf(asked.sandbox.dns),
    )


def ask(
    pod: Mapping[str, Any],
    images: Mapping[str, Image],
    node: Node,
    drawn: Drawn,
    objects: Iterable[Mapping[str, Any]] = (),
) -> Asked:
    """Return what the kubelet asks of containerd for a pod; arguments as in `specify`."""
    place = Json(pod)
    namespace = Namespace(objects, text(child(place, "metadata"), "namespace", "default"))
    around = Surroundings(namespace, node, drawn)
    return pod_configs(admitted(place, namespace, drawn), images, around)


def _container(
    config: ContainerConfig, sandbox: SandboxConfig, image: Image, node: Node, drawn: Drawn
) -> Spec | ContainerRefused:
    try:
        return container_spec(config, sandbox, image, node, drawn)
    except ContainerRefused as err:
        return err
