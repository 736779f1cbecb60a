"""Annotations of a specification (docs/internals/policy.md 6)."""

import re
from collections.abc import Mapping

from contrast_tasks.pods.references import parse_reference
from contrast_tasks.runtime.cri import ContainerConfig, SandboxConfig
from contrast_tasks.runtime.node import Drawn, Node

_PREFIX = "io.kubernetes.cri."


def sandbox_annotations(config: SandboxConfig, node: Node, drawn: Drawn) -> dict[str, str]:
    """Return the annotations of the sandbox; containerd's own cannot be forwarded ones."""
    resources = config.resources
    own = {
        "container-type": "sandbox",
        "sandbox-cpu-period": str(resources.cpu_period),
        "sandbox-cpu-quota": str(resources.cpu_quota),
        "sandbox-cpu-shares": str(resources.cpu_shares),
        "sandbox-log-directory": config.log_directory,
        "sandbox-memory": str(resources.memory_bytes),
        **_identity(config, drawn),
    }
    if node.containerd.names_pause_image:
        own["podsandbox.image-name"] = node.pause_image
    return _together(config, node, own)


def container_annotations(
    config: ContainerConfig, sandbox: SandboxConfig, node: Node, drawn: Drawn
) -> dict[str, str]:
    """Return the annotations of a container; forwarded ones of the pod are among them."""
    own = {
        "container-name": config.name,
        "container-type": "container",
        "image-name": stored_name(config.image),
        **_identity(sandbox, drawn),
    }
    return _together(sandbox, node, own)


def stored_name(reference: str) -> str:
    """Return the name under which an image is stored: the full spelling, without the tag if there is a digest."""
    parsed = parse_reference(reference)
    return (parsed.replace(tag=None) if parsed.digest else parsed).canonical


def _identity(config: SandboxConfig, drawn: Drawn) -> dict[str, str]:
    return {
        "sandbox-id": drawn.sandbox_id,
        "sandbox-name": config.name,
        "sandbox-namespace": config.namespace,
        "sandbox-uid": config.uid,
    }


def _together(config: SandboxConfig, node: Node, own: Mapping[str, str]) -> dict[str, str]:
    patterns = [
        re.compile(re.escape(pattern).replace(r"\*", "[^/]*")) for pattern in node.handler.forwarded
    ]
    forwarded = {
        name: value
        for name, value in config.annotations.items()
        if any(pattern.fullmatch(name) for pattern in patterns)
    }
    return forwarded | {f"{_PREFIX}{name}": value for name, value in own.items()}
