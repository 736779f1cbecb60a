"""A session with a Coordinator on hardware: judged by what is kept of the vendors' publications, and by nothing else."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from urllib.parse import quote

import pytest

from contrast_tasks.atls.server import AtlsServer, serve
from contrast_tasks.attestation import pcs, validators
from contrast_tasks.attestation.endorsements import Answer, EndorsementCache
from contrast_tasks.attestation.errors import CollateralUnavailable
from contrast_tasks.attestation.tdx_document import TDX_OID, render_document
from contrast_tasks.attestation.tdx_quote import parse_quote
from contrast_tasks.manifest.model import Manifest, PolicyEntry, ReferenceValues, TdxReference
from contrast_tasks.stages import coordinator_session
from contrast_tasks.stages.coordinator_session import dial
from tests.fakes.atls import echo
from tests.fakes.intel import NOW, Body, Intel, changed

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


@dataclass(frozen=True, kw_only=True)
class TdxMachine:
    """Issues quotes of the synthetic vendor's platform."""

    intel: Intel
    oid: str = TDX_OID

    def issue(self, report_data: bytes) -> bytes:
        body = changed(Body(), report_data=report_data)
        return render_document(parse_quote(self.intel.quote(body)))


class FixedTime(datetime):
    """A datetime whose present is the synthetic vendor's."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # never a FixedTime
        return NOW.astimezone(tz)


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


def keep_collateral(cache: EndorsementCache, intel: Intel) -> None:
    bundle = json.loads(intel.collateral())
    signed = (
        (pcs.tcb_info_url(bytes.fromhex("b0c06f000000")), "tcb_info", "tcbInfo", "tcb-info"),
        (pcs.qe_identity_url(), "qe_identity", "enclaveIdentity", "sgx-enclave-identity"),
    )
    for url, member, name, header in signed:
        body = f'{{"{name}":{bundle[member]},"signature":"{bundle[f"{member}_signature"]}"}}'
        chain = {f"{header}-issuer-chain": quote(bundle[f"{member}_issuer_chain"])}
        cache.put(url, Answer(status=200, headers=chain, body=body.encode()))
    chain = {"sgx-pck-crl-issuer-chain": quote(bundle["pck_crl_issuer_chain"])}
    crl = bytes.fromhex(bundle["pck_crl"])
    cache.put(pcs.pck_crl_url("platform"), Answer(status=200, headers=chain, body=crl))
    root_crl = bytes.fromhex(bundle["root_ca_crl"])
    cache.put(pcs.ROOT_CRL_URL, Answer(status=200, body=root_crl))


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
