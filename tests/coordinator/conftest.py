import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from coordinator.state import Guard
from coordinator.store.memory import MemoryStore
from tests.fakes.coordinator import Caller, make_guard, new_owner
from tests.fakes.kube.servers import any_server, real_server

__all__ = ["any_server", "real_server"]


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
