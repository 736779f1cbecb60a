"""What does not work yet, by release and platform: the reason and the way out of each.

`lint` and `generate` refuse it, and docs/reference/platforms.md lists it. Source: docs/internals/releases.md 4; docs/internals/policy.md 4.13, 5.
"""

from collections.abc import Callable
from typing import Literal

from contrast_tasks.platforms import PLATFORMS, Platform
from contrast_tasks.records import Record
from contrast_tasks.releases.table import RELEASES, Release


class Refusal(Record):
    """Something that a deployment may ask for and that does not work.

    feature: the subject of a sentence that ends in `does not work`. hint: the way out. platforms: where it does not work.
    of: whose injected containers do not do it, "" for either. is_in: whether it holds for a release.
    """

    name: str
    feature: str
    reason: str
    hint: str
    platforms: tuple[str, ...]
    of: Literal["", "tool", "reference product"] = ""
    is_in: Callable[[Release], bool] = lambda _: True

    def holds(self, release: Release, platform: str, *, are_reference: bool) -> bool:
        """Return whether it is refused; are_reference: the injected containers are those of the reference product."""
        containers = "reference product" if are_reference else "tool"
        return platform in self.platforms and self.of in ("", containers) and self.is_in(release)

    def message(self, release_name: str, platform: str) -> str:
        """Return what is wrong, with release and platform."""
        return (
            f"{self.feature} does not work on platform {platform} with release {release_name}:"
            f" {self.reason}"
        )


def _names(is_meant: Callable[[Platform], bool]) -> tuple[str, ...]:
    return tuple(each.name for each in PLATFORMS if is_meant(each))


_GPU_PLATFORMS = tuple(
    name
    for name in _names(lambda each: each.gpu)
    if any(name in row.platforms and not row.has_guest_hooks for row in RELEASES)
)

HOOKS = Refusal(
    name="guest-hooks",
    feature="a pod",
    reason="its runtime names a folder of hooks in the guest, and policies refuse hooks",
    hint=f"choose {' or '.join(_GPU_PLATFORMS)}, with a later release of the runtime",
    platforms=_names(lambda each: each.gpu),
    is_in=lambda release: release.has_guest_hooks,
)
SIMULATED = Refusal(
    name="reference-containers",
    feature="a pod with the reference product's containers",
    reason="they ask a processor for evidence, and on this machine one is simulated",
    hint="remove their images from [components]",
    platforms=_names(lambda each: each.tee == "simulated"),
    of="reference product",
)
VOLUMES = Refusal(
    name="encrypted-volume",
    feature="an encrypted volume with this tool's initializer",
    reason="it is opened with device-mapper, which the kernel of this machine may lack and a process may not use",
    hint="remove the annotation secure-pv or encrypted_claims, or set platform to a cluster's",
    platforms=_names(lambda each: each.tee == "simulated"),
    of="tool",
)
GPUS = Refusal(
    name="gpus",
    feature="a pod with a GPU",
    reason="the runtime of this platform passes no GPU into the guest",
    hint=f"set platform to {' or '.join(_GPU_PLATFORMS)}, or remove the limit",
    platforms=_names(lambda each: each.tee != "simulated" and not each.gpu),
)
CDI = Refusal(
    name="cdi-annotations",
    feature="a CDI annotation of a pod",
    reason="the runtime passes it on to the guest, where policies allow only those that the runtime makes itself",
    hint="remove the annotation; limits such as nvidia.com/pgpu alone ask for GPUs",
    platforms=_names(lambda each: each.gpu),
)

SEVERAL_COORDINATORS = "no release of the runtime accepts a manifest with several Coordinators"

PROJECT: tuple[Refusal, ...] = (HOOKS, SIMULATED)
"""What holds for every pod of a project."""
REFUSALS: tuple[Refusal, ...] = (*PROJECT, VOLUMES, GPUS, CDI)
