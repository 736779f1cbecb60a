"""Two pods with the real Envoy and our configuration: what gets through the mesh and what does not."""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer, ThreadingTCPServer

import pytest

from contrast_tasks.guest.secret_files import SecretFiles
from tests.fakes import mesh_traffic
from tests.fakes.mesh_pki import Authority
from tests.fakes.mesh_traffic import (
    ANSWER,
    App,
    Greeting,
    ask,
    connect,
    files_of,
    negotiated,
    serving,
    shaken,
    tls_server,
)

pytestmark = pytest.mark.e2e

# Nets that no project's node holds, so that a running deployment is not in the way.
POD, APP, EGRESS = "127.251.0.3", "127.252.0.3", "127.253.0.1"
RENEWED, RENEWED_APP, RENEWED_EGRESS = "127.251.0.4", "127.252.0.4", "127.253.0.2"
FOREIGN = "127.251.0.5"
# Of a pod whose incoming connections are left alone, in front of the same application.
UNTOUCHED, UNTOUCHED_EGRESS = "127.251.0.6", "127.253.0.3"
PROTECTED, OPEN, PLAIN, OUT, GREETING = 8080, 8443, 8090, 8081, 8070
RENEWAL_LIMIT_S = 20


@dataclass(frozen=True)
class Mesh:
    """A pod `emoji` behind its sidecar; `web` are the files of another pod of the same generation."""

    authority: Authority
    web: SecretFiles


@pytest.fixture(scope="module")
def applications() -> Iterator[None]:
    servers: list[TCPServer] = [
        ThreadingHTTPServer((APP, port), App) for port in (PROTECTED, OPEN, PLAIN)
    ]
    servers += [
        ThreadingTCPServer((APP, GREETING), Greeting),
        ThreadingHTTPServer((RENEWED_APP, PROTECTED), App),
    ]
    with serving(*servers):
        yield


@contextlib.contextmanager
def sidecar(
    folder: Path,
    *,
    pod: str,
    app: str,
    egress: str,
    ingress: str = f"web#{OPEN}#false##metrics#{PLAIN}#true",
) -> Iterator[None]:
    """Run the sidecar of a pod whose secrets are in `folder`/contrast."""
    (folder / "run").mkdir()
    ports = [PROTECTED, OPEN, PLAIN, GREETING]
    local = {
        "pod_address": pod,
        "app_address": app,
        "ports": ports,
        "resolve": {
            f"emoji-svc:{PROTECTED}": [POD if ingress == "DISABLED" else pod, PROTECTED],
            f"emoji-svc:{GREETING}": [pod, GREETING],
            f"foreign-svc:{PROTECTED}": [FOREIGN, PROTECTED],
        },
        "egress": {},
    }
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "CONTRAST_SECRETS_DIR": str(folder / "contrast"),
        "CONTRAST_MESH_DIR": str(folder / "run"),
        "CONTRAST_READY_FILE": str(folder / "run" / "ready"),
        "CONTRAST_LOCAL_MESH": json.dumps(local),
        "CONTRAST_INGRESS_PROXY_CONFIG": ingress,
        "CONTRAST_EGRESS_PROXY_CONFIG": f"emoji#{egress}:{OUT}#emoji-svc:{PROTECTED}"
        f"##foreign#{egress}:{OUT + 1}#foreign-svc:{PROTECTED}"
        f"##greeting#{egress}:{OUT + 2}#emoji-svc:{GREETING}"
        f"##pinned#{egress}:{OUT + 3}#emoji-svc:{PROTECTED}",
        "CONTRAST_EGRESS_PEERS": "emoji=emoji##pinned=voting",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "contrast_tasks.guest.sidecar"],
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            said = ""
            for line in process.stderr:
                said += line
                if "envoy is ready" in line:
                    break
            assert f"envoy is ready with {len(ports) + 4} listeners" in said
            yield
        finally:
            process.terminate()
            assert process.wait(timeout=20) == 0


@pytest.fixture(scope="module")
def mesh(applications: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("emoji")
    authority = Authority(now=datetime.now(UTC))
    files_of(folder / "contrast", authority, "emoji")
    with sidecar(folder, pod=POD, app=APP, egress=EGRESS):
        yield Mesh(
            authority=authority, web=files_of(tmp_path_factory.mktemp("web"), authority, "web")
        )


def plain(port: int, address: str = POD) -> bytes:
    return mesh_traffic.plain(address, port)


def tls(port: int, mesh: Mesh, *, client: SecretFiles | None, name: str = "emoji") -> bytes:
    return ask(shaken(connect(POD, port), mesh.web.mesh_ca, client=client, name=name))


def alert(mesh: Mesh, *, client: SecretFiles | None) -> str:
    return mesh_traffic.alert(shaken(connect(POD, PROTECTED), mesh.web.mesh_ca, client=client))


def test_a_mesh_certificate_opens_a_protected_port(mesh: Mesh) -> None:
    assert tls(PROTECTED, mesh, client=mesh.web).endswith(b"from the application")


def test_plain_tcp_to_a_protected_port_gets_nothing_from_the_application(mesh: Mesh) -> None:
    assert plain(PROTECTED) == b""


def test_tls_without_client_certificate_is_refused(mesh: Mesh) -> None:
    assert alert(mesh, client=None) == "TLSV13_ALERT_CERTIFICATE_REQUIRED"


def test_a_certificate_of_the_previous_mesh_ca_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    previous = Authority(now=mesh.authority.now, root_key=mesh.authority.root_key)
    old = files_of(tmp_path, previous, "web")

    assert alert(mesh, client=old) == "TLSV1_ALERT_UNKNOWN_CA"


def test_a_certificate_of_a_foreign_ca_with_the_same_names_is_refused(
    mesh: Mesh, tmp_path: Path
) -> None:
    foreign = files_of(tmp_path, Authority(now=mesh.authority.now), "web")

    assert alert(mesh, client=foreign) == "TLSV1_ALERT_UNKNOWN_CA"


def test_a_false_port_asks_for_no_client_certificate(mesh: Mesh) -> None:
    assert tls(OPEN, mesh, client=None).endswith(b"from the application")


def test_plain_http_to_a_false_port_gets_nothing_from_the_application(mesh: Mesh) -> None:
    assert plain(OPEN) == b""


def test_a_true_port_is_plain(mesh: Mesh) -> None:
    assert plain(PLAIN).endswith(b"from the application")


def test_the_applications_own_connection_leaves_through_the_mesh(mesh: Mesh) -> None:
    assert plain(OUT, EGRESS).endswith(b"from the application")


def test_an_egress_pinned_to_another_name_is_cut(mesh: Mesh) -> None:
    assert plain(OUT + 3, EGRESS) == b""


def test_another_name_than_the_certificates_is_refused(mesh: Mesh) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        tls(OPEN, mesh, client=None, name="voting.example")


@pytest.mark.parametrize(
    ("port", "newest", "answer"),
    [
        (OPEN, ssl.TLSVersion.TLSv1_1, "TLSV1_ALERT_PROTOCOL_VERSION"),
        (OPEN, ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        (OPEN, ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
        (PROTECTED, ssl.TLSVersion.TLSv1_2, "TLSV1_ALERT_PROTOCOL_VERSION"),
    ],
)
def test_browsers_may_come_with_tls_1_2_and_workloads_with_1_3_only(
    mesh: Mesh, port: int, newest: ssl.TLSVersion, answer: str
) -> None:
    assert negotiated(connect(POD, port), newest) == answer


def test_a_server_may_speak_first_and_a_client_may_close_its_half(mesh: Mesh) -> None:
    with socket.create_connection((EGRESS, OUT + 2)) as connection:
        connection.settimeout(10)
        with connection.makefile("rb") as stream:
            greeting = stream.readline()
            connection.sendall(b"x" * 100_000)
            connection.shutdown(socket.SHUT_WR)
            answer = stream.read()

    assert (greeting, answer) == (b"hello\n", b"100000 bytes\n")


def test_an_egress_to_a_certificate_of_a_foreign_ca_is_cut(mesh: Mesh, tmp_path: Path) -> None:
    files = files_of(tmp_path, Authority(now=mesh.authority.now), "foreign-svc")

    with tls_server(FOREIGN, PROTECTED, files) as met:
        answer = plain(OUT + 1, EGRESS)

    assert (answer, met) == (b"", [])


def test_with_ingress_disabled_connections_come_in_plain_and_leave_through_the_mesh(
    mesh: Mesh, tmp_path: Path
) -> None:
    # docs/internals/releases.md 6.
    files_of(tmp_path / "contrast", mesh.authority, "egress-only")

    with sidecar(tmp_path, pod=UNTOUCHED, app=APP, egress=UNTOUCHED_EGRESS, ingress="DISABLED"):
        incoming = [plain(port, UNTOUCHED) for port in (PROTECTED, OPEN, PLAIN)]
        outgoing = plain(OUT, UNTOUCHED_EGRESS)

    assert [b"from the application" in answer for answer in incoming] == [True] * 3
    assert b"from the application" in outgoing


def test_renewed_certificates_are_taken_without_a_restart(
    applications: None, tmp_path: Path
) -> None:
    old = Authority(now=datetime.now(UTC))
    new = Authority(now=old.now, root_key=old.root_key)
    files_of(tmp_path / "contrast", old, "emoji")
    before = files_of(tmp_path / "before", old, "web")
    after = files_of(tmp_path / "after", new, "web")

    def answers(client: SecretFiles) -> bool:
        try:
            connection = shaken(connect(RENEWED, PROTECTED), client.mesh_ca, client=client)
            return ask(connection).endswith(ANSWER)
        except OSError:
            return False

    with sidecar(tmp_path, pod=RENEWED, app=RENEWED_APP, egress=RENEWED_EGRESS):
        assert answers(before)
        assert not answers(after)

        files_of(tmp_path / "contrast", new, "emoji")

        end = time.monotonic() + RENEWAL_LIMIT_S
        while not answers(after):
            assert time.monotonic() < end, "the new certificates were not taken"
        assert not answers(before)
