"""Issuers of this process: found by looking at the guest, never by guessing; simulated ones only on request."""

import errno
import json
import ssl
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from contrast_tasks.attestation.endorsements import kds, pcs
from contrast_tasks.attestation.endorsements.fetch import EndorsementCache
from contrast_tasks.attestation.endorsements.supply import HOST_SERVICE, THIM_PATH, Supply
from contrast_tasks.attestation.issuers.devices import VCEK_GUID, find_source
from contrast_tasks.attestation.issuers.environment import (
    issuer_from_environment,
    kept_folder,
    prepare,
    supply_from_environment,
)
from contrast_tasks.attestation.issuers.tsm import ConfigfsSource, EvidenceSource
from contrast_tasks.attestation.snp.document import EXTRA_CRL, parse_document
from contrast_tasks.attestation.tdx.document import parse_document as parse_tdx_document
from contrast_tasks.errors import SettingsError
from contrast_tasks.evidence_documents import OID_SNP, OID_TDX, Issuer
from contrast_tasks.web.answers import Answer
from tests.fakes.attestation import CHIP_ID, HOST_DATA, NOW, REPORT_DATA, TCB, FakeAmd
from tests.fakes.configfs import Configfs
from tests.fakes.intel import Body, Intel, changed
from tests.fakes.vendor import FakeVendor

AMD = FakeAmd()
NO_MITIGATIONS = {"launch_mit_vector": 0, "current_mit_vector": 0}
IN_GUESTS = [
    pytest.param({}, id="not set"),
    pytest.param({"CONTRAST_EVIDENCE": "hardware"}, id="hardware"),
]


def snp_guest(
    root: Path, *, auxiliary: bytes = b"", changes: dict[str, int] | None = None
) -> ConfigfsSource:
    """Return a guest of the synthetic AMD; `changes` are fields of its reports that differ."""
    configfs = Configfs()
    configfs.auxiliary = auxiliary
    configfs.report = lambda data: AMD.report(report_data=data, **(changes or {})).raw
    return ConfigfsSource(root, attributes=configfs)


def tdx_guest(root: Path, intel: Intel) -> ConfigfsSource:
    configfs = Configfs(b"tdx_guest\n")
    configfs.report = lambda data: intel.quote(changed(Body(), report_data=data))
    return ConfigfsSource(root, attributes=configfs)


def issuer_in(
    source: EvidenceSource, endorsements: Path, environ: dict[str, str] | None = None
) -> Issuer:
    supply = Supply.in_folder(endorsements, lambda: NOW)
    return issuer_from_environment(environ or {}, supply, source=lambda: source)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EndorsementCache:
    """Return an empty folder of endorsements, judged by the synthetic AMD's root."""
    monkeypatch.setattr(kds, "amd_anchor", {"Milan": AMD.pinned}.__getitem__)
    return EndorsementCache(tmp_path / "kept")


@pytest.mark.parametrize("environ", IN_GUESTS)
def test_an_snp_guest_issues_snp_documents(tmp_path: Path, environ: dict[str, str]) -> None:
    table = struct.pack("<16sII", VCEK_GUID.bytes, 48, 4) + bytes(24) + b"vcek"
    guest = snp_guest(tmp_path, auxiliary=table)

    issuer = issuer_in(guest, tmp_path / "kept", environ)
    document = parse_document(issuer.issue(REPORT_DATA))

    assert issuer.oid == OID_SNP
    assert document.report.report_data == REPORT_DATA
    assert document.report.host_data == HOST_DATA
    assert document.vcek_der == b"vcek"
    assert document.extras == {}


@pytest.mark.parametrize("environ", IN_GUESTS)
def test_a_td_issues_tdx_documents(tmp_path: Path, environ: dict[str, str]) -> None:
    issuer = issuer_in(tdx_guest(tmp_path, Intel()), tmp_path / "kept", environ)

    assert issuer.oid == OID_TDX
    assert parse_tdx_document(issuer.issue(REPORT_DATA)).body.report_data == REPORT_DATA


@pytest.mark.parametrize(
    ("version", "absent"),
    [
        (2, {**NO_MITIGATIONS, "cpuid_family": 0, "cpuid_model": 0, "cpuid_stepping": 0}),
        (3, NO_MITIGATIONS),
        (5, {}),
    ],
)
def test_what_the_host_does_not_give_comes_from_what_is_kept(
    tmp_path: Path, kept: EndorsementCache, version: int, absent: dict[str, int]
) -> None:
    kept.put(kds.vcek_url("Milan", CHIP_ID, TCB), Answer(status=200, body=AMD.chain.vcek_der))
    kept.put(kds.crl_url("Milan"), Answer(status=200, body=AMD.chain.crl_der))
    guest = snp_guest(tmp_path, changes={"version": version, **absent})

    document = parse_document(issuer_in(guest, tmp_path / "kept").issue(REPORT_DATA))

    assert document.vcek_der == AMD.chain.vcek_der
    # A report that does not name its processor leaves the list to the verifier.
    assert document.extras == ({EXTRA_CRL: AMD.chain.crl_der} if version >= 3 else {})


def test_evidence_issued_from_what_is_kept_is_accepted(
    tmp_path: Path, kept: EndorsementCache
) -> None:
    kept.put(kds.vcek_url("Milan", CHIP_ID, TCB), Answer(status=200, body=AMD.chain.vcek_der))
    kept.put(kds.crl_url("Milan"), Answer(status=200, body=AMD.chain.crl_der))

    document = issuer_in(snp_guest(tmp_path), tmp_path / "kept").issue(REPORT_DATA)

    trusted = AMD.validator(trust={"anchor": AMD.pinned})
    assert trusted.verify(document, REPORT_DATA, NOW).host_data == HOST_DATA


def test_without_anything_kept_the_document_goes_without(
    tmp_path: Path, kept: EndorsementCache
) -> None:
    document = parse_document(issuer_in(snp_guest(tmp_path), tmp_path / "kept").issue(REPORT_DATA))

    assert (document.vcek_der, document.extras) == (b"", {})


def test_a_certificate_that_is_kept_later_is_found_then(
    tmp_path: Path, kept: EndorsementCache
) -> None:
    issuer = issuer_in(snp_guest(tmp_path), tmp_path / "kept")
    before = parse_document(issuer.issue(REPORT_DATA))

    kept.put(kds.vcek_url("Milan", CHIP_ID, TCB), Answer(status=200, body=AMD.chain.vcek_der))

    assert before.vcek_der == b""
    assert parse_document(issuer.issue(REPORT_DATA)).vcek_der == AMD.chain.vcek_der


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda: AMD.vcek(not_after=NOW - timedelta(hours=1)), id="expired"),
        pytest.param(lambda: FakeAmd(owner="stranger").chain.vcek_der, id="another root"),
        pytest.param(lambda: FakeAmd(hwid=bytes(range(2, 66))).chain.vcek_der, id="another chip"),
        pytest.param(lambda: b"<html>", id="a web page"),
    ],
)
def test_a_certificate_that_does_not_fit_counts_as_absent(
    tmp_path: Path, kept: EndorsementCache, body: Callable[[], bytes]
) -> None:
    kept.put(kds.vcek_url("Milan", CHIP_ID, TCB), Answer(status=200, body=body()))

    document = parse_document(issuer_in(snp_guest(tmp_path), tmp_path / "kept").issue(REPORT_DATA))

    assert document.vcek_der == b""


def test_a_hosts_certificate_for_another_level_gives_way_to_the_one_that_fits(
    tmp_path: Path, kept: EndorsementCache
) -> None:
    stale = FakeAmd(tcb=replace(TCB, microcode=TCB.microcode - 1)).chain.vcek_der
    table = struct.pack("<16sII", VCEK_GUID.bytes, 48, len(stale)) + bytes(24) + stale
    issuer = issuer_in(snp_guest(tmp_path, auxiliary=table), tmp_path / "kept")
    before = parse_document(issuer.issue(REPORT_DATA))

    kept.put(kds.vcek_url("Milan", CHIP_ID, TCB), Answer(status=200, body=AMD.chain.vcek_der))

    # Without a better one the verifier is the one to say what is wrong with it.
    assert before.vcek_der == stale
    assert parse_document(issuer.issue(REPORT_DATA)).vcek_der == AMD.chain.vcek_der


def test_a_hosts_certificate_that_fits_is_not_looked_for_elsewhere(
    tmp_path: Path, kept: EndorsementCache
) -> None:
    own = AMD.vcek()
    table = struct.pack("<16sII", VCEK_GUID.bytes, 48, len(own)) + bytes(24) + own
    kept.put(kds.vcek_url("Milan", CHIP_ID, TCB), Answer(status=200, body=AMD.chain.vcek_der))

    issuer = issuer_in(snp_guest(tmp_path, auxiliary=table), tmp_path / "kept")

    assert parse_document(issuer.issue(REPORT_DATA)).vcek_der == own


WAIT_S = 20.0


@pytest.fixture
def vendor() -> Iterator[FakeVendor]:
    server = FakeVendor()
    yield server
    server.stop()


def reached(vendor: FakeVendor, *services: str) -> dict[str, str]:
    mirrors = " ".join(f"{service}={vendor.address}" for service in services)
    return {"CONTRAST_ENDORSEMENTS_MIRRORS": mirrors}


def thim_answer() -> Answer:
    pem = ssl.DER_cert_to_PEM_cert
    members = {
        "vcekCert": pem(AMD.chain.vcek_der),
        "tcbm": f"{TCB.to_word():016X}",
        "certificateChain": pem(AMD.chain.ask_der) + pem(AMD.chain.ark_der),
    }
    return Answer(status=200, body=json.dumps(members).encode())


@pytest.mark.parametrize("who", ["host", "vendor"])
def test_before_the_first_connection_everything_a_document_needs_is_fetched(
    tmp_path: Path, kept: EndorsementCache, vendor: FakeVendor, who: str
) -> None:
    vcek = kds.vcek_url("Milan", CHIP_ID, TCB).removeprefix(kds.SERVICE)
    vendor.answers["/vcek/v1/Milan/crl"] = Answer(status=200, body=AMD.chain.crl_der)
    if who == "host":
        vendor.answers[THIM_PATH] = thim_answer()
    else:
        vendor.answers[vcek] = Answer(status=200, body=AMD.chain.vcek_der)
    environ = reached(vendor, HOST_SERVICE, kds.SERVICE)
    supply = supply_from_environment(environ, folder=tmp_path / "kept", clock=lambda: NOW)
    guest = snp_guest(tmp_path)

    issuer = issuer_from_environment(environ, supply, source=lambda: guest)
    prepare(issuer, supply, wait_s=WAIT_S)
    before = list(vendor.seen)
    document = issuer.issue(REPORT_DATA)
    supply.stop()

    trusted = AMD.validator(trust={"anchor": AMD.pinned})
    assert trusted.verify(document, REPORT_DATA, NOW).host_data == HOST_DATA
    asked = [THIM_PATH] if who == "host" else [THIM_PATH, vcek]
    assert before == vendor.seen == [*asked, "/vcek/v1/Milan/crl"]


def test_a_guest_asks_vendors_through_its_proxy_and_the_host_directly(
    tmp_path: Path, kept: EndorsementCache, vendor: FakeVendor
) -> None:
    proxy = FakeVendor()
    crl = kds.crl_url("Milan").replace("https://", "http://")
    proxy.answers[crl] = Answer(status=200, body=AMD.chain.crl_der)
    vendor.answers[THIM_PATH] = thim_answer()
    plain = kds.SERVICE.replace("https://", "http://")
    mirrors = f"{kds.SERVICE}={plain} {HOST_SERVICE}={vendor.address}"
    environ = {
        "CONTRAST_ENDORSEMENTS_MIRRORS": mirrors,
        "CONTRAST_ENDORSEMENTS_PROXY": proxy.address,
    }
    supply = supply_from_environment(environ, folder=tmp_path / "kept", clock=lambda: NOW)
    guest = snp_guest(tmp_path)

    prepare(issuer_from_environment(environ, supply, source=lambda: guest), supply, wait_s=WAIT_S)
    found = supply.crl("Milan", "vcek")
    supply.stop()
    proxy.stop()

    assert found == AMD.chain.crl_der
    assert (vendor.seen, proxy.seen) == ([THIM_PATH], [crl])


def test_a_td_has_the_collateral_of_its_own_kind_fetched(
    tmp_path: Path, vendor: FakeVendor
) -> None:
    environ = reached(vendor, pcs.SERVICE, pcs.CERTIFICATES)
    supply = supply_from_environment(environ, folder=tmp_path / "kept", clock=lambda: NOW)
    guest = tdx_guest(tmp_path, Intel())

    issuer = issuer_from_environment(environ, supply, source=lambda: guest)
    prepare(issuer, supply, wait_s=WAIT_S)
    supply.stop()

    assert vendor.seen == ["/tdx/certification/v4/tcb?fmspc=b0c06f000000"]


def test_hardware_that_fails_at_the_start_is_asked_again_when_it_matters(
    tmp_path: Path, kept: EndorsementCache
) -> None:
    configfs = Configfs()
    configfs.auxiliary = b""
    configfs.report = lambda data: AMD.report(report_data=data).raw
    guest = ConfigfsSource(tmp_path, attributes=configfs)
    supply = supply_from_environment({"CONTRAST_ENDORSEMENTS_FETCH": "off"}, folder=tmp_path)
    issuer = issuer_from_environment({}, supply, source=lambda: guest)
    configfs.failures["outblob"] = errno.EIO

    prepare(issuer, supply, wait_s=WAIT_S)
    del configfs.failures["outblob"]

    assert parse_document(issuer.issue(REPORT_DATA)).report.report_data == REPORT_DATA


@pytest.mark.parametrize("environ", IN_GUESTS)
def test_outside_of_a_guest_the_way_out_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    look = partial(find_source, configfs=tmp_path / "none", devices=tmp_path)

    with pytest.raises(
        SettingsError, match=r"environment CONTRAST_EVIDENCE .* no confidential guest"
    ) as caught:
        issuer_from_environment(environ, supply_from_environment(environ), source=look)

    assert caught.value.exit_code == 2
    assert "simulated:DIR" in caught.value.hint


def test_a_guest_whose_kernel_refuses_is_told_apart(tmp_path: Path) -> None:
    configfs = Configfs()
    configfs.failures["provider"] = errno.EIO

    with pytest.raises(SettingsError, match="cannot get evidence through configfs") as caught:
        issuer_in(ConfigfsSource(tmp_path, attributes=configfs), tmp_path / "kept")

    assert "kernel log" in caught.value.hint


@pytest.mark.parametrize("environ", IN_GUESTS)
def test_host_data_is_never_said_for_hardware(tmp_path: Path, environ: dict[str, str]) -> None:
    said = {**environ, "CONTRAST_HOST_DATA": HOST_DATA.hex()}

    with pytest.raises(SettingsError, match="CONTRAST_HOST_DATA is set, which is for"):
        issuer_in(snp_guest(tmp_path), tmp_path / "kept", said)


def test_the_folder_of_endorsements_is_the_environments_or_a_fixed_one() -> None:
    assert kept_folder({"CONTRAST_ENDORSEMENTS": "/kept"}) == Path("/kept")
    assert kept_folder({}) == Path("/var/lib/contrast-endorsements")
