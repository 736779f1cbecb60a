"""The cost of one workload's policy as it is published: its text from expectations, its document and annotation, by channel."""

import time
from collections.abc import Callable, Iterator
from functools import partial

from contrast_tasks.manifest.policy_document import (
    ANNOTATIONS,
    annotation_of,
    document_in,
    make_document,
)
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.text import render_policy
from contrast_tasks.releases.table import Channel
from dev.bench.timing import Measured
from tests.fakes.policy import emojivoto

_COUNT = 200


def measure_channels() -> Iterator[Measured]:
    """Yield the time to write and to read a policy of the example in each channel; the rules are known by then."""
    data = emojivoto("web")
    for channel in ANNOTATIONS:
        write = partial(_write, data, channel)
        key, value = write()
        yield _best(f"policy: write, {channel}", write, "1 ms")
        yield _best(f"policy: read, {channel}", partial(document_in, {key: value}), "1 ms")


def _write(data: PolicyData, channel: Channel) -> tuple[str, str]:
    return annotation_of(make_document(render_policy(data), channel), channel)


def _best(name: str, action: Callable[[], object], budget: str) -> Measured:
    """Return the milliseconds of the fastest of many calls, since each takes less than one."""
    best = float("inf")
    for _ in range(_COUNT):
        before = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - before)
    return Measured(name=name, value=round(best * 1000, 3), budget=budget)
