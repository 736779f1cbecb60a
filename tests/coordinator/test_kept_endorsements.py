"""Workloads on hardware at the mesh API: judged by what they deliver and what the Coordinator has at hand; no handshake fetches."""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from contrast_tasks.api import meshapi, userapi
from contrast_tasks.atls.client import connect
from contrast_tasks.atls.errors import OwnEvidenceRefused
from contrast_tasks.attestation import validators
from contrast_tasks.attestation.endorsements import kds, pcs, supply
from contrast_tasks.attestation.endorsements.fetch import EndorsementCache
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.attestation.snp.document import parse_document, render_document
from contrast_tasks.manifest.codec import render_manifest
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.releases.table import V1_16
from contrast_tasks.trusted_guests import (
    GuestPolicy,
    ReferenceValues,
    SnpReference,
    SnpTcb,
    TdxReference,
)
from contrast_tasks.web.answers import Answer
from coordinator import service
from coordinator.options import parse_options
from tests.fakes.attestation import CHIP_ID, MEASUREMENT, MINIMUM, TCB, AmdIssuer, FakeAmd
from tests.fakes.intel import NOW, Intel, PckValues
from tests.fakes.kept import FixedTime, TdxMachine, keep_collateral
from tests.fakes.vendor import FakeVendor

POLICIES = (b"package agent_policy # coordinator\n", b"package agent_policy # web\n")
COORDINATOR, WEB = (hashlib.sha256(policy).hexdigest() for policy in POLICIES)
AMD = FakeAmd()
ONLINE = "online"
PARTS = (
    pcs.tcb_info_url(PckValues().fmspc),
    pcs.QE_IDENTITY_URL,
    pcs.pck_crl_url("platform"),
    pcs.ROOT_CRL_URL,
)


@dataclass(frozen=True, kw_only=True)
class Running:
    """A Coordinator with a manifest for the synthetic vendors' machines, and its folder of kept endorsements."""

    mesh_api: int
    kept: EndorsementCache
    vendor: FakeVendor

    def certify(self, issuer: Any) -> x509.Certificate:
        with connect(
            "127.0.0.1", self.mesh_api, validators=None, unverified=True, issuer=issuer, now=NOW
        ) as peer:
            chain = meshapi.new_mesh_cert(peer.channel, 10).cert_chain_pem
        return x509.load_pem_x509_certificates(chain)[0]

    def certify_at_last(self, issuer: Any) -> tuple[int, x509.Certificate]:
        """Return the number of attempts that were refused before one was not; an initializer tries again too."""
        for refused in range(200):
            try:
                return refused, self.certify(issuer)
            except OwnEvidenceRefused:
                continue
        raise AssertionError("refused for ever")


def revoking() -> bytes:
    """Return a list that names the intermediate certificate."""
    return AMD.crl(x509.load_der_x509_certificate(AMD.chain.ask_der).serial_number)


def snp_workload(*, crl: bool) -> AmdIssuer:
    """Return a guest whose documents have a revocation list or none."""

    def without(document: bytes, _: bytes) -> bytes:
        return document if crl else render_document(replace(parse_document(document), extras={}))

    return AmdIssuer(vendor=AMD, host_data=bytes.fromhex(WEB), lie=without)


def manifest() -> Manifest:
    return Manifest(
        policies={
            COORDINATOR: PolicyEntry(sans=("coordinator",), role="coordinator"),
            WEB: PolicyEntry(sans=("web",)),
        },
        reference_values=ReferenceValues(
            snp=(
                SnpReference(
                    product_name="Milan",
                    trusted_measurement_hex=MEASUREMENT.hex(),
                    minimum_tcb=SnpTcb(
                        bootloader=MINIMUM.bootloader,
                        tee=MINIMUM.tee,
                        snp=MINIMUM.snp,
                        microcode=MINIMUM.microcode,
                    ),
                    guest_policy=GuestPolicy(),
                ),
            ),
            tdx=(
                TdxReference(
                    mr_td_hex="7d" * 48,
                    rtmrs_hex=("01" * 48, "02" * 48, "03" * 48, "00" * 48),
                    mr_seam_hex="5e" * 48,
                    xfam_hex="e702060000000000",
                ),
            ),
        ),
    )


@pytest.fixture(scope="module")
def intel() -> Intel:
    return Intel()


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("machine") / "processor"
    SimulatedProcessor.load_or_create(place, now=NOW)
    return place


@pytest.fixture
def vendor(intel: Intel, tmp_path: Path) -> Iterator[FakeVendor]:
    """Return both vendors' services on this machine."""
    cache = EndorsementCache(tmp_path / "published")
    keep_collateral(cache, intel)
    server = FakeVendor()
    for url in PARTS:
        answer = cache.get(url)
        assert answer is not None
        server.answers["/" + url.split("/", 3)[3]] = answer
    path = kds.crl_url("Milan").removeprefix(kds.SERVICE)
    server.answers[path] = Answer(status=200, body=AMD.chain.crl_der)
    yield server
    server.stop()


@pytest.fixture
def coordinator(
    request: pytest.FixtureRequest,
    vendor: FakeVendor,
    tmp_path: Path,
    processor: Path,
    intel: Intel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Running]:
    for module in (validators, supply):
        monkeypatch.setattr(module, "intel_root_spki", lambda: intel.root_spki)
    for pinning in (validators, kds):
        monkeypatch.setattr(pinning, "amd_anchor", {"Milan": AMD.pinned}.__getitem__)
    monkeypatch.setattr(service, "datetime", FixedTime)
    caplog.set_level(logging.INFO)
    environ = {
        "CONTRAST_EVIDENCE": f"simulated:{processor}",
        "CONTRAST_HOST_DATA": COORDINATOR,
        "CONTRAST_ENDORSEMENTS": str(tmp_path / "kept"),
        "CONTRAST_ENDORSEMENTS_MIRRORS": " ".join(
            f"{service}={vendor.address}"
            for service in (kds.SERVICE, pcs.SERVICE, pcs.CERTIFICATES)
        ),
    }
    if getattr(request, "param", "") == ONLINE:
        environ["CONTRAST_ENDORSEMENTS_FETCH"] = "on"
    anywhere = [
        word for name in ("user-api", "mesh-api", "http") for word in (f"--{name}", "127.0.0.1:0")
    ]
    options = parse_options([*anywhere, "--state", str(tmp_path / "state")], environ)
    ready, done = threading.Event(), threading.Event()

    def wait() -> None:
        ready.set()
        done.wait()

    thread = threading.Thread(target=service.run, args=(options, environ, wait))
    thread.start()
    try:
        assert ready.wait(30)
        told: Any = next(line for line in caplog.records if line.msg == "Coordinator started")
        with connect("127.0.0.1", told.user_api, validators=None, unverified=True, now=NOW) as peer:
            userapi.set_manifest(
                peer.channel, render_manifest(manifest(), V1_16.manifest), POLICIES, 10
            )
        kept = EndorsementCache(tmp_path / "kept")
        yield Running(mesh_api=told.mesh_api, kept=kept, vendor=vendor)
    finally:
        done.set()
        thread.join()


def names_of(leaf: x509.Certificate) -> list[str]:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


def test_a_td_is_certified_by_the_collateral_that_is_kept(
    coordinator: Running, intel: Intel
) -> None:
    keep_collateral(coordinator.kept, intel)

    leaf = coordinator.certify(TdxMachine(intel=intel, host_data=bytes.fromhex(WEB)))

    assert names_of(leaf) == ["web"]


def test_a_td_without_kept_collateral_is_refused_until_there_is_some(
    coordinator: Running, intel: Intel, caplog: pytest.LogCaptureFixture
) -> None:
    workload = TdxMachine(intel=intel, host_data=bytes.fromhex(WEB))

    with pytest.raises(OwnEvidenceRefused):
        coordinator.certify(workload)

    assert "collateral not available for FMSPC b0c06f000000" in caplog.text
    # What is kept later counts from the next connection on.
    keep_collateral(coordinator.kept, intel)
    assert names_of(coordinator.certify(workload)) == ["web"]


@pytest.mark.parametrize("missing", range(4))
def test_collateral_with_a_part_missing_is_none(
    coordinator: Running, intel: Intel, caplog: pytest.LogCaptureFixture, missing: int
) -> None:
    keep_collateral(coordinator.kept, intel)
    coordinator.kept.drop(PARTS[missing])

    with pytest.raises(OwnEvidenceRefused):
        coordinator.certify(TdxMachine(intel=intel, host_data=bytes.fromhex(WEB)))

    assert "collateral not available" in caplog.text


def test_collateral_of_another_vendor_is_refused(
    coordinator: Running, intel: Intel, caplog: pytest.LogCaptureFixture
) -> None:
    keep_collateral(coordinator.kept, Intel())

    with pytest.raises(OwnEvidenceRefused):
        coordinator.certify(TdxMachine(intel=intel, host_data=bytes.fromhex(WEB)))

    assert "pinned Intel SGX Root CA" in caplog.text


def test_an_snp_guest_may_bring_its_revocation_list(coordinator: Running) -> None:
    assert names_of(coordinator.certify(snp_workload(crl=True))) == ["web"]


def test_an_snp_guest_without_a_list_is_certified_by_the_one_that_is_kept(
    coordinator: Running,
) -> None:
    coordinator.kept.put(kds.crl_url("Milan"), Answer(status=200, body=AMD.chain.crl_der))

    assert names_of(coordinator.certify(snp_workload(crl=False))) == ["web"]


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        pytest.param(lambda: b"", "no usable revocation list", id="none"),
        pytest.param(lambda: AMD.crl(age_days=31), "no usable revocation list", id="expired"),
        pytest.param(
            lambda: FakeAmd(owner="stranger").chain.crl_der,
            "no usable revocation list",
            id="forged",
        ),
        pytest.param(lambda: b"<html>", "no usable revocation list", id="web page"),
        pytest.param(revoking, "is revoked", id="revokes us"),
    ],
)
def test_an_snp_guest_without_a_usable_list_is_refused(
    coordinator: Running, caplog: pytest.LogCaptureFixture, kept: Callable[[], bytes], said: str
) -> None:
    if content := kept():
        coordinator.kept.put(kds.crl_url("Milan"), Answer(status=200, body=content))

    with pytest.raises(OwnEvidenceRefused):
        coordinator.certify(snp_workload(crl=False))

    assert said in caplog.text


def test_a_kept_list_revokes_although_the_guest_brings_an_older_one(
    coordinator: Running, caplog: pytest.LogCaptureFixture
) -> None:
    coordinator.kept.put(kds.crl_url("Milan"), Answer(status=200, body=revoking()))

    with pytest.raises(OwnEvidenceRefused):
        coordinator.certify(snp_workload(crl=True))

    assert "is revoked" in caplog.text


def test_without_being_told_a_simulated_coordinator_asks_no_vendor(
    coordinator: Running, intel: Intel
) -> None:
    with pytest.raises(OwnEvidenceRefused):
        coordinator.certify(TdxMachine(intel=intel, host_data=bytes.fromhex(WEB)))
    with pytest.raises(OwnEvidenceRefused):
        coordinator.certify(snp_workload(crl=False))

    assert coordinator.vendor.seen == []


@pytest.mark.parametrize("coordinator", [ONLINE], indirect=True)
def test_a_td_is_refused_once_and_certified_when_its_collateral_has_been_fetched(
    coordinator: Running, intel: Intel, tmp_path: Path
) -> None:
    workload = TdxMachine(intel=intel, host_data=bytes.fromhex(WEB))

    refused, leaf = coordinator.certify_at_last(workload)
    again = coordinator.certify(workload)

    assert refused >= 1
    assert names_of(leaf) == names_of(again) == ["web"]
    assert len(coordinator.vendor.seen) == 4
    # Kept in memory only.
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("coordinator", [ONLINE], indirect=True)
def test_an_snp_guest_without_a_list_is_certified_when_it_has_been_fetched(
    coordinator: Running,
) -> None:
    refused, leaf = coordinator.certify_at_last(snp_workload(crl=False))

    assert refused >= 1
    assert names_of(leaf) == ["web"]
    assert coordinator.vendor.seen == ["/vcek/v1/Milan/crl"]


@pytest.mark.parametrize("coordinator", [ONLINE], indirect=True)
def test_a_quote_that_is_not_genuine_has_no_vendor_asked(coordinator: Running) -> None:
    for _ in range(3):
        with pytest.raises(OwnEvidenceRefused):
            coordinator.certify(TdxMachine(intel=Intel(), host_data=bytes.fromhex(WEB)))

    assert coordinator.vendor.seen == []


def test_an_snp_guest_whose_host_has_no_certificate_is_judged_by_the_one_that_is_kept(
    coordinator: Running, caplog: pytest.LogCaptureFixture
) -> None:
    def bare(document: bytes, _: bytes) -> bytes:
        return render_document(replace(parse_document(document), vcek_der=b""))

    workload = AmdIssuer(vendor=AMD, host_data=bytes.fromhex(WEB), lie=bare)
    with pytest.raises(OwnEvidenceRefused):
        coordinator.certify(workload)
    url = kds.vcek_url("Milan", CHIP_ID, TCB)
    coordinator.kept.put(url, Answer(status=200, body=AMD.chain.vcek_der))

    assert "has no vcek certificate" in caplog.text
    assert names_of(coordinator.certify(workload)) == ["web"]
