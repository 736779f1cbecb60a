"""The sidecar around a fake Envoy: what it waits for, what it passes on, how it ends."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.errors import ClusterError
from contrast_tasks.guest.secret_files import SecretFiles, write_credentials
from contrast_tasks.guest.sidecar import await_files, envoy_arguments
from tests.fakes.mesh_pki import Authority

pytestmark = pytest.mark.e2e

KEY = ec.generate_private_key(ec.SECP256R1())
AUTHORITY = Authority()

# Serves just enough of the admin interface: live at once, listeners active after the third question.
FAKE_ENVOY = f"""#!{sys.executable}
import http.server, json, os, socketserver, sys
config = json.load(open(sys.argv[sys.argv.index("-c") + 1]))
open("arguments", "w").write(json.dumps(sys.argv[1:]))
open("pid", "w").write(str(os.getpid()))
count = len(config["static_resources"]["listeners"])
asked = 0
class Admin(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global asked
        asked += 1
        body = json.dumps({{"listener_statuses": [{{}}] * (count if asked > 6 else 0)}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
    def address_string(self):
        return ""
if os.path.exists("crash"):
    sys.exit(3)
socketserver.UnixStreamServer(config["admin"]["address"]["pipe"]["path"], Admin).serve_forever()
"""
LOCAL = {
    "pod_address": "127.77.0.3",
    "app_address": "127.78.0.3",
    "ports": [8080],
    "resolve": {},
    "egress": {},
}


class Pause:
    """A clock that only moves when somebody pauses."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> None:
        self.now += 0.5

    def clock(self) -> float:
        return self.now


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    envoy, run = tmp_path / "envoy", tmp_path / "run"
    envoy.write_text(FAKE_ENVOY)
    envoy.chmod(0o755)
    run.mkdir()
    write_credentials(
        SecretFiles.below(tmp_path / "contrast"), AUTHORITY.issue(KEY.public_key()), KEY
    )
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "CONTRAST_ENVOY_BIN": str(envoy),
        "CONTRAST_SECRETS_DIR": str(tmp_path / "contrast"),
        "CONTRAST_MESH_DIR": str(run),
        "CONTRAST_READY_FILE": str(run / "ready"),
        "CONTRAST_LOCAL_MESH": json.dumps(LOCAL),
    }


@pytest.fixture
def start(environ: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "contrast_tasks.guest.sidecar", *arguments],
            env=environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def until_ready(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if "envoy is ready" in line:
            return said
    raise AssertionError(said)


def test_the_ready_file_appears_only_when_all_listeners_are_active(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start()

    said = until_ready(process)

    assert "envoy is ready with 1 listeners" in said
    assert (tmp_path / "run" / "ready").is_file()


def test_sigterm_stops_envoy_and_ends_with_status_0(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start()
    until_ready(process)
    envoy = os.pidfd_open(int((tmp_path / "run" / "pid").read_text()))

    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=10) == 0
    signal_is_refused(envoy)


def signal_is_refused(pidfd: int) -> None:
    try:
        with pytest.raises(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGCONT)
    finally:
        os.close(pidfd)


def test_envoy_does_not_survive_a_killed_sidecar(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    import select

    process = start()
    until_ready(process)
    envoy = os.pidfd_open(int((tmp_path / "run" / "pid").read_text()))

    process.kill()

    ended, _, _ = select.select([envoy], [], [], 10)
    os.close(envoy)
    assert ended


def test_the_status_of_a_crashed_envoy_is_passed_on_and_no_ready_file_written(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "run" / "crash").touch()
    process = start()

    _, said = process.communicate(timeout=10)

    assert process.returncode == 3
    assert "error: envoy ended with status 3" in said
    assert not (tmp_path / "run" / "ready").exists()


def test_envoy_gets_the_pods_arguments_and_one_log_level(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start("-l", "debug", "--component-log-level", "config:trace")
    until_ready(process)

    arguments = json.loads((tmp_path / "run" / "arguments").read_text())

    assert arguments == [
        *("-c", "envoy-config.yml", "--disable-hot-restart", "--concurrency", "1"),
        *("-l", "debug", "--component-log-level", "config:trace"),
    ]


def test_certificates_that_are_soon_to_end_are_asked_for_again_while_envoy_runs(
    start: Callable[..., subprocess.Popen[str]],
    environ: dict[str, str],
    processor_folder: Path,
    tmp_path: Path,
) -> None:
    old = Authority(now=datetime.now(UTC) - timedelta(days=300))
    write_credentials(SecretFiles.below(tmp_path / "contrast"), old.issue(KEY.public_key()), KEY)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    environ |= {
        "COORDINATOR_HOST": f"127.0.0.1:{port}",
        "CONTRAST_EVIDENCE": f"simulated:{processor_folder}",
        "CONTRAST_HOST_DATA": "0" * 64,
    }
    process = start()
    until_ready(process)

    assert process.stderr is not None
    said = process.stderr.readline()

    assert "were not renewed: " in said
    assert process.poll() is None


def test_a_stale_ready_file_is_removed_before_anything_else(
    environ: dict[str, str], run_module: Callable[..., tuple[int, str]]
) -> None:
    ready = Path(environ["CONTRAST_READY_FILE"])
    ready.touch()

    status, _ = run_module(
        "contrast_tasks.guest.sidecar", {**environ, "CONTRAST_ENVOY_BIN": "/nonexistent"}
    )

    assert status == 1
    assert not ready.exists()


def test_a_missing_envoy_is_said(
    environ: dict[str, str], run_module: Callable[..., tuple[int, str]]
) -> None:
    status, said = run_module(
        "contrast_tasks.guest.sidecar", {**environ, "CONTRAST_ENVOY_BIN": "/nonexistent"}
    )

    assert status == 1
    assert "error: CONTRAST_ENVOY_BIN is '/nonexistent', expected an executable file" in said


def test_a_malformed_annotation_is_said_with_its_entry(
    environ: dict[str, str], run_module: Callable[..., tuple[int, str]]
) -> None:
    status, said = run_module(
        "contrast_tasks.guest.sidecar",
        {**environ, "CONTRAST_INGRESS_PROXY_CONFIG": "web#80#false##x#99999#true"},
    )

    assert status == 1
    assert "entry 2" in said
    assert "99999" in said


@pytest.mark.parametrize("named", ["", "simulated"])
def test_outside_of_a_guest_the_packet_filter_is_left_alone(
    environ: dict[str, str],
    named: str,
    processor_folder: Path,
    run_module: Callable[..., tuple[int, str]],
) -> None:
    del environ["CONTRAST_LOCAL_MESH"]
    if named:
        environ["CONTRAST_EVIDENCE"] = f"simulated:{processor_folder}"
        environ["CONTRAST_HOST_DATA"] = "0" * 64
    else:
        # Hardware is looked for, and this machine may have some.
        environ["CONTRAST_PACKET_FILTER"] = "off"

    status, said = run_module("contrast_tasks.guest.sidecar", environ)

    assert status == 1
    assert "this is no guest" in said or "which needs hardware" in said


@pytest.mark.parametrize("name", ["key.pem", "certChain.pem", "mesh-ca.pem"])
def test_a_missing_file_is_named_with_the_initializer(tmp_path: Path, name: str) -> None:
    files = SecretFiles.below(tmp_path)
    write_credentials(files, AUTHORITY.issue(KEY.public_key()), KEY)
    (tmp_path / "tls-config" / name).unlink()
    pause = Pause()

    with pytest.raises(ClusterError) as caught:
        await_files(files, clock=pause.clock, pause=pause)

    assert str(caught.value) == (
        f"{tmp_path}/tls-config/{name} is not there, expected it from the initializer"
    )


def test_files_that_come_late_are_waited_for(tmp_path: Path) -> None:
    files = SecretFiles.below(tmp_path)
    pause = Pause()

    def pause_and_write() -> None:
        pause()
        write_credentials(files, AUTHORITY.issue(KEY.public_key()), KEY)

    await_files(files, clock=pause.clock, pause=pause_and_write)

    assert stat.S_ISREG(files.key.stat().st_mode)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ([], ["-l", "warning"]),
        (["-l", "debug"], ["-l", "debug"]),
        (["--log-level", "info"], ["-l", "info"]),
        (["-l", "info", "-l", "debug"], ["-l", "debug"]),
        (["--drain-time-s", "5"], ["-l", "warning", "--drain-time-s", "5"]),
    ],
)
def test_the_log_level_is_given_once(extra: list[str], expected: list[str]) -> None:
    arguments = envoy_arguments(Path("/bin/envoy"), extra)

    assert arguments[:6] == [
        *("/bin/envoy", "-c", "envoy-config.yml", "--disable-hot-restart", "--concurrency", "1")
    ]
    assert arguments[6:] == expected


def test_the_concurrency_of_the_pod_wins() -> None:
    arguments = envoy_arguments(Path("/bin/envoy"), ["--concurrency", "4"])

    assert arguments.count("--concurrency") == 1
