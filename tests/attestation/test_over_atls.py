"""Evidence of the simulated processor over attested TLS: everything real but the processor."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contrast_tasks.atls.client import connect
from contrast_tasks.atls.errors import OwnEvidenceRefused
from contrast_tasks.atls.server import AtlsServer, serve
from contrast_tasks.attestation.errors import EndorsementRejected, WrongPolicyHash
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.platforms import SIMULATED_MEASUREMENT
from contrast_tasks.trusted_guests import GuestPolicy, ReferenceValues, SimulatedReference, SnpTcb
from tests.fakes.atls import NOW, clock, echo, say

COORDINATOR, WORKLOAD, STRANGER = "0a" * 32, "0b" * 32, "0c" * 32


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> SimulatedProcessor:
    place: Path = tmp_path_factory.mktemp("local") / "processor"
    return SimulatedProcessor.load_or_create(place, now=NOW)


def manifest(root_sha256_hex: str) -> Manifest:
    reference = SimulatedReference(
        root_sha256_hex=root_sha256_hex,
        trusted_measurement_hex=SIMULATED_MEASUREMENT,
        minimum_tcb=SnpTcb(bootloader=3, tee=0, snp=8, microcode=115),
        guest_policy=GuestPolicy(),
    )
    return Manifest(
        policies={
            COORDINATOR: PolicyEntry(sans=(), role="coordinator"),
            WORKLOAD: PolicyEntry(sans=()),
        },
        reference_values=ReferenceValues(simulated=(reference,)),
    )


@pytest.fixture(scope="module")
def coordinator(processor: SimulatedProcessor) -> Iterator[AtlsServer]:
    trusted = validators_for(manifest(processor.root_sha256_hex))
    with serve(
        echo,
        listen=("127.0.0.1", 0),
        issuer=processor.issuer(bytes.fromhex(COORDINATOR)),
        require_client=lambda: (trusted, "state"),
        clock=clock,
    ) as server:
        yield server


def test_initializer_and_coordinator_prove_themselves_to_each_other(
    processor: SimulatedProcessor, coordinator: AtlsServer
) -> None:
    validators = validators_for(manifest(processor.root_sha256_hex), coordinator_only=True)

    with connect(
        "127.0.0.1",
        coordinator.port,
        validators=validators,
        issuer=processor.issuer(bytes.fromhex(WORKLOAD)),
        now=NOW,
    ) as peer:
        answer = say(peer.channel)

    assert answer[2] == WORKLOAD.encode()
    assert peer.evidence is not None
    assert peer.evidence.host_data.hex() == COORDINATOR


def test_a_workload_that_answers_in_the_coordinators_place_is_refused(
    processor: SimulatedProcessor,
) -> None:
    validators = validators_for(manifest(processor.root_sha256_hex), coordinator_only=True)

    with (
        serve(
            echo,
            listen=("127.0.0.1", 0),
            issuer=processor.issuer(bytes.fromhex(WORKLOAD)),
            clock=clock,
        ) as server,
        pytest.raises(WrongPolicyHash, match=f"found {WORKLOAD}") as caught,
    ):
        connect("127.0.0.1", server.port, validators=validators, now=NOW)

    assert caught.value.exit_code == 42


def test_a_coordinator_under_another_root_is_refused(coordinator: AtlsServer) -> None:
    validators = validators_for(manifest("00" * 32), coordinator_only=True)

    with pytest.raises(EndorsementRejected, match="root certificate's sha-256") as caught:
        connect("127.0.0.1", coordinator.port, validators=validators, now=NOW)

    assert caught.value.exit_code == 41


def test_a_guest_with_another_measurement_is_refused_by_the_coordinator(
    processor: SimulatedProcessor, coordinator: AtlsServer
) -> None:
    with pytest.raises(OwnEvidenceRefused):
        connect(
            "127.0.0.1",
            coordinator.port,
            validators=None,
            unverified=True,
            issuer=processor.issuer(bytes.fromhex(WORKLOAD), bytes(48)),
            now=NOW,
        )


def test_an_unknown_policy_passes_the_handshake_and_is_the_handlers_business(
    processor: SimulatedProcessor, coordinator: AtlsServer
) -> None:
    with connect(
        "127.0.0.1",
        coordinator.port,
        validators=None,
        unverified=True,
        issuer=processor.issuer(bytes.fromhex(STRANGER)),
        now=NOW,
    ) as peer:
        assert say(peer.channel)[2] == STRANGER.encode()
