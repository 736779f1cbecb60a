"""The Kubernetes resources of a platform's runtime: RuntimeClass and node installer.

Source: docs/internals/runtime.md 1 (memory), 2 (RuntimeClass), 3 (DaemonSet), 4.5 (target configuration).
"""

import re
from typing import TYPE_CHECKING

from contrast_tasks import resources
from contrast_tasks.errors import UsageError
from contrast_tasks.platforms import HANDLER_PREFIX, Platform
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.report.hints import command

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE = "templates/runtime/runtime.yml"
# Memory of the shim and the virtual machine monitor.
_HOST_MIB = 70 + 100
_AKS_SELECTOR = "kubernetes.azure.com/kata-cc-isolation"


def guest_memory_mib(platform: Platform) -> int:
    """Return the memory that a guest needs on top of its containers' limits."""
    if platform.gpu:
        return 1024
    return 512 if platform.pulls_in_guest else 256


def render_runtime(
    platform: Platform, handler: str, *, installer: str, snapshotter: str | None
) -> str:
    """Return the YAML of the resources.

    handler: name of the runtime, ending in its release's hash. installer, snapshotter: images with digest; the snapshotter
    is for AKS only. Raises UsageError for an argument that does not suit the platform.
    """
    if platform.tee == "simulated":
        raise UsageError(
            "platform local has no runtime, its pods are processes",
            hint="choose the platform of the cluster with --reference-values or in contrast.toml",
        )
    if not re.fullmatch(rf"{HANDLER_PREFIX}{platform.name}-[0-9a-f]{{8}}", handler):
        raise UsageError(
            f"the runtime's name is {handler}, expected {HANDLER_PREFIX}{platform.name}-<8 hex digits>",
            hint="give --handler, or a file of reference values that names the release they are of",
        )
    is_aks = not platform.pulls_in_guest
    if is_aks != (snapshotter is not None):
        wanted = "needs --snapshotter" if is_aks else "has no snapshotter of its own"
        again = f"runtime --installer {installer}{' --snapshotter IMAGE' if is_aks else ''}"
        raise UsageError(
            f"platform {platform.name} {wanted}", hint=f"write it as '{command(again)}'"
        )
    for name, image in (("--installer", installer), ("--snapshotter", snapshotter)):
        if image is not None and parse_reference(image).digest is None:
            raise UsageError(
                f"{name} is {image}, expected an image with its digest",
                hint="what installs the runtime is root on every node: write NAME@sha256:<digest>",
            )
    return _template().render(
        handler=handler,
        display=platform.canonical,
        overhead_mib=guest_memory_mib(platform) + _HOST_MIB,
        node_selector=_AKS_SELECTOR if is_aks else "",
        installer=installer,
        snapshotter=snapshotter or "",
    )


def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    # The output is YAML, not HTML; all inserted names and references have been checked.
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701
    return environment.from_string(resources.read_text(TEMPLATE))
