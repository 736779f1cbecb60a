"""A session with a Coordinator on hardware: judged by what is kept of the vendors' publications, and by nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contrast_tasks.atls.server import AtlsServer, serve
from contrast_tasks.attestation import validators
from contrast_tasks.attestation.endorsements.fetch import EndorsementCache
from contrast_tasks.attestation.errors import CollateralUnavailable
from contrast_tasks.manifest.model import Manifest, PolicyEntry, ReferenceValues, TdxReference
from contrast_tasks.stages import coordinator_session
from contrast_tasks.stages.coordinator_session import dial
from tests.fakes.atls import echo
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
