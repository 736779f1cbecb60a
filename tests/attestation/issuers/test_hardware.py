"""Documents made from what the hardware gives, read back by the verifier's own readers."""

import struct
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from contrast_tasks.attestation.issuers.devices import ARK_GUID, ASK_GUID, VCEK_GUID, VLEK_GUID
from contrast_tasks.attestation.issuers.hardware import SnpIssuer, TdxIssuer
from contrast_tasks.attestation.issuers.tsm import IssuerError, RawEvidence
from contrast_tasks.attestation.snp.document import EXTRA_CRL, parse_document
from contrast_tasks.attestation.snp.report import parse_report
from contrast_tasks.attestation.tdx.document import parse_document as parse_tdx_document
from tests.fakes.intel import Body, Intel, changed
from tests.fakes.testdata import ATTESTATION

DATA = ATTESTATION / "snp"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="test data of real hardware is not at hand"
)
WANTED = bytes(range(64))


def table(**certificates: bytes) -> bytes:
    guids = {"vcek": VCEK_GUID, "vlek": VLEK_GUID, "ask": ASK_GUID, "ark": ARK_GUID}
    offset, head, body = 24 * (len(certificates) + 1), b"", b""
    for name, content in certificates.items():
        guid: UUID = guids[name]
        head += struct.pack("<16sII", guid.bytes, offset + len(body), len(content))
        body += content
    return head + bytes(24) + body


class Hardware:
    """A source whose reports are a real one with our report data in it."""

    def __init__(self, vector: str = "genoa-v5-siena", auxiliary: bytes = b"") -> None:
        self.provider = "sev_guest"
        self.report = parse_report((DATA / f"{vector}.report.bin").read_bytes())
        self.auxiliary = auxiliary
        self.lies = False

    def fetch(self, report_data: bytes) -> RawEvidence:
        said = bytes(64) if self.lies else report_data
        raw = replace(self.report, report_data=said).raw
        return RawEvidence(provider=self.provider, report=raw, auxiliary=self.auxiliary)


def test_the_hosts_certificates_travel_with_the_report() -> None:
    hardware = Hardware(auxiliary=table(vcek=b"key", ask=b"intermediate", ark=b"root"))

    document = parse_document(SnpIssuer(hardware).issue(WANTED))

    assert document.report.report_data == WANTED
    assert (document.vcek_der, document.ask_der, document.ark_der) == (
        b"key",
        b"intermediate",
        b"root",
    )
    assert document.product == "Genoa"


def test_a_vlek_takes_the_place_of_a_vcek() -> None:
    hardware = Hardware("milan-v3-vlek-vmpl1", auxiliary=table(vlek=b"providers key"))

    document = parse_document(SnpIssuer(hardware).issue(WANTED))

    assert (document.vcek_der, document.vlek_der) == (b"", b"providers key")


def test_a_missing_certificate_is_looked_up_once_per_chip_and_tcb() -> None:
    asked: list[bytes] = []

    def lookup(report: object) -> bytes:
        asked.append(report.chip_id)  # type: ignore[attr-defined]
        return b"looked up"

    issuer = SnpIssuer(Hardware(), certificate=lookup)

    first, second = parse_document(issuer.issue(WANTED)), parse_document(issuer.issue(bytes(64)))

    assert (first.vcek_der, second.vcek_der) == (b"looked up", b"looked up")
    assert len(asked) == 1


def test_a_table_that_cannot_be_read_costs_the_hosts_certificates_only() -> None:
    hardware = Hardware(auxiliary=b"\xff" * 4096)

    document = parse_document(SnpIssuer(hardware, certificate=lambda _: b"looked up").issue(WANTED))

    assert (document.vcek_der, document.ask_der) == (b"looked up", b"")
    assert document.report.report_data == WANTED


def test_a_revocation_list_at_hand_goes_along() -> None:
    document = parse_document(
        SnpIssuer(Hardware(), crl=lambda line, kind: f"{line} {kind}".encode()).issue(WANTED)
    )

    assert document.extras == {EXTRA_CRL: b"Genoa vcek"}


def test_a_report_over_other_data_is_never_issued() -> None:
    hardware = Hardware()
    hardware.lies = True

    with pytest.raises(IssuerError, match="for other report data"):
        SnpIssuer(hardware).issue(WANTED)


class Quotes:
    """A source of quotes of the synthetic Intel."""

    provider = "tdx_guest"

    def __init__(self, *, lies: bool = False) -> None:
        self.intel = Intel()
        self.lies = lies

    def fetch(self, report_data: bytes) -> RawEvidence:
        said = bytes(64) if self.lies else report_data
        return RawEvidence(
            provider=self.provider,
            report=self.intel.quote(changed(Body(), report_data=said), trailing=b"vendor text"),
        )


def test_a_quote_becomes_a_document_without_its_trailing_bytes() -> None:
    quote = parse_tdx_document(TdxIssuer(Quotes()).issue(WANTED))

    assert quote.body.report_data == WANTED
    assert quote.trailing == b""


def test_a_quote_over_other_data_is_never_issued() -> None:
    with pytest.raises(IssuerError, match="for other report data"):
        TdxIssuer(Quotes(lies=True)).issue(WANTED)


@pytest.mark.parametrize(
    ("provider", "issuer"), [("sev_guest", SnpIssuer), ("tdx_guest", TdxIssuer)]
)
def test_what_the_hardware_gives_must_be_understood(provider: str, issuer: Any) -> None:
    class Noise:
        def __init__(self) -> None:
            self.provider = provider

        def fetch(self, report_data: bytes) -> RawEvidence:
            return RawEvidence(provider=provider, report=bytes(2000))

    with pytest.raises(IssuerError, match="malformed"):
        issuer(Noise()).issue(WANTED)
