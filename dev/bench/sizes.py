"""What 10, 1,000 and 10,000 policies cost: set and verify against a Coordinator process with a file store, and its memory.

Reading the YAML of the deployment, which takes most of the time of `set`, stands by itself.
"""

import gc
import hashlib
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar
from unittest.mock import patch

from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.cli.main import GC_THRESHOLD
from contrast_tasks.client import set as set_client
from contrast_tasks.client.before_set import read_deployed
from contrast_tasks.client.set import run_set
from contrast_tasks.client.verify import run_verify
from contrast_tasks.manifest.codec import render_manifest
from contrast_tasks.manifest.keys import generate_workload_owner, workload_owner_hex
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.manifest.policy_document import annotation_of, make_document
from contrast_tasks.manifest.reference_values import defaults_for
from contrast_tasks.policy.text import render_policy
from contrast_tasks.releases.table import V1_21
from contrast_tasks.settings.load import load_settings
from dev.bench.attested import Running, running_coordinator
from dev.bench.timing import Measured
from tests.fakes.policy import web

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_COUNTS = (10, 1_000, 10_000)
_PER_FILE = 100
_DIGEST = re.compile(rb"[0-9a-f]{64}")
_SETTINGS = f'platform = "local"\nsources = ["deployment"]\nruntime.release = "{V1_21.name}"\n'
_WORKLOAD = """\
apiVersion: apps/v1
kind: {kind}
metadata:
  name: {name}
spec:
  template:
    metadata:
      annotations:
        contrast.edgeless.systems/pod-role: '{role}'
        {key}: {value}
    spec:
      runtimeClassName: contrast-cc
      containers:
        - name: {name}
          image: example/{name}
"""


def measure_sizes(folder: Path) -> Iterator[Measured]:
    """Yield the seconds of set and verify by the number of policies, and the memory of the Coordinator."""
    before = gc.get_threshold()
    # As the commands do.
    gc.set_threshold(GC_THRESHOLD)
    try:
        for count in _COUNTS:
            yield from _measure(folder / f"of-{count}", count)
    finally:
        gc.set_threshold(*before)


def _measure(folder: Path, count: int) -> Iterator[Measured]:
    processor = SimulatedProcessor.load_or_create(folder / "processor")
    root = folder / "project"
    coordinator_hex = _write_project(root, count, processor.root_sha256_hex)
    settings = load_settings(root, environ={})
    what, budget = f"{count} policies", "5 s" if count == 10_000 else ""  # the goal
    with running_coordinator(folder, "state", host_data=coordinator_hex) as running:
        address = f"127.0.0.1:{running.user}"

        def put() -> None:
            run_set(settings, say=_quiet, coordinator=address)

        def verify() -> None:
            run_verify(settings, say=_quiet, coordinator=address)

        reading = _Watch(running)
        with patch.object(set_client, "read_deployed", reading.of(read_deployed)):
            for name, call in (
                ("set", put),
                ("verify", verify),
                ("verify again", verify),
                ("set again", put),
            ):
                whole = _Watch(running)
                reading.clear()
                whole.of(call)()
                if call is put:
                    yield from _lines(f"{name}: {what}, reading YAML", reading)
                    whole.less(reading)
                yield from _lines(f"{name}: {what}", whole, budget)
        yield Measured(
            name=f"Coordinator: {what}",
            value=round(running.memory_kib() / 1024, 1),
            unit="MiB",
            budget="120 MiB" if count <= 1_000 else "",  # the goal is for a thousand
        )


class _Watch:
    """How many seconds calls took, and how much processor time they and the Coordinator spent."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.took_s = self.spent_s = 0.0

    def less(self, other: "_Watch") -> None:
        """Take off what a part of the calls took."""
        self.took_s -= other.took_s
        self.spent_s -= other.spent_s

    def of(self, call: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """Return the call, watched."""

        def watched(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            began, before_s = time.perf_counter(), self._processor_s()
            try:
                return call(*args, **kwargs)
            finally:
                self.took_s += time.perf_counter() - began
                self.spent_s += self._processor_s() - before_s

        return watched

    def _processor_s(self) -> float:
        return time.process_time() + self._running.processor_s()


def _lines(name: str, watch: _Watch, budget: str = "") -> Iterator[Measured]:
    yield Measured(name=name, value=round(watch.took_s, 3), unit="s", budget=budget)
    yield Measured(name=f"{name}, processor", value=round(watch.spent_s, 3), unit="s")


def _quiet(_line: str) -> None:
    pass


def _write_project(root: Path, count: int, local_root_sha256_hex: str) -> str:
    """Write annotated YAML and a manifest as generate does, and return the policy hash of the Coordinator.

    Policies differ in names and in all digests, as those of real workloads do.
    """
    noise = random.Random(count)  # only has to be incompressible
    policy = render_policy(web())
    names = [ROLE_COORDINATOR, *(f"svc-{number}" for number in range(count))]
    entries: dict[str, PolicyEntry] = {}
    texts: list[str] = []
    for name in names:
        own = policy.replace(b"web-svc", name.encode())
        own = _DIGEST.sub(lambda _: noise.randbytes(32).hex().encode(), own)
        document = make_document(own, V1_21.channel)
        key, value = annotation_of(document, V1_21.channel)
        role = name if name == ROLE_COORDINATOR else ""
        kind = "StatefulSet" if role else "Deployment"
        texts.append(_WORKLOAD.format(kind=kind, name=name, role=role, key=key, value=value))
        secret = "" if role else f"apps/v1/Deployment/default/{name}"
        entry = PolicyEntry(sans=(name, "*"), workload_secret_id=secret, role=role)
        entries[hashlib.sha256(document).hexdigest()] = entry
    deployed = root / "build" / "deployment"
    deployed.mkdir(parents=True)
    for start in range(0, len(texts), _PER_FILE):
        text = "---\n".join(texts[start : start + _PER_FILE])
        (deployed / f"{start}.yml").write_text(text)
    (root / "contrast.toml").write_text(_SETTINGS)
    (root / ".contrast").mkdir()
    owner = generate_workload_owner()
    (root / "workload-owner.pem").write_bytes(owner)
    manifest = Manifest(
        policies=entries,
        reference_values=defaults_for("local", local_root_sha256_hex=local_root_sha256_hex),
        workload_owner_pub_keys=(workload_owner_hex(owner),),
        seedshare_owner_pub_keys=(),
    )
    (root / "manifest.json").write_bytes(render_manifest(manifest, V1_21.manifest))
    return next(iter(entries))
