import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).resolve().parents[2] / "examples" / "emojivoto" / "app"


@pytest.fixture(scope="session", autouse=True)
def _application_on_the_path() -> Iterator[None]:
    """Let tests import the stand-in, which is a program and no installed package."""
    sys.path.insert(0, str(APP))
    yield
    sys.path.remove(str(APP))
