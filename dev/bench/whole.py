"""Whole images of our components: seconds to make all three with the packages at hand, and their size."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from contrast_tasks.files import cache_folder
from contrast_tasks.images.base.downloads import Downloads
from contrast_tasks.images.pack import write_layout
from contrast_tasks.images.whole import Assembly, component_plans
from dev.bench.timing import Measured
from dev.others.layout import fetched


def measure_whole_images() -> Iterator[Measured]:
    """Yield seconds, the MiB of each image, and those that a pod with all three holds; downloads do not count."""
    with Downloads(cache_folder(os.environ) / "packages") as downloads:
        assembly = Assembly(downloads)
        plans = fetched(assembly, component_plans())
        before = time.perf_counter()
        images = [assembly.make(plan, plan.recipe.reference).packed for plan in plans]
        with tempfile.TemporaryDirectory() as folder:
            write_layout(Path(folder), images)
            seconds = time.perf_counter() - before
    yield Measured(name="images: make all components", value=round(seconds, 1), unit="s")
    for image in images:
        name = image.reference.rpartition("/")[2].partition(":")[0]
        size = sum(map(len, image.blobs.values()))
        yield Measured(name=f"images: {name}", value=round(size / 2**20, 1), unit="MiB")
    blobs = {digest: len(blob) for image in images for digest, blob in image.blobs.items()}
    size = sum(blobs.values())
    yield Measured(name="images: all, shared layers once", value=round(size / 2**20, 1), unit="MiB")
