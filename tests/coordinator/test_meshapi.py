import dataclasses
from datetime import timedelta

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contrast_tasks.api import meshapi_pb2 as pb
from contrast_tasks.api import userapi_pb2 as user_pb
from contrast_tasks.atls.types import Evidence
from coordinator.history import History
from coordinator.meshapi import new_mesh_cert
from coordinator.refusal import Refusal
from coordinator.state import Guard, State
from coordinator.store.memory import MemoryStore
from coordinator.userapi import set_manifest
from tests.fakes.coordinator import (
    NOBODY,
    OTHER_POLICY,
    OTHER_POLICY_HASH,
    POLICY,
    POLICY_HASH,
    Caller,
    Clock,
    FakeEvidence,
    attested,
    parse_tiny,
    tiny_manifest,
)

KEY = ec.generate_private_key(ec.SECP256R1())
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
CLAIM = ("1.3.9901.2.1.1", b"\x02\x01\x03")


def claims(_evidence: Evidence) -> list[tuple[str, bytes]]:
    return [CLAIM]


@pytest.fixture
def state(guard: Guard, owner: Caller) -> State:
    manifest = tiny_manifest(
        {
            POLICY_HASH: {"SANs": ["web", "203.0.113.34"], "WorkloadSecretID": "web"},
            OTHER_POLICY_HASH: {"SANs": ["emoji"]},
        },
        owners=[owner.digest_hex],
    )
    request = user_pb.SetManifestRequest(Manifest=manifest, Policies=[POLICY, OTHER_POLICY])
    set_manifest(request, NOBODY, guard)
    return guard.current()


def call(
    guard: Guard,
    state: object,
    *,
    host_data: bytes = bytes.fromhex(POLICY_HASH),
    spki: bytes | None = SPKI,
    address: str | None = None,
    with_address: bool = False,
) -> pb.NewMeshCertResponse:
    identity = dataclasses.replace(
        attested(spki, FakeEvidence(host_data=host_data), state), address=address
    )
    request = pb.NewMeshCertRequest()
    return new_mesh_cert(request, identity, guard, claims=claims, with_address=with_address)


def test_the_certificate_holds_key_and_names_of_the_policy_entry(
    guard: Guard, state: State
) -> None:
    response = call(guard, state)

    leaf, intermediate = x509.load_pem_x509_certificates(response.CertChain)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert leaf.public_key() == KEY.public_key()
    assert names.get_values_for_type(x509.DNSName) == ["web"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["203.0.113.34"]
    assert response.MeshCACert == state.ca.mesh_ca_pem
    assert response.RootCACert == state.ca.root_ca_pem
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(response.MeshCACert))
    intermediate.verify_directly_issued_by(x509.load_pem_x509_certificate(response.RootCACert))


def test_a_certificate_lasts_as_long_as_the_coordinator_was_told(store: MemoryStore) -> None:
    guard = Guard(
        History(store), parse=parse_tiny, now=Clock(), certificate_lifetime=timedelta(hours=24)
    )
    manifest = tiny_manifest()
    set_manifest(user_pb.SetManifestRequest(Manifest=manifest, Policies=[POLICY]), NOBODY, guard)

    leaf = x509.load_pem_x509_certificates(call(guard, guard.current()).CertChain)[0]

    # An hour before the issue they begin.
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(hours=25)


def test_a_mesh_ca_that_has_ended_issues_nothing_and_says_so(guard: Guard, state: State) -> None:
    guard.now = lambda: state.ca.mesh_ca_not_after

    with pytest.raises(Refusal, match="the mesh CA ended on 2036-02-27") as caught:
        call(guard, state)

    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("address", "with_address", "wanted"),
    [
        ("10.0.0.7", False, ["203.0.113.34"]),
        ("10.0.0.7", True, ["203.0.113.34", "10.0.0.7"]),
        ("2001:db8::7", True, ["203.0.113.34", "2001:db8::7"]),
        ("203.0.113.34", True, ["203.0.113.34"]),
        (None, True, ["203.0.113.34"]),
    ],
)
def test_the_callers_address_is_certified_only_where_it_is_wanted(
    guard: Guard, state: State, address: str | None, with_address: bool, wanted: list[str]
) -> None:
    response = call(guard, state, address=address, with_address=with_address)

    leaf = x509.load_pem_x509_certificate(response.CertChain)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == wanted


def test_the_certificate_holds_claims_policy_transition_and_secret_id(
    guard: Guard, state: State
) -> None:
    leaf = x509.load_pem_x509_certificate(call(guard, state).CertChain)

    found = {
        extension.oid.dotted_string: extension.value.public_bytes()
        for extension in leaf.extensions
        if extension.oid.dotted_string.startswith("1.3.9901.")
    }
    assert found == {
        "1.3.9901.2.1.1": b"\x02\x01\x03",
        "1.3.9901.3.1": b"\x04\x03web",
        "1.3.9901.3.2": b"\x04\x20" + bytes.fromhex(POLICY_HASH),
        "1.3.9901.3.3": b"\x04\x20" + state.latest.transition_hash,
    }


def test_a_workload_secret_is_returned_iff_the_entry_has_an_id(guard: Guard, state: State) -> None:
    with_id = call(guard, state)
    without_id = call(guard, state, host_data=bytes.fromhex(OTHER_POLICY_HASH))

    assert with_id.WorkloadSecret == state.engine.workload_secret("web")
    assert without_id.WorkloadSecret == b""
    leaf = x509.load_pem_x509_certificate(without_id.CertChain)
    assert "1.3.9901.3.1" not in {extension.oid.dotted_string for extension in leaf.extensions}


def test_every_call_gives_another_certificate(guard: Guard, state: State) -> None:
    assert call(guard, state).CertChain != call(guard, state).CertChain


def test_a_key_of_another_type_is_refused(guard: Guard, state: State) -> None:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    with pytest.raises(Refusal, match="only ec and rsa keys are certified") as caught:
        call(guard, state, spki=spki)

    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("host_data", [bytes(32), b"\xff" * 32, bytes.fromhex(POLICY_HASH)[:31]])
def test_a_policy_that_is_not_in_the_manifest_is_denied(
    guard: Guard, state: State, host_data: bytes
) -> None:
    with pytest.raises(Refusal, match="not found in manifest") as caught:
        call(guard, state, host_data=host_data)

    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert host_data.hex() in str(caught.value)


@pytest.mark.parametrize(
    "identity",
    [
        pytest.param(attested(None, FakeEvidence(), None), id="no-certificate"),
        pytest.param(attested(SPKI, None, None), id="no-evidence"),
        pytest.param(attested(SPKI, FakeEvidence(), None), id="no-state"),
        pytest.param(NOBODY, id="nothing"),
    ],
)
def test_a_caller_without_evidence_key_or_state_is_denied(
    guard: Guard, state: State, identity: object
) -> None:
    with pytest.raises(Refusal, match="no attested client certificate") as caught:
        new_mesh_cert(pb.NewMeshCertRequest(), identity, guard, claims=claims)  # type: ignore[arg-type]  # one of ours

    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED


def test_a_connection_made_before_a_manifest_change_must_be_made_again(
    guard: Guard, state: State, owner: Caller
) -> None:
    request = user_pb.SetManifestRequest(Manifest=tiny_manifest(), Policies=[POLICY])
    set_manifest(request, owner.identity, guard)

    with pytest.raises(Refusal) as caught:
        call(guard, state)

    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert caught.value.reason == "outdated_snapshot"
    assert call(guard, guard.current()).CertChain


def test_a_stale_state_issues_nothing(guard: Guard, state: State) -> None:
    state.mark_stale()

    with pytest.raises(Refusal) as caught:
        call(guard, state)

    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
