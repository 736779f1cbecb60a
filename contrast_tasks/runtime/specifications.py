"""From a pod to the OCI specifications of its sandbox and containers: first the kubelet, then containerd.

This is a model of its own of what a node does. It knows nothing of policies, whose expectations are held against it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from contrast_tasks.decode import Json
from contrast_tasks.records import Record
from contrast_tasks.runtime.containerd.container import container_spec
from contrast_tasks.runtime.containerd.sandbox import resolv_conf, sandbox_spec
from contrast_tasks.runtime.cri import SandboxConfig
from contrast_tasks.runtime.kubelet.admission import admitted
from contrast_tasks.runtime.kubelet.configs import container_config, sandbox_config
from contrast_tasks.runtime.kubelet.quantities import containers_of
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
    place = Json(pod)
    namespace = Namespace(objects, text(child(place, "metadata"), "namespace", "default"))
    around = Surroundings(namespace, node, drawn)
    complete = admitted(place, namespace, drawn)
    config = sandbox_config(complete, node, drawn)
    try:
        sandbox = sandbox_spec(config, node, drawn)
    except ContainerRefused as err:
        return PodSpecifications(sandbox=err, containers={}, resolv_conf="")
    return PodSpecifications(
        sandbox=sandbox,
        containers={
            text(each, "name"): _container(
                complete, each, images[text(each, "image")], config, around
            )
            for each in containers_of(complete)
        },
        resolv_conf=resolv_conf(config.dns),
    )


def _container(
    pod: Json, container: Json, image: Image, sandbox: SandboxConfig, around: Surroundings
) -> Spec | ContainerRefused:
    try:
        config = container_config(pod, container, image, around)
        return container_spec(config, sandbox, image, around.node, around.drawn)
    except ContainerRefused as err:
        return err
