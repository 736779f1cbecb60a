"""Rows 16 to 18 of the list of what must be refused: who is who after a handshake, with evidence of a synthetic AMD.

The Coordinator's mesh API and a client of its user API run on loopback with the validators that real manifests give.
tests/attestation/ROWS.md has all rows.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

import grpc
import pytest

from contrast_tasks.api import meshapi
from contrast_tasks.api import meshapi_pb2 as mesh_pb
from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.api.errors import CoordinatorNotReady
from contrast_tasks.atls.client import AtlsChannel, connect
from contrast_tasks.atls.server import AtlsServer
from contrast_tasks.attestation.errors import WrongPolicyHash
from contrast_tasks.attestation.trust_roots import TrustRoots
from contrast_tasks.attestation.validators import Validator, validators_for
from contrast_tasks.errors import NotAuthorised
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.trusted_guests import GuestPolicy, ReferenceValues, SnpReference, SnpTcb
from coordinator.extapi import PeerCount
from coordinator.meshapi import new_mesh_cert
from coordinator.metrics import Metrics
from coordinator.refusal import Refusal
from coordinator.state import Guard, State
from coordinator.transport import Context, MeshGate, serve_mesh_api, serve_user_api
from coordinator.userapi import set_manifest
from tests.fakes.atls import client_session, server_session, shake
from tests.fakes.attestation import MEASUREMENT, NOW, AmdIssuer, FakeAmd
from tests.fakes.coordinator import (
    NOBODY,
    OTHER_POLICY,
    OTHER_POLICY_HASH,
    POLICY,
    POLICY_HASH,
    Caller,
    tiny_manifest,
)

AMD = FakeAmd()
COORDINATOR_HASH, STRANGER = "c0" * 32, "5e" * 32
REFERENCE = SnpReference(
    product_name="Milan",
    trusted_measurement_hex=MEASUREMENT.hex(),
    minimum_tcb=SnpTcb(bootloader=3, tee=0, snp=8, microcode=115),
    guest_policy=GuestPolicy(),
)
MANIFEST = Manifest(
    policies={
        COORDINATOR_HASH: PolicyEntry(sans=(), role="coordinator"),
        POLICY_HASH: PolicyEntry(sans=("web",)),
    },
    reference_values=ReferenceValues(snp=(REFERENCE,)),
)
LOOPBACK = ("127.0.0.1", 0)


def validators(manifest: Manifest, *, coordinator_only: bool = False) -> tuple[Validator, ...]:
    roots = TrustRoots(amd={"Milan": AMD.anchor})
    return validators_for(manifest, coordinator_only=coordinator_only, roots=roots)


def guest(policy_hash: str) -> AmdIssuer:
    return AmdIssuer(host_data=bytes.fromhex(policy_hash))


def put(
    guard: Guard, policies: Mapping[str, bytes], *, owner: Caller, caller: Caller | None = None
) -> State:
    """Set a manifest that names the policies, each under a name of its own."""
    entries = {key: {"SANs": [f"w-{key[:8]}"], "WorkloadSecretID": key} for key in policies}
    content = tiny_manifest(entries, owners=[owner.digest_hex])
    request = pb.SetManifestRequest(Manifest=content, Policies=list(policies.values()))
    set_manifest(request, NOBODY if caller is None else caller.identity, guard)
    return guard.current()


@pytest.fixture
def context(guard: Guard) -> Context:
    guard.now = lambda: NOW
    return Context(guard=guard, metrics=Metrics(), peers=PeerCount())


def make_validators(state: State) -> tuple[Validator, ...]:
    return validators(MANIFEST.replace(policies=state.manifest.policies))


@pytest.fixture
def mesh_api(context: Context) -> Iterator[AtlsServer]:
    with serve_mesh_api(
        LOOPBACK,
        issuer=guest(COORDINATOR_HASH),
        context=context,
        make_validators=make_validators,
        claims=lambda _evidence: (),
    ) as server:
        yield server


def dial(
    server: AtlsServer,
    trusted: tuple[Validator, ...],
    issuer: AmdIssuer | None,
    now: datetime = NOW,
) -> AtlsChannel:
    return connect("127.0.0.1", server.port, validators=trusted, issuer=issuer, now=now)


@pytest.mark.parametrize(
    "policy_hash",
    [STRANGER, "00" * 32, OTHER_POLICY_HASH, COORDINATOR_HASH, POLICY_HASH[:-2] + "00"],
    ids=["stranger", "zero", "policy of another build", "the coordinator itself", "last byte"],
)
def test_16_a_genuine_guest_whose_policy_is_not_in_the_manifest_is_denied(
    mesh_api: AtlsServer, guard: Guard, owner: Caller, policy_hash: str
) -> None:
    put(guard, {POLICY_HASH: POLICY}, owner=owner)

    with (
        dial(mesh_api, validators(MANIFEST), guest(policy_hash)) as peer,
        pytest.raises(NotAuthorised) as caught,
    ):
        meshapi.new_mesh_cert(peer.channel, 5)

    assert f"policy hash {policy_hash} not found in manifest" in str(caught.value)


def test_16_a_guest_whose_policy_is_in_the_manifest_gets_its_certificate(
    mesh_api: AtlsServer, guard: Guard, owner: Caller
) -> None:
    put(guard, {POLICY_HASH: POLICY}, owner=owner)

    with dial(mesh_api, validators(MANIFEST), guest(POLICY_HASH)) as peer:
        assert meshapi.new_mesh_cert(peer.channel, 5).workload_secret


@pytest.mark.parametrize(
    ("policies", "wanted"),
    [
        pytest.param(MANIFEST.policies, COORDINATOR_HASH, id="another policy has the role"),
        pytest.param(
            {POLICY_HASH: PolicyEntry(sans=())}, "no policy has the role coordinator", id="none has"
        ),
        pytest.param(
            {
                "c1" * 32: PolicyEntry(sans=(), role="coordinator"),
                "c2" * 32: PolicyEntry(sans=(), role="coordinator"),
            },
            f"{'c1' * 32}, {'c2' * 32}",
            id="two others have",
        ),
    ],
)
def test_17_a_valid_workload_on_the_coordinators_address_is_refused(
    context: Context, policies: Mapping[str, PolicyEntry], wanted: str
) -> None:
    trusted = validators(MANIFEST.replace(policies=policies), coordinator_only=True)

    with (
        serve_user_api(LOOPBACK, issuer=guest(POLICY_HASH), context=context) as impostor,
        pytest.raises(WrongPolicyHash) as caught,
    ):
        dial(impostor, trusted, None)

    assert f"found {POLICY_HASH}, wanted " in str(caught.value)
    assert wanted in str(caught.value)
    assert caught.value.exit_code == 42


def test_18_a_manifest_that_changes_between_handshake_and_request_issues_nothing(
    mesh_api: AtlsServer, guard: Guard, owner: Caller
) -> None:
    put(guard, {POLICY_HASH: POLICY}, owner=owner)

    with dial(mesh_api, validators(MANIFEST), guest(POLICY_HASH)) as peer:
        put(guard, {OTHER_POLICY_HASH: OTHER_POLICY}, owner=owner, caller=owner)
        with pytest.raises(CoordinatorNotReady) as caught:
            meshapi.new_mesh_cert(peer.channel, 5)

    assert caught.value.reason == "outdated_snapshot"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({POLICY_HASH: POLICY}, {OTHER_POLICY_HASH: OTHER_POLICY}, id="dropped"),
        pytest.param({OTHER_POLICY_HASH: OTHER_POLICY}, {POLICY_HASH: POLICY}, id="added"),
        pytest.param({POLICY_HASH: POLICY}, {POLICY_HASH: POLICY}, id="set again"),
    ],
)
def test_18_a_manifest_that_changes_within_the_handshake_does_not_mix_with_the_one_before(
    guard: Guard, owner: Caller, first: dict[str, bytes], second: dict[str, bytes]
) -> None:
    before = put(guard, first, owner=owner)
    server = server_session(
        issuer=guest(COORDINATOR_HASH), require_client=MeshGate(guard, make_validators)
    )
    put(guard, second, owner=owner, caller=owner)
    client = client_session(validators=validators(MANIFEST), issuer=guest(POLICY_HASH))

    assert shake(client, server).succeeded
    assert server.identity is not None
    assert server.identity.snapshot is before
    with pytest.raises(Refusal) as caught:
        new_mesh_cert(
            mesh_pb.NewMeshCertRequest(), server.identity, guard, claims=lambda _evidence: ()
        )

    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert caught.value.reason == "outdated_snapshot"
