import stat
import threading
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from contrast_tasks.attestation.errors import EndorsementRejected
from contrast_tasks.attestation.issuers.environment import (
    issuer_from_environment,
    supply_from_environment,
)
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.attestation.issuers.simulated_chain import SIMULATED_TCB
from contrast_tasks.attestation.snp.document import parse_document
from contrast_tasks.attestation.snp.endorsement import TrustAnchor, parse_endorsement
from contrast_tasks.attestation.snp.lines import SIMULATED_FAMILY, line_of_model
from contrast_tasks.attestation.snp.verify import Trust, verify_genuine
from contrast_tasks.errors import ClusterError, SettingsError
from contrast_tasks.platforms import SIMULATED_MEASUREMENT
from tests.fakes.attestation import HOST_DATA, NOW, REPORT_DATA

FILES = ["ark.der", "ask.der", "crl.der", "vcek.der", "vcek.pem"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("state") / "local" / "processor"
    SimulatedProcessor.load_or_create(place, now=NOW)
    return place


def copy_of(place: Path, target: Path) -> Path:
    target.mkdir()
    for name in FILES:
        (target / name).write_bytes((place / name).read_bytes())
    return target


def test_its_report_says_what_it_was_asked_to_say(place: Path) -> None:
    issuer = SimulatedProcessor.load(place).issuer(HOST_DATA)

    report = parse_document(issuer.issue(REPORT_DATA)).report

    assert report.host_data == HOST_DATA
    assert report.report_data == REPORT_DATA
    assert report.measurement.hex() == SIMULATED_MEASUREMENT
    assert report.policy == 0x30000
    assert report.reported_tcb == SIMULATED_TCB.to_word()


def test_its_chain_passes_the_code_that_checks_amds(place: Path) -> None:
    processor = SimulatedProcessor.load(place)
    document = parse_document(processor.issuer(HOST_DATA).issue(REPORT_DATA))
    anchor = TrustAnchor(line="Simulated", root_sha256=bytes.fromhex(processor.root_sha256_hex))

    genuine = verify_genuine(document, Trust(anchor=anchor), NOW)

    assert genuine.endorsement.certificate.serial == 0
    assert genuine.line == "Simulated"
    with pytest.raises(EndorsementRejected, match="expired"):
        verify_genuine(document, Trust(anchor=anchor), NOW + timedelta(days=8 * 365))


def test_no_real_processor_has_its_family() -> None:
    assert line_of_model(SIMULATED_FAMILY, 0) == "Simulated"
    assert all(line_of_model(family, 0) != "Simulated" for family in range(SIMULATED_FAMILY))


def test_the_pin_is_the_sha_256_of_the_root(place: Path) -> None:
    expected = sha256((place / "ark.der").read_bytes()).hexdigest()

    assert SimulatedProcessor.load(place).root_sha256_hex == expected


def test_it_is_made_once_and_found_again(place: Path) -> None:
    before = {name: (place / name).read_bytes() for name in FILES}

    SimulatedProcessor.load_or_create(place, now=NOW)

    assert sorted(path.name for path in place.iterdir()) == FILES
    assert {name: (place / name).read_bytes() for name in FILES} == before


def test_nobody_else_can_read_it(place: Path) -> None:
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert {stat.S_IMODE((place / name).stat().st_mode) for name in FILES} == {0o600}


def test_only_the_chips_key_is_kept(place: Path) -> None:
    private = [name for name in FILES if b"PRIVATE KEY" in (place / name).read_bytes()]

    assert private == ["vcek.pem"]
    assert parse_endorsement((place / "vcek.der").read_bytes()).kind == "vcek"


def test_those_who_come_at_the_same_time_get_the_same_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    barrier = threading.Barrier(2)
    found: list[str] = []
    from contrast_tasks.attestation.issuers import simulated

    make = simulated.new_chain

    def make_together(*arguments: object) -> object:
        chain = make(*arguments)  # type: ignore[arg-type]  # passed through
        barrier.wait(30)
        return chain

    monkeypatch.setattr(simulated, "new_chain", make_together)

    def come() -> None:
        found.append(
            SimulatedProcessor.load_or_create(tmp_path / "processor", now=NOW).root_sha256_hex
        )

    threads = [threading.Thread(target=come) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 2
    assert found[0] == found[1]
    assert list(tmp_path.iterdir()) == [tmp_path / "processor"]


def test_an_empty_directory_in_the_way_is_used(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    existing = SimulatedProcessor.load(place)
    from contrast_tasks.attestation.issuers import simulated

    monkeypatch.setattr(
        simulated, "new_chain", lambda *_: (existing.chain, existing.issuer(HOST_DATA).key)
    )
    (tmp_path / "processor").mkdir()

    made = SimulatedProcessor.load_or_create(tmp_path / "processor", now=NOW)

    assert made.root_sha256_hex == existing.root_sha256_hex


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_told_and_not_repaired(place: Path, tmp_path: Path, name: str) -> None:
    damaged = copy_of(place, tmp_path / "processor")
    (damaged / name).unlink()

    with pytest.raises(ClusterError, match="incomplete") as caught:
        SimulatedProcessor.load_or_create(damaged, now=NOW)

    assert "remove the directory" in caught.value.hint


@pytest.mark.parametrize("name", ["ark.der", "ask.der", "vcek.der", "vcek.pem"])
def test_a_changed_file_is_noticed(place: Path, tmp_path: Path, name: str) -> None:
    damaged = copy_of(place, tmp_path / "processor")
    content = bytearray((damaged / name).read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / name).write_bytes(bytes(content))

    with pytest.raises(ClusterError, match="no simulated processor in"):
        SimulatedProcessor.load(damaged)


def test_a_key_of_another_processor_is_noticed(place: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    from tests.fakes.attestation import chip_key

    damaged = copy_of(place, tmp_path / "processor")
    (damaged / "vcek.pem").write_bytes(
        chip_key("stranger").private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )

    with pytest.raises(ClusterError, match="not the one of its certificate"):
        SimulatedProcessor.load(damaged)


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "processor").write_text("x")

    with pytest.raises(ClusterError, match="not a readable directory"):
        SimulatedProcessor.load_or_create(tmp_path / "processor", now=NOW)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_host_data_has_32_bytes(place: Path, size: int) -> None:
    with pytest.raises(ValueError, match="wanted 32 bytes of host data"):
        SimulatedProcessor.load(place).issuer(bytes(size))


@pytest.mark.parametrize("size", [0, 32, 65])
def test_report_data_has_64_bytes(place: Path, size: int) -> None:
    with pytest.raises(ValueError, match=f"report data has {size} bytes, wanted 64"):
        SimulatedProcessor.load(place).issuer(HOST_DATA).issue(bytes(size))


def test_the_environment_names_processor_and_host_data(place: Path) -> None:
    environ = {"CONTRAST_EVIDENCE": f"simulated:{place}", "CONTRAST_HOST_DATA": HOST_DATA.hex()}
    issuer = issuer_from_environment(environ, supply_from_environment(environ))

    document = parse_document(issuer.issue(REPORT_DATA))

    assert issuer.oid == "1.3.9901.2.1"
    assert document.report.host_data == HOST_DATA


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"CONTRAST_EVIDENCE": "simulated"},
            "CONTRAST_EVIDENCE is 'simulated', wanted hardware or simulated:<directory>",
        ),
        ({"CONTRAST_EVIDENCE": "hardware:/dev"}, "CONTRAST_EVIDENCE is 'hardware:/dev'"),
        ({"CONTRAST_EVIDENCE": "Hardware"}, "CONTRAST_EVIDENCE is 'Hardware'"),
        ({"CONTRAST_EVIDENCE": "simulated:"}, "CONTRAST_EVIDENCE is 'simulated:'"),
        ({"CONTRAST_EVIDENCE": "simulated:/x"}, "CONTRAST_HOST_DATA is not set"),
        (
            {"CONTRAST_EVIDENCE": "simulated:/x", "CONTRAST_HOST_DATA": "00"},
            "CONTRAST_HOST_DATA is '00', wanted the policy hash as 64 hex digits",
        ),
        (
            {"CONTRAST_EVIDENCE": "simulated:/x", "CONTRAST_HOST_DATA": "zz" * 32},
            "CONTRAST_HOST_DATA is",
        ),
    ],
)
def test_an_environment_that_is_not_understood_is_named(
    environ: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        issuer_from_environment(environ, supply_from_environment(environ))


def test_the_environment_cannot_make_a_new_processor(tmp_path: Path) -> None:
    environ = {
        "CONTRAST_EVIDENCE": f"simulated:{tmp_path / 'typo'}",
        "CONTRAST_HOST_DATA": HOST_DATA.hex(),
    }

    with pytest.raises(ClusterError, match="no simulated processor"):
        issuer_from_environment(environ, supply_from_environment(environ))

    assert not (tmp_path / "typo").exists()
