"""Reference values that hold for any number of virtual processors: one digest and the address at which the others start."""

from typing import Any

import pytest

from contrast_tasks.attestation.errors import ClaimsRejected
from contrast_tasks.attestation.snp.expectation import Processors
from contrast_tasks.attestation.snp.id_block import id_key_digest
from contrast_tasks.attestation.snp.verify import SnpValidator
from contrast_tasks.attestation.snp.vmsa import CPU_SIGNATURES, digests_by_vcpus
from contrast_tasks.attestation.trust_roots import TrustRoots
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.errors import MissingReferenceValues
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.trusted_guests import GuestPolicy, ReferenceValues, SnpReference, SnpTcb
from tests.fakes.attestation import HOST_DATA, MEASUREMENT, NOW, POLICY, REPORT_DATA, FakeAmd

AMD = FakeAmd()
START = 0x0080B004
MILAN, GENOA = CPU_SIGNATURES["Milan"], CPU_SIGNATURES["Genoa"]
PROCESSORS = Processors(start_address=START, cpu_signature=MILAN)
DIGESTS = list(digests_by_vcpus(MEASUREMENT, START, cpu_signature=MILAN))
REFERENCE = SnpReference(
    product_name="Milan",
    trusted_measurement_hex=MEASUREMENT.hex(),
    minimum_tcb=SnpTcb(bootloader=3, tee=0, snp=8, microcode=115),
    guest_policy=GuestPolicy(),
    apeip_hex="0080b004",
)


def launched(measurement: bytes, *, pinned: bytes | None = None) -> bytes:
    """Return the document of a guest with a measurement and the ID block for it, or for another one."""
    digest = id_key_digest(measurement if pinned is None else pinned, POLICY)
    return AMD.document(AMD.report(measurement=measurement, id_key_digest=digest))


def refusal(document: bytes, **expectation: Any) -> ClaimsRejected:
    expectation = {"processors": PROCESSORS, **expectation}
    with pytest.raises(ClaimsRejected) as caught:
        AMD.validator(**expectation).verify(document, REPORT_DATA, NOW)
    return caught.value


def validator_of(**changes: Any) -> SnpValidator:
    manifest = Manifest(
        policies={HOST_DATA.hex(): PolicyEntry(sans=())},
        reference_values=ReferenceValues(snp=(REFERENCE.replace(**changes),)),
    )
    roots = TrustRoots(amd={"Milan": AMD.anchor, "Turin": FakeAmd(line="Turin").anchor})
    (validator,) = validators_for(manifest, roots=roots)
    assert isinstance(validator, SnpValidator)
    return validator


@pytest.mark.parametrize("vcpus", [1, 2, 3, 64, 220])
def test_a_guest_with_any_number_of_processors_is_accepted(vcpus: int) -> None:
    document = launched(DIGESTS[vcpus - 1])

    evidence = validator_of().verify(document, REPORT_DATA, NOW)

    assert evidence.report.measurement == DIGESTS[vcpus - 1]


def test_with_more_than_220_processors_it_is_refused() -> None:
    further = list(digests_by_vcpus(DIGESTS[-1], START, cpu_signature=MILAN))[1]

    error = refusal(launched(further))

    assert error.reason == "measurement"
    assert f"measurement is {further.hex()}, but {MEASUREMENT.hex()} for 1 vCPU" in str(error)
    assert "measurement does not match any vCPU count from 1 to 220" in error.hint


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(list(digests_by_vcpus(MEASUREMENT, 4, cpu_signature=MILAN))[1], id="start"),
        pytest.param(list(digests_by_vcpus(MEASUREMENT, START, cpu_signature=GENOA))[1], id="cpu"),
        pytest.param(list(digests_by_vcpus(bytes(48), START, cpu_signature=MILAN))[1], id="seed"),
        pytest.param(bytes(48), id="zero"),
        pytest.param(DIGESTS[1][:-1] + bytes([DIGESTS[1][-1] ^ 1]), id="one bit"),
    ],
)
def test_a_guest_that_was_launched_otherwise_is_refused(other: bytes) -> None:
    assert refusal(launched(other)).reason == "measurement"


def test_the_id_block_must_be_the_one_for_the_number_of_processors() -> None:
    error = refusal(launched(DIGESTS[1], pinned=MEASUREMENT))

    assert [check.reason for check in error.failed] == ["id-key-digest"]
    assert error.failed[0].wanted == id_key_digest(DIGESTS[1], POLICY).hex()


def test_without_a_start_address_only_the_digest_itself_is_accepted() -> None:
    without = validator_of(apeip_hex=None)

    without.verify(launched(DIGESTS[0]), REPORT_DATA, NOW)
    with pytest.raises(ClaimsRejected) as caught:
        without.verify(launched(DIGESTS[1]), REPORT_DATA, NOW)

    assert caught.value.reason == "measurement"
    assert "vCPU" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("size", [0, 47, 49])
def test_a_seed_of_another_length_never_means_any(size: int) -> None:
    error = refusal(launched(DIGESTS[1]), measurement=(MEASUREMENT + b"\0")[:size])

    assert error.reason == "measurement"


def test_the_start_address_is_read_big_endian_and_the_product_gives_the_processor() -> None:
    processors = validator_of().expectation.processors

    assert processors == Processors(start_address=0x0080B004, cpu_signature=0x00A00F11)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"apeip_hex": "80b004"}, r"snp\[0\]\.APEIP is 3 bytes long, wanted 4 bytes"),
        ({"apeip_hex": "zz"}, r"snp\[0\]\.APEIP is 'zz', wanted 4 bytes of hex"),
        ({"product_name": "Turin"}, "given for Turin, wanted given for Milan or Genoa only"),
    ],
)
def test_a_start_address_that_cannot_be_used_is_an_error(
    changes: dict[str, str], message: str
) -> None:
    with pytest.raises(MissingReferenceValues, match=message):
        validator_of(**changes)


def test_an_empty_start_address_is_none_as_release_1_21_writes_it() -> None:
    # In releases/v1.21.0/metal-qemu-insecure.default.json of the shared test data.
    assert validator_of(apeip_hex="").expectation.processors is None
