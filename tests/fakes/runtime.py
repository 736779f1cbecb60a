"""A pod of one container on a node, as short as a test can say it."""

from collections.abc import Mapping, Sequence
from typing import Any

from contrast_tasks.runtime.containerd_versions import containerd_version
from contrast_tasks.runtime.node import Drawn, Image, Node
from contrast_tasks.runtime.refusals import ContainerRefused
from contrast_tasks.runtime.specifications import PodSpecifications, Spec, specify

UID = "31df313a-931f-4979-a405-cc3f3ccb6a56"
REFERENCE = "registry.test/app:v1"
IMAGE = Image(entrypoint=("/bin/app",))
VERSIONS = ("1.6.20", "1.7.29", "2.4.2")


def node_with(version: str, **members: Any) -> Node:
    return Node(containerd=containerd_version(version), **members)


def pod_of(
    container: Mapping[str, Any] | None = None,
    *others: Mapping[str, Any],
    spec: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """Return a pod named `web`, whose containers are called app, c1, c2 and so on unless they say otherwise."""
    named = [
        {"name": f"c{index}" if index else "app", "image": REFERENCE, **each}
        for index, each in enumerate((container or {}, *others))
    ]
    return {"metadata": {"name": "web", **metadata}, "spec": {**(spec or {}), "containers": named}}


def specified(
    pod: Mapping[str, Any],
    *,
    image: Image = IMAGE,
    node: Node | None = None,
    objects: Sequence[Mapping[str, Any]] = (),
    **drawn: Any,
) -> PodSpecifications:
    spec = pod["spec"]
    names = [each["name"] for each in (*spec.get("initContainers", ()), *spec["containers"])]
    identity = Drawn(
        uid=UID, sandbox_id="5a", container_ids={name: f"id-{name}" for name in names}, **drawn
    )
    return specify(pod, {REFERENCE: image}, node or Node(), identity, objects)


def app(pod: Mapping[str, Any], **more: Any) -> Spec:
    """Return the specification of the container `app`."""
    found = specified(pod, **more).containers["app"]
    assert not isinstance(found, ContainerRefused), found
    return found


def sandbox(pod: Mapping[str, Any], **more: Any) -> Spec:
    """Return the specification of the sandbox."""
    found = specified(pod, **more).sandbox
    assert not isinstance(found, ContainerRefused), found
    return found


def refusal(pod: Mapping[str, Any], **more: Any) -> tuple[str, str]:
    """Return who refuses to make the container `app`, and the message."""
    found = specified(pod, **more).containers["app"]
    assert isinstance(found, ContainerRefused)
    return found.by, str(found)
