"""The mesh sidecar: writes Envoy's configuration, runs Envoy, and marks when its listeners are active.

`python -m contrast_tasks.guest.sidecar [arguments for Envoy]`, configured by environment variables:

CONTRAST_INGRESS_PROXY_CONFIG, CONTRAST_EGRESS_PROXY_CONFIG, CONTRAST_ADMIN_PORT   the annotations' values
CONTRAST_SECRETS_DIR    folder of the initializer's files, default /contrast
CONTRAST_MESH_DIR       folder for Envoy's files, default /
CONTRAST_READY_FILE     written when all listeners are active, default /ready
CONTRAST_ENVOY_BIN      the Envoy binary, default: that of the image
CONTRAST_LOCAL_MESH     addresses instead of a packet filter, set by the local backend, see mesh/local.py
COORDINATOR_HOST        renews the certificates there; CONTRAST_KEY_UID, CONTRAST_KEY_GID, CONTRAST_ENDORSEMENTS... as for the initializer
CONTRAST_EVIDENCE       hardware (default) or a simulated processor
CONTRAST_PACKET_FILTER  on: this is a pod's own network namespace although the processor is simulated

Exit status: Envoy's own; 0 after SIGTERM or SIGINT; 1 if Envoy cannot be started.
Source: docs/internals/service-mesh.md 4.
"""

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from contrast_tasks import variables
from contrast_tasks.attestation.issuers.environment import (
    issuer_from_environment,
    prepare,
    supply_from_environment,
)
from contrast_tasks.errors import ClusterError, ContrastError, SettingsError
from contrast_tasks.files import pretty_json, write_atomic
from contrast_tasks.guest.coordinator_check import validators_from_environment
from contrast_tasks.guest.envoy_admin import active_listeners, drain, has_connections
from contrast_tasks.guest.initializer import PREPARE_S, fetcher, parse_options, prepared
from contrast_tasks.guest.packet_filter import intercept
from contrast_tasks.guest.process import Say, Terminated, begin, pause, wait_until
from contrast_tasks.guest.renewal import start_renewing
from contrast_tasks.guest.secret_files import SecretFiles
from contrast_tasks.linux import bound_to_parent
from contrast_tasks.mesh.envoy import admin_endpoint, render_bootstrap
from contrast_tasks.mesh.envoy_binary import find_envoy
from contrast_tasks.mesh.envoy_tls import TlsPaths, secret_files
from contrast_tasks.mesh.grammar import parse_environment
from contrast_tasks.mesh.interception import Interception
from contrast_tasks.mesh.local import parse_local_mesh
from contrast_tasks.packet_filter.deny import is_in_guest

FILES_LIMIT_S = 5.0
READY_LIMIT_S = 60.0
# Kubernetes gives a pod 30 s to end.
DRAIN_LIMIT_S = 15.0

_BOOTSTRAP_FILE = "envoy-config.yml"
_SECRETS_FOLDER = "envoy-secrets"


def await_files(
    files: SecretFiles,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[], None] = pause,
) -> None:
    """Return when all files that Envoy needs exist and are readable. Raises ClusterError for a missing file."""

    def missing() -> Path | None:
        needed = (files.cert_chain, files.key, files.mesh_ca)
        return next((path for path in needed if not os.access(path, os.R_OK)), None)

    wait_until(lambda: missing() is None, FILES_LIMIT_S, clock=clock, pause=pause)
    if (path := missing()) is not None:
        state = "cannot be read" if path.exists() else "is not there"
        raise ClusterError(
            f"{path} {state}, expected it from the initializer",
            hint="see the log of the container contrast-initializer",
        )


def tls_paths(files: SecretFiles) -> TlsPaths:
    """Return the initializer's files as Envoy's configuration names them."""
    return TlsPaths(
        certificate_chain=str(files.cert_chain),
        private_key=str(files.key),
        trusted_ca=str(files.mesh_ca),
        watched=str(files.complete.parent),
    )


def envoy_arguments(envoy: Path, extra: Sequence[str]) -> list[str]:
    """Return Envoy's command line, with one log level only: Envoy refuses a second one."""
    fixed = ["-c", _BOOTSTRAP_FILE, "--disable-hot-restart"]
    if not any(argument.startswith("--concurrency") for argument in extra):
        fixed += ["--concurrency", "1"]
    # The host can read a pod's log, so connection details are logged only on request.
    level, rest = "warning", []
    remaining = iter(extra)
    for argument in remaining:
        if argument in {"-l", "--log-level"}:
            level = next(remaining, level)
        else:
            rest.append(argument)
    return [str(envoy), *fixed, "-l", level, *rest]


def run(environ: Mapping[str, str], extra: Sequence[str], say: Say) -> int:
    """Run Envoy until it ends or a signal arrives; return the exit status."""
    local_text = environ.get(variables.LOCAL_MESH)
    local = None if local_text is None else parse_local_mesh(local_text)
    config = parse_environment(environ)
    files = SecretFiles.below(Path(environ.get(variables.SECRETS_DIR) or "/contrast"))
    folder = Path(environ.get(variables.MESH_DIR) or "/")
    ready = Path(environ.get(variables.READY_FILE) or "/ready")
    ready.unlink(missing_ok=True)
    envoy = find_envoy(environ)
    interception = Interception()
    if local is None:
        _require_guest(environ)
        interception = intercept(config, say)
    await_files(files)
    secrets = folder / _SECRETS_FOLDER
    for name, secret in secret_files(tls_paths(files)).items():
        write_atomic(secrets / name, pretty_json(secret))
    bootstrap = render_bootstrap(
        config, secrets_directory=str(secrets), local=local, interception=interception
    )
    write_atomic(folder / _BOOTSTRAP_FILE, pretty_json(bootstrap))
    count = len(bootstrap["static_resources"]["listeners"])
    endpoint = admin_endpoint(config, local)
    process = _start(envoy_arguments(envoy, extra), folder)
    stop = threading.Event()

    def has_ended_or_listens() -> bool:
        return process.poll() is not None or active_listeners(endpoint, folder) >= count

    try:
        if not wait_until(has_ended_or_listens, READY_LIMIT_S):
            raise ClusterError(f"envoy's listeners are not active after {READY_LIMIT_S:g} s")
        if process.poll() is None:
            write_atomic(ready, b"")
            say(f"envoy is ready with {count} listeners")
            _renew_in_background(environ, files, stop, say)
        status = process.wait()
    except Terminated:
        # Containers end in the reverse order of their start: whoever is still connected is about to leave.
        if drain(endpoint, folder):
            say("no more connections are accepted")
            wait_until(lambda: not has_connections(endpoint, folder), DRAIN_LIMIT_S)
        return 0
    finally:
        stop.set()
        if process.poll() is None:
            _stop(process)
    say(f"error: envoy ended with status {status}")
    return status if status > 0 else 1


def _require_guest(environ: Mapping[str, str]) -> None:
    """Raise SettingsError outside of a guest, where the packet filter belongs to somebody else."""
    issuer_from_environment(environ, supply_from_environment(environ))
    if not is_in_guest(environ):
        raise SettingsError(
            "this is no guest, so the sidecar leaves its packet filter alone and cannot protect anything",
            hint=f"{variables.PACKET_FILTER}=on says that this network namespace is the pod's own",
        )


def _renew_in_background(
    environ: Mapping[str, str], files: SecretFiles, stop: threading.Event, say: Say
) -> None:
    """Keep the certificates renewed, if the pod says where."""
    if not environ.get(variables.COORDINATOR_HOST):
        say(f"certificates are not renewed, since {variables.COORDINATOR_HOST} is not set")
        return
    try:
        options = parse_options(environ)
        supply = supply_from_environment(environ)
        issuer = issuer_from_environment(environ, supply)
        ask = fetcher(options, issuer, validators_from_environment(environ, supply))
    except ContrastError as err:
        # They are good for months, and the pod serves until then.
        say(f"certificates are not renewed: {err}")
        return

    start_renewing(
        prepared(ask, lambda: prepare(issuer, supply, wait_s=PREPARE_S)),
        files,
        stop,
        say,
        reader=options.reader,
    )


def _start(argv: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    # A connection takes two descriptors; Envoy inherits the limit.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # With one thread no lock is held over the fork. Envoy must not outlive this process.
    return subprocess.Popen(argv, cwd=folder, preexec_fn=bound_to_parent())  # noqa: PLW1509


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main(extra: Sequence[str]) -> int:
    """Run in the pod; `extra` goes to Envoy."""
    say = begin("contrast-service-mesh")
    try:
        return run(os.environ, extra, say)
    except Terminated:
        return 0
    except ContrastError as err:
        say(f"error: {err}" + (f" ({err.hint})" if err.hint else ""))
        return 1
    except OSError as err:
        say(f"error: {err.filename}: {err.strerror}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
