"""testdata/reports/50: a registry that asks for credentials in ways that were reported, each as expected.txt says."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.commands import Shown, Terminal
from tests.fakes.testdata import REPORTS

pytestmark = pytest.mark.e2e

Reported = Callable[[str], Terminal]
SERVER = REPORTS / "50-registry-auth" / "server.py"


@contextmanager
def serving(mode: str, folder: Path) -> Iterator[int]:
    """Run the case's registry in a mode; give its port."""
    # The server opens the pipe when it listens, and writes its port.
    port_pipe = folder / "port"
    os.mkfifo(port_pipe)
    reader = os.open(port_pipe, os.O_RDONLY | os.O_NONBLOCK)
    process = subprocess.Popen(
        [sys.executable, str(SERVER), mode, str(port_pipe)], stderr=subprocess.DEVNULL
    )
    try:
        assert select.select([reader], [], [], 20)[0], "the registry did not start"
        yield int(os.read(reader, 16))
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def locked(
    reported: Reported, monkeypatch: pytest.MonkeyPatch, folder: Path, mode: str, login: str = ""
) -> tuple[Shown, str]:
    """Run `lock` with a registry in a mode; return what was shown, and the image's reference."""
    terminal = reported("50-registry-auth")
    source = terminal.root / "deployment" / "a.yml"
    (terminal.root / "contrast.lock").unlink()
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    with serving(mode, folder) as port:
        source.write_text(source.read_text().replace("43245", str(port)))
        if login:
            config = {"auths": {f"127.0.0.1:{port}": {"auth": login}}}
            (folder / "config.json").write_text(json.dumps(config))
        return terminal.run("lock"), f"127.0.0.1:{port}/shop/app:v1"


ME = "bWU6c2VjcmV0"  # me:secret


@pytest.mark.parametrize(
    ("mode", "login"),
    [
        ("negotiate-then-basic", ME),
        ("basic-then-bearer-anonymous", ""),
        ("combined-in-one-line", ""),
        ("bearer-then-basic", ME),
        ("spaces-and-case", ""),
        ("escaped-quote", ""),
        ("realm-with-query", ""),
        ("429-http-date", ""),
        ("redirect-relative-and-307-loop", ""),
        ("token-needs-post", ""),
    ],
)
def test_the_image_is_locked(
    reported: Reported, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str, login: str
) -> None:
    shown, reference = locked(reported, monkeypatch, tmp_path, mode, login)

    assert shown.code == 0, shown.err
    assert f"added {reference}" in shown.out + shown.err


@pytest.mark.parametrize(
    ("mode", "login", "said"),
    [
        ("token-403-then-basic", ME, "its token service answered 403"),
        ("429-body-only-toomanyrequests", "", "429 (TOOMANYREQUESTS: 'You have reached your pull rate"),
        ("anonymous-401-for-absent", "", "answered 401 (UNAUTHORIZED)"),
        ("403-toomanyrequests", "", "answered 403 (TOOMANYREQUESTS)"),
    ],
)  # fmt: skip
def test_the_error_says_what_the_registry_said(
    reported: Reported,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    mode: str,
    login: str,
    said: str,
) -> None:
    shown, reference = locked(reported, monkeypatch, tmp_path, mode, login)

    assert shown.code != 0
    assert reference in shown.err
    assert said in shown.err
