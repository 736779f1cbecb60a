"""The typed clients against a plain gRPC server on a Unix socket."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from contrast_tasks.api import ext_pb2 as ext_pb
from contrast_tasks.api import meshapi, userapi
from contrast_tasks.api import meshapi_pb2 as mesh_pb
from contrast_tasks.api import userapi_pb2 as user_pb
from contrast_tasks.api.errors import (
    DETAILS_KEY,
    REASONS,
    CoordinatorFailed,
    CoordinatorNotReady,
    Details,
    RequestRefused,
    error_from_rpc,
    parse_details,
    render_details,
)
from contrast_tasks.api.limits import MAX_RESPONSE_BYTES, SERVER_OPTIONS
from contrast_tasks.errors import ContrastError, CoordinatorUnreachable, NotAuthorised

Behaviour = Callable[[Any, grpc.ServicerContext], Any]
SHORT, LONG = userapi.SERVICES


class Peer:
    """A server that answers each method as it is told."""

    def __init__(self) -> None:
        self.behaviours: dict[str, Behaviour] = {}
        self.calls: list[str] = []

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        behaviour = self.behaviours.get(details.method)
        self.calls.append(details.method)
        if behaviour is None:
            return None
        return grpc.unary_unary_rpc_method_handler(behaviour)


class _Handler(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # not generic at run time
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        return self._peer.service(handler_call_details)


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def channel(peer: Peer, tmp_path: Path) -> Iterator[grpc.Channel]:
    with ThreadPoolExecutor(2) as workers:
        server = grpc.server(workers, options=SERVER_OPTIONS)
        server.add_generic_rpc_handlers((_Handler(peer),))
        server.add_insecure_port(f"unix:{tmp_path / 's'}")
        server.start()
        options = [("grpc.max_receive_message_length", MAX_RESPONSE_BYTES)]
        with grpc.insecure_channel(f"unix:{tmp_path / 's'}", options=options) as channel:
            yield channel
        server.stop(None).wait()


def answer(message: Any) -> Behaviour:
    return lambda _request, _context: message.SerializeToString()


def refuse(
    code: grpc.StatusCode, text: str = "because", reason: str = "", hint: str = ""
) -> Behaviour:
    def behaviour(_request: bytes, context: grpc.ServicerContext) -> bytes:
        if reason:
            details = render_details(code, text, Details(reason=reason, hint=hint))
            context.set_trailing_metadata(((DETAILS_KEY, details),))
        context.abort(code, text)
        return b""

    return behaviour


def test_set_manifest_sends_the_exact_bytes_and_returns_certificates(
    peer: Peer, channel: grpc.Channel
) -> None:
    received: list[user_pb.SetManifestRequest] = []

    def behaviour(request: bytes, _context: grpc.ServicerContext) -> bytes:
        received.append(user_pb.SetManifestRequest.FromString(request))
        share = user_pb.SeedShare(PublicKey="ab", EncryptedSeed=b"\x01")
        document = user_pb.SeedShareDocument(SeedShares=[share], salt=b"\x02")
        return user_pb.SetManifestResponse(
            RootCA=b"root", MeshCA=b"mesh", SeedSharesDoc=document
        ).SerializeToString()

    peer.behaviours[f"/{SHORT}/SetManifest"] = behaviour

    result = userapi.set_manifest(
        channel, b"{ }\n", [b"one", b"two"], 5, previous_transition_hash=bytes(32)
    )

    assert received[0].Manifest == b"{ }\n"
    assert list(received[0].Policies) == [b"one", b"two"]
    assert received[0].PreviousTransitionHash == bytes(32)
    assert (result.root_ca_pem, result.mesh_ca_pem) == (b"root", b"mesh")
    assert result.seed_shares == {
        "SeedShares": [{"PublicKey": "ab", "EncryptedSeed": "AQ=="}],
        "salt": "Ag==",
    }


def test_an_update_has_no_seed_shares(peer: Peer, channel: grpc.Channel) -> None:
    peer.behaviours[f"/{SHORT}/SetManifest"] = answer(user_pb.SetManifestResponse(RootCA=b"r"))

    result = userapi.set_manifest(channel, b"{}", [], 5)

    assert result.seed_shares is None


def test_get_manifests_returns_the_whole_history(peer: Peer, channel: grpc.Channel) -> None:
    latest = user_pb.LatestTransition(TransitionHash=bytes(32), Signature=b"s")
    peer.behaviours[f"/{SHORT}/GetManifests"] = answer(
        user_pb.GetManifestsResponse(
            Manifests=[b"1", b"2"],
            Policies=[b"p"],
            RootCA=b"r",
            MeshCA=b"m",
            LatestTransition=latest,
        )
    )

    history = userapi.get_manifests(channel, 5)

    assert history.manifests == (b"1", b"2")
    assert history.policies == (b"p",)
    assert history.latest_transition == userapi.LatestTransition(
        transition_hash=bytes(32), signature=b"s"
    )


def test_an_older_server_has_no_latest_transition(peer: Peer, channel: grpc.Channel) -> None:
    peer.behaviours[f"/{SHORT}/GetManifests"] = answer(user_pb.GetManifestsResponse())

    assert userapi.get_manifests(channel, 5).latest_transition is None


def test_a_history_above_the_default_limit_arrives(peer: Peer, channel: grpc.Channel) -> None:
    policy = bytes(6 * 1024 * 1024)
    peer.behaviours[f"/{SHORT}/GetManifests"] = answer(
        user_pb.GetManifestsResponse(Policies=[policy])
    )

    assert userapi.get_manifests(channel, 5).policies == (policy,)


def test_an_answer_above_our_limit_is_the_coordinators_fault(
    peer: Peer, channel: grpc.Channel, tmp_path: Path
) -> None:
    del channel  # its server is what counts
    peer.behaviours[f"/{SHORT}/GetManifests"] = answer(
        user_pb.GetManifestsResponse(Policies=[bytes(2000)])
    )
    limit = [("grpc.max_receive_message_length", 1000)]

    with (
        grpc.insecure_channel(f"unix:{tmp_path / 's'}", options=limit) as small,
        pytest.raises(CoordinatorFailed, match="message larger than max") as caught,
    ):
        userapi.get_manifests(small, 5)

    assert caught.value.hint == "its answer exceeds this client's size limit"


def test_the_other_spelling_is_tried_when_the_first_is_unknown(
    peer: Peer, channel: grpc.Channel
) -> None:
    peer.behaviours[f"/{LONG}/Recover"] = answer(user_pb.RecoverResponse())

    userapi.recover(channel, seed=bytes(64), salt=bytes(32), timeout_s=5)

    assert peer.calls == [f"/{SHORT}/Recover", f"/{LONG}/Recover"]


def test_a_method_under_neither_spelling_is_an_error(channel: grpc.Channel) -> None:
    with pytest.raises(CoordinatorFailed, match="coordinator refused recover"):
        userapi.recover(channel, seed=bytes(64), salt=bytes(32), timeout_s=5)


def test_new_mesh_cert_returns_certificates_and_hides_the_secret(
    peer: Peer, channel: grpc.Channel
) -> None:
    peer.behaviours["/meshapi.MeshAPI/NewMeshCert"] = answer(
        mesh_pb.NewMeshCertResponse(
            MeshCACert=b"m", CertChain=b"c", RootCACert=b"r", WorkloadSecret=b"secret"
        )
    )

    cert = meshapi.new_mesh_cert(channel, 5)

    assert (cert.mesh_ca_pem, cert.cert_chain_pem, cert.root_ca_pem) == (b"m", b"c", b"r")
    assert cert.workload_secret == b"secret"
    assert "secret'" not in repr(cert)


def test_without_a_secret_id_the_secret_is_none(peer: Peer, channel: grpc.Channel) -> None:
    peer.behaviours["/meshapi.MeshAPI/NewMeshCert"] = answer(mesh_pb.NewMeshCertResponse())

    assert meshapi.new_mesh_cert(channel, 5).workload_secret is None


@pytest.mark.parametrize(
    ("code", "wanted", "exit_code"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, NotAuthorised, 43),
        (grpc.StatusCode.UNAUTHENTICATED, NotAuthorised, 43),
        (grpc.StatusCode.FAILED_PRECONDITION, CoordinatorNotReady, 40),
        (grpc.StatusCode.UNAVAILABLE, CoordinatorNotReady, 40),
        (grpc.StatusCode.INVALID_ARGUMENT, RequestRefused, 2),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, RequestRefused, 2),
        (grpc.StatusCode.DATA_LOSS, CoordinatorFailed, 40),
        (grpc.StatusCode.INTERNAL, CoordinatorFailed, 40),
        (grpc.StatusCode.UNKNOWN, CoordinatorFailed, 40),
    ],
)
def test_a_status_code_becomes_an_error_of_our_tree(
    peer: Peer,
    channel: grpc.Channel,
    code: grpc.StatusCode,
    wanted: type[ContrastError],
    exit_code: int,
) -> None:
    peer.behaviours[f"/{SHORT}/GetManifests"] = refuse(code)

    with pytest.raises(wanted, match="coordinator refused verify: because") as caught:
        userapi.get_manifests(channel, 5)

    assert caught.value.exit_code == exit_code


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("no_manifest", "set a manifest first"),
        ("needs_recovery", "recover it with a seed share owner key"),
        ("concurrent_update", "verify, then set again"),
        ("something_new", ""),
        ("", ""),
    ],
)
def test_a_reason_is_kept_and_turned_into_a_hint(
    peer: Peer, channel: grpc.Channel, reason: str, hint: str
) -> None:
    peer.behaviours[f"/{SHORT}/GetManifests"] = refuse(
        grpc.StatusCode.FAILED_PRECONDITION, reason=reason
    )

    with pytest.raises(CoordinatorNotReady) as caught:
        userapi.get_manifests(channel, 5)

    assert caught.value.reason == reason
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("getting state: no manifest configured", "no_manifest"),
        ("no state to recover from", "no_manifest"),
        ("coordinator is in recovery mode", "needs_recovery"),
        ("coordinator is already recovered", "already_recovered"),
        ("coordinator state was updated concurrently", "concurrent_update"),
        ("previous transition does not match latest state", "concurrent_update"),
        (
            "rejecting user recovery because 2 recovered peers are available",
            "peers_available",
        ),
        ("something that no release says", ""),
    ],
)
def test_a_coordinator_that_sends_no_reason_is_understood_by_its_words(
    peer: Peer, channel: grpc.Channel, text: str, reason: str
) -> None:
    peer.behaviours[f"/{SHORT}/GetManifests"] = refuse(grpc.StatusCode.FAILED_PRECONDITION, text)

    with pytest.raises(CoordinatorNotReady) as caught:
        userapi.get_manifests(channel, 5)

    assert caught.value.reason == reason


def test_no_answer_in_time_is_not_ready(peer: Peer, channel: grpc.Channel) -> None:
    with pytest.raises(CoordinatorUnreachable):
        userapi.get_manifests(channel, 0)


def test_a_peers_text_cannot_write_to_the_terminal(peer: Peer, channel: grpc.Channel) -> None:
    peer.behaviours[f"/{SHORT}/GetManifests"] = refuse(
        grpc.StatusCode.INTERNAL, "\x1b[31mred\x07" + "x" * 3000
    )

    with pytest.raises(CoordinatorFailed) as caught:
        userapi.get_manifests(channel, 5)

    assert "\x1b" not in str(caught.value)
    assert "?[31mred?" in str(caught.value)
    assert len(str(caught.value)) < 2100


# Made with the messages google.rpc.Status, ErrorInfo, LocalizedMessage and Help of googleapis-common-protos, serialized in order.
STATUS = bytes.fromhex(
    "0807122476616c69646174696e6720706565723a2070656572206e6f7420617574686f72697a6564"
    "1a680a28747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e4572726f72496e666f"
    "123c0a11617070726f76616c735f6d697373696e67120e636f6e74726173742d7461736b73"
    "1a0a0a05666f756e641201311a0b0a0677616e746564120132"
    "1a89010a2f747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e4c6f63616c697a65644d657373616765"
    "12560a02656e1250636f6c6c656374207369676e617475726573206f66206d6f7265206f776e657273206f766572207468697320"
    "6d616e696665737420616674657220746865206c6174657374207472616e736974696f6e"
    "1a6e0a23747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e48656c70"
    "12470a450a15776861742074686520726561736f6e206d65616e73"
    "122c646f63732f7265666572656e63652f7265667573616c732e6d6423617070726f76616c735f6d697373696e67"
)
TOLD = Details(
    reason="approvals_missing",
    hint="collect signatures of more owners over this manifest after the latest transition",
    found={"found": "1", "wanted": "2"},
)


class Refused(grpc.RpcError):
    """What gRPC raises for a call that is refused."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.INTERNAL

    def details(self) -> str:
        return "because"

    def trailing_metadata(self) -> tuple[()]:
        return ()


def test_a_refused_call_is_named_in_the_users_words() -> None:
    calls = {
        method.name
        for file in (user_pb, mesh_pb, ext_pb)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }

    shown = {
        call: str(error_from_rpc(call, Refused())).removeprefix("coordinator refused ")
        for call in calls
    }

    assert shown["SetPacked"] == shown["SetManifest"] == "set: because"
    assert shown["GetPacked"] == shown["GetManifests"] == "verify: because"
    assert [call for call, text in shown.items() if call in text] == []


def test_details_are_the_bytes_of_googles_messages() -> None:
    text = "validating peer: peer not authorized"

    assert render_details(grpc.StatusCode.PERMISSION_DENIED, text, TOLD) == STATUS
    assert parse_details(STATUS) == TOLD


def test_the_page_that_refusals_lead_to_has_a_place_for_each_reason() -> None:
    page = Path(__file__).parents[2].joinpath("docs/reference/refusals.md").read_text()

    assert [each for each in REASONS if f'<a id="{each}"></a>' not in page] == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(STATUS[:-1], id="cut"),
        pytest.param(b"\xff" * 40, id="no message"),
        pytest.param(STATUS.replace(b"contrast-tasks", b"another.domain"), id="of others"),
        pytest.param(STATUS.replace(b"google.rpc", b"google.abc"), id="of other types"),
    ],
)
def test_details_that_are_not_ours_are_ignored(content: bytes) -> None:
    assert parse_details(content) == Details()


def test_the_peers_hint_is_shown_and_cannot_write_to_the_terminal(
    peer: Peer, channel: grpc.Channel
) -> None:
    peer.behaviours[f"/{SHORT}/GetManifests"] = refuse(
        grpc.StatusCode.PERMISSION_DENIED, reason="something_new", hint="turn it\x1b[2J off"
    )

    with pytest.raises(NotAuthorised) as caught:
        userapi.get_manifests(channel, 5)

    assert (caught.value.reason, caught.value.hint) == ("something_new", "turn it?[2J off")
