"""The kubelet's part: what it asks of the container runtime for a pod, in CRI's words.

Source: Kubernetes 1.36, pkg/kubelet/kuberuntime. User namespaces, memory QoS, swap and Windows are left out.
"""

from collections.abc import Mapping
from typing import NamedTuple

from contrast_tasks.decode import Json
from contrast_tasks.runtime.cri import ContainerConfig, SandboxConfig
from contrast_tasks.runtime.kubelet import security
from contrast_tasks.runtime.kubelet.dns import pod_dns, pod_hostname
from contrast_tasks.runtime.kubelet.expansion import expand
from contrast_tasks.runtime.kubelet.quantities import containers_of
from contrast_tasks.runtime.kubelet.resources import (
    cgroup_parent,
    container_resources,
    sandbox_resources,
)
from contrast_tasks.runtime.kubelet.variables import container_variables
from contrast_tasks.runtime.kubelet.volumes import container_mounts
from contrast_tasks.runtime.node import Drawn, Image, Node, Surroundings
from contrast_tasks.runtime.objects import (
    child,
    entries,
    flag,
    number,
    strings,
    text,
    texts,
)
from contrast_tasks.runtime.refusals import ContainerRefused


class Asked(NamedTuple):
    """What the kubelet asks of the container runtime for a pod; containers in the order of their start."""

    sandbox: SandboxConfig
    containers: Mapping[str, ContainerConfig | ContainerRefused]


def pod_configs(pod: Json, images: Mapping[str, Image], around: Surroundings) -> Asked:
    """Return what the kubelet asks for an admitted pod."""
    return Asked(
        sandbox_config(pod, around.node, around.drawn),
        {
            text(each, "name"): _container(pod, each, images[text(each, "image")], around)
            for each in containers_of(pod)
        },
    )


def sandbox_config(pod: Json, node: Node, drawn: Drawn) -> SandboxConfig:
    """Return what the kubelet asks for the sandbox."""
    metadata = child(pod, "metadata")
    own = child(pod, "spec", "securityContext")
    name, namespace = text(metadata, "name"), text(metadata, "namespace", "default")
    return SandboxConfig(
        name=name,
        namespace=namespace,
        uid=drawn.uid,
        annotations=strings(metadata, "annotations"),
        hostname=pod_hostname(pod, node),
        dns=pod_dns(pod, node),
        log_directory=f"/var/log/pods/{namespace}_{name}_{drawn.uid}",
        cgroup_parent=cgroup_parent(pod, drawn.uid),
        resources=sandbox_resources(pod),
        sysctls={text(each, "name"): text(each, "value") for each in entries(own, "sysctls")},
        namespaces=security.namespaces(pod),
        privileged=security.is_privileged(pod),
        user=number(own, "runAsUser"),
        group=number(own, "runAsGroup"),
        supplemental_groups=security.supplemental_groups(pod),
    )


def container_config(
    pod: Json, container: Json, image: Image, around: Surroundings
) -> ContainerConfig:
    """Return what the kubelet asks for a container; raises ContainerRefused where it makes none."""
    variables = container_variables(pod, container, around)
    return ContainerConfig(
        name=text(container, "name"),
        image=text(container, "image"),
        command=tuple(expand(word, variables.get) for word in texts(container, "command")),
        args=tuple(expand(word, variables.get) for word in texts(container, "args")),
        working_dir=text(container, "workingDir"),
        env=tuple(variables.items()),
        mounts=container_mounts(pod, container, around.drawn, variables.get),
        tty=flag(container, "tty"),
        stdin=flag(container, "stdin"),
        stdin_once=flag(container, "stdinOnce"),
        resources=container_resources(pod, container, around.node),
        security=security.container_security(pod, container, image, around),
    )


def _container(
    pod: Json, container: Json, image: Image, around: Surroundings
) -> ContainerConfig | ContainerRefused:
    try:
        return container_config(pod, container, image, around)
    except ContainerRefused as err:
        return err
