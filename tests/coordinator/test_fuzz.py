"""Whatever a stranger sends is answered or refused by our own errors: every parser that is reached before anybody is authenticated."""

import base64
import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contrast_tasks.api import attest
from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.atls.certificate import make_certificate, new_key, verify_peer_certificate
from contrast_tasks.atls.nonce import NONCE_BYTES, select_nonce
from contrast_tasks.atls.session import ServerSession, has_first_record
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.decode import DecodeError
from contrast_tasks.errors import ContrastError
from contrast_tasks.evidence_documents import OID_INSECURE, OID_SNP, OID_TDX
from contrast_tasks.manifest.codec import parse_manifest
from contrast_tasks.manifest.model import Manifest
from contrast_tasks.manifest.reference_values import defaults_for
from coordinator.attest import Attestation
from coordinator.extapi import PeerCount
from coordinator.listener import HttpListener
from coordinator.probes import Probes, ProbeServer
from coordinator.refusal import refusal_from
from coordinator.state import Status
from coordinator.transport import _parse, extension_methods, mesh_methods, user_methods
from coordinator.userapi import set_manifest
from tests.fakes.coordinator import NOBODY, POLICY, FakeIssuer, make_guard, tiny_manifest
from tests.fakes.flood import client_hello
from tests.fakes.packs import pack_of

pytestmark = pytest.mark.sweep

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY = new_key()
HELLO = client_hello()
many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=60),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=8,
)


def bent(content: bytes) -> st.SearchStrategy[bytes]:
    """Return content of which a part is replaced, missing or doubled."""
    places = st.integers(0, len(content))
    return st.builds(
        lambda start, length, instead: content[:start] + instead + content[start + length :],
        places,
        st.integers(0, 40),
        st.binary(max_size=40),
    )


@many
@given(received=st.binary(max_size=300) | bent(HELLO))
def test_any_first_bytes_of_a_connection_are_a_hello_or_refused(received: bytes) -> None:
    """Client hello: record, extensions, server name and protocols."""
    session = ServerSession(
        key=KEY, issuer=FakeIssuer(host_data=bytes(32)), require_client=None, clock=lambda: NOW
    )
    try:
        if has_first_record(received):
            assert session.advance(received) is False
    except ContrastError:
        pass
    assert session.identity is None
    assert len(session.pending()) < 16_384


@many
@given(
    offered=st.lists(st.binary(max_size=90) | bent(b"atls:v1:nonce:" + b"0" * 64), max_size=4),
    name=st.none() | st.binary(max_size=60) | bent(b"A" * 43 + b"="),
)
def test_any_protocols_and_server_name_hold_a_nonce_of_32_bytes_or_none(
    offered: list[bytes], name: bytes | None
) -> None:
    try:
        nonce = select_nonce(offered, name)
    except ContrastError:
        return
    assert len(nonce) == NONCE_BYTES


@many
@given(body=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@pytest.mark.parametrize("member", [None, "nonce"])
def test_any_body_asks_for_evidence_over_32_bytes_or_is_refused(
    member: str | None, body: bytes
) -> None:
    content = body if member is None else b'{"%s": ' % member.encode() + body + b"}"
    try:
        nonce = attest.parse_request(content)
    except DecodeError:
        return
    assert len(nonce) == NONCE_BYTES


def certificate_with(oid: str, document: bytes) -> x509.Certificate:
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), document)
    plain = make_certificate(KEY, None, b"", NOW)
    builder = (
        x509.CertificateBuilder()
        .subject_name(plain.subject)
        .issuer_name(plain.issuer)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(plain.not_valid_before_utc)
        .not_valid_after(plain.not_valid_after_utc)
        .add_extension(extension, critical=False)
    )
    return builder.sign(KEY, hashes.SHA256())


VALIDATORS = validators_for(
    Manifest(policies={}, reference_values=defaults_for("local", local_root_sha256_hex="ab" * 32))
)
CERTIFICATE = certificate_with(OID_SNP, b"\x0a\x02\x08\x02").public_bytes(Encoding.DER)


@many
@given(document=st.binary(max_size=300), oid=st.sampled_from([OID_SNP, OID_TDX, OID_INSECURE]))
def test_any_evidence_in_a_certificate_is_refused(document: bytes, oid: str) -> None:
    with pytest.raises(ContrastError):
        verify_peer_certificate(certificate_with(oid, document), VALIDATORS, bytes(32), NOW)


@many
@given(content=bent(CERTIFICATE))
def test_any_bent_certificate_is_refused(content: bytes) -> None:
    """Its extensions, and whatever else it is made of; only our errors and those that a session knows of come out."""
    try:
        certificate = x509.load_der_x509_certificate(content)
    except ValueError:
        return
    with pytest.raises((ContrastError, ValueError, TypeError, x509.InvalidVersion, Warning)):
        verify_peer_certificate(certificate, VALIDATORS, bytes(32), NOW)


METHODS = (*user_methods(), *extension_methods(PeerCount()), *mesh_methods(lambda _evidence: ()))


@many
@given(request=st.binary(max_size=200) | st.sampled_from([b"", b"\x0a\x04null", b"\x0a\x02[]"]))
@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.service}.{method.name}")
def test_any_request_of_a_stranger_is_answered_or_refused_and_sets_nothing(
    method: object, request: bytes
) -> None:
    guard = make_guard()
    try:
        method.handler(_parse(method, request), NOBODY, guard)  # type: ignore[attr-defined,arg-type]  # of a table
    except ContrastError as err:
        refusal_from(err)
    assert guard.status().name == "initial"


# A request that sets a manifest, in both forms, and others that are not empty.
MANIFEST = tiny_manifest()
WHOLE = {
    "SetManifest": pb.SetManifestRequest(Manifest=MANIFEST, Policies=[POLICY], Signature=b"0"),
    "SetPacked": ext.PackedManifest(
        Manifest=hashlib.sha256(MANIFEST).digest(), Packs=[pack_of(MANIFEST), pack_of(POLICY)]
    ),
    "Recover": pb.RecoverRequest(Seed=bytes(64), Salt=bytes(32), KnownTransition=bytes(32)),
    "GetPacked": ext.GetPackedRequest(Known=[bytes(32)]),
    "GetAuditLog": ext.GetAuditLogRequest(From=1),
}
WHOLE |= {"PlanManifest": WHOLE["SetManifest"], "PlanPacked": WHOLE["SetPacked"]}


@settings(many, max_examples=50)
@given(data=st.data())
@pytest.mark.parametrize("call", WHOLE)
def test_any_bent_request_is_answered_or_refused_before_and_after_the_first_set(
    call: str, data: st.DataObject
) -> None:
    (method,) = [
        each for each in METHODS if each.name == call and each.service != "meshapi.MeshAPI"
    ]
    request = data.draw(bent(WHOLE[call].SerializeToString()))
    guard = make_guard()
    for _ in range(2):
        before = guard.status().generation
        try:
            method.handler(_parse(method, request), NOBODY, guard)
        except ContrastError as err:
            refusal_from(err)
            assert guard.status().generation == before
        assert guard.status().generation == before or before == 0
        if before == 0 and guard.status().generation == 0:
            set_manifest(WHOLE_SET, NOBODY, guard)
    # Its manifest names no owners, so nobody may replace it.
    assert guard.status().name == "final"
    assert guard.current().documents.is_whole


WHOLE_SET = pb.SetManifestRequest(Manifest=MANIFEST, Policies=[POLICY])
REQUEST = (
    b"POST /attest HTTP/1.1\r\nHost: coordinator\r\nContent-Type: application/json\r\n"
    b'Content-Length: 57\r\n\r\n{"nonce": "' + base64.b64encode(bytes(32)) + b'"}'
)


@pytest.fixture(scope="module")
def listeners() -> Iterator[list[HttpListener]]:
    """Serve HTTP attestation and probes."""
    guard = make_guard()
    set_manifest(WHOLE_SET, NOBODY, guard)
    probes = Probes(
        status=guard.status, is_started=lambda: True, is_alive=lambda: True, now=lambda: NOW
    )
    attestation = Attestation(guard, FakeIssuer(host_data=bytes(32)))
    servers = [
        HttpListener(("127.0.0.1", 0), attestation, threads=4, option="--http-api"),
        ProbeServer("127.0.0.1", 0, probes),
    ]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop()


@settings(many, max_examples=100)
@given(sent=st.binary(max_size=200) | bent(REQUEST))
def test_any_bytes_at_a_port_of_http_end_the_connection_and_the_next_is_served(
    listeners: list[HttpListener], sent: bytes
) -> None:
    for server in listeners:
        asked(server, sent)
    attested, probed = (asked(server, REQUEST) for server in listeners)
    assert attested.startswith(b"HTTP/1.0 200 ")
    assert probed.startswith(b"HTTP/1.0 413 ")


def asked(server: HttpListener, sent: bytes) -> bytes:
    """Return all that comes after bytes and their end."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as link:
        with contextlib.suppress(OSError):
            link.sendall(sent)
            link.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: link.recv(65_536), b""))
        return b""


@many
@given(content=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_manifest_is_parsed_or_refused(content: bytes) -> None:
    with pytest.raises(ContrastError):
        parse_manifest(content)


@many
@given(path=st.text(max_size=60) | st.sampled_from(["/probe/startup", "/probe/../metrics"]))
def test_any_path_of_a_probe_is_answered(path: str) -> None:
    probes = Probes(
        status=lambda: Status(name="active", reason="", generation=1),
        is_started=lambda: True,
        is_alive=lambda: True,
        now=lambda: NOW,
    )
    answer = probes.answer(path)
    wanted = HTTPStatus.OK if path == "/probe/startup" else HTTPStatus.NOT_FOUND
    assert answer.status is wanted or path in {"/probe/liveness", "/probe/readiness"}
