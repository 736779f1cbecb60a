"""The start of a pod on platform local, from `deploy` until it is ready: a redis in namespaces, behind its policy."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from contrast_tasks.local.client import NodeClient
from contrast_tasks.local.isolated.ability import find_ability
from contrast_tasks.local.paths import local_paths
from dev.bench.timing import Measured, environment, python, run
from dev.checkout import ROOT
from dev.others.layout import write_other_images

_REPEATS = 5
_IMAGE = "others/redis:v1"
_BEFORE = "          resources:"
_SETTINGS = """
platform = "local"
sources = ["deployment"]
[images]
layouts = ["others"]
[local]
isolation = "namespaces"
"""
_TASKS = partial(python, "-m", "contrast_tasks")


def measure_pods(folder: Path) -> Iterator[Measured]:
    """Yield the best of several starts of a confidential redis whose policy is in force; nothing without namespaces."""
    if isinstance(find_ability(), str):
        return
    root, env = folder / "pods", environment()
    (root / "deployment").mkdir(parents=True)
    (root / "contrast.toml").write_text(_SETTINGS)
    yaml = root / "deployment" / "redis.yml"
    text = (ROOT / "dev" / "demo" / "redis.yml").read_text()
    yaml.write_text(text)
    write_other_images(root / "others", [_IMAGE])
    client = NodeClient(paths=local_paths(root))
    try:
        run(_TASKS("deploy", "set"), cwd=root, env=env)
        client.wait([], until="ready", timeout_s=60)
        times = []
        for number in range(_REPEATS):
            # Another pod, with another policy, which is in force before it starts.
            variable = f"          env: [{{name: NUMBER, value: '{number}'}}]\n"
            yaml.write_text(text.replace(_BEFORE, variable + _BEFORE))
            run(_TASKS("generate"), cwd=root, env=env)
            run(_TASKS("set"), cwd=root, env=env)
            before = time.perf_counter()
            run(_TASKS("deploy"), cwd=root, env=env)
            client.wait(["cache"], until="ready", timeout_s=60)
            times.append(time.perf_counter() - before)
    finally:
        client.shutdown()
    yield Measured(
        name="local pod: deploy to ready", value=round(min(times), 2), unit="s", budget="1.5 s"
    )
