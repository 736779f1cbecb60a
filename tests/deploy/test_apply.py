"""Deploy on this machine as one act: what is refused beforehand, and what is left when it does not finish."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.client import recover
from contrast_tasks.deploy.apply import run_deploy, run_restart, run_status
from contrast_tasks.deploy.local import plan as local_plan
from contrast_tasks.deploy.local import recovery
from contrast_tasks.deploy.local.recovery import coordinator_state
from contrast_tasks.deploy.local.start import LocalDeploy
from contrast_tasks.errors import ClusterError, CoordinatorUnreachable
from contrast_tasks.local.client import NodeClient, running_pids
from contrast_tasks.local.messages import Applied, Plan, PodStatus
from contrast_tasks.local.paths import local_paths
from contrast_tasks.mesh.envoy_binary import EnvoyMissing
from contrast_tasks.progress import Progress
from tests.fakes.deployment import Project
from tests.fakes.signals import interruptible

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
MESHED = """\
apiVersion: v1
kind: Pod
metadata:
  name: shop
spec:
  containers:
    - image: shop
      name: shop
  initContainers:
    - image: mesh
      name: contrast-service-mesh
"""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> SimulatedProcessor:
    return SimulatedProcessor.load_or_create(tmp_path_factory.mktemp("deploy") / "processor")


@pytest.fixture
def project(tmp_path: Path, simulated: SimulatedProcessor) -> Iterator[Project]:
    project = Project(tmp_path, simulated)
    yield project
    NodeClient(paths=local_paths(tmp_path)).shutdown()


@pytest.fixture
def client(project: Project) -> NodeClient:
    return NodeClient(paths=local_paths(project.root))


def no_plan(*_arguments: Any, **_fields: Any) -> Plan:
    return Plan(pods=(), hosts={})


def test_a_missing_envoy_is_an_error_that_names_the_pods_before_anything_is_started(
    project: Project, client: NodeClient
) -> None:
    (project.root / "build" / "deployment" / "shop.yml").write_text(MESHED)

    with pytest.raises(EnvoyMissing) as caught:
        run_deploy(project.settings, say=print, environ={"CONTRAST_ENVOY_BIN": "/nonexistent"})

    assert caught.value.exit_code == 30
    assert str(caught.value) == (
        "Pod/shop cannot run without Envoy: CONTRAST_ENVOY_BIN is '/nonexistent', "
        "expected an executable file"
    )
    assert "CONTRAST_ENVOY_BIN" in caught.value.hint
    assert "'contrast-tasks deploy --without-mesh'" in caught.value.hint
    assert not client.is_running()


def test_without_the_mesh_no_envoy_is_wanted(
    project: Project, client: NodeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.root / "build" / "deployment" / "shop.yml").write_text(MESHED)
    monkeypatch.setattr(local_plan, "build_plan", no_plan)
    environ = {"CONTRAST_ENVOY_BIN": "/nonexistent"}

    run_deploy(project.settings, say=print, environ=environ, with_mesh=False)

    assert client.is_running()


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), ClusterError("no")], ids=["ctrl-c", "error"]
)
def test_a_deploy_that_does_not_finish_leaves_no_daemon(
    project: Project,
    client: NodeClient,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    def fails(*_arguments: Any, **_fields: Any) -> Plan:
        assert client.is_running()
        raise error

    monkeypatch.setattr(local_plan, "build_plan", fails)

    with pytest.raises(type(error)):
        run_deploy(project.settings, say=print, environ={})

    assert not client.is_running()
    assert running_pids(client.paths) == []


def test_a_deploy_that_does_not_finish_leaves_a_daemon_that_was_there(
    project: Project, client: NodeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_plan, "build_plan", no_plan)
    run_deploy(project.settings, say=print, environ={})
    before = running_pids(client.paths)

    def fails(*_arguments: Any, **_fields: Any) -> Plan:
        raise KeyboardInterrupt

    monkeypatch.setattr(local_plan, "build_plan", fails)
    with pytest.raises(KeyboardInterrupt):
        run_deploy(project.settings, say=print, environ={})

    assert running_pids(client.paths) == before


BLOCKED = """
import sys
from pathlib import Path
from contrast_tasks.settings.load import load_settings
from contrast_tasks.deploy.local import plan as local_plan
from contrast_tasks.deploy.apply import run_deploy

def blocked(*_arguments, **_fields):
    print("planning", flush=True)
    sys.stdin.read()

local_plan.build_plan = blocked
run_deploy(load_settings(Path(sys.argv[1]), environ={}), say=print, environ={})
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_deploy_that_is_ended_by_a_signal_leaves_no_daemon(
    project: Project, client: NodeClient, signum: int
) -> None:
    with interruptible():
        process = subprocess.Popen(
            [sys.executable, "-c", BLOCKED, str(project.root)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"planning\n"
        watches = [os.pidfd_open(pid) for pid in running_pids(client.paths)]
        process.send_signal(signum)
        process.wait(timeout=30)

    ended = [bool(select.select([watch], [], [], 30)[0]) for watch in watches]
    for watch in watches:
        os.close(watch)
    assert ended == [True, True]
    assert not client.is_running()


def local_deploy(project: Project, said: list[str], *, fresh: bool = False) -> LocalDeploy:
    return LocalDeploy(
        settings=project.settings,
        objects=(),
        say=said.append,
        environ={},
        with_mesh=True,
        fresh=fresh,
    )


def test_a_fresh_deploy_forgets_the_history_and_says_so(
    project: Project, client: NodeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(local_plan, "build_plan", no_plan)
    (client.paths.state / "transitions").mkdir(parents=True)

    local_deploy(project, said, fresh=True).run(None)

    assert said == ["the coordinator's earlier history is forgotten"]
    assert not client.paths.state.exists()


def test_who_watches_is_told_of_each_pod_and_of_the_wait_for_the_coordinator(
    project: Project,
) -> None:
    told: list[tuple[str, ...]] = []

    class Watched:
        def begin(self, name: str) -> None:
            told.append(("begin", name))

        def end(self, name: str, size_bytes: int = 0) -> None:
            told.append(("end", name))

    class Node:
        def apply(self, plan: Plan) -> Applied:
            return NOTHING

        def wait(self, pods: Sequence[str], **_: object) -> None:
            told.append(("wait", *pods))

    def watch(verb: str, total: int, unit: str) -> AbstractContextManager[Progress]:
        told.append((verb, str(total), unit))
        return nullcontext(Watched())

    pods = [SimpleNamespace(name="c", role="coordinator"), SimpleNamespace(name="web", role="")]
    deploy = replace(local_deploy(project, []), watch=watch)

    deploy._apply(cast(NodeClient, Node()), cast(Plan, SimpleNamespace(pods=pods)))

    assert told == [("starting", "2", "pod"), ("begin", "c"), ("end", "web"), ("wait", "c")]


NOTHING = Applied(started=(), replaced=(), unchanged=(), stopped=())


@pytest.mark.parametrize(
    ("state", "texts"),
    [
        (
            ("recovery", ""),
            (
                (
                    "the coordinator is in recovery mode: it cannot be recovered from here: "
                    "seedshare-owner.pem: cannot read the seed share owner key: no such file or directory"
                ),
                "'contrast-tasks recover'",
                "'contrast-tasks deploy --fresh'",
            ),
        ),
        (
            ("inconsistent", "history object transitions/latest was changed: found 1, wanted 2"),
            (
                (
                    "the coordinator cannot use its history: history object transitions/latest was "
                    "changed: found 1, wanted 2"
                ),
                ".contrast/local/state",
                "'contrast-tasks deploy --fresh'",
            ),
        ),
    ],
    ids=["recovery", "inconsistent"],
)
def test_a_coordinator_that_needs_help_is_told_with_the_ways_out(
    project: Project,
    client: NodeClient,
    monkeypatch: pytest.MonkeyPatch,
    state: tuple[str, str],
    texts: tuple[str, ...],
) -> None:
    (client.paths.state / "transitions").mkdir(parents=True)
    monkeypatch.setattr(recovery, "coordinator_state", lambda _address: state)

    error = local_deploy(project, [])._recover(client, NOTHING, "127.0.0.1")

    assert isinstance(error, CoordinatorUnreachable)
    assert [text for text in texts if text not in f"{error} {error.hint}"] == []


@pytest.mark.parametrize(("own", "shown"), [("restore it", "restore it"), ("", "recover'")])
def test_a_refused_recovery_keeps_the_hint_of_its_cause(
    project: Project, client: NodeClient, monkeypatch: pytest.MonkeyPatch, own: str, shown: str
) -> None:
    def refused(*_arguments: Any, **_fields: Any) -> str:
        raise CoordinatorUnreachable("the history was changed", hint=own)

    (client.paths.state / "transitions").mkdir(parents=True)
    monkeypatch.setattr(recovery, "coordinator_state", lambda _address: ("recovery", ""))
    monkeypatch.setattr(recover, "recover_local", refused)

    error = local_deploy(project, [])._recover(client, NOTHING, "127.0.0.1")

    assert error is not None
    assert "recovery mode: the history was changed" in str(error)
    assert shown in error.hint


def test_without_a_history_the_coordinator_is_not_asked(
    project: Project, client: NodeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "coordinator_state", None)

    assert local_deploy(project, [])._recover(client, NOTHING, "127.0.0.1") is None


def test_a_coordinator_that_does_not_answer_has_no_state() -> None:
    assert coordinator_state("127.250.249.248") == ("", "")


def test_status_tells_what_was_waited_for_in_vain(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_vain(*_arguments: Any, **_fields: Any) -> None:
        raise ClusterError("not ready: web is starting")

    monkeypatch.setattr(NodeClient, "wait", in_vain)
    monkeypatch.setattr(NodeClient, "status", lambda _client: ())

    found = run_status(project.settings, say=print, wait_s=1.0)

    assert found.behind == "not ready: web is starting"


def test_who_watches_is_told_of_each_pod_that_a_wait_is_for(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = replace(pod_status("b", ready=False), restarts=2)
    pods = (pod_status("a", ready=True), behind)
    later = (pod_status("a", ready=True), replace(behind, restarts=3))
    answers = iter([(False, pods), (False, pods), (False, later), (False, pods)])
    asked: list[int] = []
    told: list[tuple[object, ...]] = []

    class Watched:
        def begin(self, name: str) -> None:
            told.append(("begin", name))

        def end(self, name: str, size_bytes: int = 0) -> None:
            told.append(("end", name))

    def watch(*work: object) -> AbstractContextManager[Progress]:
        told.append(work)
        return nullcontext(Watched())

    def ask(_path: Path, request: dict[str, Any], **_: object) -> dict[str, Any]:
        if request["op"] == "wait":
            asked.append(request["restarts"])
        reached, found = next(answers)
        return {"reached": reached, "isolated": False, "pods": [asdict(pod) for pod in found]}

    monkeypatch.setattr("contrast_tasks.local.client.ask", ask)
    client = NodeClient(paths=local_paths(project.root))

    with pytest.raises(ClusterError, match="not ready: b is running"):
        client.wait([], until="ready", timeout_s=60, restarts=1, watch=watch)

    # What a pod was restarted before does not count, what it is restarted meanwhile does.
    assert asked == [1, 1]
    assert told == [("waiting for", 2, "pod"), ("begin", "b"), ("end", "a")]


def test_nothing_to_restart_is_told_with_the_next_command(project: Project) -> None:
    with pytest.raises(ClusterError, match="the local backend is not running") as caught:
        run_restart(project.settings, say=print)

    assert caught.value.hint == "start it with 'contrast-tasks deploy'"


def pod_status(name: str, *, ready: bool, role: str = "") -> PodStatus:
    return PodStatus(
        name=name,
        workload=f"Deployment/{name}",
        role=role,
        address="127.250.249.248",
        phase="ready" if ready else "running",
        started=True,
        ready=ready,
        restarts=0,
        message="",
        policy_sha256="",
        digest="",
        pids={},
    )


def test_a_coordinator_that_is_not_ready_is_asked_for_the_reason(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = (pod_status("coordinator", ready=False, role="coordinator"), pod_status("a", ready=True))
    monkeypatch.setattr(NodeClient, "status", lambda _client: pods)
    monkeypatch.setattr(recovery, "coordinator_state", lambda _address: ("initial", "no manifest"))

    found = run_status(project.settings, say=print)

    assert found.coordinator == "initial"
    assert [pod.message for pod in found.pods] == ["no manifest", ""]


def test_nobody_asks_the_coordinator_when_all_is_ready(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = (pod_status("coordinator", ready=True, role="coordinator"),)
    monkeypatch.setattr(NodeClient, "status", lambda _client: pods)
    monkeypatch.setattr(recovery, "coordinator_state", None)

    assert run_status(project.settings, say=print).coordinator == ""


@pytest.mark.parametrize(
    ("needs", "ends"),
    [(None, "restarted"), (CoordinatorUnreachable("in recovery mode"), "in recovery mode")],
    ids=["recovered", "needs-help"],
)
def test_a_coordinator_that_is_restarted_is_given_its_seed_back(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    needs: CoordinatorUnreachable | None,
    ends: str,
) -> None:
    pods = (pod_status("coordinator", ready=True, role="coordinator"), pod_status("a", ready=True))
    asked: list[tuple[str, list[str]]] = []
    waited: list[Sequence[str]] = []

    def recover_if_needed(
        _settings: Any, _client: Any, address: str, **given: Any
    ) -> tuple[str, ...]:
        asked.append((address, given["had_certificates"]))
        if needs is not None:
            raise needs
        return ("a",)

    monkeypatch.setattr(NodeClient, "status", lambda _client: pods)
    monkeypatch.setattr(NodeClient, "restart", lambda _client, names, **_: tuple(names))
    monkeypatch.setattr(NodeClient, "wait", lambda _client, names, **_fields: waited.append(names))
    monkeypatch.setattr(recovery, "recover_if_needed", recover_if_needed)

    try:
        run_restart(project.settings, say=lambda _: None, names=["coordinator"])
        ended = "restarted"
        # Whoever was restarted for a new certificate is waited for too.
        assert waited[-1] == ("coordinator", "a")
    except CoordinatorUnreachable as error:
        ended = str(error)

    assert ended == ends
    assert asked == [("127.250.249.248", ["a"])]
