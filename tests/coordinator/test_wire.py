"""Messages as releases v1.10 and v1.21 of the reference product have them, against ours, in both directions.

They are declared here once more, by the numbers of docs/internals/coordinator.md 2.1, 2.2 and docs/internals/releases.md 6, so that
neither side of a test knows a field of ours. HTTP attestation and the transit engine are JSON, which their tests write by hand.
"""

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from contrast_tasks.api import meshapi, userapi
from contrast_tasks.atls.types import PeerIdentity
from coordinator.peers import PeerRecovery
from coordinator.presence import Alone
from coordinator.refusal import Refusal
from coordinator.seedshares import EncryptedShare
from coordinator.state import Guard
from coordinator.store.memory import MemoryStore
from coordinator.transport import _parse, _serialize, mesh_methods, user_methods
from coordinator.unavailable import InRecovery
from tests.fakes.coordinator import (
    NOBODY,
    POLICY,
    POLICY_HASH,
    Caller,
    FakeEvidence,
    attested,
    make_guard,
    tiny_manifest,
)

Table = Mapping[str, Mapping[str, tuple[int, str]]]
_V1_10: Table = {
    "SetManifestRequest": {"Manifest": (1, "bytes"), "Policies": (2, "bytes*")},
    "SetManifestResponse": {
        "RootCA": (1, "bytes"),
        "MeshCA": (2, "bytes"),
        "SeedSharesDoc": (3, "SeedShareDocument"),
    },
    "SeedShareDocument": {"SeedShares": (1, "SeedShare*"), "salt": (2, "bytes")},
    "SeedShare": {"PublicKey": (1, "string"), "EncryptedSeed": (2, "bytes")},
    "GetManifestsRequest": {},
    "GetManifestsResponse": {
        "Manifests": (1, "bytes*"),
        "Policies": (2, "bytes*"),
        "RootCA": (3, "bytes"),
        "MeshCA": (4, "bytes"),
    },
    "RecoverRequest": {"Seed": (1, "bytes"), "Salt": (2, "bytes"), "Force": (3, "bool")},
    "RecoverResponse": {},
    "MeshRecoverRequest": {},
    "MeshRecoverResponse": {
        "Seed": (1, "bytes"),
        "Salt": (2, "bytes"),
        "MeshCAKey": (3, "bytes"),
        "LatestManifest": (4, "bytes"),
    },
    "NewMeshCertRequest": {},
    "NewMeshCertResponse": {
        "MeshCACert": (1, "bytes"),
        "CertChain": (2, "bytes"),
        "RootCACert": (3, "bytes"),
        "WorkloadSecret": (4, "bytes"),
    },
}
_V1_21: Table = {
    **_V1_10,
    "SetManifestRequest": {
        **_V1_10["SetManifestRequest"],
        "PreviousTransitionHash": (3, "bytes"),
        "Signature": (4, "bytes"),
    },
    "GetManifestsResponse": {
        **_V1_10["GetManifestsResponse"],
        "LatestTransition": (5, "LatestTransition"),
    },
    "LatestTransition": {"TransitionHash": (1, "bytes"), "Signature": (2, "bytes")},
}
_KINDS = {
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "string": FieldDescriptorProto.TYPE_STRING,
    "bool": FieldDescriptorProto.TYPE_BOOL,
}


def classes(table: Table) -> dict[str, Any]:
    """Return the class of each message."""
    file = FileDescriptorProto(name="wire.proto", package="wire", syntax="proto3")
    for name, fields in table.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            added = message.field.add(name=field, number=number)
            added.label = added.LABEL_REPEATED if kind.endswith("*") else added.LABEL_OPTIONAL
            one = kind.removesuffix("*")
            added.type = _KINDS.get(one, FieldDescriptorProto.TYPE_MESSAGE)
            if one not in _KINDS:
                added.type_name = f".wire.{one}"
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"wire.{name}")) for name in table}


V1_10, V1_21 = classes(_V1_10), classes(_V1_21)
BOTH = pytest.mark.parametrize("wire", [V1_10, V1_21], ids=["v1.10", "v1.21"])
METHODS = {
    **{method.name: method for method in user_methods()},
    **{f"Mesh{method.name}": method for method in mesh_methods(lambda _evidence: ())},
}


def ask(wire: dict[str, Any], guard: Guard, who: PeerIdentity, call: str, **fields: Any) -> Any:
    """Return what a client of the release reads of our Coordinator's answer."""
    request = wire[f"{call}Request"](**fields).SerializeToString()
    method = METHODS["MeshNewMeshCert" if call == "NewMeshCert" else call]
    content = _serialize(method.handler(_parse(method, request), who, guard))
    return wire[f"{call}Response"].FromString(content)


def transition(manifest: bytes, previous: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(manifest).digest() + previous).digest()


@BOTH
def test_their_clients_set_read_and_recover_our_coordinator(
    wire: dict[str, Any], owner: Caller, seedshare_owner: Caller, store: MemoryStore
) -> None:
    manifest = tiny_manifest(
        owners=[owner.digest_hex], seedshare_owners=[seedshare_owner.pkcs1_hex]
    )
    guard = make_guard(store)
    first = ask(wire, guard, NOBODY, "SetManifest", Manifest=manifest, Policies=[POLICY])
    ask(wire, guard, owner.identity, "SetManifest", Manifest=manifest, Policies=[POLICY])
    (share,) = first.SeedSharesDoc.SeedShares
    assert share.PublicKey == seedshare_owner.pkcs1_hex
    seed = seedshare_owner.decrypt(
        EncryptedShare(public_key_hex=share.PublicKey, ciphertext=share.EncryptedSeed)
    )

    restarted = make_guard(store)
    with pytest.raises(InRecovery):
        ask(wire, restarted, NOBODY, "GetManifests")
    salt = first.SeedSharesDoc.salt
    ask(wire, restarted, seedshare_owner.identity, "Recover", Seed=seed, Salt=salt, Force=True)
    history = ask(wire, restarted, NOBODY, "GetManifests")

    assert list(history.Manifests) == [manifest, manifest]
    assert list(history.Policies) == [POLICY]
    assert history.RootCA == first.RootCA
    assert history.MeshCA.startswith(b"-----BEGIN CERTIFICATE-----")
    if wire is V1_21:
        newest = transition(manifest, transition(manifest, bytes(32)))
        assert history.LatestTransition.TransitionHash == newest
        assert history.LatestTransition.Signature


@BOTH
def test_their_workloads_and_coordinators_get_certificates_and_keys(
    wire: dict[str, Any], guard: Guard, owner: Caller
) -> None:
    entry = {"SANs": ["web"], "WorkloadSecretID": "web", "Role": "coordinator"}
    manifest = tiny_manifest({POLICY_HASH: entry})
    ask(wire, guard, NOBODY, "SetManifest", Manifest=manifest, Policies=[POLICY])
    state = guard.current()
    peer = attested(owner.spki, FakeEvidence(), state)

    keys = ask(wire, guard, peer, "MeshRecover")
    certified = ask(wire, guard, peer, "NewMeshCert")

    assert (keys.Seed, keys.Salt) == (state.engine.seed, state.engine.salt)
    assert keys.MeshCAKey == state.ca.mesh_key_pem()
    assert keys.LatestManifest == manifest
    assert certified.WorkloadSecret == state.engine.workload_secret("web")
    assert (certified.MeshCACert, certified.RootCACert) == (
        state.ca.mesh_ca_pem,
        state.ca.root_ca_pem,
    )


def test_their_signed_and_atomic_update_is_taken_and_counts_once(guard: Guard) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    manifest = tiny_manifest(owner_keys=[Caller(key=key).spki.hex()])
    ask(V1_21, guard, NOBODY, "SetManifest", Manifest=manifest, Policies=[POLICY])
    previous = transition(manifest, bytes(32))
    text = transition(manifest, previous).hex().encode()
    update = {
        "Manifest": manifest,
        "Policies": [POLICY],
        "PreviousTransitionHash": previous,
        "Signature": key.sign(text, ec.ECDSA(hashes.SHA256())),
    }

    ask(V1_21, guard, NOBODY, "SetManifest", **update)

    assert guard.current().generation == 2
    with pytest.raises(Refusal, match="does not match latest state"):
        ask(V1_21, guard, NOBODY, "SetManifest", **update)


class Theirs:
    """A Coordinator of a release: answers as it is told, and keeps what it read of each request."""

    def __init__(self, wire: dict[str, Any], service: str) -> None:
        self.wire, self.service = wire, service
        self.answers: dict[str, Any] = {}
        self.read: list[Any] = []

    def method(self, path: str) -> "grpc.RpcMethodHandler[Any, Any] | None":
        service, _, call = path[1:].partition("/")
        if service not in {self.service, "meshapi.MeshAPI"}:
            return None
        name = f"Mesh{call}" if service == "meshapi.MeshAPI" else call

        def answer(request: bytes, _context: grpc.ServicerContext) -> bytes:
            self.read.append(self.wire[f"{name}Request"].FromString(request))
            content: bytes = self.answers[name].SerializeToString()
            return content

        return grpc.unary_unary_rpc_method_handler(answer)


class _Handler(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # not generic at run time
    def __init__(self, theirs: Theirs) -> None:
        self._theirs = theirs

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        return self._theirs.method(handler_call_details.method)


@pytest.fixture(
    params=[(V1_10, "userapi.UserAPI"), (V1_21, "edgelesssys.contrast.userapi.UserAPI")],
    ids=["v1.10", "v1.21"],
)
def theirs(request: pytest.FixtureRequest) -> Theirs:
    return Theirs(*request.param)


@pytest.fixture
def channel(theirs: Theirs, tmp_path: Path) -> Iterator[grpc.Channel]:
    with ThreadPoolExecutor(2) as workers:
        server = grpc.server(workers)
        server.add_generic_rpc_handlers((_Handler(theirs),))
        server.add_insecure_port(f"unix:{tmp_path / 's'}")
        server.start()
        with grpc.insecure_channel(f"unix:{tmp_path / 's'}") as channel:
            yield channel
        server.stop(None).wait()


def test_our_client_sets_signs_reads_and_recovers_their_coordinator(
    theirs: Theirs, channel: grpc.Channel
) -> None:
    wire = theirs.wire
    share = wire["SeedShare"](PublicKey="ab", EncryptedSeed=b"\x01")
    shares = wire["SeedShareDocument"](SeedShares=[share], salt=bytes(32))
    latest: dict[str, Any] = {}
    if wire is V1_21:
        latest = {
            "LatestTransition": wire["LatestTransition"](TransitionHash=b"t" * 32, Signature=b"s")
        }
    theirs.answers = {
        "SetManifest": wire["SetManifestResponse"](
            RootCA=b"root", MeshCA=b"mesh", SeedSharesDoc=shares
        ),
        "GetManifests": wire["GetManifestsResponse"](
            Manifests=[b"{}"], Policies=[POLICY], RootCA=b"root", MeshCA=b"mesh", **latest
        ),
        "Recover": wire["RecoverResponse"](),
    }

    done = userapi.set_manifest(
        channel, b"{}", [POLICY], 5, previous_transition_hash=bytes(32), signatures=[b"sig"]
    )
    history = userapi.get_manifests(channel, 5)
    userapi.recover(
        channel, seed=b"x" * 64, salt=b"y" * 32, timeout_s=5, force=True, known_transition=b"t" * 32
    )

    asked, _, recovered = theirs.read
    assert (asked.Manifest, list(asked.Policies)) == (b"{}", [POLICY])
    if wire is V1_21:
        assert (asked.PreviousTransitionHash, asked.Signature) == (bytes(32), b"sig")
        assert history.latest_transition is not None
        assert history.latest_transition.transition_hash == b"t" * 32
    else:
        assert history.latest_transition is None
    assert (recovered.Seed, recovered.Salt, recovered.Force) == (b"x" * 64, b"y" * 32, True)
    assert done.seed_shares is not None
    assert done.seed_shares["SeedShares"] == [{"PublicKey": "ab", "EncryptedSeed": "AQ=="}]
    assert (history.manifests, history.policies) == ((b"{}",), (POLICY,))


def test_our_coordinator_recovers_from_theirs(
    theirs: Theirs, channel: grpc.Channel, store: MemoryStore
) -> None:
    """It has the same store, as both write the same head, chain and manifests."""
    serving = make_guard(store)
    ask(theirs.wire, serving, NOBODY, "SetManifest", Manifest=tiny_manifest(), Policies=[POLICY])
    state = serving.current()
    theirs.answers["MeshRecover"] = theirs.wire["MeshRecoverResponse"](
        Seed=state.engine.seed,
        Salt=state.engine.salt,
        MeshCAKey=state.ca.mesh_key_pem(),
        LatestManifest=state.manifest_bytes,
    )
    guard = make_guard(store)
    guard.presence = One()
    recovery = PeerRecovery(guard, lambda _address, _manifest: meshapi.recover(channel, 5))

    assert recovery.attempt()

    assert guard.current().ca.mesh_key_pem() == state.ca.mesh_key_pem()


class One(Alone):
    """The presence of one other Coordinator."""

    def others(self) -> list[str]:
        """Return its address."""
        return ["127.0.0.1:7777"]
