from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from coordinator.state import Guard
from coordinator.store.memory import MemoryStore
from tests.fakes.coordinator import Caller, make_guard, new_owner
from tests.fakes.kube.servers import any_server, real_server
from tests.fakes.secrets import SecretWatch, watching

__all__ = ["any_server", "real_server"]


@pytest.fixture(autouse=True)
def secret_watch() -> Iterator[SecretWatch]:
    """Fail a test during which a log record, an error or an audit entry showed a secret of the Coordinator."""
    with watching() as watch:
        yield watch
    assert watch.leaks() == []


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def guard(store: MemoryStore) -> Guard:
    return make_guard(store)


@pytest.fixture
def owner() -> Caller:
    return new_owner()


@pytest.fixture(scope="session")
def seedshare_owner() -> Caller:
    return Caller(key=rsa.generate_private_key(public_exponent=65537, key_size=2048))


@pytest.fixture(scope="session")
def other_seedshare_owner() -> Caller:
    return Caller(key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
