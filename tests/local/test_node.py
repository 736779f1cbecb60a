"""The node daemon's life cycle, with small shell commands in the place of containers."""

import base64
import hashlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from contrast_tasks.errors import ClusterError
from contrast_tasks.linux import short_path
from contrast_tasks.local import client as client_module
from contrast_tasks.local.client import (
    NodeClient,
    Tether,
    ensure_node,
    running_pids,
    start_node,
)
from contrast_tasks.local.control import NodeAbsent, ask, listening_socket
from contrast_tasks.local.messages import ContainerPlan, Endpoint, Plan, PodPlan, Probe
from contrast_tasks.local.paths import LocalPaths, local_paths
from contrast_tasks.local.processes import is_alive, signal_group
from contrast_tasks.manifest.policy_document import make_document
from contrast_tasks.releases.table import Channel

pytestmark = pytest.mark.e2e

POLICY = b"package agent_policy\n"
POLICY_HASH = hashlib.sha256(POLICY).hexdigest()
FOREVER = "exec sleep 1000"
NEVER = Probe(kind="exec", command=("false",))
ENV = {"PATH": os.environ["PATH"]}


def container(script: str, **fields: object) -> ContainerPlan:
    values: dict[str, object] = {
        "name": "app",
        "role": "main",
        "argv": ("sh", "-c", script),
        "env": ENV,
        "working_dir": "",
        **fields,
    }
    return ContainerPlan(**values)  # type: ignore[arg-type]  # a table of fields


def pod(name: str, *containers: ContainerPlan, **fields: object) -> PodPlan:
    values: dict[str, object] = {
        "name": name,
        "workload": f"Deployment/{name}",
        "role": "",
        "address": "127.0.0.1",
        "restart_policy": "Always",
        "grace_s": 5.0,
        "listens": (),
        "folders": (),
        "policy": base64.b64encode(POLICY).decode(),
        "policy_sha256": POLICY_HASH,
        "containers": containers or (container(FOREVER),),
        **fields,
    }
    return PodPlan(**values)  # type: ignore[arg-type]  # a table of fields


def plan(
    *pods: PodPlan, hosts: Mapping[str, Mapping[str, tuple[Endpoint, ...]]] | None = None
) -> Plan:
    return Plan(pods=pods, hosts=hosts or {})


def gone_within(pid: int, limit_s: float = 10.0) -> bool:
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watch], [], [], limit_s)[0]) or not is_alive(pid)
    finally:
        os.close(watch)


@pytest.fixture
def paths(tmp_path: Path) -> LocalPaths:
    return local_paths(tmp_path)


@pytest.fixture
def start() -> Iterator[Callable[..., NodeClient]]:
    """Return `start_node`; what a test leaves running is stopped after it."""
    started: list[tuple[NodeClient, list[int]]] = []

    def start_one(
        paths: LocalPaths, *, owner_fd: int | None = None, is_trial: bool = False
    ) -> NodeClient:
        client = start_node(paths, owner_fd=owner_fd, is_trial=is_trial)
        started.append((client, running_pids(paths)))
        return client

    yield start_one
    for client, pids in started:
        client.shutdown()
        for pid in pids:
            assert gone_within(pid)


@pytest.fixture
def node(start: Callable[..., NodeClient], paths: LocalPaths) -> NodeClient:
    return start(paths)


def test_an_applied_pod_runs_and_a_shutdown_ends_it(
    start: Callable[..., NodeClient], paths: LocalPaths
) -> None:
    client = start(paths)
    applied = client.apply(plan(pod("web")))
    (web,) = client.wait([], until="ready", timeout_s=10)

    stopped = client.shutdown()

    assert applied.started == ("web",)
    assert stopped
    assert gone_within(web.pids["app"])
    assert not client.is_running()
    assert running_pids(paths) == []


def test_a_second_apply_of_the_same_plan_leaves_the_process_running(node: NodeClient) -> None:
    node.apply(plan(pod("web")))
    (before,) = node.wait([], until="ready", timeout_s=10)

    applied = node.apply(plan(pod("web")))

    (after,) = node.status()
    assert applied.unchanged == ("web",)
    assert after.pids == before.pids


def test_a_changed_pod_is_replaced_and_a_removed_one_stopped(node: NodeClient) -> None:
    node.apply(plan(pod("web"), pod("emoji"), pod("voting")))
    before = {pod.name: pod.pids["app"] for pod in node.wait([], until="ready", timeout_s=10)}

    applied = node.apply(plan(pod("web"), pod("emoji", container("exec sleep 2000"))))

    after = {pod.name: pod.pids["app"] for pod in node.wait([], until="ready", timeout_s=10)}
    assert (applied.replaced, applied.stopped, applied.unchanged) == (
        ("emoji",),
        ("voting",),
        ("web",),
    )
    assert after["web"] == before["web"]
    assert gone_within(before["emoji"])
    assert gone_within(before["voting"])


def test_containers_start_in_order_init_then_sidecar_then_main(
    node: NodeClient, tmp_path: Path
) -> None:
    order, ready = tmp_path / "order", tmp_path / "ready"
    startup = Probe(kind="exec", command=("test", "-f", str(ready)))
    init = container(f"echo init >>{order}", name="one", role="init")
    sidecar = container(
        f"echo sidecar >>{order}; touch {ready}; {FOREVER}",
        name="two",
        role="sidecar",
        startup=startup,
    )
    wrote = Probe(kind="exec", command=("grep", "-q", "main", str(order)))
    main = container(f"echo main >>{order}; {FOREVER}", readiness=wrote)

    node.apply(plan(pod("web", init, sidecar, main)))
    node.wait([], until="ready", timeout_s=10)

    assert order.read_text().split() == ["init", "sidecar", "main"]


def test_a_crashed_part_restarts_the_whole_pod(node: NodeClient, tmp_path: Path) -> None:
    sidecar = container(FOREVER, name="mesh", role="sidecar")
    node.apply(plan(pod("web", sidecar, container(FOREVER))))
    (before,) = node.wait([], until="ready", timeout_s=10)
    os.kill(before.pids["app"], signal.SIGKILL)
    assert gone_within(before.pids["mesh"])

    (after,) = node.wait([], until="ready", timeout_s=10)

    assert after.restarts == 1
    assert after.pids.keys() == before.pids.keys()
    assert set(after.pids.values()).isdisjoint(before.pids.values())


def test_a_pod_that_may_not_restart_is_marked_failed_with_its_last_words(node: NodeClient) -> None:
    failing = container("echo cannot find the cat >&2; exit 7", readiness=NEVER)
    node.apply(plan(pod("job", failing, restart_policy="Never")))

    with pytest.raises(ClusterError) as caught:
        node.wait([], until="ready", timeout_s=10)

    assert str(caught.value) == (
        "not ready: job is failed: container app ended with status 7: cannot find the cat"
    )


def test_a_pod_that_ends_well_and_may_not_restart_has_succeeded(node: NodeClient) -> None:
    node.apply(plan(pod("job", container("exit 0", readiness=NEVER), restart_policy="OnFailure")))

    (job,) = node.wait([], until="ready", timeout_s=10)

    assert job.phase == "succeeded"
    assert job.pids == {}


def test_a_failing_init_container_keeps_the_main_container_from_starting(
    node: NodeClient, tmp_path: Path
) -> None:
    init = container("exit 3", name="init", role="init")
    main = container(f"touch {tmp_path / 'ran'}; {FOREVER}")
    node.apply(plan(pod("web", init, main)))

    with pytest.raises(ClusterError, match="container init ended with status 3"):
        node.wait([], until="ready", timeout_s=20, restarts=2)

    assert not (tmp_path / "ran").exists()


def test_a_program_that_is_not_there_is_named(node: NodeClient) -> None:
    missing = container("", argv=("no-such-program",))
    node.apply(plan(pod("web", missing, restart_policy="Never")))

    with pytest.raises(
        ClusterError, match="container app cannot start no-such-program: No such file"
    ):
        node.wait([], until="started", timeout_s=10)


def test_a_startup_probe_that_runs_out_of_time_restarts_the_pod(node: NodeClient) -> None:
    probe = Probe(kind="exec", command=("false",), limit_s=0.1)
    node.apply(plan(pod("web", container(FOREVER, startup=probe))))

    with pytest.raises(ClusterError, match=r"did not pass its start-up probe in 0\.1 s"):
        node.wait([], until="started", timeout_s=20, restarts=1)


def test_a_failed_liveness_probe_restarts_the_pod(node: NodeClient) -> None:
    probe = Probe(kind="exec", command=("false",), period_s=0.01, failures=2)
    node.apply(plan(pod("web", container(FOREVER, liveness=probe, readiness=NEVER))))

    with pytest.raises(ClusterError, match="container app failed its liveness probe"):
        node.wait(["web"], until="ready", timeout_s=20, restarts=1)


def test_a_pod_whose_liveness_probe_succeeds_stays(node: NodeClient) -> None:
    alive = Probe(kind="exec", command=("true",), period_s=0.01, failures=1)
    wrote = Probe(kind="exec", command=("true",))
    node.apply(plan(pod("web", container(FOREVER, liveness=alive, readiness=wrote))))

    node.wait(["web"], until="ready", timeout_s=20)

    assert node.status()[0].restarts == 0


def test_a_policy_other_than_the_generated_one_is_refused_before_anything_starts(
    node: NodeClient,
) -> None:
    other = base64.b64encode(POLICY + b"# changed\n").decode()

    with pytest.raises(ClusterError, match=f"wanted {POLICY_HASH} as generated"):
        node.apply(plan(pod("web"), pod("emoji", policy=other)))

    assert node.status() == ()


@pytest.mark.parametrize("channel", ["plain", "gzip", "initdata"])
def test_a_document_of_any_channel_is_accepted_by_its_hash(
    channel: Channel, node: NodeClient
) -> None:
    document = make_document(POLICY, channel)
    digest = hashlib.sha256(document).hexdigest()
    carried = base64.b64encode(document).decode()

    node.apply(plan(pod("web", policy=carried, policy_sha256=digest)))

    assert [status.policy_sha256 for status in node.status()] == [digest]


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"version = '0.1.0'\nalgorithm = 'sha256'\n\n[data]\n", id="initdata without"),
        pytest.param(b"\x1f\x8b\x08", id="gzip without an end"),
        pytest.param(b"nonsense", id="neither"),
    ],
)
def test_a_document_without_a_policy_in_it_is_refused(node: NodeClient, document: bytes) -> None:
    digest = hashlib.sha256(document).hexdigest()
    carried = base64.b64encode(document).decode()

    with pytest.raises(ClusterError, match="pod web: neither a policy nor initdata with one"):
        node.apply(plan(pod("web", policy=carried, policy_sha256=digest)))

    assert node.status() == ()


def test_a_pod_without_a_policy_is_refused(node: NodeClient) -> None:
    with pytest.raises(ClusterError, match=r"its policy has hash \(none\)"):
        node.apply(plan(pod("web", policy="")))


def test_only_attested_containers_get_evidence_and_host_data_is_the_measured_hash(
    node: NodeClient, tmp_path: Path
) -> None:
    script = "env >{}; " + FOREVER
    attested = container(script.format(tmp_path / "attested"), name="a", attested=True)
    plain = container(script.format(tmp_path / "plain"), name="b")
    probes = [
        Probe(kind="exec", command=("grep", "-q", "CONTRAST_LOCAL_POD", str(tmp_path / name)))
        for name in ("attested", "plain")
    ]
    node.apply(
        plan(
            pod(
                "web",
                container(attested.argv[2], name="a", attested=True, readiness=probes[0]),
                container(plain.argv[2], name="b", readiness=probes[1]),
            )
        )
    )

    node.wait([], until="ready", timeout_s=10)

    assert f"CONTRAST_HOST_DATA={POLICY_HASH}\n" in (tmp_path / "attested").read_text()
    assert "CONTRAST_EVIDENCE" not in (tmp_path / "plain").read_text()
    assert "HOST_DATA" not in (tmp_path / "plain").read_text()


def test_a_port_in_use_is_named_with_its_pod_and_nothing_is_started(node: NodeClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(ClusterError) as caught:
            node.apply(plan(pod("emoji"), pod("web", listens=(("127.0.0.1", port),))))

    assert caught.value.exit_code == 30
    assert str(caught.value) == f"127.0.0.1:{port} is in use, pod web needs it"
    assert node.status() == ()


def test_a_stopped_pod_leaves_its_log_and_none_of_its_files(
    node: NodeClient, tmp_path: Path
) -> None:
    folder = node.paths.pod("web")
    secret, wrote = (
        folder / "secret",
        Probe(kind="exec", command=("test", "-f", str(folder / "secret"))),
    )
    script = f"echo hello; echo key >{secret}; {FOREVER}"
    node.apply(plan(pod("web", container(script, readiness=wrote))))
    node.wait([], until="ready", timeout_s=10)

    node.stop(["web"])

    assert not folder.exists()
    assert node.paths.log("web", "app").read_text() == "hello\n"


def test_a_log_begins_anew_with_each_start(node: NodeClient) -> None:
    for _ in range(2):
        greeting = container("echo hello", readiness=NEVER)
        node.apply(plan(pod("web", greeting, restart_policy="Never")))
        node.wait([], until="ready", timeout_s=10)
        node.stop(["web"])

    assert node.paths.log("web", "app").read_text() == "hello\n"


def test_restart_starts_the_named_pod_anew_and_no_other(node: NodeClient) -> None:
    node.apply(plan(pod("web"), pod("emoji")))
    before = {pod.name: pod.pids["app"] for pod in node.wait([], until="ready", timeout_s=10)}

    node.restart(["web"])

    after = {pod.name: pod.pids["app"] for pod in node.wait([], until="ready", timeout_s=10)}
    assert after["emoji"] == before["emoji"]
    assert after["web"] != before["web"]


def test_an_unknown_pod_is_refused_with_the_known_ones(node: NodeClient) -> None:
    node.apply(plan(pod("web")))

    with pytest.raises(ClusterError, match="no pod wob runs here, there are: web"):
        node.restart(["wob"])


def test_a_process_that_ignores_sigterm_and_leaves_its_session_is_stopped_too(
    node: NodeClient, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    script = f"trap '' TERM; setsid sh -c 'echo $$ >{note}.new; mv {note}.new {note}; {FOREVER}' & {FOREVER}"
    wrote = Probe(kind="exec", command=("test", "-f", str(note)))
    node.apply(plan(pod("web", container(script, readiness=wrote), grace_s=0.2)))
    (web,) = node.wait([], until="ready", timeout_s=10)
    stray = int(note.read_text())
    assert stray not in web.pids.values()

    node.stop(["web"])

    assert gone_within(web.pids["app"])
    assert gone_within(stray)


def leave_a_stray(client: NodeClient, note: Path) -> list[int]:
    script = f"setsid sh -c 'echo $$ >{note}.new; mv {note}.new {note}; {FOREVER}' & {FOREVER}"
    wrote = Probe(kind="exec", command=("test", "-f", str(note)))
    client.apply(plan(pod("web", container(script, readiness=wrote)), pod("emoji")))
    pods = client.wait([], until="ready", timeout_s=10)
    return [int(note.read_text()), *(pid for pod in pods for pid in pod.pids.values())]


@pytest.mark.parametrize("victim", ["node", "guard"])
def test_a_killed_daemon_leaves_no_process(
    start: Callable[..., NodeClient], paths: LocalPaths, tmp_path: Path, victim: str
) -> None:
    client = start(paths)
    below = leave_a_stray(client, tmp_path / "pid")
    guard, node = running_pids(paths)

    os.kill({"node": node, "guard": guard}[victim], signal.SIGKILL)

    assert all(gone_within(pid) for pid in [node, guard, *below])
    assert not client.is_running()


def test_node_and_guard_killed_together_leave_no_container(
    start: Callable[..., NodeClient], paths: LocalPaths
) -> None:
    client = start(paths)
    client.apply(plan(pod("web")))
    (web,) = client.wait([], until="ready", timeout_s=10)
    guard, node = running_pids(paths)

    os.kill(guard, signal.SIGSTOP)
    os.kill(node, signal.SIGKILL)
    os.kill(guard, signal.SIGKILL)

    assert gone_within(web.pids["app"])


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_daemon_stops_everything(
    start: Callable[..., NodeClient], paths: LocalPaths, signum: int
) -> None:
    client = start(paths)
    client.apply(plan(pod("web")))
    (web,) = client.wait([], until="ready", timeout_s=10)
    guard, node = running_pids(paths)

    os.kill(guard, signum)

    assert all(gone_within(pid) for pid in [guard, node, web.pids["app"]])
    assert not paths.control.exists()


def test_a_daemon_ends_when_its_owner_is_gone(
    start: Callable[..., NodeClient], paths: LocalPaths
) -> None:
    read_end, write_end = os.pipe()
    client = start(paths, owner_fd=read_end)
    client.apply(plan(pod("web")))
    (web,) = client.wait([], until="ready", timeout_s=10)
    guard, node = running_pids(paths)

    os.close(write_end)

    assert all(gone_within(pid) for pid in [guard, node, web.pids["app"]])
    os.close(read_end)


def test_a_daemon_that_was_let_go_outlives_its_owner(
    start: Callable[..., NodeClient], paths: LocalPaths
) -> None:
    with Tether() as tether:
        client = start(paths, owner_fd=tether.read_end)
        tether.let_go()

    # The daemon looks at the pipe before it answers a question that came later.
    assert [client.is_running() for _ in range(3)] == [True] * 3


@pytest.mark.parametrize(
    ("is_trial", "lets_go", "is_kept"),
    [(True, False, False), (True, True, True), (False, False, True)],
    ids=["trial", "trial-let-go", "no-trial"],
)
def test_the_history_ends_with_a_trial_that_was_not_let_go(
    start: Callable[..., NodeClient],
    paths: LocalPaths,
    is_trial: bool,
    lets_go: bool,
    is_kept: bool,
) -> None:
    (paths.state / "transitions").mkdir(parents=True)
    with Tether() as tether:
        client = start(paths, owner_fd=tether.read_end, is_trial=is_trial)
        if lets_go:
            tether.let_go()
            client.status()
            client.status()

        client.shutdown()

    assert paths.state.is_dir() is is_kept


def test_a_start_that_is_interrupted_leaves_no_daemon(
    paths: LocalPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def interrupted(descriptor: int, _limit_s: float) -> bytes:
        os.close(descriptor)
        begun.append(client_module._started[-1].pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(client_module, "_read_line", interrupted)

    with pytest.raises(KeyboardInterrupt):
        start_node(paths)

    assert len(begun) == 1
    assert not is_alive(begun[0])
    assert not NodeClient(paths=paths).is_running()


def test_a_daemon_that_does_not_start_is_an_error_and_leaves_nothing(
    paths: LocalPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "START_LIMIT_S", 0.0)

    with pytest.raises(ClusterError, match="the local backend did not start") as caught:
        start_node(paths)

    assert caught.value.hint.endswith("node.log")
    assert not is_alive(client_module._started[-1].pid)


def test_a_stale_socket_and_pid_file_do_not_hinder_a_new_daemon(
    start: Callable[..., NodeClient], paths: LocalPaths
) -> None:
    client = start(paths)
    guard, node = running_pids(paths)
    signal_group(guard, signal.SIGKILL)
    assert all(gone_within(pid) for pid in [guard, node])
    assert paths.control.exists()

    client, started = ensure_node(paths)

    assert started
    assert client.shutdown()


def test_a_second_daemon_of_the_same_project_is_refused(node: NodeClient) -> None:
    with pytest.raises(
        ClusterError, match="another local backend of this project is running"
    ) as caught:
        start_node(node.paths)

    assert caught.value.hint == "it is starting or ending just now: wait for it, and repeat"
    assert node.is_running()


def test_two_projects_hold_different_nets(
    start: Callable[..., NodeClient], node: NodeClient, tmp_path: Path
) -> None:
    other = start(local_paths(tmp_path / "other"))
    try:
        mine, theirs = node.addresses(["web"]), other.addresses(["web"])
    finally:
        other.shutdown()

    assert mine["web"].split(".")[1] != theirs["web"].split(".")[1]
    assert mine[""].endswith(".0.2")


def test_a_request_that_is_no_request_is_refused_and_the_daemon_lives(node: NodeClient) -> None:
    for request in ({"op": "dance"}, {}, {"op": "apply"}, {"op": "apply", "plan": {"version": 9}}):
        with pytest.raises(ClusterError):
            ask(node.paths.control, request, timeout_s=5)

    assert node.is_running()


def test_asking_where_no_daemon_runs_says_so(paths: LocalPaths) -> None:
    with pytest.raises(NodeAbsent, match="the local backend is not running"):
        NodeClient(paths=paths).status()


def test_ctrl_c_in_the_foreground_stops_everything(paths: LocalPaths) -> None:
    ready, told = os.pipe()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "contrast_tasks.local.daemon"),
            f"--project={paths.project}",
            f"--ready-fd={told}",
        ],
        cwd=Path(__file__).parents[2],
        pass_fds=[told],
        start_new_session=True,
    )
    os.close(told)
    os.read(ready, 100)
    os.close(ready)
    client = NodeClient(paths=paths)
    client.apply(plan(pod("web")))
    (web,) = client.wait([], until="ready", timeout_s=10)

    os.killpg(process.pid, signal.SIGINT)

    assert process.wait(timeout=10) == 0
    assert gone_within(web.pids["app"])


def test_a_pod_that_initializes_tells_what_it_waits_for(node: NodeClient, tmp_path: Path) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    script = f"echo waiting for a certificate; echo x >{told}; {FOREVER}"
    node.apply(plan(pod("web", container(script, name="first", role="init"), container(FOREVER))))
    told.read_bytes()

    (web,) = node.status()

    assert (web.phase, web.message) == ("initializing", "first: waiting for a certificate")


def test_a_pod_that_starts_tells_which_probe_it_has_not_passed(
    node: NodeClient, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    script = f"echo listening; echo x >{told}; {FOREVER}"
    asked = Probe(kind="exec", command=("false",))
    node.apply(plan(pod("web", container(script, startup=asked))))
    told.read_bytes()

    (web,) = node.status()

    assert (web.phase, web.message) == (
        "starting",
        "container app has not passed its start-up probe (false); its log ends with listening",
    )


def test_a_node_whose_state_was_removed_ends_and_leaves_what_lies_there_now(
    start: Callable[..., NodeClient], paths: LocalPaths
) -> None:
    client = start(paths)
    client.apply(plan(pod("web")))
    (web,) = client.wait([], until="ready", timeout_s=10)
    pids = [*running_pids(paths), web.pids["app"]]
    shutil.rmtree(paths.base)
    theirs = local_paths(paths.project).pod("web") / "of-a-later-node"
    theirs.mkdir(parents=True)

    assert all(gone_within(pid) for pid in pids)
    assert theirs.is_dir()


def test_a_node_whose_socket_another_one_took_ends(
    start: Callable[..., NodeClient], paths: LocalPaths
) -> None:
    start(paths)
    pids = running_pids(paths)
    with listening_socket(paths.control):
        assert all(gone_within(pid) for pid in pids)
        assert paths.control.is_socket()


@pytest.mark.parametrize("request_text", ["[]", "null", "7", '"stop"', '{"op": null}', "{"])
def test_a_request_that_is_none_is_answered(node: NodeClient, request_text: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        with short_path(node.paths.control) as name:
            client.connect(name)
        client.sendall(request_text.encode() + b"\n")
        with client.makefile("rb") as stream:
            answer = json.loads(stream.readline())

    assert answer["ok"] is False
    assert node.is_running()
