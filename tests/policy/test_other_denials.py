"""Requests other than CreateContainer: what a host might ask for (docs/internals/policy.md 2, 9.3 N80 to N99)."""

from itertools import pairwise
from typing import Any

import pytest

from contrast_tasks.agent_messages import fill_defaults
from contrast_tasks.policy.engine import ENGINES, PolicyEngine
from contrast_tasks.policy.profiles import KATA_QEMU_BYTES
from contrast_tasks.policy.text import render_policy
from tests.fakes.policy import (
    REQUESTS,
    WEB_SPEC,
    bent,
    by_purpose,
    derived,
    life_of,
    policy_of,
    rich,
    set_state,
    walked,
    web,
)

LIFE = by_purpose(life_of(web()))
RICH_LIFE = by_purpose(life_of(rich()))
APP = LIFE["create web-svc"].input["container_id"]
RICH_APP = RICH_LIFE["create app"].input["container_id"]
MESH = LIFE["create contrast-service-mesh"].input["container_id"]
INITIALIZER = LIFE["create contrast-initializer"].input["container_id"]
ALWAYS_DENIED = """
AddSwapPathRequest AddSwapRequest CloseStdinRequest GetDiagnosticDataRequest GetIPTablesRequest GetMetricsRequest
ListInterfacesRequest ListRoutesRequest MemAgentCompactConfig MemAgentMemcgConfig MemHotplugByProbeRequest
PauseContainerRequest ReseedRandomDevRequest ResizeVolumeRequest ResumeContainerRequest SetGuestDateTimeRequest
SetIPTablesRequest SetPolicyRequest StartTracingRequest StopTracingRequest UpdateContainerRequest
UpdateEphemeralMountsRequest VolumeStatsRequest WriteStreamRequest
""".split()  # noqa: SIM905  # a list of forty lines reads no better


def guest_after(purpose: str | None, engine: str, *, pod: str = "web") -> PolicyEngine:
    """Return a guest that has done everything up to and with that request."""
    guest = PolicyEngine(policy_of(pod), engine=engine)
    steps = walked(pod)
    for (request, _), (_, after) in pairwise(steps):
        if request.purpose == purpose:
            set_state(guest, after)
            break
    return guest


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def fresh(engine: str) -> PolicyEngine:
    return guest_after(None, engine)


@pytest.fixture(scope="module")
def older(engine: str) -> PolicyEngine:
    """Return a new guest whose agent shows the bytes of copied files."""
    data = derived(WEB_SPEC, kind="Deployment", name="web", profile=KATA_QEMU_BYTES)
    return PolicyEngine(render_policy(data), engine=engine)


@pytest.fixture(scope="module")
def running(engine: str) -> PolicyEngine:
    return guest_after("read output of web-svc", engine)


@pytest.fixture(scope="module")
def running_rich(engine: str) -> PolicyEngine:
    return guest_after("read output of app", engine, pod="rich")


@pytest.mark.parametrize("kind", ALWAYS_DENIED)
def test_n98_requests_no_pod_needs_are_denied(running: PolicyEngine, kind: str) -> None:
    decision = running.ask(
        kind, {"container_id": APP, "storages": [], "policy": "package agent_policy"}
    )

    assert not decision.allowed


@pytest.mark.parametrize("kind", ["PullImageRequest", "policy_datum", "createContainerRequest"])
def test_n99_unknown_requests_are_denied(running: PolicyEngine, kind: str) -> None:
    assert not running.ask(kind, {}).allowed


def test_failing_requests_are_never_tolerated(fresh: PolicyEngine) -> None:
    assert not fresh.ask("AllowRequestsFailingPolicy", {}).allowed


def test_every_known_request_is_denied_or_allowed_on_an_empty_input(fresh: PolicyEngine) -> None:
    allowed = {kind for kind in REQUESTS if fresh.ask(kind, {}).allowed}

    assert allowed == {
        "DestroySandboxRequest",
        "GetOOMEventRequest",
        "GuestDetailsRequest",
        "OnlineCPUMemRequest",
        "RemoveContainerRequest",
        "RemoveStaleVirtiofsShareMountsRequest",
        "StatsContainerRequest",
        "TtyWinResizeRequest",
        "WaitProcessRequest",
    }


# Order and state.


def test_n80_the_application_is_not_created_before_the_initializer_started(engine: str) -> None:
    guest = guest_after("start pause", engine)

    decision = guest.ask("CreateContainerRequest", LIFE["create web-svc"].input)

    assert set(decision.codes) == {"E_ORDER"}


def test_n81_the_application_is_not_created_before_the_mesh_started(engine: str) -> None:
    guest = guest_after("create contrast-service-mesh", engine)

    decision = guest.ask("CreateContainerRequest", LIFE["create web-svc"].input)

    assert set(decision.codes) == {"E_ORDER"}


def test_no_container_is_created_before_the_sandbox_started(engine: str) -> None:
    guest = guest_after("create pause", engine)

    decision = guest.ask("CreateContainerRequest", LIFE["create contrast-initializer"].input)

    assert set(decision.codes) == {"E_ORDER"}


def test_a_container_in_the_wrong_order_is_not_started_either(engine: str) -> None:
    guest = guest_after("create web-svc", engine)
    guest.state = {
        key: value for key, value in guest.state.items() if key != "s:contrast-service-mesh"
    }
    guest._publish()

    decision = guest.ask("StartContainerRequest", {"container_id": APP})

    assert set(decision.codes) == {"E_ORDER"}


def test_a_container_is_not_created_twice_under_one_id(engine: str) -> None:
    guest = guest_after("create web-svc", engine)

    decision = guest.ask("CreateContainerRequest", LIFE["create web-svc"].input)

    assert set(decision.codes) == {"E_ID"}


def test_a_container_is_not_started_twice(running: PolicyEngine) -> None:
    decision = running.ask("StartContainerRequest", {"container_id": APP})

    assert set(decision.codes) == {"E_ID", "E_INSTANCE"}


def test_n82_a_second_instance_is_not_started_while_the_first_runs(running: PolicyEngine) -> None:
    text = LIFE["create web-svc"].input
    # The runtime may create the next one before it removes the one that has ended.
    assert running.ask("CreateContainerRequest", _renamed(text, APP, "f" * 64)).allowed

    decision = running.ask("StartContainerRequest", {"container_id": "f" * 64})

    assert set(decision.codes) == {"E_INSTANCE"}


def test_n82_a_second_instance_created_before_is_not_started_either(engine: str) -> None:
    guest = guest_after("create web-svc", engine)
    second = _renamed(LIFE["create web-svc"].input, APP, "f" * 64)
    assert guest.ask("CreateContainerRequest", second).allowed
    assert guest.ask("StartContainerRequest", {"container_id": APP}).allowed

    decision = guest.ask("StartContainerRequest", {"container_id": "f" * 64})

    assert set(decision.codes) == {"E_INSTANCE"}


@pytest.mark.parametrize("identifier", ["", "0" * 64, "p:name", None, 5, ["a"]])
def test_n83_an_unknown_container_is_not_started(running: PolicyEngine, identifier: Any) -> None:
    decision = running.ask("StartContainerRequest", {"container_id": identifier})

    assert "E_ID" in decision.codes


@pytest.mark.parametrize("identifier", ["", "0" * 64, "name", "p:name", "/pstate", None, 5])
def test_n86_removing_what_is_no_container_changes_nothing(engine: str, identifier: Any) -> None:
    guest = guest_after("start pause", engine)
    before = dict(guest.state)

    decision = guest.ask("RemoveContainerRequest", {"container_id": identifier, "timeout": 0})

    assert decision.allowed
    assert guest.state == before


def test_a_removed_container_is_forgotten_but_has_been_started(engine: str) -> None:
    guest = guest_after("start contrast-initializer", engine)

    guest.ask("RemoveContainerRequest", {"container_id": INITIALIZER, "timeout": 0})

    assert f"c:{INITIALIZER}" not in guest.state
    assert f"r:{INITIALIZER}" not in guest.state
    assert guest.state["s:contrast-initializer"] is True


def test_n87_a_second_sandbox_is_denied(running: PolicyEngine) -> None:
    decision = running.ask("CreateSandboxRequest", LIFE["create the sandbox"].input)

    assert set(decision.codes) == {"E_SANDBOX"}


@pytest.mark.parametrize("kind", ["SignalProcessRequest", "ReadStreamRequest"])
def test_an_unknown_container_is_not_signalled_or_read(running: PolicyEngine, kind: str) -> None:
    assert not running.ask(
        kind, {"container_id": "0" * 64, "exec_id": "", "signal": 9, "len": 1}
    ).allowed


def test_n91_output_of_the_initializer_is_not_read(engine: str) -> None:
    started = guest_after("start contrast-initializer", engine)

    decision = started.ask(
        "ReadStreamRequest", {"container_id": INITIALIZER, "exec_id": "", "len": 9}
    )

    assert decision.codes == {"E_LOGS": ()}
    assert decision.container == "contrast-initializer"


# Sandbox.

SANDBOX = LIFE["create the sandbox"].input


@pytest.mark.parametrize(
    ("code", "path", "value"),
    [
        ("E_HOOKS", "guest_hook_path", "/usr/share/oci/hooks"),
        ("E_MODULES", "kernel_modules", [{"name": "evil", "parameters": []}]),
        ("E_PIDNS", "sandbox_pidns", True),
        ("E_STORAGE", "storages", []),
        ("E_STORAGE", "storages/0/source", "/dev/vda"),
        ("E_STORAGE", "storages/0/mount_point", "/etc"),
        ("E_STORAGE", "storages/0/options", ["exec"]),
        ("E_STORAGE", "storages/0/shared", True),
        ("E_STORAGE", "storages/+", {"driver": "virtio-fs", "source": "kataShared"}),
        ("E_STORAGE", "storages/+", SANDBOX["storages"][0]),
        ("E_STORAGE", "storages/+", None),
        ("E_DNS", "dns/0", "nameserver 10.0.0.1\nsearch evil.example"),
        ("E_DNS", "dns/0", "nameserver 10.0.0.1\0"),
        ("E_DNS", "dns/0", "#" * 4097),
        ("E_DNS", "dns", [""] * 257),
        ("E_DNS", "dns/0", 5),
        ("E_HOSTNAME", "hostname", "a b"),
        ("E_HOSTNAME", "hostname", "a\n127.0.0.1 evil"),
        ("E_SANDBOX_ID", "sandbox_id", "short"),
        ("E_SANDBOX_ID", "sandbox_id", "Z" * 64),
    ],
)
def test_n94_a_changed_sandbox_is_denied(
    fresh: PolicyEngine, code: str, path: str, value: Any
) -> None:
    decision = fresh.ask("CreateSandboxRequest", bent(SANDBOX, path, value))

    assert not decision.allowed
    assert code in decision.codes


# Network.

INTERFACE = LIFE["configure eth0"].input
ROUTES = LIFE["set routes"].input
NEIGHBOURS = LIFE["set neighbours"].input


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("interface/name", "lo"),
        ("interface/device", "lo"),
        ("interface/name", ""),
        ("interface/name", "eth0\n"),
        ("interface/name", "../eth0"),
        ("interface/IPAddresses/0/mask", "24$(id)"),
        ("interface/raw_flags", 64),
        ("interface/raw_flags", 129),
        ("interface/hwAddr", "00:00:00:00:00:00"),
        ("interface/hwAddr", "x"),
        ("interface/IPAddresses/0/address", "127.0.0.1"),
        ("interface/IPAddresses/0/address", "127.99.1.1"),
        ("interface/IPAddresses/0/address", "::1"),
        ("interface/IPAddresses/0/address", "0:0:0:0:0:0:0:1"),
        ("interface/IPAddresses/0/address", "::ffff:127.0.0.1"),
        ("interface/IPAddresses/0/address", "::FFFF:7f00:1"),
        ("interface/IPAddresses/0/address", "evil"),
        ("interface/IPAddresses/0/address", "::0.0.0.1"),
        ("interface/IPAddresses/0/address", "0:0:0:0:0:0:0.0.0.1"),
        ("interface/IPAddresses/0/address", "127"),
        ("interface/IPAddresses/0/address", "0127.0.0.1"),
        ("interface/IPAddresses/0/address", "2130706433"),
        ("interface/IPAddresses/0/address", "10.0.0.7\n127.0.0.1"),
        ("interface/IPAddresses/0/address", "cafe"),
        ("interface", None),
    ],
)
def test_n95_a_changed_interface_is_denied(fresh: PolicyEngine, path: str, value: Any) -> None:
    decision = fresh.ask("UpdateInterfaceRequest", bent(INTERFACE, path, value))

    assert set(decision.codes) == {"E_INTERFACE"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("routes/Routes/0/device", "lo"),
        ("routes/Routes/0/source", "127.0.0.1"),
        ("routes/Routes/0/source", "::1"),
        ("routes/Routes/0/source", "00::001"),
        ("routes/Routes/0/dest", "127.0.0.0/8"),
        ("routes/Routes/0/dest", "::1/128"),
        ("routes/Routes/0/dest", "127/8"),
        ("routes/Routes/0/dest", "::0.0.0.1/128"),
        ("routes/Routes/0/dest", "10.0.0.0/8/8"),
        ("routes/Routes/0/gateway", "127.0.0.1"),
        ("routes/Routes/0/gateway", "10.0.0.1\n"),
        ("routes/Routes/0/device", " eth0"),
        ("routes/Routes/0/dest", "evil"),
        ("routes", None),
    ],
)
def test_n96_a_changed_route_is_denied(fresh: PolicyEngine, path: str, value: Any) -> None:
    decision = fresh.ask("UpdateRoutesRequest", bent(ROUTES, path, value))

    assert set(decision.codes) == {"E_ROUTE"}


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "10.0.0.0",
        "255.255.255.255",
        "fe80::1",
        "::",
        "::ffff:10.0.0.1",
        "2001:db8::7f00:1",
        "2001:db8:1:2:3:4:5:6",
        "128.0.0.1",
        "1::1",
    ],
)
def test_ordinary_addresses_are_routed(fresh: PolicyEngine, address: str) -> None:
    assert fresh.ask("UpdateRoutesRequest", bent(ROUTES, "routes/Routes/0/source", address)).allowed


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("device", "lo"),
        ("toIPAddress/mask", "24"),
        ("toIPAddress/address", "127.0.0.1"),
        ("toIPAddress", None),
        ("state", 0),
        ("state", 64),
        ("device", "eth0/lo"),
        ("lladdr", "00:00:5e:00:53:01 "),
        ("flags", 1),
        ("flags", 2),
    ],
)
def test_n97_a_changed_neighbour_is_denied(fresh: PolicyEngine, path: str, value: Any) -> None:
    decision = fresh.ask(
        "AddARPNeighborsRequest", bent(NEIGHBOURS, f"neighbors/ARPNeighbors/0/{path}", value)
    )

    assert set(decision.codes) == {"E_NEIGHBOR"}


# Files.

SHARED = "/run/kata-containers/shared/containers/"
COPY = LIFE["copy /etc/hosts of web-svc"].input
TOKEN = f"{SHARED}{APP}-0123456789abcdef-serviceaccount"


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("E_PATH", {"path": "/etc/passwd"}),
        ("E_PATH", {"path": "../x"}),
        ("E_PATH", {"path": f"{SHARED}../../../etc/passwd"}),
        ("E_PATH", {"path": f"{TOKEN}/../../x"}),
        ("E_PATH", {"path": f"{TOKEN}/./x"}),
        ("E_PATH", {"path": f"{TOKEN}//x"}),
        ("E_PATH", {"path": f"{TOKEN}/"}),
        ("E_PATH", {"path": f"{TOKEN}/a\nb"}),
        ("E_PATH", {"path": f"{SHARED}{APP}/rootfs/bin/sh"}),
        ("E_PATH", {"path": f"/run/kata-containers/{APP}/rootfs/bin/sh"}),
        ("E_PATH", {"path": f"{SHARED}short-0123456789abcdef-hosts"}),
        ("E_PATH", {"path": f"{SHARED}{APP}-short-hosts"}),
        ("E_NAME", {"path": f"{SHARED}{APP}-0123456789abcdef-passwd"}),
        ("E_NAME", {"path": f"{SHARED}{APP}-0123456789abcdef-hosts2"}),
        ("E_FILE_TYPE", {"file_type": "Unknown"}),
        ("E_FILE_TYPE", {"file_type": "Socket"}),
        ("E_FILE_TYPE", {"file_type": "Symlink", "symlink_target": "abc"}),
        ("E_FILE_TYPE", {"path": f"{TOKEN}/l", "file_type": "Symlink", "symlink_target": "/etc"}),
        (
            "E_FILE_TYPE",
            {"path": f"{TOKEN}/l", "file_type": "Symlink", "symlink_target": "a/../../b"},
        ),
        ("E_FILE_TYPE", {"path": f"{TOKEN}/l", "file_type": "Symlink", "symlink_target": ".."}),
        ("E_FILE_TYPE", {"path": f"{TOKEN}/l", "file_type": "Symlink", "symlink_target": ""}),
        ("E_FILE_TYPE", {"path": f"{TOKEN}/l", "file_type": "Symlink", "symlink_target": None}),
        ("E_FILE_TYPE", {"file_type": "Regular", "symlink_target": "x"}),
        ("E_MODE", {"file_mode": 0o104755}),
        ("E_MODE", {"file_mode": 0o102755}),
        ("E_MODE", {"file_type": "Directory", "file_mode": 0o044755}),
        ("E_MODE", {"dir_mode": 0o4755}),
        ("E_MODE", {"uid": -1}),
        ("E_MODE", {"gid": -1}),
    ],
)
def test_n93_a_changed_copy_is_denied(
    fresh: PolicyEngine, code: str, change: dict[str, Any]
) -> None:
    decision = fresh.ask("CopyFileRequest", {**COPY, **change})

    assert not decision.allowed
    assert code in decision.codes


def test_n93_a_file_is_not_replaced_under_a_started_container(running: PolicyEngine) -> None:
    decision = running.ask("CopyFileRequest", COPY)

    assert set(decision.codes) == {"E_LATE"}


def test_a_token_is_renewed_under_a_started_container(running: PolicyEngine) -> None:
    assert running.ask("CopyFileRequest", {**COPY, "path": f"{TOKEN}/..data/token"}).allowed


RAW = {
    "path": f"{TOKEN}/l",
    "file_size": 3,
    "file_mode": 0o100644,
    "dir_mode": 0o750,
    "uid": 0,
    "gid": 0,
    "offset": 0,
    "data": [97, 98, 99],
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"path": TOKEN, "file_mode": 0o041777, "data": []},
        {"file_mode": 0o120777, "data": list(b"..data/token")},
        {"file_mode": 0o120777, "data": list(b"a/..b/c")},
    ],
)
def test_the_raw_message_of_older_agents_is_allowed(
    older: PolicyEngine, change: dict[str, Any]
) -> None:
    assert older.ask("CopyFileRequest", {**RAW, **change}).allowed


def test_n93_a_raw_message_is_denied_where_agents_tell_the_type(fresh: PolicyEngine) -> None:
    assert set(fresh.ask("CopyFileRequest", RAW).codes) == {"E_FILE_TYPE", "E_MODE"}


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("E_FILE_TYPE", {"file_mode": 0o140644}),
        ("E_FILE_TYPE", {"file_mode": 0o020644}),
        ("E_FILE_TYPE", {"file_mode": 0o644}),
        ("E_FILE_TYPE", {"file_mode": 0o120777, "data": list(b"/etc")}),
        ("E_FILE_TYPE", {"file_mode": 0o120777, "data": list(b"..")}),
        ("E_FILE_TYPE", {"file_mode": 0o120777, "data": list(b"a/../..")}),
        ("E_FILE_TYPE", {"file_mode": 0o120777, "data": list(b"../x")}),
        ("E_FILE_TYPE", {"file_mode": 0o120777, "data": []}),
        ("E_FILE_TYPE", {"file_mode": 0o120777, "path": TOKEN}),
        ("E_FILE_TYPE", {"data": None}),
        ("E_MODE", {"file_mode": 0o104755}),
    ],
)
def test_n93_a_changed_raw_message_is_denied(
    older: PolicyEngine, code: str, change: dict[str, Any]
) -> None:
    decision = older.ask("CopyFileRequest", {**RAW, **change})

    assert not decision.allowed
    assert code in decision.codes


# Exec.

PROBE = RICH_LIFE["run check in app"].input


@pytest.mark.parametrize(
    ("code", "path", "value"),
    [
        ("E_ARGS", "process/Args", ["sh"]),
        ("E_ARGS", "process/Args/1", "10.0.0.7"),
        ("E_ARGS", "process/Args/+", "x"),
        ("E_ARGS", "process/Args", []),
        ("E_ENV", "process/Env/+", "LD_PRELOAD=x"),
        ("E_ENV", "process/Env", []),
        (
            "E_CAPS",
            "process/Capabilities",
            {
                "Ambient": [],
                "Bounding": ["CAP_KILL"],
                "Effective": [],
                "Inheritable": [],
                "Permitted": [],
            },
        ),
        ("E_USER", "process/User/UID", 0),
        ("E_USER", "process/User/AdditionalGids", []),
        ("E_USER", "process/User", None),
        ("E_USER", "string_user", {"uid": "0", "gid": "0", "additionalGids": []}),
        ("E_CWD", "process/Cwd", "/"),
        ("E_NNP", "process/NoNewPrivileges", None),
        ("E_TTY", "process/Terminal", True),
        ("E_TTY", "process/ConsoleSize", {"Height": 1, "Width": 1}),
        ("E_LSM", "process/SelinuxLabel", "x"),
        ("E_LSM", "process/ApparmorProfile", "localhost/x"),
        ("E_RLIMITS", "process/Rlimits", [{"Type": "RLIMIT_CORE", "Hard": 1, "Soft": 1}]),
        ("E_STDIO", "stdout_port", 5),
        ("E_ID", "container_id", "0" * 64),
        ("E_ID", "container_id", None),
        ("E_ID", "exec_id", ""),
        ("E_ID", "exec_id", "../x"),
        ("E_ID", "exec_id", "x\n"),
        ("E_ID", "exec_id", PROBE["container_id"]),
    ],
)
def test_n90_a_changed_probe_is_denied(
    running_rich: PolicyEngine, code: str, path: str, value: Any
) -> None:
    decision = running_rich.ask("ExecProcessRequest", bent(PROBE, path, value))

    assert not decision.allowed
    assert code in decision.codes


def test_n90_a_probe_of_another_container_is_denied(running: PolicyEngine) -> None:
    probe = bent(LIFE["run test in contrast-service-mesh"].input, "container_id", APP)

    decision = running.ask("ExecProcessRequest", probe)

    assert "E_ARGS" in decision.codes


def test_the_hook_is_allowed_and_not_expanded(running_rich: PolicyEngine) -> None:
    hook = {**RICH_LIFE["run stop in app"].input, "container_id": RICH_APP}

    assert running_rich.ask("ExecProcessRequest", hook).allowed


def test_n84_a_probe_does_not_run_before_its_container_started(engine: str) -> None:
    guest = guest_after("create contrast-service-mesh", engine)

    decision = guest.ask("ExecProcessRequest", LIFE["run test in contrast-service-mesh"].input)

    assert set(decision.codes) == {"E_ID"}


def test_n84_a_probe_does_not_run_in_a_removed_container(engine: str) -> None:
    guest = guest_after("wait for contrast-service-mesh", engine)
    guest.ask("RemoveContainerRequest", {"container_id": MESH, "timeout": 0})

    decision = guest.ask("ExecProcessRequest", LIFE["run test in contrast-service-mesh"].input)

    assert "E_ID" in decision.codes


@pytest.mark.parametrize("kind", sorted(set(REQUESTS) - {"RemoveContainerRequest"}))
def test_no_request_upsets_an_engine_by_its_defaults(running: PolicyEngine, kind: str) -> None:
    before = dict(running.state)

    running.ask(kind, fill_defaults(kind, {}))

    assert running.state == before


def _renamed(request: object, old: str, new: str) -> dict[str, Any]:
    import json

    changed: dict[str, Any] = json.loads(json.dumps(request).replace(old, new))
    return changed
