"""Both APIs over attested TLS on loopback, with evidence that is fake but bound to the connection."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from threading import Event

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api import extension, meshapi, packed, userapi
from contrast_tasks.api import meshapi_pb2 as mesh_pb
from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.api.errors import (
    REASON_BUSY,
    CoordinatorFailed,
    CoordinatorNotReady,
    RequestRefused,
)
from contrast_tasks.api.limits import SERVER_OPTIONS
from contrast_tasks.atls.client import AtlsChannel, connect
from contrast_tasks.atls.errors import (
    BadPeerCertificate,
    EvidenceMissing,
    HandshakeFailed,
    NoReferenceAccepted,
    NoRoom,
    OtherProtocol,
    TooSlow,
)
from contrast_tasks.atls.server import AtlsServer
from contrast_tasks.atls.types import Evidence
from contrast_tasks.attestation.errors import EndorsementRejected, TcbRejected
from contrast_tasks.errors import (
    ClusterError,
    ContrastError,
    CoordinatorUnreachable,
    EvidenceRejected,
    NotAuthorised,
    UsageError,
)
from contrast_tasks.manifest.model import Manifest
from coordinator.extapi import PeerCount
from coordinator.metrics import MESH_FAILURES, Metrics
from coordinator.state import Guard, State
from coordinator.store.base import StoreError
from coordinator.transport import (
    Context,
    MeshGate,
    count_refused,
    serve_mesh_api,
    serve_user_api,
)
from coordinator.userapi import set_manifest
from tests.fakes.coordinator import (
    NOBODY,
    OTHER_POLICY,
    OTHER_POLICY_HASH,
    POLICY,
    POLICY_HASH,
    Caller,
    FakeIssuer,
    FakeValidator,
    tiny_manifest,
)

COORDINATOR = FakeIssuer(host_data=bytes(32))
WORKLOAD = FakeIssuer(host_data=bytes.fromhex(POLICY_HASH))
LOOPBACK = ("127.0.0.1", 0)


def judged(error: EvidenceRejected, by: str) -> EvidenceRejected:
    """Return a rejection as the judge of this reference value gives it."""
    error.by = by
    return error


@pytest.fixture
def context(guard: Guard) -> Context:
    guard.now = lambda: datetime.now(UTC)  # both ends of a handshake judge by the same clock
    return Context(guard=guard, metrics=Metrics(), peers=PeerCount())


@pytest.fixture
def user_api(context: Context) -> Iterator[AtlsServer]:
    with serve_user_api(LOOPBACK, issuer=COORDINATOR, context=context) as server:
        yield server


@pytest.fixture
def mesh_api(context: Context) -> Iterator[AtlsServer]:
    with serve_mesh_api(
        LOOPBACK,
        issuer=COORDINATOR,
        context=context,
        make_validators=lambda _state: (FakeValidator(),),
        claims=lambda _evidence: (),
    ) as server:
        yield server


def dial(server: AtlsServer, *, owner: Caller | None = None) -> AtlsChannel:
    return connect(
        "127.0.0.1",
        server.port,
        validators=(FakeValidator(),),
        client_key=None if owner is None else owner.key,
        now=datetime.now(UTC),
    )


def dial_as(server: AtlsServer, issuer: FakeIssuer | None) -> AtlsChannel:
    return connect(
        "127.0.0.1",
        server.port,
        validators=None,
        unverified=True,
        issuer=issuer,
        now=datetime.now(UTC),
    )


def send_raw(peer: AtlsChannel, path: str, request: bytes) -> bytes:
    response: bytes = peer.channel.unary_unary(path, lambda content: content, None)(
        request, timeout=5
    )
    return response


def test_a_manifest_is_set_read_and_updated_by_its_owner(
    user_api: AtlsServer, guard: Guard, owner: Caller
) -> None:
    manifest = tiny_manifest(owners=[owner.digest_hex])
    with dial(user_api) as peer:
        first = userapi.set_manifest(peer.channel, manifest, [POLICY], 5)
    with dial(user_api, owner=owner) as peer:
        second = userapi.set_manifest(peer.channel, manifest, [POLICY], 5)
        history = userapi.get_manifests(peer.channel, 5)

    assert second.root_ca_pem == first.root_ca_pem
    assert history.manifests == (manifest, manifest)
    assert history.policies == (POLICY,)
    assert history.mesh_ca_pem == second.mesh_ca_pem
    assert guard.current().generation == 2


@pytest.mark.parametrize(
    "ask",
    [userapi.get_manifests, lambda channel, limit_s: packed.get_history(channel, {}, limit_s)],
    ids=["GetManifests", "GetPacked"],
)
def test_a_history_is_sent_to_as_many_at_a_time_as_there_is_memory_for(
    user_api: AtlsServer,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[grpc.Channel, float], object],
) -> None:
    # Two of the least that counts as an answer.
    monkeypatch.setattr(context.answers, "_most", 10_000)
    with dial(user_api) as peer:
        userapi.set_manifest(peer.channel, tiny_manifest(), [POLICY], 5)
        # More calls than places: each gives its own back.
        for _ in range(5):
            ask(peer.channel, 5)
        taken = [context.answers.take(name, 4096, print) for name in ("one", "other")]
        monkeypatch.setattr(context.answers, "_wait_s", 0)

        with pytest.raises(CoordinatorUnreachable, match="too many answers") as caught:
            ask(peer.channel, 5)

    assert None not in taken
    assert caught.value.reason == REASON_BUSY
    assert caught.value.is_passing


def test_the_key_of_the_tls_certificate_is_what_authorises(
    user_api: AtlsServer, owner: Caller
) -> None:
    manifest = tiny_manifest(owners=[owner.digest_hex])
    with dial(user_api) as peer:
        userapi.set_manifest(peer.channel, manifest, [POLICY], 5)

        with pytest.raises(NotAuthorised, match="no client certificate"):
            userapi.set_manifest(peer.channel, manifest, [POLICY], 5)
    with (
        dial(user_api, owner=Caller(key=ec.generate_private_key(ec.SECP384R1()))) as peer,
        pytest.raises(NotAuthorised, match="peer not authorized"),
    ):
        userapi.set_manifest(peer.channel, manifest, [POLICY], 5)


def test_refusals_arrive_as_errors_of_our_tree(user_api: AtlsServer) -> None:
    with dial(user_api) as peer:
        with pytest.raises(CoordinatorNotReady, match="no manifest configured") as caught:
            userapi.get_manifests(peer.channel, 5)
        with pytest.raises(RequestRefused, match=f"no policy provided for hash {POLICY_HASH}"):
            userapi.set_manifest(peer.channel, tiny_manifest(), [OTHER_POLICY], 5)

    assert caught.value.reason == "no_manifest"
    assert caught.value.hint == "set a manifest first"


def test_the_status_is_told_to_callers_without_a_key(user_api: AtlsServer) -> None:
    with dial(user_api) as peer:
        before = extension.get_status(peer.channel, 5)
        userapi.set_manifest(peer.channel, tiny_manifest(), [POLICY], 5)
        after = extension.get_status(peer.channel, 5)
        history = userapi.get_manifests(peer.channel, 5)

    assert (before.state, before.generation, before.transition_hash) == ("initial", 0, None)
    assert (before.root_ca_not_after, before.peers_serving) == (None, 0)
    assert (after.state, after.generation, after.reason) == ("final", 1, "")
    assert history.latest_transition is not None
    assert after.transition_hash == history.latest_transition.transition_hash
    root = x509.load_pem_x509_certificate(history.root_ca_pem)
    assert after.root_ca_not_after == root.not_valid_after_utc


def test_refused_sets_are_counted_in_the_audit_log_without_what_they_sent(
    user_api: AtlsServer, context: Context, owner: Caller
) -> None:
    with dial(user_api) as peer:
        userapi.set_manifest(peer.channel, tiny_manifest(owners=[owner.digest_hex]), [POLICY], 5)
        for _ in range(2):
            with pytest.raises(NotAuthorised):
                userapi.set_manifest(peer.channel, tiny_manifest(), [POLICY], 5)
        with pytest.raises(RequestRefused):
            userapi.set_manifest(peer.channel, b"no manifest but a secret", [], 5)
    with dial(user_api, owner=owner) as peer:
        entries = extension.get_audit_log(peer.channel, 5).entries

    told = [
        (entry.members["event"], entry.members.get("reason"), entry.members.get("count"))
        for entry in entries
    ]
    assert told == [
        ("set", None, None),
        ("set-refused", "validating peer: no client certificate", 2),
        ("set-refused", "invalid_manifest", 1),
    ]
    assert not any(b"secret" in entry.content for entry in entries)


@pytest.mark.parametrize("service", ["userapi.UserAPI", "edgelesssys.contrast.userapi.UserAPI"])
def test_both_spellings_of_the_service_are_served(user_api: AtlsServer, service: str) -> None:
    with dial(user_api) as peer, pytest.raises(grpc.RpcError) as caught:
        send_raw(peer, f"/{service}/GetManifests", b"")

    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("path", ["/userapi.UserAPI/Reset", "/meshapi.MeshAPI/NewMeshCert"])
def test_other_methods_are_not_implemented(user_api: AtlsServer, path: str) -> None:
    with dial(user_api) as peer, pytest.raises(grpc.RpcError) as caught:
        send_raw(peer, path, b"")

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "members",
    [b"\xba\x0c\x01x", b"\x28\x01", b"\xba\x0c\x01x" * 1000],
    ids=["of ours", "a number", "many"],
)
def test_members_of_a_request_that_are_not_known_are_ignored(
    user_api: AtlsServer, members: bytes
) -> None:
    request = pb.SetManifestRequest(Manifest=tiny_manifest(), Policies=[POLICY])

    with dial(user_api) as peer:
        send_raw(peer, "/userapi.UserAPI/SetManifest", request.SerializeToString() + members)

        assert userapi.get_manifests(peer.channel, 5).manifests == (tiny_manifest(),)


def test_a_request_of_five_megabytes_is_read_and_one_of_seventeen_is_not(
    user_api: AtlsServer,
) -> None:
    policies = [bytes([number]) * 1_000_000 for number in range(5)]
    with dial(user_api) as peer:
        with pytest.raises(RequestRefused, match="no policy provided"):
            userapi.set_manifest(peer.channel, tiny_manifest(), policies, 20)
        with pytest.raises(RequestRefused, match="message larger than max"):
            userapi.set_manifest(peer.channel, tiny_manifest(), [bytes(17 * 1024 * 1024)], 20)


@pytest.mark.parametrize(
    ("option", "asks"),
    [
        pytest.param("grpc.server_handshake_timeout_ms", False, id="nothing"),
        pytest.param("grpc.max_connection_idle_ms", True, id="nothing-more"),
        pytest.param("grpc.max_connection_age_ms", True, id="for-long"),
    ],
)
def test_a_peer_does_not_keep_its_place_for_ever(
    context: Context, monkeypatch: pytest.MonkeyPatch, option: str, asks: bool
) -> None:
    assert option in dict(SERVER_OPTIONS)
    options = tuple({**dict(SERVER_OPTIONS), option: 50}.items())
    monkeypatch.setattr("coordinator.transport.SERVER_OPTIONS", options)
    ended = Event()

    with serve_user_api(LOOPBACK, issuer=COORDINATOR, context=context) as server:
        registry = server.registry
        remove = registry.remove
        registry.remove = lambda name: (remove(name), ended.set())  # type: ignore[method-assign,assign]  # to wait without polling
        with dial(server) as peer:
            if asks:
                with pytest.raises(CoordinatorNotReady):
                    userapi.get_manifests(peer.channel, 5)
            assert ended.wait(20)


def test_requests_that_never_come_keep_nobody_out(user_api: AtlsServer) -> None:
    """They are more than an API has threads, on few connections of the address that honest calls come from too."""
    stop = Event()

    def never() -> Iterator[bytes]:
        stop.wait(60)
        yield from ()

    with ExitStack() as stack, dial(user_api) as honest:
        for _ in range(4):
            slow = stack.enter_context(dial(user_api)).channel
            for path in ("/userapi.UserAPI/SetManifest", "/userapi.UserAPI/GetManifests"):
                for _ in range(4):
                    slow.stream_unary(path, None, None).future(never(), timeout=60)
        for _ in range(3):
            assert extension.get_status(honest.channel, 20).state == "initial"
        stop.set()


def test_requests_that_take_much_work_keep_nobody_out(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More calls than an API has threads, which read packs for ever."""
    go = Event()

    def plan(*_: object) -> ext.PlanManifestResponse:
        go.wait(60)
        return ext.PlanManifestResponse()

    monkeypatch.setattr("coordinator.transport.plan_packed", plan)
    with (
        serve_user_api(LOOPBACK, issuer=COORDINATOR, context=context) as server,
        ExitStack() as stack,
        dial(server) as honest,
    ):
        for _ in range(8):
            busy = stack.enter_context(dial(server)).channel
            path = "/contrast.ext.v1.CoordinatorExt/PlanPacked"
            for _ in range(4):
                busy.unary_unary(path, None, None).future(b"", timeout=60)
        for _ in range(3):
            assert extension.get_status(honest.channel, 20).state == "initial"
        go.set()


@pytest.mark.parametrize("request_bytes", [b"", b"\xff", b"\x12\x80\x80\x08" + bytes(131072)])
def test_the_mesh_api_reads_no_requests_as_they_have_no_members(
    mesh_api: AtlsServer, guard: Guard, request_bytes: bytes
) -> None:
    set_manifest(pb.SetManifestRequest(Manifest=tiny_manifest(), Policies=[POLICY]), NOBODY, guard)
    with dial_as(mesh_api, WORKLOAD) as peer:
        answer = send_raw(peer, "/meshapi.MeshAPI/NewMeshCert", request_bytes)

    certificate = mesh_pb.NewMeshCertResponse.FromString(answer)
    assert certificate.MeshCACert == guard.current().ca.mesh_ca_pem


@pytest.mark.parametrize("char", ["x", "%", "\n", "\N{GRINNING FACE}"])
def test_a_long_refusal_arrives_cut(user_api: AtlsServer, guard: Guard, char: str) -> None:
    def refuse(_content: bytes) -> Manifest:
        raise UsageError(char * 10_000)

    guard.parse = refuse
    with dial(user_api) as peer, pytest.raises(RequestRefused) as caught:
        userapi.set_manifest(peer.channel, b"{}", [], 5)

    assert f"unmarshaling manifest: {char * 300}" in str(caught.value)
    assert str(caught.value).endswith("...")


def test_an_unforeseen_failure_shows_nothing_to_the_peer(
    user_api: AtlsServer, guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_content: bytes) -> object:
        raise RuntimeError("a secret detail")

    guard.parse = broken  # type: ignore[assignment]  # broken on purpose
    with dial(user_api) as peer, pytest.raises(CoordinatorFailed) as caught:
        userapi.set_manifest(peer.channel, tiny_manifest(), [POLICY], 5)

    assert str(caught.value) == "coordinator refused set: internal error"
    assert "a secret detail" in caplog.text


def test_a_malformed_request_is_refused_without_a_traceback(
    user_api: AtlsServer, caplog: pytest.LogCaptureFixture
) -> None:
    with dial(user_api) as peer:
        with pytest.raises(grpc.RpcError) as caught:
            send_raw(peer, "/userapi.UserAPI/SetManifest", b"\xff\xff")
        with pytest.raises(CoordinatorNotReady):
            userapi.get_manifests(peer.channel, 5)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "the request is malformed"
    assert [record for record in caplog.records if record.exc_info] == []


def test_a_workload_gets_a_certificate_for_the_key_of_its_connection(
    user_api: AtlsServer, mesh_api: AtlsServer, owner: Caller
) -> None:
    manifest = tiny_manifest({POLICY_HASH: {"SANs": ["web"], "WorkloadSecretID": "web"}})
    with dial(user_api) as peer:
        userapi.set_manifest(peer.channel, manifest, [POLICY], 5)
    key = ec.generate_private_key(ec.SECP256R1())

    with connect(
        "127.0.0.1",
        mesh_api.port,
        validators=None,
        unverified=True,
        issuer=WORKLOAD,
        client_key=key,
        now=datetime.now(UTC),
    ) as peer:
        cert = meshapi.new_mesh_cert(peer.channel, 5)

    leaf, _ = x509.load_pem_x509_certificates(cert.cert_chain_pem)
    assert leaf.public_key() == key.public_key()
    assert cert.workload_secret is not None
    assert len(cert.workload_secret) == 64


def test_a_guest_with_another_policy_is_denied_after_the_handshake(
    user_api: AtlsServer, mesh_api: AtlsServer
) -> None:
    with dial(user_api) as peer:
        userapi.set_manifest(peer.channel, tiny_manifest(), [POLICY], 5)
    stranger = FakeIssuer(host_data=bytes.fromhex(OTHER_POLICY_HASH))

    with (
        dial_as(mesh_api, stranger) as peer,
        pytest.raises(NotAuthorised, match=f"{OTHER_POLICY_HASH} not found in manifest"),
    ):
        meshapi.new_mesh_cert(peer.channel, 5)


def test_without_a_manifest_the_mesh_api_refuses_the_handshake(
    mesh_api: AtlsServer, context: Context
) -> None:
    with pytest.raises(ContrastError), dial_as(mesh_api, WORKLOAD) as peer:
        meshapi.new_mesh_cert(peer.channel, 5)
    mesh_api.stop()  # the client has its alert before the server has counted

    assert f"{MESH_FAILURES} 1" in context.metrics.render({})
    refused = 'contrast_handshakes_refused_total{api="mesh",reason="no-state"} 1'
    assert refused in context.metrics.render({})


@pytest.mark.parametrize(
    ("error", "reason", "evidence"),
    [
        (TooSlow("x"), "too-slow", None),
        (NoRoom("x"), "no-room", None),
        (OtherProtocol("x"), "protocol", None),
        (HandshakeFailed("x"), "handshake", None),
        (ConnectionResetError(), "handshake", None),
        (BadPeerCertificate("x"), "certificate", None),
        (EvidenceMissing("x"), "certificate", None),
        (StoreError("x"), "no-state", None),
        (RuntimeError("x"), "internal", None),
        (judged(TcbRejected("x"), "tdx-0"), "evidence tcb tdx", ("tcb", "tdx")),
        (
            NoReferenceAccepted(
                {
                    "snp-0-MILAN": judged(TcbRejected("x"), "snp-0-MILAN"),
                    "snp-1-GENOA": judged(EndorsementRejected("x"), "snp-1-GENOA"),
                }
            ),
            "evidence several snp",
            ("several", "snp"),
        ),
    ],
    ids=str,
)
def test_refused_handshakes_are_counted_by_reason_and_told_once_an_hour(
    context: Context, error: Exception, reason: str, evidence: tuple[str, str] | None
) -> None:
    for _ in range(3):
        count_refused(context, "mesh", error)

    text = context.metrics.render({})
    word = reason.partition(" ")[0]
    assert f'contrast_handshakes_refused_total{{api="mesh",reason="{word}"}} 3' in text
    assert f"{MESH_FAILURES} {0 if word == 'no-room' else 3}" in text
    counted = "contrast_attestation_failures_total{"
    assert (counted in text) == (evidence is not None)
    if evidence is not None:
        assert f'{counted}reason="{evidence[0]}",tee="{evidence[1]}"}} 3' in text
    (entry,) = map(json.loads, context.guard.audit.unwritten())
    del entry["time"]
    assert entry == {"event": "handshake-refused", "api": "mesh", "reason": reason, "count": 3}


def test_refused_evidence_is_counted_with_the_kind_of_the_reference_value(
    context: Context, guard: Guard
) -> None:
    class Refusing(FakeValidator):
        def verify(self, document: bytes, report_data: bytes, now: datetime) -> Evidence:
            raise TcbRejected("too old")

    set_manifest(pb.SetManifestRequest(Manifest=tiny_manifest(), Policies=[POLICY]), NOBODY, guard)
    with serve_mesh_api(
        LOOPBACK,
        issuer=COORDINATOR,
        context=context,
        make_validators=lambda _state: (Refusing(name="snp-0-MILAN"),),
        claims=lambda _evidence: (),
    ) as server:
        with pytest.raises(ContrastError), dial_as(server, WORKLOAD) as peer:
            meshapi.new_mesh_cert(peer.channel, 5)
        server.stop()  # the client has its alert before the server has counted

    counted = 'contrast_attestation_failures_total{reason="tcb",tee="snp"} 1'
    assert counted in context.metrics.render({})


def test_a_stale_state_refuses_the_handshake(
    user_api: AtlsServer, mesh_api: AtlsServer, guard: Guard
) -> None:
    with dial(user_api) as peer:
        userapi.set_manifest(peer.channel, tiny_manifest(), [POLICY], 5)
    guard.current().mark_stale()

    with pytest.raises(ContrastError), dial_as(mesh_api, WORKLOAD) as peer:
        meshapi.new_mesh_cert(peer.channel, 5)


@pytest.mark.parametrize("issuer", [None, FakeIssuer(host_data=bytes(31))])
def test_a_client_without_good_evidence_never_reaches_the_method(
    user_api: AtlsServer, mesh_api: AtlsServer, issuer: FakeIssuer | None
) -> None:
    with dial(user_api) as peer:
        userapi.set_manifest(peer.channel, tiny_manifest(), [POLICY], 5)

    with pytest.raises(ContrastError), dial_as(mesh_api, issuer) as peer:
        meshapi.new_mesh_cert(peer.channel, 5)


def test_a_connection_older_than_the_manifest_is_told_to_come_again(
    user_api: AtlsServer, mesh_api: AtlsServer, owner: Caller
) -> None:
    manifest = tiny_manifest(owners=[owner.digest_hex])
    with dial(user_api, owner=owner) as user:
        userapi.set_manifest(user.channel, manifest, [POLICY], 5)
        with dial_as(mesh_api, WORKLOAD) as workload:
            meshapi.new_mesh_cert(workload.channel, 5)
            userapi.set_manifest(user.channel, manifest, [POLICY], 5)

            with pytest.raises(CoordinatorNotReady, match="has changed since") as caught:
                meshapi.new_mesh_cert(workload.channel, 5)

    assert caught.value.reason == "outdated_snapshot"


def test_validators_are_built_once_per_state(guard: Guard) -> None:
    built: list[State] = []

    def make(state: State) -> tuple[FakeValidator, ...]:
        built.append(state)
        return (FakeValidator(),)

    gate = MeshGate(guard, make)
    with pytest.raises(ContrastError):
        gate()
    set_manifest(pb.SetManifestRequest(Manifest=tiny_manifest(), Policies=[POLICY]), NOBODY, guard)

    assert gate() == ((FakeValidator(),), guard.current())
    assert gate()[1] is guard.current()
    assert built == [guard.current()]


def test_a_port_in_use_is_an_error_that_names_it(user_api: AtlsServer, context: Context) -> None:
    taken = ("127.0.0.1", user_api.port)

    with pytest.raises(ClusterError, match=f"cannot listen on 127.0.0.1:{user_api.port}"):
        serve_user_api(taken, issuer=COORDINATOR, context=context)
