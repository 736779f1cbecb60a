"""Renewal of a pod's certificates before they end, by what of ours lives as long as the pod: the sidecar, or what holds its volumes.

The initializer's way of asking is used, and its key stays: so there is no moment in which a reader finds the key of one set and
the certificate of another. Source: docs/internals/runtime.md 7.5.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from contrast_tasks.errors import ContrastError
from contrast_tasks.guest.credentials import (
    BadCredentials,
    Held,
    read_held,
    verify_credentials,
    verify_successor,
)
from contrast_tasks.guest.process import Say
from contrast_tasks.guest.secret_files import NO_READER, Reader, SecretFiles, write_credentials

if TYPE_CHECKING:
    from contrast_tasks.guest.initializer import Fetch

# Of the certificate's life: late enough to be rare, early enough to try often. Pods that start together spread.
_SHARES = (0.60, 0.70)
_RETRY_S = 60.0
# Also the longest sleep: the clock of a guest may be set while it runs.
LONGEST_S = 3600.0

Wait = Callable[[float], bool]
"""Waits so many seconds; returns True at once if it is time to end."""


def start_renewing(
    fetch: "Fetch", files: SecretFiles, stop: threading.Event, say: Say, *, reader: Reader
) -> None:
    """Keep the certificates renewed until `stop` is set, by a thread that ends with this process."""
    arguments = {
        "now": lambda: datetime.now(UTC),
        "wait": stop.wait,
        "say": say,
        "reader": reader,
    }
    threading.Thread(
        target=keep_renewed, args=(fetch, files), kwargs=arguments, name="renewal", daemon=True
    ).start()


def keep_renewed(
    fetch: "Fetch",
    files: SecretFiles,
    *,
    now: Callable[[], datetime],
    wait: Wait,
    say: Say,
    reader: Reader = NO_READER,
    share: float | None = None,
) -> None:
    """Renew the certificates whenever it is time, until `wait` says to end; what fails is tried again.

    share: of the certificate's life after which it is renewed.
    """
    chosen = random.uniform(*_SHARES) if share is None else share  # noqa: S311  # no secret
    retry_s = _RETRY_S
    while True:
        held = read_held(files)
        if held is None:
            say("the certificates cannot be read, so they are not renewed")
            return
        remaining_s = (due(held, chosen) - now()).total_seconds()
        if remaining_s > 0:
            if wait(min(remaining_s, LONGEST_S)):
                return
            continue
        try:
            renew(fetch, held, files, now=now(), reader=reader)
        except (ContrastError, OSError) as err:
            ends = held.leaf.not_valid_after_utc
            say(f"certificates that end at {ends:%Y-%m-%d %H:%M} UTC were not renewed: {err}")
            # Of a short life there are always several attempts left.
            left_s = (ends - now()).total_seconds()
            if wait(min(retry_s, max(_RETRY_S, left_s / 4))):
                return
            retry_s = min(2 * retry_s, LONGEST_S)
        else:
            say("certificates were renewed")
            retry_s = _RETRY_S


def due(held: Held, share: float) -> datetime:
    """Return when the certificate is to be renewed."""
    begins, ends = held.leaf.not_valid_before_utc, held.leaf.not_valid_after_utc
    return begins + share * (ends - begins)


def renew(
    fetch: "Fetch", held: Held, files: SecretFiles, *, now: datetime, reader: Reader = NO_READER
) -> None:
    """Ask for a certificate of the key that is held, and write it. Raises ContrastError, OSError; then nothing has changed."""
    credentials = fetch(held.key)
    verify_credentials(credentials, held.key, now)
    verify_successor(held, credentials)
    if credentials.workload_secret not in {None, held.secret}:
        raise BadCredentials(
            "the workload secret is another one than before", hint="restart the pod to use it"
        )
    kept = replace(credentials, workload_secret=held.secret)
    write_credentials(files, kept, held.key, reader=reader)
