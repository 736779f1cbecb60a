"""Runs the reference implementation of a registry, the Debian package docker-registry, on loopback."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAM = shutil.which("docker-registry")
needs_registry = pytest.mark.skipif(
    PROGRAM is None, reason="docker-registry is not installed (apt package)"
)


@contextmanager
def real_registry(folder: Path, *, htpasswd: str = "") -> Iterator[str]:
    """Run a registry on a free port; give its host and port. htpasswd: a line `user:bcrypt`, whom alone it lets in."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "htpasswd").write_text(htpasswd)
    auth = f"auth: {{htpasswd: {{realm: here, path: {folder / 'htpasswd'}}}}}\n"
    config = folder / "config.yml"
    config.write_text(
        "version: 0.1\n"
        "log: {level: info, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
        f'http: {{addr: "127.0.0.1:{port}"}}\n' + (auth if htpasswd else "")
    )
    assert PROGRAM is not None
    process = subprocess.Popen(
        [PROGRAM, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    log = _Log(process)
    try:
        log.wait_for_start()
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)
        log.thread.join(timeout=10)


class _Log:
    """The registry's messages, read so that it never waits for a reader; one of them says that it listens."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lines: list[bytes] = []
        self._told = threading.Event()
        self._listens = False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            for line in stderr:
                self._lines.append(line)
                if b"listening on" in line:
                    self._listens = True
                    self._told.set()
        self._told.set()

    def wait_for_start(self) -> None:
        """Wait for the message, or for the registry's end, which fails the test."""
        self._told.wait(timeout=20)
        if not self._listens:
            pytest.fail(f"docker-registry did not start: {b''.join(self._lines).decode()}")
