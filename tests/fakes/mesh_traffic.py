"""What stands at both ends of the mesh: an application, its certificates, and clients that see how they are refused."""

import contextlib
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, TCPServer, ThreadingTCPServer

from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.guest.secret_files import SecretFiles, write_credentials
from tests.fakes.mesh_pki import Authority

ANSWER = b"from the application"
_LIMIT_S = 10


class App(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: object) -> None:
        pass


class Greeting(StreamRequestHandler):
    """Speaks first, and says how much came when the other side has closed its half."""

    def handle(self) -> None:
        self.wfile.write(b"hello\n")
        received = self.rfile.read()
        self.wfile.write(b"%d bytes\n" % len(received))


class _DualHTTP(ThreadingHTTPServer):
    address_family = socket.AF_INET6


class _DualTCP(ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True


@contextlib.contextmanager
def serving(*servers: TCPServer) -> Iterator[None]:
    """Serve until the context ends."""
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()


def http_app(port: int) -> TCPServer:
    """Return an application on every address of either family."""
    return _DualHTTP(("::", port), App)


def greeting_app(port: int) -> TCPServer:
    """Return one that speaks first."""
    return _DualTCP(("::", port), Greeting)


def files_of(folder: Path, authority: Authority, name: str) -> SecretFiles:
    """Write what the initializer of a pod of this name would."""
    key = ec.generate_private_key(ec.SECP256R1())
    files = SecretFiles.below(folder)
    write_credentials(files, authority.issue(key.public_key(), sans=(name, "*")), key)
    return files


def connect(address: str, port: int, limit_s: float = _LIMIT_S) -> socket.socket:
    """Return a connection whose reads end too."""
    return socket.create_connection((address, port), timeout=limit_s)


def ask(connection: socket.socket) -> bytes:
    """Return the answer to one GET; b"" if the connection is cut, which a refused client sees at the first read."""
    answer = b""
    with connection, contextlib.suppress(ConnectionError):
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while part := connection.recv(4096):
            answer += part
    return answer


def plain(address: str, port: int) -> bytes:
    """Return what comes back to a client without TLS."""
    return ask(connect(address, port))


def shaken(
    raw: socket.socket,
    ca: Path,
    *,
    client: SecretFiles | None = None,
    name: str = "emoji",
    lowest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
) -> ssl.SSLSocket:
    """Return the connection after the handshake, the server verified under `ca`."""
    context = ssl.create_default_context(cafile=str(ca))
    context.minimum_version = lowest
    if client is not None:
        context.load_cert_chain(client.cert_chain, client.key)
    return context.wrap_socket(raw, server_hostname=name)


def alert(connection: ssl.SSLSocket) -> str:
    """Return the alert that a refused client reads; with TLS 1.3 that is after its own handshake."""
    with connection:
        try:
            read = connection.recv(1)
        except ssl.SSLError as error:
            return str(error.reason)
    return f"no alert, {len(read)} bytes"


def negotiated(raw: socket.socket, newest: ssl.TLSVersion) -> str | None:
    """Return the version that a client which knows nothing newer gets, or what it is told instead."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        # Old versions are what this is for.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = newest
    try:
        with context.wrap_socket(raw) as connection:
            return connection.version()
    except ssl.SSLError as error:
        return error.reason


@contextlib.contextmanager
def tls_server(address: str, port: int, files: SecretFiles) -> Iterator[list[bytes]]:
    """Serve one connection with certificates of the test's own, and yield the list that gets what the client sends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert_chain, files.key)
    met: list[bytes] = []

    def serve(server: socket.socket) -> None:
        raw, _ = server.accept()
        with raw, contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as peer:
            met.append(peer.recv(100))

    with socket.create_server((address, port)) as server:
        thread = threading.Thread(target=serve, args=[server])
        thread.start()
        try:
            yield met
        finally:
            thread.join()
