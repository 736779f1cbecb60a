"""The cost of one workload in the manifest: its entry written, and validated, by release; the whole has a thousand."""

import hashlib
import time
from collections.abc import Callable, Iterator
from functools import partial

from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.manifest.codec import check_manifest, render_manifest
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.manifest.reference_values import defaults_for
from contrast_tasks.releases.table import V1_9, V1_21, Release
from dev.bench.timing import REPEATS, Measured

_WORKLOADS = 1000
_PLATFORM = "metal-qemu-snp"


def measure_manifests() -> Iterator[Measured]:
    """Yield the milliseconds per workload to write and to validate the manifest of the oldest and the newest release."""
    for release in (V1_9, V1_21):
        manifest = _manifest(release)
        content = render_manifest(manifest, release.manifest)
        write = partial(render_manifest, manifest, release.manifest)
        yield _best(f"manifest: write, {release.name}", write)
        yield _best(
            f"manifest: validate, {release.name}", partial(check_manifest, content, release=release)
        )


def _manifest(release: Release) -> Manifest:
    policies = {
        hashlib.sha256(f"{number}".encode()).hexdigest(): PolicyEntry(
            sans=(f"web-{number}", "*"),
            workload_secret_id=f"apps/v1/Deployment/default/web-{number}",
            role="" if number else ROLE_COORDINATOR,
        )
        for number in range(_WORKLOADS)
    }
    values = defaults_for(_PLATFORM, release=release)
    return Manifest(policies=policies, reference_values=values)


def _best(name: str, action: Callable[[], object]) -> Measured:
    best = float("inf")
    for _ in range(REPEATS):
        before = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - before)
    return Measured(name=name, value=round(best * 1000 / _WORKLOADS, 4), budget="1 ms")
