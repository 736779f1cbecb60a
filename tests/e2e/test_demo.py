"""The whole path on the real example: generated, deployed, set, verified, voted, updated, stopped."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from contrast_tasks.local.client import NodeClient, running_pids
from contrast_tasks.local.paths import local_paths
from contrast_tasks.local.processes import descendants, is_alive
from tests.fakes.shop import redis_layout, require_namespaces
from tests.fakes.signals import interruptible

pytestmark = pytest.mark.e2e

CHECKOUT = Path(__file__).parents[2]
ISOLATION = "CONTRAST_LOCAL_ISOLATION"
STEPS = [
    *("generate", "deploy", "set", "verify", "ready", "votes", "by name", "openssl", "plain"),
    *("anonymous", "by address", "update", "restart", "verify", "by address", "old ca", "stop"),
]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """Return a copy of what a clone has, at a path longer than a socket address may be."""
    root = tmp_path / ("long-name-" * 10)
    shutil.copytree(CHECKOUT / "examples", root / "examples")
    for name in ("contrast.toml", "dodo.py"):
        shutil.copy(CHECKOUT / name, root / name)
    yield root
    NodeClient(paths=local_paths(root)).shutdown()


def environment(**changes: str) -> Mapping[str, str]:
    """Return the variables of commands, under which pods are processes unless the test wants something else."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CONTRAST_")}
    fixed = {"PYTHONPATH": str(CHECKOUT), "NO_COLOR": "1", ISOLATION: "processes"}
    return {**kept, **fixed, **changes}


def contrast_tasks(project: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "contrast_tasks", *words],
        cwd=project,
        env=environment(**environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(("release", "suffix"), [("v1.11.0", ".rego"), ("v1.13.0", ".rego.gz")])
def test_the_demo_passes_with_the_policy_channel_of_earlier_releases(
    project: Path, release: str, suffix: str
) -> None:
    done = contrast_tasks(project, "demo", "--set", f'runtime.release = "{release}"')

    assert done.returncode == 0, done.stderr
    assert f"all {len(STEPS)} steps passed" in done.stdout + done.stderr
    manifest = json.loads((project / "manifest.json").read_bytes())
    policies = project.glob(f"build/policies/*{suffix}")
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in policies}
    assert hashes == set(manifest["Policies"])


def test_the_demo_proves_every_step_and_leaves_nothing_running(project: Path) -> None:
    done = contrast_tasks(project, "demo")

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line[:10].strip() for line in lines[:-1]] == STEPS
    assert lines[-1].startswith("all 17 steps passed in ")
    assert not local_paths(project).state.exists()
    assert not NodeClient(paths=local_paths(project)).is_running()
    assert running_pids(local_paths(project)) == []


def test_the_demo_proves_the_same_in_namespaces_and_runs_a_redis(
    project: Path, tmp_path: Path
) -> None:
    require_namespaces()
    redis_layout(tmp_path / "others")  # whose packages are in the cache from now on

    done = contrast_tasks(project, "demo", **{ISOLATION: "namespaces"})

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line[:10].strip() for line in lines[:-1]] == [*STEPS[:-1], "denied", "redis", "stop"]
    assert "5 pods run in namespaces of their own, asking their policies," in done.stdout
    assert "DENY ExecProcessRequest container=web-svc codes=" in done.stdout
    assert "runs under policy" in done.stdout
    assert running_pids(local_paths(project)) == []
    mounts = Path("/proc/self/mounts").read_text()
    assert str(project) not in mounts


def test_a_second_deploy_and_a_second_generate_change_nothing(project: Path) -> None:
    first = contrast_tasks(project, "deploy")
    client = NodeClient(paths=local_paths(project))
    before = {pod.name: pod.pids for pod in client.status() if pod.role == "coordinator"}

    generate, deploy = contrast_tasks(project, "generate"), contrast_tasks(project, "deploy")

    assert (first.returncode, generate.returncode, deploy.returncode) == (0, 0, 0), first.stderr
    assert "up to date" in generate.stderr
    assert "everything runs already" in deploy.stderr
    after = {pod.name: pod.pids for pod in client.status() if pod.role == "coordinator"}
    assert after == before


def test_a_kept_demo_takes_over_what_runs_and_can_be_verified_again_and_stopped(
    project: Path,
) -> None:
    contrast_tasks(project, "deploy", "set")
    demo = contrast_tasks(project, "demo", "--keep", CONTRAST_COMMAND="./doitw")
    verify, audit = contrast_tasks(project, "verify"), contrast_tasks(project, "audit")

    stop = contrast_tasks(project, "stop")

    assert (demo.returncode, verify.returncode, audit.returncode, stop.returncode) == (0, 0, 0, 0)
    assert "stopped what was running here, the demo begins anew\n" in demo.stdout
    assert "the coordinator's earlier history is forgotten" in demo.stdout
    assert "still running: https://" in demo.stdout
    assert demo.stdout.endswith("stop it with: ./doitw stop\n")
    assert "port 8080 (web): TLS without client certificate" in audit.stdout
    assert "rules    not those of this version" not in audit.stdout


@pytest.mark.parametrize("isolation", ["processes", "namespaces"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_demo_leaves_nothing_running(
    project: Path, signum: int, isolation: str
) -> None:
    if isolation == "namespaces":
        require_namespaces()
    paths = local_paths(project)
    with interruptible():
        process = subprocess.Popen(
            [sys.executable, "-m", "contrast_tasks", "demo"],
            cwd=project,
            env=environment(**{ISOLATION: isolation}),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("ready"):
                break
        guard, node = running_pids(paths)
        below = descendants(node)
        watch = os.pidfd_open(guard)
        process.send_signal(signum)
        process.wait(timeout=60)
    import select

    ended, _, _ = select.select([watch], [], [], 60)
    os.close(watch)
    assert ended
    assert len(below) >= 8
    assert [pid for pid in (guard, node, *below) if is_alive(pid)] == []
    assert not paths.state.exists()


def test_without_envoy_the_mesh_is_left_out_with_one_warning(project: Path) -> None:
    done = contrast_tasks(project, "demo", CONTRAST_ENVOY_BIN="/nonexistent", CI="")

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("warning: CONTRAST_ENVOY_BIN is '/nonexistent'")
    assert [line[:10].strip() for line in lines[1:-1]] == [
        *("generate", "deploy", "set", "verify", "ready", "stop")
    ]


def test_in_ci_a_missing_envoy_is_an_error(project: Path) -> None:
    done = contrast_tasks(project, "demo", CONTRAST_ENVOY_BIN="/nonexistent", CI="true")

    assert done.returncode == 30
    assert "expected an executable file" in done.stderr


def test_a_port_in_use_is_named_with_its_pod_and_nothing_keeps_running(project: Path) -> None:
    deployment = project / "examples/emojivoto/deployment/emojivoto.yml"
    # On every address, so it is a port that no pod of another test has.
    deployment.write_text(deployment.read_text().replace("8801", "8807"))
    with socket.create_server(("0.0.0.0", 8807)):
        done = contrast_tasks(project, "deploy")

    assert done.returncode == 30
    assert ":8807 is in use, pod emoji needs it" in done.stderr
    assert not NodeClient(paths=local_paths(project)).is_running()


def test_two_checkouts_run_at_the_same_time(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(project, other)
    try:
        first = contrast_tasks(project, "demo", "--keep")
        second = contrast_tasks(other, "demo")
    finally:
        NodeClient(paths=local_paths(other)).shutdown()

    assert first.returncode == 0, first.stderr
    assert second.returncode == 0, second.stderr + second.stdout
    assert all(pod.ready for pod in NodeClient(paths=local_paths(project)).status())
