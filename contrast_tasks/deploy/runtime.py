"""The Kubernetes resources of a platform's runtime: RuntimeClass and node installer.

Source: docs/internals/runtime.md 1 (memory), 2 (RuntimeClass), 3 (DaemonSet), 4.5 (target configuration);
docs/internals/releases.md 4.
"""

import re
from typing import TYPE_CHECKING

from contrast_tasks import resources
from contrast_tasks.errors import UsageError
from contrast_tasks.node_installer.targets import TARGETS
from contrast_tasks.platforms import HANDLER_PREFIX, Platform
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.releases.table import Release
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
    platform: Platform,
    handler: str,
    release: Release,
    *,
    installer: str,
    snapshotter: str | None,
    target: str = "",
) -> str:
    """Return the YAML of the resources.

    handler: name of the runtime, ending in its release's hash. installer, snapshotter: images with digest; the snapshotter
    is for AKS only. target: the distribution of Kubernetes on the nodes of a metal platform, k3s or rke2. Raises UsageError
    for an argument that does not suit release or platform.
    """
    _check(platform, handler, release, installer, target)
    is_aks = not platform.pulls_in_guest
    if is_aks != (snapshotter is not None):
        wanted = "needs --snapshotter" if is_aks else "has no snapshotter of its own"
        again = f"runtime --installer {installer}{' --snapshotter IMAGE' if is_aks else ''}"
        raise UsageError(
            f"platform {platform.name} {wanted}", hint=f"write it as '{command(again)}'"
        )
    if snapshotter is not None:
        _check_digest("--snapshotter", snapshotter)
    return _render(
        platform,
        handler,
        release,
        target,
        installer=installer,
        snapshotter=snapshotter or "",
        is_removal=False,
    )


def render_uninstall(
    platform: Platform, handler: str, release: Release, *, installer: str, target: str = ""
) -> str:
    """Return the YAML of what removes the runtime from the nodes; arguments and errors as for `render_runtime`.

    installer: our own node installer, for no release of the reference product removes anything. The runtime's resources are
    deleted first, so that nothing starts anew and the installer does not come back.
    """
    _check(platform, handler, release, installer, target)
    return _render(
        platform, handler, release, target, installer=installer, snapshotter="", is_removal=True
    )


def _check(platform: Platform, handler: str, release: Release, installer: str, target: str) -> None:
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
    _check_digest("--installer", installer)
    if target and target not in release.installer.targets:
        known = ", ".join(release.installer.targets) or "none"
        raise UsageError(
            f"--target is {target}, expected one that release {release.name} has: {known}",
            hint="write the ConfigMap contrast-node-installer-target-config yourself, or leave --target out",
        )


def _check_digest(option: str, image: str) -> None:
    if parse_reference(image).digest is None:
        raise UsageError(
            f"{option} is {image}, expected an image with its digest",
            hint="what installs the runtime is root on every node: write NAME@sha256:<digest>",
        )


def _render(
    platform: Platform, handler: str, release: Release, target: str, **more: str | bool
) -> str:
    return _template().render(
        handler=handler,
        release=release.name,
        form=release.installer,
        target=next((each for each in TARGETS if each.name == target), None),
        display=platform.canonical,
        overhead_mib=guest_memory_mib(platform) + _HOST_MIB,
        node_selector="" if platform.pulls_in_guest else _AKS_SELECTOR,
        **more,
    )


def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    # The output is YAML, not HTML; all inserted names and references have been checked.
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701
    return environment.from_string(resources.read_text(TEMPLATE))
