"""Two pods in local mode, with the real Envoy between them: who gets through and who does not."""

import json
import os
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from contrast_tasks.mesh.envoy import render_bootstrap
from contrast_tasks.mesh.envoy_binary import find_envoy
from contrast_tasks.mesh.envoy_tls import TlsPaths, secret_files
from contrast_tasks.mesh.local import LocalMesh
from contrast_tasks.mesh.model import MeshConfig
from tests.fakes.mesh import mesh_of
from tests.fakes.mesh_pki import tls_paths

pytestmark = pytest.mark.e2e
APP, POD, CLIENT = "127.88.0.3", "127.87.0.3", "127.87.0.2"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from the application")

    def log_message(self, *args: object) -> None:
        pass


def make_identity(folder: Path, common_name: str) -> TlsPaths:
    """Write a mesh CA and a leaf for `web` and POD, valid now."""
    folder.mkdir()
    # The peers judge validity by their own clocks.
    now = datetime.now(UTC)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])

    def certificate(subject: x509.Name, public: Any, *, is_ca: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if not is_ca:
            names = x509.SubjectAlternativeName([x509.DNSName("web"), x509.DNSName("*")])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    leaf_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web")])
    (folder / "mesh-ca.pem").write_bytes(certificate(ca_name, ca_key.public_key(), is_ca=True))
    (folder / "certChain.pem").write_bytes(certificate(leaf_name, key.public_key(), is_ca=False))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return tls_paths(folder)


def free_port(ip: str) -> int:
    with socket.socket() as probe:
        probe.bind((ip, 0))
        return int(probe.getsockname()[1])


class Envoy:
    """A running Envoy; made when all its listeners accept connections, which is a moment after its log says so."""

    def __init__(self, bootstrap: dict[str, Any], folder: Path) -> None:
        config = folder / "envoy.json"
        config.write_text(json.dumps(bootstrap))
        command = [str(find_envoy(os.environ)), "-c", str(config), "-l", "info"]
        command += ["--disable-hot-restart", "--concurrency", "1"]
        self._process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        assert self._process.stderr is not None
        self._log = self._process.stderr
        seen: list[str] = []
        for line in self._log:
            seen.append(line)
            if "all dependencies initialized" in line:
                break
        else:
            self._process.wait()
            self._log.close()
            raise AssertionError("".join(seen))
        self._drain = threading.Thread(target=self._log.read)
        self._drain.start()
        for listener in bootstrap["static_resources"]["listeners"]:
            address = listener["address"]["socket_address"]
            self._await((address["address"], address["port_value"]))

    def _await(self, address: tuple[str, int]) -> None:
        pause = threading.Event()
        for _ in range(2000):
            with socket.socket() as probe:
                if probe.connect_ex(address) == 0:
                    return
            pause.wait(0.01)
        self.stop()
        raise AssertionError(f"Envoy does not listen on {address}")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)
        self._drain.join()
        self._log.close()


class Mesh:
    def __init__(self, folder: Path, *, is_protected: bool) -> None:
        self.is_protected = is_protected
        self.ours = make_identity(folder / "ours", "mesh CA")
        self.foreign = make_identity(folder / "foreign", "mesh CA")
        self.app = HTTPServer((APP, 0), Answer)
        self.mtls = self.app.server_port
        self.listen = free_port(CLIENT)
        self.pinned = free_port(CLIENT)
        (folder / "secrets").mkdir()
        (folder / "pod").mkdir()
        (folder / "client").mkdir()
        for name, secret in secret_files(self.ours).items():
            (folder / "secrets" / name).write_text(json.dumps(secret))
        self.folder = folder

    def pod(self) -> dict[str, Any]:
        config = mesh_of(ingress="" if self.is_protected else f"web#{self.mtls}#false")
        local = LocalMesh(
            pod_address=POD, app_address=APP, ports=(self.mtls,), resolve={}, egress={}
        )
        return self._bootstrap(config, local)

    def client(self) -> dict[str, Any]:
        remote = f"emoji-svc:{self.mtls}"
        config = mesh_of(
            egress=f"emoji#{CLIENT}:{self.listen}#{remote}##pinned#{CLIENT}:{self.pinned}#{remote}",
            egress_peers="pinned=voting",
        )
        local = LocalMesh(
            pod_address=CLIENT,
            app_address=CLIENT,
            ports=(),
            resolve={remote: (POD, self.mtls)},
            egress={},
        )
        return self._bootstrap(config, local)

    def _bootstrap(self, config: MeshConfig, local: LocalMesh) -> dict[str, Any]:
        secrets = str(self.folder / "secrets")
        bootstrap = render_bootstrap(config, secrets_directory=secrets, local=local)
        del bootstrap["admin"]
        return bootstrap

    def context(self, identity: TlsPaths | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ours.trusted_ca)
        context.check_hostname = False
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if identity is not None:
            context.load_cert_chain(identity.certificate_chain, identity.private_key)
        return context


def fetch(url: str, context: ssl.SSLContext | None = None) -> bytes:
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    with urllib.request.build_opener(*handlers).open(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body


@pytest.fixture(scope="module", params=[True, False], ids=["protected", "exempted"])
def mesh(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mesh]:
    running = Mesh(tmp_path_factory.mktemp("mesh"), is_protected=request.param)
    server = threading.Thread(target=running.app.serve_forever, args=(0.01,))
    server.start()
    started: list[Envoy] = []
    try:
        started.append(Envoy(running.pod(), running.folder / "pod"))
        started.append(Envoy(running.client(), running.folder / "client"))
        yield running
    finally:
        for envoy in started:
            envoy.stop()
        running.app.shutdown()
        running.app.server_close()
        server.join()


def test_egress_reaches_the_application(mesh: Mesh) -> None:
    assert fetch(f"http://{CLIENT}:{mesh.listen}/") == b"from the application"


def test_a_client_with_a_mesh_certificate_is_let_in(mesh: Mesh) -> None:
    assert fetch(f"https://{POD}:{mesh.mtls}/", mesh.context(mesh.ours)) == b"from the application"


def test_a_client_without_certificate_is_let_in_only_where_exempted(mesh: Mesh) -> None:
    url = f"https://{POD}:{mesh.mtls}/"
    if mesh.is_protected:
        with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
            fetch(url, mesh.context(None))
    else:
        assert fetch(url, mesh.context(None)) == b"from the application"


def test_a_certificate_of_a_foreign_ca_of_the_same_name_opens_nothing(mesh: Mesh) -> None:
    url = f"https://{POD}:{mesh.mtls}/"
    if mesh.is_protected:
        with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
            fetch(url, mesh.context(mesh.foreign))
    else:
        # Nobody is asked for a certificate there, so nobody is refused for one either.
        assert fetch(url, mesh.context(mesh.foreign)) == b"from the application"


def test_plain_http_reaches_no_application(mesh: Mesh) -> None:
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        fetch(f"http://{POD}:{mesh.mtls}/")


def test_an_egress_pinned_to_another_name_is_refused(mesh: Mesh) -> None:
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        fetch(f"http://{CLIENT}:{mesh.pinned}/")
