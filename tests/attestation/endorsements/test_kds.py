"""AMD's answers over a loopback server that behaves and misbehaves."""

from datetime import UTC, datetime

import pytest

from contrast_tasks.attestation.endorsements import kds
from contrast_tasks.attestation.endorsements.fetch import Endorsements, EndorsementUnavailable
from contrast_tasks.attestation.snp.report import parse_report
from contrast_tasks.attestation.snp.tcb import Tcb, parse_tcb
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.web.answers import Answer
from tests.fakes.intel import NOW, Intel, crl
from tests.fakes.testdata import ATTESTATION
from tests.fakes.vendor import Vendor

DATA = ATTESTATION / "snp"
real_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="test data of real hardware is not at hand"
)


MILAN_NOW = datetime(2023, 1, 1, tzinfo=UTC)


def milan() -> tuple[bytes, bytes, Tcb]:
    report = parse_report((DATA / "milan-v2-a.report.bin").read_bytes())
    certificate = (DATA / "milan-v2-a.vcek.der").read_bytes()
    return certificate, report.chip_id, parse_tcb(report.reported_tcb, turin=False)


def path_of(chip_id: bytes, tcb: Tcb) -> str:
    return kds.vcek_url("Milan", chip_id, tcb).removeprefix(kds.SERVICE)


@real_data
def test_amds_certificate_is_fetched_for_chip_and_tcb(
    online: Endorsements, offline: Endorsements, vendor: Vendor
) -> None:
    certificate, chip_id, tcb = milan()
    vendor.answers[path_of(chip_id, tcb)] = [Answer(status=200, body=certificate)]

    fetched = kds.fetch_vcek(online, "Milan", chip_id, tcb, now=MILAN_NOW)

    assert fetched == certificate
    assert kds.cached_vcek(offline, "Milan", chip_id, tcb, now=MILAN_NOW) == certificate
    assert vendor.seen[0].endswith(f"{chip_id.hex()}?blSPL=2&teeSPL=0&snpSPL=5&ucodeSPL=68")


@real_data
@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "sent an empty answer", id="empty"),
        pytest.param(b"<html>", "web page", id="web page"),
        pytest.param(b"\x30\x03\x02\x01\x00", "certificate", id="other DER"),
    ],
)
def test_45_what_is_no_certificate_is_refused(
    online: Endorsements, vendor: Vendor, body: bytes, message: str
) -> None:
    _, chip_id, tcb = milan()
    vendor.answers[path_of(chip_id, tcb)] = [Answer(status=200, body=body)]

    with pytest.raises(EvidenceRejected, match=message):
        kds.fetch_vcek(online, "Milan", chip_id, tcb, now=MILAN_NOW)


@real_data
def test_45_the_certificate_of_another_chip_or_tcb_is_refused(
    online: Endorsements, vendor: Vendor
) -> None:
    certificate, chip_id, tcb = milan()
    other_chip = bytes(63) + b"\1"
    other_tcb = Tcb(bootloader=2, tee=0, snp=5, microcode=69)
    for chip, level in ((other_chip, tcb), (chip_id, other_tcb)):
        vendor.answers[path_of(chip, level)] = [Answer(status=200, body=certificate)]

    with pytest.raises(EvidenceRejected, match="certificate of chip"):
        kds.fetch_vcek(online, "Milan", other_chip, tcb, now=MILAN_NOW)
    with pytest.raises(EvidenceRejected, match="certificate for bootloader 2"):
        kds.fetch_vcek(online, "Milan", chip_id, other_tcb, now=MILAN_NOW)


@real_data
def test_45_the_certificate_of_another_product_line_is_refused(
    online: Endorsements, vendor: Vendor
) -> None:
    certificate, chip_id, tcb = milan()
    path = kds.vcek_url("Genoa", chip_id, tcb).removeprefix(kds.SERVICE)
    vendor.answers[path] = [Answer(status=200, body=certificate)]

    with pytest.raises(EvidenceRejected):
        kds.fetch_vcek(online, "Genoa", chip_id, tcb, now=MILAN_NOW)


@real_data
def test_45_a_rate_limit_without_a_copy_is_an_error(online: Endorsements, vendor: Vendor) -> None:
    _, chip_id, tcb = milan()
    vendor.answers[path_of(chip_id, tcb)] = [Answer(status=429)]

    with pytest.raises(EndorsementUnavailable, match="429"):
        kds.fetch_vcek(online, "Milan", chip_id, tcb, now=MILAN_NOW)


@real_data
def test_an_expired_certificate_is_refused(online: Endorsements, vendor: Vendor) -> None:
    certificate, chip_id, tcb = milan()
    vendor.answers[path_of(chip_id, tcb)] = [Answer(status=200, body=certificate)]

    with pytest.raises(EvidenceRejected):
        kds.fetch_vcek(online, "Milan", chip_id, tcb, now=datetime(2040, 1, 1, tzinfo=UTC))


def test_a_chip_that_hides_its_id_cannot_be_asked_about(online: Endorsements) -> None:
    with pytest.raises(EvidenceRejected, match="masked"):
        kds.fetch_vcek(
            online, "Milan", bytes(64), Tcb(bootloader=0, tee=0, snp=0, microcode=0), now=NOW
        )


def test_turin_is_asked_about_by_eight_bytes_and_five_levels() -> None:
    tcb = Tcb(fmc=1, bootloader=2, tee=3, snp=4, microcode=5)

    url = kds.vcek_url("Turin", bytes(range(1, 65)), tcb)

    assert url == (
        f"{kds.SERVICE}/vcek/v1/Turin/0102030405060708?fmcSPL=1&blSPL=2&teeSPL=3&snpSPL=4&ucodeSPL=5"
    )


def test_a_revocation_list_of_somebody_else_is_refused(
    online: Endorsements, vendor: Vendor
) -> None:
    forged = crl("ARK-Milan", Intel().root_key)
    vendor.answers["/vcek/v1/Milan/crl"] = [Answer(status=200, body=forged)]

    with pytest.raises(EvidenceRejected):
        kds.fetch_crl(online, "Milan", now=NOW)
