"""A session with a Coordinator on hardware: judged by what is kept of the vendors' publications, and by nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contrast_tasks.atls.server import AtlsServer, serve
from contrast_tasks.attestation import validators
from contrast_tasks.attestation.endorsements import kds
from contrast_tasks.attestation.endorsements.fetch import EndorsementCache
from contrast_tasks.attestation.errors import CollateralUnavailable
from contrast_tasks.attestation.snp.document import SnpDocument, parse_document, render_document
from contrast_tasks.client import session as coordinator_session
from contrast_tasks.client.session import dial
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.trusted_guests import (
    GuestPolicy,
    ReferenceValues,
    SnpReference,
    SnpTcb,
    TdxReference,
)
from contrast_tasks.web.answers import Answer
from tests.fakes.atls import echo
from tests.fakes.attestation import CHIP_ID, HOST_DATA, MEASUREMENT, TCB, AmdIssuer, FakeAmd
from tests.fakes.intel import NOW, Intel
from tests.fakes.kept import FixedTime, TdxMachine, keep_collateral

MANIFEST = Manifest(
    policies={"c0" * 32: PolicyEntry(sans=(), role="coordinator")},
    reference_values=ReferenceValues(
        tdx=(
            TdxReference(
                mr_td_hex="7d" * 48,
                rtmrs_hex=("01" * 48, "02" * 48, "03" * 48, "00" * 48),
                mr_seam_hex="5e" * 48,
                xfam_hex="e702060000000000",
            ),
        )
    ),
)


@pytest.fixture(scope="module")
def intel() -> Intel:
    return Intel()


@pytest.fixture
def cache(tmp_path: Path, intel: Intel, monkeypatch: pytest.MonkeyPatch) -> EndorsementCache:
    monkeypatch.setenv("CONTRAST_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(validators, "intel_root_spki", lambda: intel.root_spki)
    monkeypatch.setattr(coordinator_session, "datetime", FixedTime)
    return EndorsementCache(tmp_path / "cache" / "endorsements")


@pytest.fixture
def server(intel: Intel) -> Iterator[AtlsServer]:
    with serve(
        echo,
        listen=("127.0.0.1", 0),
        issuer=TdxMachine(intel=intel),
        require_client=None,
        clock=lambda: NOW,
    ) as running:
        yield running


def test_a_td_is_accepted_by_the_collateral_that_is_kept(
    cache: EndorsementCache, intel: Intel, server: AtlsServer
) -> None:
    keep_collateral(cache, intel)

    with dial("127.0.0.1", server.port, manifest=MANIFEST, client_key=None) as session:
        assert session is not None


def test_without_kept_collateral_it_is_refused_with_the_command_that_gets_it(
    cache: EndorsementCache, server: AtlsServer
) -> None:
    with (
        pytest.raises(CollateralUnavailable) as caught,
        dial("127.0.0.1", server.port, manifest=MANIFEST, client_key=None),
    ):
        pass

    assert caught.value.hint == (
        f"run 'contrast-tasks endorsements fetch -c 127.0.0.1:{server.port}', then this again"
    )


AMD = FakeAmd()
SNP = Manifest(
    policies={HOST_DATA.hex(): PolicyEntry(sans=(), role="coordinator")},
    reference_values=ReferenceValues(
        snp=(
            SnpReference(
                product_name="Milan",
                trusted_measurement_hex=MEASUREMENT.hex(),
                minimum_tcb=SnpTcb(bootloader=3, tee=0, snp=8, microcode=115),
                guest_policy=GuestPolicy(),
            ),
        )
    ),
)


@pytest.fixture
def bare(cache: EndorsementCache, monkeypatch: pytest.MonkeyPatch) -> Iterator[AtlsServer]:
    """Return a Coordinator on a machine whose host delivers nothing but the report."""
    for module in (validators, kds):
        monkeypatch.setattr(module, "amd_anchor", {"Milan": AMD.pinned}.__getitem__)

    def nothing_else(document: bytes, _: bytes) -> bytes:
        return render_document(SnpDocument(report=parse_document(document).report))

    with serve(
        echo,
        listen=("127.0.0.1", 0),
        issuer=AmdIssuer(vendor=AMD, lie=nothing_else),
        require_client=None,
        clock=lambda: NOW,
    ) as running:
        yield running


def test_what_a_bare_machine_does_not_deliver_is_taken_from_what_was_fetched(
    cache: EndorsementCache, bare: AtlsServer
) -> None:
    hints = []
    published = {
        kds.vcek_url("Milan", CHIP_ID, TCB): AMD.chain.vcek_der,
        kds.crl_url("Milan"): AMD.chain.crl_der,
    }
    for url, body in published.items():
        with (
            pytest.raises(EvidenceRejected) as caught,
            dial("127.0.0.1", bare.port, manifest=SNP, client_key=None),
        ):
            pass
        hints.append(caught.value.hint)
        cache.put(url, Answer(status=200, body=body))

    with dial("127.0.0.1", bare.port, manifest=SNP, client_key=None) as session:
        assert session is not None
    fetch = f"run 'contrast-tasks endorsements fetch -c 127.0.0.1:{bare.port}', then this again"
    assert hints == [fetch, fetch]
