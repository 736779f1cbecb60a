"""A pod that demands a certain Coordinator: which evidence it accepts, and which settings it refuses."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contrast_tasks.attestation.errors import EndorsementRejected, WrongPolicyHash
from contrast_tasks.attestation.issuers.environment import supply_from_environment
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.errors import SettingsError
from contrast_tasks.guest.coordinator_check import validators_from_environment
from contrast_tasks.manifest.codec import render_manifest
from contrast_tasks.manifest.model import Manifest
from contrast_tasks.manifest.reference_values import defaults_for
from contrast_tasks.releases.table import V1_16

COORDINATOR, WORKLOAD = "c0" * 32, "0d" * 32
REPORT_DATA = bytes(range(64))
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> SimulatedProcessor:
    return SimulatedProcessor.load_or_create(tmp_path_factory.mktemp("guest") / "processor")


def values(processor: SimulatedProcessor) -> str:
    """Return the reference values as the manifest of a local project has them."""
    trusted = defaults_for("local", local_root_sha256_hex=processor.root_sha256_hex)
    manifest = render_manifest(Manifest(policies={}, reference_values=trusted), V1_16.manifest)
    return json.dumps(json.loads(manifest)["ReferenceValues"])


def asked(policy_hash: str, reference_values: str) -> dict[str, str]:
    return {
        "CONTRAST_EVIDENCE": "simulated:unused",
        "CONTRAST_COORDINATOR_POLICY_HASH": policy_hash,
        "CONTRAST_COORDINATOR_REFERENCE_VALUES": reference_values,
    }


def test_nothing_is_demanded_by_default() -> None:
    environ = {"CONTRAST_EVIDENCE": "simulated:unused"}

    assert validators_from_environment(environ, supply_from_environment(environ)) is None


def test_only_the_named_coordinator_is_accepted(processor: SimulatedProcessor) -> None:
    environ = asked(COORDINATOR, values(processor))
    found = validators_from_environment(environ, supply_from_environment(environ))

    assert found is not None
    (validator,) = found
    genuine = processor.issuer(bytes.fromhex(COORDINATOR)).issue(REPORT_DATA)
    validator.verify(genuine, REPORT_DATA, NOW)
    with pytest.raises(WrongPolicyHash):
        validator.verify(processor.issuer(bytes.fromhex(WORKLOAD)).issue(REPORT_DATA), REPORT_DATA, NOW)  # fmt: skip


def test_a_coordinator_on_another_processor_is_refused(
    processor: SimulatedProcessor, tmp_path: Path
) -> None:
    environ = asked(COORDINATOR, values(processor))
    (validator,) = validators_from_environment(environ, supply_from_environment(environ)) or ()
    other = SimulatedProcessor.load_or_create(tmp_path / "other")

    with pytest.raises(EndorsementRejected):
        validator.verify(other.issuer(bytes.fromhex(COORDINATOR)).issue(REPORT_DATA), REPORT_DATA, NOW)  # fmt: skip


@pytest.mark.parametrize(
    ("policy_hash", "reference_values", "message"),
    [
        (COORDINATOR, "", "CONTRAST_COORDINATOR_REFERENCE_VALUES is not set, wanted both or neither"),
        ("", "{}", "CONTRAST_COORDINATOR_POLICY_HASH is not set, wanted both or neither"),
        ("c0", "{}", "name no Coordinator"),
        (COORDINATOR, "{", "name no Coordinator"),
        (COORDINATOR, "{}", "name no Coordinator"),
        (COORDINATOR, '{"snp": [{}]}', "name no Coordinator"),
    ],
)  # fmt: skip
def test_a_demand_that_nobody_could_meet_is_refused(
    policy_hash: str, reference_values: str, message: str
) -> None:
    environ = asked(policy_hash, reference_values)

    with pytest.raises(SettingsError, match=message):
        validators_from_environment(environ, supply_from_environment(environ))
