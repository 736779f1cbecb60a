"""The demo must fail where the mesh fails: each proof against a server that behaves wrongly."""

import errno
import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.decode import DecodeError
from contrast_tasks.errors import ContrastError, GraphError
from contrast_tasks.guest.secret_files import SecretFiles, write_credentials
from contrast_tasks.mesh.envoy_binary import EnvoyMissing
from contrast_tasks.report.model import Failure, Report
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from dev.demo import proofs
from dev.demo.chore import GenerateFailed
from dev.demo.proofs import DemoFailed
from dev.demo.run import run_demo
from tests.fakes.deployment import Project
from tests.fakes.mesh_pki import Authority

Place = tuple[str, int]


class App(BaseHTTPRequestHandler):
    """A front end that counts votes, unless it was told to forget them."""

    forgets = False
    page = b"<!doctype html><html></html>"
    votes = 0

    def do_GET(self) -> None:
        kind = type(self)
        if self.path.startswith("/api/vote"):
            kind.votes += not kind.forgets
        rows = [{"shortcode": ":joy:", "unicode": "x", "votes": str(kind.votes)}]
        body = json.dumps(rows).encode() if self.path.startswith("/api/") else kind.page
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        pass


@pytest.fixture
def files(tmp_path: Path) -> SecretFiles:
    return SecretFiles.below(tmp_path / "contrast")


@pytest.fixture
def serve(files: SecretFiles) -> Iterator[Callable[..., Place]]:
    """Return a function that starts a server: TLS for `sans`, plain without, client certificate or not."""
    started: list[tuple[Server, threading.Thread]] = []

    def start(*sans: str, client: bool = False, app: type[App] = App) -> Place:
        server = Server(("127.0.0.1", 0), app)
        if sans:
            key = ec.generate_private_key(ec.SECP256R1())
            authority = Authority(now=datetime.now(UTC))
            write_credentials(files, authority.issue(key.public_key(), sans=sans), key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.cert_chain, files.key)
            if client:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(files.mesh_ca)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        started.append((server, thread))
        return ("127.0.0.1", server.server_address[1])

    yield start
    for server, thread in started:
        server.shutdown()
        server.server_close()
        thread.join()


def test_votes_that_arrive_are_proven(serve: Callable[..., Place], files: SecretFiles) -> None:
    place = serve("web", app=type("Honest", (App,), {"votes": 3}))

    proven = proofs.cast_votes(place, files.mesh_ca)

    assert proven.endswith("8 in the leaderboard")


def test_votes_that_get_lost_fail_the_demo(serve: Callable[..., Place], files: SecretFiles) -> None:
    place = serve("web", app=type("Forgetful", (App,), {"forgets": True}))

    with pytest.raises(DemoFailed, match=":joy: has 0 votes, wanted at least 5"):
        proofs.cast_votes(place, files.mesh_ca)


def test_a_front_end_with_another_name_fails_the_demo(
    serve: Callable[..., Place], files: SecretFiles
) -> None:
    place = serve("emoji")

    with pytest.raises(DemoFailed, match="Hostname mismatch"):
        proofs.cast_votes(place, files.mesh_ca)
    with pytest.raises(DemoFailed, match="curl by name ended with 60"):
        proofs.curl_by_name(place, files.mesh_ca)


def test_curl_by_name_wants_the_page(serve: Callable[..., Place], files: SecretFiles) -> None:
    good = serve("web")
    proven = proofs.curl_by_name(good, files.mesh_ca)
    empty = serve("web", app=type("Empty", (App,), {"page": b"nothing"}))

    with pytest.raises(DemoFailed, match="curl by name ended with 0"):
        proofs.curl_by_name(empty, files.mesh_ca)

    assert proven == "curl --cacert tls-config/mesh-ca.pem accepts https://web/"


def test_an_address_in_the_sans_is_accepted_and_its_refusal_would_fail(
    serve: Callable[..., Place], files: SecretFiles
) -> None:
    place = serve("web", "127.0.0.1")

    proven = proofs.curl_by_address(place, files.mesh_ca)

    assert "curl accepts https://127.0.0.1:" in proven
    with pytest.raises(DemoFailed, match="curl ended with 0, wanted 60"):
        proofs.curl_refuses(place, files.mesh_ca, "")


def test_an_address_that_is_no_san_is_refused_and_its_acceptance_would_fail(
    serve: Callable[..., Place], files: SecretFiles
) -> None:
    place = serve("web")

    assert "(60)" in proofs.curl_refuses(place, files.mesh_ca, "as it should")
    with pytest.raises(DemoFailed, match="curl by address ended with 60"):
        proofs.curl_by_address(place, files.mesh_ca)


def test_openssl_tells_the_right_ca_from_a_wrong_one(
    serve: Callable[..., Place], files: SecretFiles, tmp_path: Path
) -> None:
    place = serve("web")
    other = SecretFiles.below(tmp_path / "other")
    key = ec.generate_private_key(ec.SECP256R1())
    write_credentials(other, Authority(now=datetime.now(UTC)).issue(key.public_key()), key)

    assert proofs.openssl_accepts(place, files.mesh_ca).endswith("Verification: OK")
    with pytest.raises(DemoFailed, match="openssl ended with 1"):
        proofs.openssl_accepts(place, other.mesh_ca)


def test_a_protected_port_that_answers_in_the_clear_fails_the_demo(
    serve: Callable[..., Place],
) -> None:
    place = serve()

    with pytest.raises(DemoFailed, match="answered a plain connection with b'HTTP/1"):
        proofs.plain_refused(place)


def test_a_protected_port_that_talks_to_anybody_fails_the_demo(
    serve: Callable[..., Place], files: SecretFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "TIMEOUT_S", 0.2)
    place = serve("emoji")

    with pytest.raises(DemoFailed):
        proofs.anonymous_refused(place, files.mesh_ca)


def test_a_protected_port_that_wants_a_certificate_is_proven(
    serve: Callable[..., Place], files: SecretFiles
) -> None:
    place = serve("emoji", client=True)

    proven = proofs.anonymous_refused(place, files.mesh_ca)

    assert "refuses tls without a client certificate" in proven


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> SimulatedProcessor:
    return SimulatedProcessor.load_or_create(tmp_path_factory.mktemp("demo") / "processor")


@pytest.fixture
def project(tmp_path: Path, simulated: SimulatedProcessor) -> Project:
    return Project(tmp_path, simulated)


def no_generate(_overrides: Sequence[str]) -> None:
    raise ContrastError("generate was called")


def test_the_demo_runs_on_platform_local_only(project: Project) -> None:
    def load(_overrides: Sequence[str]) -> Settings:
        return load_settings(project.root, environ={}, flags={"platform": "k3s-qemu-snp"})

    with pytest.raises(DemoFailed, match=r"contrast\.toml says k3s-qemu-snp"):
        run_demo(load, no_generate, say=print)


def test_a_missing_envoy_is_one_warning_and_in_ci_an_error(project: Project) -> None:
    said: list[str] = []
    environ = {"CONTRAST_ENVOY_BIN": "/nonexistent"}

    def load(_overrides: Sequence[str]) -> Settings:
        return project.settings

    with pytest.raises(ContrastError, match="generate was called"):
        run_demo(load, no_generate, say=said.append, environ=environ)
    with pytest.raises(ContrastError, match="generate was called"):
        run_demo(load, no_generate, say=lambda _: None, environ={**environ, "CI": "false"})
    for value in ("true", "1", "yes"):
        with pytest.raises(EnvoyMissing):
            run_demo(load, no_generate, say=said.append, environ={**environ, "CI": value})

    assert len(said) == 1
    assert said[0].startswith("warning: CONTRAST_ENVOY_BIN is '/nonexistent'")


def test_a_missing_tool_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(proofs, "missing_tools", lambda: ["curl", "openssl"])

    with pytest.raises(ContrastError, match="generate was called"):
        run_demo(lambda _: project.settings, no_generate, say=said.append, environ={})

    assert said[0].startswith("warning: found no curl and no openssl")


def test_a_failed_generate_starts_nothing(project: Project) -> None:
    with pytest.raises(ContrastError, match="generate was called"):
        run_demo(lambda _: project.settings, no_generate, say=lambda _: None, environ={})

    assert not (project.root / ".contrast" / "local" / "node.json").exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError("disk full"),
        subprocess.TimeoutExpired("curl", 20),
        DecodeError("/web-svc: missing"),
        ContrastError("generate was called"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_fails_in_a_step_comes_with_a_hint(project: Project, error: Exception) -> None:
    def fails(_overrides: Sequence[str]) -> None:
        raise error

    with pytest.raises(ContrastError) as caught:
        run_demo(lambda _: project.settings, fails, say=lambda _: None, environ={})

    assert str(error) in str(caught.value)
    assert caught.value.hint == "the logs of the pods are in .contrast/local/logs"


def test_a_file_that_cannot_be_written_is_named(project: Project) -> None:
    def full(_overrides: Sequence[str]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "build/check.json")

    with pytest.raises(GraphError) as caught:
        run_demo(lambda _: project.settings, full, say=lambda _: None, environ={})

    assert f"{caught.value.where}: {caught.value}" == (
        "build/check.json: cannot be used: no space left on device"
    )
    assert caught.value.hint == "make room on the disk, then run again"


def test_a_step_that_shows_something_else_is_no_bug_of_ours() -> None:
    assert DemoFailed("curl ended with 7").exit_code == 30


@pytest.mark.parametrize(
    ("failures", "message", "hint"),
    [
        (
            (Failure(kind="ImageError", message="no layout", exit_code=20, hint="run lock"),),
            "no layout",
            "run lock",
        ),
        ((), "generate ended with 20", "run 'contrast-tasks generate' to see it all"),
    ],
    ids=["with-failure", "without"],
)
def test_a_demo_that_cannot_generate_ends_as_generate_does(
    failures: tuple[Failure, ...], message: str, hint: str
) -> None:
    error = GenerateFailed(Report(command="generate", exit_code=20, failures=failures))

    assert (error.exit_code, str(error), error.hint) == (20, message, hint)
