"""The transit engine on the wire: curl and OpenSSL ask as Vault does, with the files that a workload has of its initializer."""

import base64
import contextlib
import dataclasses
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator import listener as listening
from coordinator.listener import HttpListener
from coordinator.mesh_tls import MeshTls
from coordinator.state import Guard
from tests.coordinator.test_listener import everything, status_of
from tests.fakes.coordinator import OTHER_POLICY_HASH
from tests.fakes.transit import COORDINATOR_HASH, Curl, Workload, certify, make_guard, put, start

ENCRYPT, DECRYPT = "/v1/transit/encrypt/web", "/v1/transit/decrypt/web"
ROOT_KEY = base64.b64encode(b"a vault's root key, 32 bytes long").decode()
# What curl returns if the other side ends a handshake; in TLS 1.3 the client may already be sending.
REFUSED = (35, 52, 55, 56)
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture
def guard() -> Guard:
    guard = make_guard()
    put(guard)
    return guard


@pytest.fixture
def listener(guard: Guard) -> Iterator[HttpListener]:
    listener = start(guard)
    yield listener
    listener.stop()


@pytest.fixture
def curl(listener: HttpListener) -> Curl:
    return Curl(listener.port)


@pytest.fixture
def web(guard: Guard, tmp_path: Path) -> Workload:
    return certify(guard, tmp_path / "web")


def trusting(web: Workload, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=web.mesh_ca)
    context.load_cert_chain(web.chain, web.key)
    context.minimum_version = context.maximum_version = version
    return context


def connect(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    link = socket.create_connection(("127.0.0.1", port), timeout=15)
    return context.wrap_socket(link, server_hostname="coordinator", session=session)


def test_a_vault_is_sealed_and_unsealed(curl: Curl, web: Workload) -> None:
    sealed = curl.put(ENCRYPT, {"plaintext": ROOT_KEY}, *web.words)
    opened = curl.put(DECRYPT, sealed[1]["data"], *web.words)

    assert sealed[0] == 200
    # Vault's client splits it at its colons into three.
    assert sealed[1]["data"]["ciphertext"].split(":")[:2] == ["vault", "v0"]
    assert opened == (200, {"data": {"plaintext": ROOT_KEY}})
    assert curl("/v1/sys/health", *web.words)[0] == 200


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_it_is_posted_too_by_either_version_of_tls(curl: Curl, web: Workload, version: str) -> None:
    body = json.dumps({"plaintext": ROOT_KEY, "key_version": 2})

    got = curl(ENCRYPT, *web.words, f"--tlsv{version}", "--tls-max", version, "--json", body)

    assert got[0] == 200


def test_openssl_accepts_the_chain_in_strict_mode(listener: HttpListener, web: Workload) -> None:
    request = f"GET /v1/sys/health HTTP/1.1\r\nHost: coordinator:{listener.port}\r\n\r\n"

    done = subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{listener.port}", "-quiet"),
            *("-servername", "coordinator", "-verify_hostname", "coordinator"),
            *("-verify_return_error", "-x509_strict", "-CAfile", str(web.mesh_ca)),
            *("-cert", str(web.chain), "-cert_chain", str(web.chain), "-key", str(web.key)),
            "-ign_eof",
        ],
        input=request,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )

    assert done.stdout.startswith("HTTP/1.0 200 "), done.stderr
    # The end is told, so that a cut answer differs from a whole one.
    assert "unexpected eof" not in done.stderr


def test_openssl_verifies_the_workloads_certificate_by_the_mesh_ca(web: Workload) -> None:
    subprocess.run(
        [
            *("openssl", "verify", "-x509_strict", "-purpose", "sslclient"),
            *("-CAfile", str(web.mesh_ca), str(web.chain)),
        ],
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize(
    "path",
    ["/v1/transit/encrypt/", "/v1/transit/encrypt/web/x", "/v1/transit/encrypt//web", "//", "/x"],
)
def test_other_paths_are_not_found(curl: Curl, web: Workload, path: str) -> None:
    assert curl.put(path, {"plaintext": ""}, *web.words) == (404, {"errors": ["not found"]})


def test_the_key_of_another_workload_is_refused(
    guard: Guard, curl: Curl, web: Workload, tmp_path: Path
) -> None:
    db = certify(guard, tmp_path / "db", OTHER_POLICY_HASH)
    nameless = certify(guard, tmp_path / "coordinator", COORDINATOR_HASH)

    assert curl.put(ENCRYPT, {"plaintext": ROOT_KEY}, *db.words)[0] == 403
    assert curl.put(ENCRYPT, {"plaintext": ROOT_KEY}, *nameless.words)[0] == 403
    assert curl.put("/v1/transit/encrypt/db", {"plaintext": ROOT_KEY}, *web.words)[0] == 403


def test_without_a_certificate_there_is_no_connection(curl: Curl, web: Workload) -> None:
    done = curl.run(ENCRYPT, "--cacert", str(web.mesh_ca), "-d", "{}")

    assert done.returncode in REFUSED
    assert done.stdout.endswith("000")


def test_a_certificate_of_another_mesh_ca_is_refused(
    guard: Guard, curl: Curl, web: Workload, tmp_path: Path
) -> None:
    body = {"plaintext": ROOT_KEY}
    ciphertext = curl.put(ENCRYPT, body, *web.words)[1]["data"]
    elsewhere = make_guard()
    put(elsewhere)
    stranger = certify(elsewhere, tmp_path / "stranger")

    put(guard)
    renewed = certify(guard, tmp_path / "renewed")

    for files in (web, stranger):
        done = curl.run(
            *(ENCRYPT, "--cert", str(files.chain), "--key", str(files.key)),
            *("--cacert", str(renewed.mesh_ca), "-d", "{}"),
        )
        assert done.returncode in REFUSED, done
    # Nor does the workload take a Coordinator that has moved on for its own.
    assert curl.run(ENCRYPT, *web.words, "-d", "{}").returncode == 60
    assert curl.put(DECRYPT, ciphertext, *renewed.words) == (200, {"data": body})


def test_a_manifest_that_is_set_after_the_handshake_ends_its_rights(
    guard: Guard, listener: HttpListener, web: Workload
) -> None:
    link = connect(listener.port, trusting(web))

    put(guard)
    link.sendall(f"PUT {ENCRYPT} HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{}}".encode())

    assert status_of(everything(link)) == 503


def test_a_certificate_that_a_workload_made_itself_is_refused(
    curl: Curl, web: Workload, tmp_path: Path
) -> None:
    (old, *_) = x509.load_pem_x509_certificates(web.chain.read_bytes())
    signer = load_pem_private_key(web.key.read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    forged = (
        x509.CertificateBuilder(extensions=list(old.extensions))
        .subject_name(old.subject)
        .issuer_name(old.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
        .sign(signer, hashes.SHA384())
    )
    chain, key_file = tmp_path / "forged.pem", tmp_path / "forged.key"
    chain.write_bytes(forged.public_bytes(Encoding.PEM) + web.chain.read_bytes())
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    files = dataclasses.replace(web, chain=chain, key=key_file)

    assert curl.run(ENCRYPT, *files.words, "-d", "{}").returncode in REFUSED


def test_without_a_state_there_is_no_connection(web: Workload) -> None:
    listener = start(make_guard())

    done = Curl(listener.port).run("/v1/sys/health", *web.words)

    listener.stop()
    assert done.returncode in REFUSED


def test_with_a_stale_state_there_is_no_connection(guard: Guard, curl: Curl, web: Workload) -> None:
    guard.current().mark_stale()

    assert curl.run("/v1/sys/health", *web.words).returncode in REFUSED


@pytest.mark.parametrize("sans", [(), ("203.0.113.7",), ("spiffe://contrast/coordinator",)])
def test_fault_17_2_a_coordinator_without_a_dns_name_makes_handshakes_all_the_same(
    tmp_path: Path, sans: tuple[str, ...]
) -> None:
    guard = make_guard()
    put(guard, sans=sans)
    listener = start(guard)
    web = certify(guard, tmp_path)
    context = trusting(web)
    context.check_hostname = False

    link = connect(listener.port, context)
    link.sendall(b"GET /v1/sys/health HTTP/1.1\r\n\r\n")

    assert status_of(everything(link)) == 200
    listener.stop()


def test_the_servers_certificate_is_issued_for_each_state_and_every_five_minutes_with_one_key(
    tmp_path: Path,
) -> None:
    moment = datetime.now(UTC)
    guard = make_guard(lambda: moment)
    put(guard)
    listener = start(guard)

    def shown() -> x509.Certificate:
        web = certify(guard, tmp_path / "web")
        with connect(listener.port, trusting(web)) as link:
            der = link.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der)

    first, again = shown(), shown()
    moment += timedelta(minutes=5)
    later = shown()
    put(guard)
    updated = shown()
    moment -= timedelta(minutes=10)
    earlier = shown()
    listener.stop()

    names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["coordinator"]
    assert again == first
    assert len({each.serial_number for each in (first, later, updated, earlier)}) == 4
    assert all(each.public_key() == first.public_key() for each in (later, updated, earlier))
    assert isinstance(first.public_key().curve, ec.SECP256R1)  # type: ignore[union-attr]  # asserted right here


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_no_session_outlives_its_state(
    guard: Guard, listener: HttpListener, web: Workload, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    context = trusting(web, version)
    with connect(listener.port, context) as link:
        link.sendall(b"GET /v1/sys/health HTTP/1.1\r\n\r\n")
        assert link.recv(1)
        session = link.session
    assert session is None or not session.has_ticket

    with connect(listener.port, context, session) as link:
        assert link.session_reused == (version < ssl.TLSVersion.TLSv1_3)
        link.sendall(b"GET /v1/sys/health HTTP/1.1\r\n\r\n")
        assert link.recv(1)
    put(guard)
    renewed = certify(guard, tmp_path / "renewed")
    context.load_verify_locations(renewed.mesh_ca)
    context.load_cert_chain(renewed.chain, renewed.key)
    with connect(listener.port, context, session) as link:
        assert not link.session_reused


def test_older_versions_of_tls_are_refused(listener: HttpListener, web: Workload) -> None:
    done = subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{listener.port}", "-tls1_1"),
            *("-cipher", "DEFAULT@SECLEVEL=0", "-cert", str(web.chain), "-key", str(web.key)),
        ],
        input="",
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )

    assert done.returncode != 0
    assert "BEGIN CERTIFICATE" not in done.stdout


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        pytest.param("Content-Length: 1048577", 413, id="one byte too many"),
        pytest.param("Content-Length: x", 400, id="no length"),
        pytest.param("Transfer-Encoding: chunked", 411, id="chunked"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_body_is_small_and_its_length_known(
    listener: HttpListener, web: Workload, method: str, head: str, wanted: int
) -> None:
    link = connect(listener.port, trusting(web))
    link.sendall(f"{method} {ENCRYPT} HTTP/1.1\r\n{head}\r\n\r\n".encode())

    answer = everything(link)

    assert status_of(answer) == wanted
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["errors"]


def test_the_largest_body_is_taken(curl: Curl, web: Workload, tmp_path: Path) -> None:
    document = json.dumps({"plaintext": "A" * 786_432})
    body = tmp_path / "body"
    body.write_text(document.ljust(1_048_576))

    words = ("--data-binary", f"@{body}", "-H", "Expect:", "-H", "Content-Type:")

    assert curl(ENCRYPT, *web.words, *words)[0] == 200


@pytest.mark.parametrize("content", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
def test_who_makes_no_handshake_loses_the_connection_and_is_told_nothing(
    listener: HttpListener, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(listening, "_REQUEST_S", 0.2)
    link = socket.create_connection(("127.0.0.1", listener.port), timeout=15)
    link.sendall(content)

    # At most an alert.
    assert len(everything(link)) <= 7


def test_no_certificate_is_issued_before_somebody_speaks_tls(
    guard: Guard, listener: HttpListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(guard, "current", lambda: asked.append(1))

    for content in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x46"):
        with socket.create_connection(("127.0.0.1", listener.port), timeout=15) as link:
            link.sendall(content)
            # It may have been closed at the first bytes already.
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_WR)
            assert everything(link) == b""

    assert asked == []


def test_stalled_handshakes_make_room_for_a_workload(
    listener: HttpListener, web: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener._server._room, "_patience_s", 0.0)
    silent = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(20)]

    assert Curl(listener.port)("/v1/sys/health", *web.words)[0] == 200

    for link in silent:
        link.close()


@pytest.mark.sweep
def test_whatever_a_workload_sends_inside_tls_the_next_one_is_served(
    guard: Guard, tmp_path: Path
) -> None:
    listener = start(guard)
    web = certify(guard, tmp_path)
    context = trusting(web)
    begun = st.sampled_from([b"", b"PUT ", f"PUT {ENCRYPT} HTTP/1.1\r\n".encode()])
    lines = st.lists(st.binary(max_size=40), max_size=5).map(b"\r\n".join)

    @settings(max_examples=100)
    @given(start=begun, rest=lines, body=st.binary(max_size=200))
    def ask(start: bytes, rest: bytes, body: bytes) -> None:
        link = connect(listener.port, context)
        link.sendall(start + rest + b"\r\n\r\n" + body)
        answer = everything(link)
        assert answer == b"" or 200 <= status_of(answer) < 506

    ask()
    assert Curl(listener.port)("/v1/sys/health", *web.words)[0] == 200
    listener.stop()


@pytest.mark.parametrize("opening", [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x00\x05hello"])
def test_a_handshake_that_fails_is_told_with_its_cause(guard: Guard, opening: bytes) -> None:
    told: list[Exception] = []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(opening)
        ours.settimeout(5)
        with pytest.raises(ssl.SSLError) as caught:
            MeshTls(guard, told.append)(ours)

    assert told == [caught.value]
