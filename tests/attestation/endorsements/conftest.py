"""A vendor on this machine that answers as it is told, a clock that passes by sleeping, and a cache between them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contrast_tasks.attestation.endorsements import kds, pcs
from contrast_tasks.attestation.endorsements.edge import http_get
from contrast_tasks.attestation.endorsements.fetch import Access, EndorsementCache, Endorsements
from tests.fakes.vendor import Clock, Vendor


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    server = Vendor()
    yield server
    server.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path) -> EndorsementCache:
    return EndorsementCache(tmp_path / "cache")


@pytest.fixture
def online(vendor: Vendor, clock: Clock, cache: EndorsementCache) -> Endorsements:
    mirrors = {
        kds.SERVICE: vendor.address,
        pcs.SERVICE: vendor.address,
        pcs.CERTIFICATES: vendor.address,
    }
    access = Access(get=http_get, sleep=clock.sleep, monotonic=lambda: clock.now_s, mirrors=mirrors)
    return Endorsements(cache, access)


@pytest.fixture
def offline(clock: Clock, cache: EndorsementCache) -> Endorsements:
    return Endorsements(cache, Access(get=None, sleep=clock.sleep, monotonic=lambda: clock.now_s))
