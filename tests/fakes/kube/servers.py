"""The API servers that tests of clusters run against: our fake, and a real one where there is one."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.fakes.kube.cluster import Cluster
from tests.fakes.kube.real import RealCluster, RealServer, is_there
from tests.fakes.kube.server import KubeServer

AnyServer = KubeServer | RealServer
AnyCluster = Cluster | RealCluster

# Not skipped but left out where it is not there: it is an addition.
SERVERS = ("fake", *(["real"] if is_there() else []))


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """Run a real API server for all tests of a worker."""
    with RealServer(tmp_path_factory.mktemp("api-server")) as server:
        yield server


@contextmanager
def opened(which: str, request: pytest.FixtureRequest) -> Iterator[AnyServer]:
    """Yield one of SERVERS, which has nothing yet of what tests make."""
    if which == "fake":
        with KubeServer() as server:
            yield server
        return
    real: RealServer = request.getfixturevalue("real_server")
    real.cluster.reset()
    yield real


@pytest.fixture(params=SERVERS)
def any_server(request: pytest.FixtureRequest) -> Iterator[AnyServer]:
    """Run the test against each of the servers."""
    with opened(request.param, request) as server:
        yield server


ON_FAKE = pytest.mark.parametrize("any_server", ["fake"], indirect=True)
"""For a test that lets the server fail, or that needs controllers."""
