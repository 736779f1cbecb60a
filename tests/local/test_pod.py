"""What a pod says of itself, with a sandbox that runs nothing; and the end of a node that is told twice."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contrast_tasks.local.client import NodeClient
from contrast_tasks.local.messages import ContainerPlan, PodPlan, Probe
from contrast_tasks.local.paths import local_paths
from contrast_tasks.local.pod import RunningPod
from contrast_tasks.progress import Progress, unseen

ASKED = Probe(kind="exec", command=("cat", "/ready"))


class Sandbox:
    """Containers that run for ever, and a probe that never succeeds."""

    hidden = ()

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def start(self, plan: ContainerPlan) -> Any:
        async def stop(*_: object) -> None:
            pass

        exited = asyncio.get_running_loop().create_future()
        return SimpleNamespace(plan=plan, pid=1, exited=exited, stop=stop)

    async def execute(self, _plan: ContainerPlan, _command: tuple[str, ...]) -> int:
        self.asked.set()
        return 1


def test_a_running_pod_tells_which_readiness_probe_it_does_not_pass(tmp_path: Path) -> None:
    main = ContainerPlan(name="app", role="main", argv=(), env={}, working_dir="", readiness=ASKED)
    plan = PodPlan(
        name="web",
        workload="Deployment/web",
        role="",
        address="127.0.0.1",
        restart_policy="Always",
        grace_s=0.0,
        listens=(),
        folders=(),
        policy="",
        policy_sha256="",
        containers=(main,),
    )

    async def status() -> tuple[str, str]:
        sandbox: Any = Sandbox()
        pod = RunningPod(plan, paths=local_paths(tmp_path), sandbox=sandbox, changed=lambda: None)
        await sandbox.asked.wait()
        found = pod.status()
        await pod.stop()
        return found.phase, found.message

    told = "container app does not pass its readiness probe (cat /ready)"
    assert asyncio.run(status()) == ("running", told)


@pytest.mark.parametrize(
    ("module", "stopped"), [("contrast_tasks.local.daemon", True), ("other", False)]
)
def test_a_node_that_still_ends_is_waited_for_and_a_foreign_process_is_not(
    tmp_path: Path, module: str, *, stopped: bool
) -> None:
    paths = local_paths(tmp_path)
    # It ends with its input, as a node whose socket is closed ends after its pods.
    with subprocess.Popen(["sh", "-c", "read line", module], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        stdin = process.stdin
        paths.pid_file.parent.mkdir(parents=True, exist_ok=True)
        paths.pid_file.write_text(f'{{"node": {process.pid}, "guard": {process.pid}}}')

        @contextmanager
        def watch(verb: str, total: int, unit: str) -> Iterator[Progress]:
            stdin.close()
            with unseen(verb, total, unit) as progress:
                yield progress

        found = NodeClient(paths=paths).shutdown(watch=watch)

        assert (found, process.poll() is not None) == (stopped, stopped)
