"""What holds for every test: nothing may be skipped in continuous integration, for there every part can be installed;
golden files are written anew by `--update-golden`, and reviewed as a diff.
"""

import gc
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, settings

from contrast_tasks.images import packing
from contrast_tasks.images.own_files import PYTHON_ROOT
from contrast_tasks.images.pack import PackedImage
from contrast_tasks.images.recipe import ImageRecipe
from contrast_tasks.manifest import keys
from contrast_tasks.tasks import code
from coordinator import listener
from tests.fakes.secrets import secret_watch

# The parser in C reads ten times as fast, and hundreds of tests read what was written.
yaml.SafeLoader = yaml.CSafeLoader

# For whoever must have a key that no test has.
_new_rsa_key = rsa.generate_private_key

pytest_plugins = ["pytester"]
__all__ = ["secret_watch"]
GOLDEN = Path(__file__).with_name("golden")

# The same examples on every run, and no verdict that depends on how fast the machine is.
settings.register_profile(
    "deterministic",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("deterministic")


# Hints name commands as an installed program does, also where a wrapper runs the tests.
os.environ.pop("CONTRAST_COMMAND", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files from what is found"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make a sweep of what comes after the first cases of a long table."""
    seen: Counter[str] = Counter()
    for item in items:
        first = item.get_closest_marker("first")
        if first is not None:
            table = item.nodeid.partition("[")[0]
            seen[table] += 1
            if seen[table] > first.args[0]:
                item.add_marker("sweep")


def pytest_collection_finish() -> None:
    """Have the garbage collector look at no module and at no collected test again; they stay until the end."""
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not os.environ.get("CI") or hasattr(session.config, "workerinput"):
        return
    skipped = reporter.stats.get("skipped", [])
    if skipped and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(
            f"{len(skipped)} tests were skipped, which continuous integration refuses", red=True
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, bytes], bytes]:
    """Give the bytes of a golden file by its name below tests/golden; second argument: what the test found."""

    def read(name: str, found: bytes) -> bytes:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(found)
        return path.read_bytes()

    return read


@pytest.fixture(autouse=True, scope="session")
def _one_seedshare_owner() -> Iterator[None]:
    """Let projects of one worker share a seed share owner's key, of 2048 bits: one of 4096 takes a second to make.

    That a real one has 4096 is a test of its own, of the function that this one stands for.
    """

    @cache
    def generate() -> bytes:
        return keys._private_pem(_new_rsa_key(public_exponent=65537, key_size=2048))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "generate_seedshare_owner", generate)
        yield


@pytest.fixture(autouse=True, scope="session")
def _few_rsa_keys() -> Iterator[None]:
    """Let whoever asks for an RSA key of 2048 bits get one of six in turn: hundreds are asked for, and none is tested.

    Two that are made one after the other, as an owner's and a stranger's, or those of two processors, are different.
    """
    generate, made = rsa.generate_private_key, list[rsa.RSAPrivateKey]()

    def take(public_exponent: int, key_size: int) -> rsa.RSAPrivateKey:
        if key_size != 2048:
            return generate(public_exponent, key_size)
        made.append(generate(public_exponent, key_size) if len(made) < 6 else made.pop(0))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rsa, "generate_private_key", take)
        yield


@pytest.fixture(autouse=True, scope="session")
def _components_are_packed_once() -> Iterator[None]:
    """Let projects share the images of our components, whose sources no test changes: each project packs all of them."""
    pack_one, packed = packing._pack, dict[str, PackedImage]()

    def take(recipe: ImageRecipe, folder: Path, packages: tuple[str, ...] = ()) -> PackedImage:
        if folder != PYTHON_ROOT:
            return pack_one(recipe, folder, packages)
        key = repr((recipe, packages))
        if key not in packed:
            packed[key] = pack_one(recipe, folder, packages)
        return packed[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_pack", take)
        yield


@pytest.fixture(autouse=True, scope="session")
def _sources_are_looked_at_once() -> Iterator[None]:
    """Let a thousand commands share what one look at our own files found, which no test changes."""
    look = code._files

    @cache
    def found(
        folder: str, is_deep: bool, suffix: str
    ) -> list[tuple[str, os.stat_result]]:  # its key
        return list(look(folder, is_deep=is_deep, suffix=suffix))

    def files(folder: str, *, is_deep: bool, suffix: str = ".py") -> code.Files:
        yield from found(folder, is_deep, suffix)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "_files", files)
        yield


@pytest.fixture(autouse=True, scope="session")
def _nobody_waits_for_the_disk() -> Iterator[None]:
    """Let files and records of finished tasks be lost by a power failure, for which thousands of tests need not wait."""
    connect = sqlite3.connect

    def connect_unsynced(*words: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*words, **options)
        with suppress(sqlite3.Error):
            connection.execute("pragma synchronous = off")
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect_unsynced)
        patch.setattr(os, "fsync", lambda _descriptor: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _listeners_stop_at_once() -> Iterator[None]:
    """Let the Coordinator's HTTP listeners look for their end often: hundreds are started and stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listener, "_POLL_S", 0.005)
        yield
