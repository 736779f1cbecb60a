"""The mesh sidecar: renders Envoy's configuration, starts it, and says when its listeners are active.

`python -m contrast_tasks.guest.sidecar [arguments for Envoy]`, settings from the environment:

CONTRAST_INGRESS_PROXY_CONFIG, CONTRAST_EGRESS_PROXY_CONFIG, CONTRAST_ADMIN_PORT   the annotations' values
CONTRAST_SECRETS_DIR    where the initializer left its files, default /contrast
CONTRAST_MESH_DIR       where Envoy's files go, default /
CONTRAST_READY_FILE     written when all listeners are active, default /ready
CONTRAST_ENVOY_BIN      the Envoy binary, if not the one of the image
CONTRAST_LOCAL_MESH     given by the local backend, see mesh_setup

Exit status: Envoy's own, 0 after SIGTERM or SIGINT, 1 for anything that keeps Envoy from starting.
Source: docs/internals/service-mesh.md 4.
"""

import ctypes
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from contrast_tasks import __version__
from contrast_tasks.errors import ClusterError, ContrastError
from contrast_tasks.files import pretty_json, write_atomic
from contrast_tasks.guest.mesh_setup import (
    ADMIN_SOCKET,
    BOOTSTRAP_FILE,
    SECRETS_FOLDER,
    MeshSetup,
    parse_config,
    parse_local_mesh,
    prepare_mesh,
)
from contrast_tasks.guest.secret_files import SecretFiles
from contrast_tasks.mesh.envoy_binary import find_envoy

FILES_LIMIT_S = 5.0
READY_LIMIT_S = 60.0
_PAUSE_S = 0.02
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None)

Probe = Callable[[], bool]


def await_files(
    files: SecretFiles, *, clock: Callable[[], float], pause: Callable[[], None]
) -> None:
    """Return when every file that Envoy needs is there and readable.

    Raises ClusterError naming the missing file and who should have written it.
    """
    deadline = clock() + FILES_LIMIT_S
    while missing := [path for path in files.needed_by_mesh() if not os.access(path, os.R_OK)]:
        if clock() > deadline:
            state = "cannot be read" if missing[0].exists() else "is not there"
            raise ClusterError(
                f"{missing[0]} {state}, expected it from the initializer",
                hint="see the log of the container contrast-initializer",
            )
        pause()


def envoy_arguments(envoy: Path, extra: Sequence[str]) -> list[str]:
    """Return Envoy's command line; a log level is given once, as Envoy refuses a second one."""
    fixed = ["-c", BOOTSTRAP_FILE, "--disable-hot-restart"]
    if not any(argument.startswith("--concurrency") for argument in extra):
        fixed += ["--concurrency", "1"]
    levels = [place for place, argument in enumerate(extra) if argument in {"-l", "--log-level"}]
    # Connection details are visible to the host in a pod's log, so not more than warnings by default.
    level = ["-l", "warning"]
    if levels:
        level = ["-l", *extra[levels[-1] + 1 : levels[-1] + 2]]
    dropped = {place + offset for place in levels for offset in (0, 1)}
    rest = [argument for place, argument in enumerate(extra) if place not in dropped]
    return [str(envoy), *fixed, *level, *rest]


class _AdminConnection(http.client.HTTPConnection):
    """HTTP to Envoy's admin interface, by TCP or through a socket in the working folder."""

    def __init__(self, setup: MeshSetup, folder: Path) -> None:
        host, port = setup.admin or ("envoy", 80)
        super().__init__(host, port, timeout=2)
        self._socket_folder = None if setup.admin else folder

    def connect(self) -> None:
        """Connect; a path beyond the 107 bytes of a socket address is reached through its folder."""
        if self._socket_folder is None:
            super().connect()
            return
        descriptor = os.open(self._socket_folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{descriptor}/{ADMIN_SOCKET}")
        finally:
            os.close(descriptor)


def listeners_active(setup: MeshSetup, folder: Path) -> bool:
    """Ask Envoy once whether it is live and all listeners accept connections."""
    try:
        if _admin(setup, folder, "/ready") is None:
            return False
        listed = _admin(setup, folder, "/listeners?format=json")
        active = json.loads(listed or b"{}").get("listener_statuses", [])
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return len(active) >= setup.listeners


def _admin(setup: MeshSetup, folder: Path, path: str) -> bytes | None:
    connection = _AdminConnection(setup, folder)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    return body if answer.status == http.client.OK else None


def await_ready(
    process: subprocess.Popen[bytes],
    probe: Probe,
    *,
    clock: Callable[[], float],
    pause: Callable[[], None],
) -> bool:
    """Return True when the probe succeeds, False when Envoy has ended before.

    Raises ClusterError when neither happens within READY_LIMIT_S.
    """
    deadline = clock() + READY_LIMIT_S
    while process.poll() is None:
        if probe():
            return True
        if clock() > deadline:
            raise ClusterError(f"envoy's listeners are not active after {READY_LIMIT_S:g} s")
        pause()
    return False


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _start(argv: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    # One thread here, so nothing can hold a lock over the fork; without us Envoy must not go on.
    return subprocess.Popen(argv, cwd=folder, preexec_fn=_die_with_parent)  # noqa: PLW1509


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(environ: Mapping[str, str], extra: Sequence[str], say: Callable[[str], None]) -> int:
    """Run Envoy until it ends or we are told to stop; return the exit status."""
    local_text = environ.get("CONTRAST_LOCAL_MESH")
    if local_text is None:
        raise ClusterError(
            "the packet filter that brings a guest's traffic to envoy is not installed",
            hint="this version runs the mesh on platform local only",
        )
    local = parse_local_mesh(local_text)
    config = parse_config(environ)
    files = SecretFiles(root=Path(environ.get("CONTRAST_SECRETS_DIR") or "/contrast"))
    folder = Path(environ.get("CONTRAST_MESH_DIR") or "/")
    ready = Path(environ.get("CONTRAST_READY_FILE") or "/ready")

    def pause() -> None:
        time.sleep(_PAUSE_S)

    ready.unlink(missing_ok=True)
    envoy = find_envoy(environ)
    await_files(files, clock=time.monotonic, pause=pause)
    setup = prepare_mesh(config, files=files, folder=folder, local=local)
    for name, secret in setup.secrets.items():
        write_atomic(folder / SECRETS_FOLDER / name, pretty_json(secret))
    write_atomic(folder / BOOTSTRAP_FILE, pretty_json(setup.bootstrap))
    process = _start(envoy_arguments(envoy, extra), folder)
    try:
        if await_ready(
            process, lambda: listeners_active(setup, folder), clock=time.monotonic, pause=pause
        ):
            write_atomic(ready, b"")
            say(f"envoy is ready with {setup.listeners} listeners")
        status = process.wait()
    except _Terminated:
        return 0
    finally:
        if process.poll() is None:
            _stop(process)
    say(f"error: envoy ended with status {status}")
    return status if status > 0 else 1


class _Terminated(BaseException):
    """SIGTERM or SIGINT arrived."""


def _terminate(_signum: int, _frame: object) -> None:
    # The first signal counts; Envoy is being stopped when another one comes.
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)
    raise _Terminated


def _say(text: str) -> None:
    print(f"contrast-service-mesh: {text}", file=sys.stderr, flush=True)  # noqa: T201  # the pod's log


def main(extra: Sequence[str]) -> int:
    """Run in the pod; `extra` goes to Envoy."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _terminate)
    _say(f"version {__version__}")
    try:
        return run(os.environ, extra, _say)
    except _Terminated:
        return 0
    except ContrastError as err:
        _say(f"error: {err}" + (f" ({err.hint})" if err.hint else ""))
        return 1
    except OSError as err:
        _say(f"error: {err.filename}: {err.strerror}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
