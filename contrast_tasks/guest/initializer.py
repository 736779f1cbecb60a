"""The initializer: proves to the Coordinator what runs in this pod and fetches its certificates.

`python -m contrast_tasks.guest.initializer`, settings from the environment:

COORDINATOR_HOST             host or host:port of the Coordinator's mesh API, required; port 7777 by default
CONTRAST_SECRETS_DIR         where the files go, default /contrast
CONTRAST_DONE_FILE           start-up marker, default /done
CONTRAST_KEY_GID             group that may read the private files too; nobody by default
CONTRAST_RETRY_SECONDS       pause between attempts, default 5
CONTRAST_ENDORSEMENTS        folder of what the host does not deliver, default /var/lib/contrast-endorsements
CONTRAST_ENDORSEMENTS_FETCH  on or off: whether the vendor is asked for what that folder lacks; network.py knows mirrors
CONTRAST_EVIDENCE            hardware, which is the default, or a simulated processor

CRYPTSETUP_DEVICE            an encrypted volume; refused, as this version opens none

Exit status: 0 done, 1 configuration, 2 terminated while waiting, 3 encrypted volume. The Coordinator's evidence is not judged: it
judges ours, and whoever answers cannot make certificates that peers under the verified mesh CA accept.
Source: docs/internals/runtime.md 7.
"""

import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks import variables
from contrast_tasks.addresses import MESH_API_PORT, host_and_port
from contrast_tasks.errors import ContrastError, SettingsError
from contrast_tasks.files import write_atomic
from contrast_tasks.guest.credentials import verify_credentials
from contrast_tasks.guest.process import Say, Terminated, begin
from contrast_tasks.guest.secret_files import SecretFiles, write_credentials

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from contrast_tasks.api.meshapi import MeshCert
    from contrast_tasks.atls.types import Issuer

RETRY_S = 5.0
# A fraction of the pause, both ways, so that pods that start together do not go on asking together.
JITTER = 0.2
LOG_EVERY = 12
# How long the first attempt waits for what this guest's evidence needs from the vendor; then the fetching goes on beside it.
PREPARE_S = 5.0

Fetch = Callable[["ec.EllipticCurvePrivateKey"], "MeshCert"]
"""Asks the Coordinator for a certificate of a key; raises ContrastError."""


class VolumeNotOpened(SettingsError):
    """The pod wants an encrypted volume, which this version cannot open; without it data would be lost with the guest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The environment, understood."""

    host: str
    port: int
    secrets: Path
    done: Path
    key_gid: int | None
    retry_s: float


def parse_options(environ: Mapping[str, str]) -> Options:
    """Return the settings; raise SettingsError naming the variable, what it holds and what is wanted."""
    host, port = _coordinator(environ.get(variables.COORDINATOR_HOST, ""))
    return Options(
        host=host,
        port=port,
        secrets=Path(environ.get(variables.SECRETS_DIR) or "/contrast"),
        done=Path(environ.get(variables.DONE_FILE) or "/done"),
        key_gid=_group(environ.get(variables.KEY_GID, "")),
        retry_s=_seconds(environ.get(variables.RETRY_SECONDS, "")),
    )


def _coordinator(text: str) -> tuple[str, int]:
    if not text:
        raise SettingsError("COORDINATOR_HOST is not set, wanted the coordinator's host")
    found = host_and_port(text, MESH_API_PORT)
    if found is None or not found[1]:
        raise SettingsError(f"COORDINATOR_HOST is {text!r}, wanted host or host:port")
    return found


def _group(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise SettingsError(f"CONTRAST_KEY_GID is {text!r}, wanted a numeric group id")
    return int(text)


def _seconds(text: str) -> float:
    try:
        found = float(text or RETRY_S)
    except ValueError:
        found = -1.0
    if not 0 < found <= 3600:  # noqa: PLR2004  # an hour between attempts is a typing error
        raise SettingsError(f"CONTRAST_RETRY_SECONDS is {text!r}, wanted seconds up to 3600")
    return found


def obtain(
    fetch: Fetch,
    *,
    key: "ec.EllipticCurvePrivateKey",
    now: Callable[[], datetime],
    pause: Callable[[], None],
    say: Say,
) -> "MeshCert":
    """Ask until the Coordinator gives credentials that hold together.

    A refusal is not final: the manifest may be set or changed any moment. Says the first error, every twelfth, and
    each one that differs from the error before.
    """
    attempts, last = 0, ""
    while True:
        try:
            credentials = fetch(key)
            verify_credentials(credentials, key, now())
        except ContrastError as err:
            if str(err) != last or attempts % LOG_EVERY == 0:
                say(f"attempt {attempts + 1}: {err}")
            attempts, last = attempts + 1, str(err)
            pause()
        else:
            return credentials


def fetcher(options: Options, issuer: "Issuer") -> Fetch:
    """Return how the Coordinator is asked over attested TLS; its evidence is not judged."""
    from contrast_tasks.api.meshapi import new_mesh_cert
    from contrast_tasks.atls.client import connect

    def fetch(key: "ec.EllipticCurvePrivateKey") -> "MeshCert":
        with connect(
            options.host,
            options.port,
            validators=None,
            unverified=True,
            issuer=issuer,
            client_key=key,
            now=datetime.now(UTC),
        ) as peer:
            return new_mesh_cert(peer.channel, timeout_s=30)

    return fetch


def run(environ: Mapping[str, str], say: Say) -> None:
    """Fetch and write the credentials; raise ContrastError for what waiting cannot cure."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from contrast_tasks.attestation.issuers.environment import (
        issuer_from_environment,
        prepare,
        supply_from_environment,
    )

    options = parse_options(environ)
    if device := environ.get("CRYPTSETUP_DEVICE"):
        raise VolumeNotOpened(f"cannot open the encrypted volume on {device}: not supported yet")
    supply = supply_from_environment(environ)
    issuer = issuer_from_environment(environ, supply=supply)
    prepare(issuer, supply, wait_s=PREPARE_S)
    key = ec.generate_private_key(ec.SECP256R1())
    credentials = obtain(
        fetcher(options, issuer),
        key=key,
        now=lambda: datetime.now(UTC),
        pause=lambda: time.sleep(options.retry_s * random.uniform(1 - JITTER, 1 + JITTER)),  # noqa: S311
        say=say,
    )
    try:
        files = SecretFiles.below(options.secrets)
        write_credentials(files, credentials, key, key_gid=options.key_gid)
        write_atomic(options.done, b"")
    except OSError as err:
        raise SettingsError(f"cannot write {err.filename}: {err.strerror}") from err
    say(f"certificates are in {options.secrets}")


def main() -> int:
    """Run in the pod; return the exit status."""
    say = begin("contrast-initializer")
    try:
        run(os.environ, say)
    except Terminated:
        say("terminated while waiting")
        return 2
    except ContrastError as err:
        say(f"error: {err}")
        return 3 if isinstance(err, VolumeNotOpened) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
