"""The initializer: attests this pod to the Coordinator and fetches its certificates.

`python -m contrast_tasks.guest.initializer`, configured by environment variables:

COORDINATOR_HOST             host or host:port of the Coordinator's mesh API, required; default port 7777
CONTRAST_SECRETS_DIR         folder for the files, default /contrast
CONTRAST_DONE_FILE           start-up marker, default /done
CONTRAST_KEY_UID             user whom the private files belong to, if root writes them; default: root
CONTRAST_KEY_GID             group that may read the private files too; default: none
CONTRAST_RETRY_SECONDS       pause between attempts, default 5
CONTRAST_ENDORSEMENTS        folder of endorsements that the host does not deliver, default /var/lib/contrast-endorsements
CONTRAST_ENDORSEMENTS_FETCH  on or off: ask the vendor for endorsements missing there; mirrors: see network.py
CONTRAST_EVIDENCE            hardware (default) or a simulated processor
CONTRAST_SERVICE_MESH_DISABLED  the pod has no mesh: lift the guest's rule against incoming connections, see packet_filter/deny.py
CRYPTSETUP_DEVICE            device of the encrypted volume; several, joined by commas, if the pod has several

With encrypted volumes it opens them, mounts them at /state, /state1, ..., and stays until a signal, when it closes them. Until then
it renews the certificates of a pod without a mesh.
Exit status: 0 done, 1 configuration, 2 terminated while waiting, 3 encrypted volume.
The Coordinator's evidence is verified only if the environment says what it must be, see coordinator_check.py: a false one cannot
issue certificates that peers under the verified mesh CA accept. Source: docs/internals/runtime.md 7.
"""

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks import variables
from contrast_tasks.addresses import MESH_API_PORT, host_and_port
from contrast_tasks.errors import ContrastError, SettingsError
from contrast_tasks.files import write_atomic
from contrast_tasks.guest.commands import run_command
from contrast_tasks.guest.coordinator_check import validators_from_environment
from contrast_tasks.guest.credentials import Held, read_held, verify_credentials, verify_successor
from contrast_tasks.guest.process import Say, Terminated, begin, wait_for_signal
from contrast_tasks.guest.renewal import start_renewing
from contrast_tasks.guest.secret_files import Reader, SecretFiles, write_credentials
from contrast_tasks.guest.volumes.errors import VolumeNotOpened
from contrast_tasks.guest.volumes.pod import hold, parse_devices
from contrast_tasks.guest.volumes.volume import Places, Volume
from contrast_tasks.packet_filter.deny import close_ipv6, is_in_guest, lift_deny, told

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from contrast_tasks.api.meshapi import MeshCert
    from contrast_tasks.atls.types import Validators
    from contrast_tasks.evidence_documents import Issuer

RETRY_S = 5.0
# A fraction of the pause, added or subtracted, so that pods that start together do not keep asking together.
JITTER = 0.2
LOG_EVERY = 12
# The one above stands for "as it is". Source: POSIX, chown.
_MAX_ID = 2**32 - 2
# How long the first attempt waits for the vendor's endorsements; after that they are fetched in the background.
PREPARE_S = 5.0

Fetch = Callable[["ec.EllipticCurvePrivateKey"], "MeshCert"]
"""Asks the Coordinator for a certificate for a key; raises ContrastError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings from the environment."""

    host: str
    port: int
    secrets: Path
    done: Path
    reader: Reader
    retry_s: float
    volumes: Sequence[Volume]


def parse_options(environ: Mapping[str, str]) -> Options:
    """Return the settings. Raises SettingsError with the variable, its value and the expected form."""
    host, port = _coordinator(environ.get(variables.COORDINATOR_HOST, ""))
    return Options(
        host=host,
        port=port,
        secrets=Path(environ.get(variables.SECRETS_DIR) or "/contrast"),
        done=Path(environ.get(variables.DONE_FILE) or "/done"),
        reader=Reader(_number(environ, variables.KEY_UID), _number(environ, variables.KEY_GID)),
        retry_s=_seconds(environ.get(variables.RETRY_SECONDS, "")),
        volumes=parse_devices(environ.get(variables.CRYPTSETUP_DEVICE, ""), Places()),
    )


def _coordinator(text: str) -> tuple[str, int]:
    if not text:
        raise SettingsError("COORDINATOR_HOST is not set, wanted the coordinator's host")
    address = host_and_port(text, MESH_API_PORT)
    if address is None or not address[1]:
        raise SettingsError(f"COORDINATOR_HOST is {text!r}, wanted host or host:port")
    return address


def _number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    if not text:
        return None
    # Python refuses to read thousands of digits.
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= _MAX_ID):
        raise SettingsError(f"{name} is {text!r}, wanted a number up to {_MAX_ID}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text or RETRY_S)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 3600:  # noqa: PLR2004  # more than an hour is a mistake
        raise SettingsError(f"CONTRAST_RETRY_SECONDS is {text!r}, wanted seconds up to 3600")
    return seconds


def obtain(
    fetch: Fetch,
    *,
    key: "ec.EllipticCurvePrivateKey",
    now: Callable[[], datetime],
    pause: Callable[[], None],
    say: Say,
    held: Held | None = None,
) -> "MeshCert":
    """Ask the Coordinator until it returns consistent credentials, which come after those held by an earlier run.

    A refusal is not final, because the manifest may be set or changed at any time. Logs the first error, every twelfth
    one, and each that differs from the one before.
    """
    attempts, last = 0, ""
    while True:
        try:
            credentials = fetch(key)
            verify_credentials(credentials, key, now())
            if held is not None:
                verify_successor(held, credentials)
        except ContrastError as err:
            if str(err) != last or attempts % LOG_EVERY == 0:
                say(f"attempt {attempts + 1}: {err}")
            attempts, last = attempts + 1, str(err)
            pause()
        else:
            return credentials


def fetcher(options: Options, issuer: "Issuer", validators: "Validators | None" = None) -> Fetch:
    """Return the function that asks the Coordinator over attested TLS.

    validators: one of them must accept its evidence; None: it is not verified.
    """
    from contrast_tasks.api.meshapi import new_mesh_cert
    from contrast_tasks.atls.client import connect

    def fetch(key: "ec.EllipticCurvePrivateKey") -> "MeshCert":
        with connect(
            options.host,
            options.port,
            validators=validators,
            unverified=validators is None,
            issuer=issuer,
            client_key=key,
            now=datetime.now(UTC),
        ) as peer:
            return new_mesh_cert(peer.channel, timeout_s=30)

    return fetch


def prepared(fetch: Fetch, prepare: Callable[[], object]) -> Fetch:
    """Return `fetch` with something done before each time, as endorsements go stale between two renewals."""

    def fetch_again(key: "ec.EllipticCurvePrivateKey") -> "MeshCert":
        prepare()
        return fetch(key)

    return fetch_again


def run(environ: Mapping[str, str], say: Say) -> None:
    """Fetch and write the credentials. Raises ContrastError for faults that waiting cannot cure."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from contrast_tasks.attestation.issuers.environment import (
        issuer_from_environment,
        prepare,
        supply_from_environment,
    )

    options = parse_options(environ)
    supply = supply_from_environment(environ)
    issuer = issuer_from_environment(environ, supply)
    validators = validators_from_environment(environ, supply)
    files = SecretFiles.below(options.secrets)
    held = read_held(files)
    if is_in_guest(environ):
        _filter(environ, say, is_first=held is None)
    prepare(issuer, supply, wait_s=PREPARE_S)
    key = ec.generate_private_key(ec.SECP256R1())
    fetch = fetcher(options, issuer, validators)
    credentials = obtain(
        fetch,
        key=key,
        now=lambda: datetime.now(UTC),
        pause=lambda: time.sleep(options.retry_s * random.uniform(1 - JITTER, 1 + JITTER)),  # noqa: S311
        say=say,
        held=held,
    )
    try:
        # A restarted container is not ready before its volumes are open again.
        options.done.unlink(missing_ok=True)
        write_credentials(files, credentials, key, reader=options.reader)
        say(f"certificates are in {options.secrets}")
        if not options.volumes:
            write_atomic(options.done, b"")
    except OSError as err:
        raise SettingsError(f"cannot write {err.filename}: {err.strerror}") from err
    if options.volumes:
        if environ.get(variables.MESH_DISABLED):
            # With a mesh the sidecar does it.
            again = prepared(fetch, lambda: prepare(issuer, supply, wait_s=PREPARE_S))
            start_renewing(again, files, threading.Event(), say, reader=options.reader)
        hold(
            options.volumes,
            credentials.workload_secret,
            run_command,
            say,
            ready=lambda: _mark(options.done),
            wait=wait_for_signal,
        )


def _filter(environ: Mapping[str, str], say: Say, *, is_first: bool) -> None:
    """Let connections in for a pod without a mesh; for others complete the guest's rule, which leaves IPv6 open.

    is_first: no earlier run has finished, so the sidecar has not begun either.
    """
    if environ.get(variables.MESH_DISABLED):
        say(f"incoming connections are let in, {told(lift_deny())}")
    elif is_first and not close_ipv6():
        say("IPv6 connections cannot be dropped before the sidecar runs")


def _mark(done: Path) -> None:
    try:
        write_atomic(done, b"")
    except OSError as err:
        raise SettingsError(f"cannot write {done}: {err.strerror}") from err


def main() -> int:
    """Run in the pod; return the exit status."""
    say = begin("contrast-initializer")
    try:
        run(os.environ, say)
    except Terminated:
        say("terminated while waiting")
        return 2
    except ContrastError as err:
        say(f"error: {err}" + (f" ({err.hint})" if err.hint else ""))
        return 3 if isinstance(err, VolumeNotOpened) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
