"""The edge of endorsements: the real network, the user's cache folder, the clock that waits."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from contrast_tasks.attestation.endorsements.fetch import (
    MAXIMUM_BODY_BYTES,
    Access,
    Answer,
    EndorsementCache,
    Endorsements,
    FetchFailed,
)

_PIECE_BYTES = 64 * 1024


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder for endorsements: below CONTRAST_CACHE_DIR, else the user's cache directory."""
    if chosen := environ.get("CONTRAST_CACHE_DIR"):
        return Path(chosen) / "endorsements"
    base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "contrast-tasks" / "endorsements"


def http_get(url: str, timeout_s: float) -> Answer:
    """Ask for one address by HTTP; no redirects, no credentials of the user, at most 4 MiB and one byte.

    The vendors' services need neither, and everything that comes is verified against pinned roots. Raises FetchFailed.
    """
    import requests

    session = requests.Session()
    session.auth = lambda request: request  # keeps netrc out
    deadline = time.monotonic() + timeout_s
    try:
        with session.get(url, timeout=timeout_s, allow_redirects=False, stream=True) as response:
            pieces, size = [], 0
            for piece in response.iter_content(_PIECE_BYTES):
                pieces.append(piece)
                size += len(piece)
                if size > MAXIMUM_BODY_BYTES:
                    break
                if time.monotonic() > deadline:
                    raise FetchFailed("the answer takes too long")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(status=response.status_code, headers=headers, body=b"".join(pieces))
    except requests.RequestException as err:
        raise FetchFailed(type(err).__name__) from err
    finally:
        session.close()


def open_endorsements(
    *,
    environ: Mapping[str, str] | None = None,
    offline: bool = False,
    mirrors: Mapping[str, str] | None = None,
) -> Endorsements:
    """Return the vendors' publications through the user's cache.

    offline: never touch the network. mirrors: address prefix to its replacement; the proxy variables of the environment
    are honoured besides.
    """
    access = Access(
        get=None if offline else http_get,
        sleep=time.sleep,
        monotonic=time.monotonic,
        mirrors=mirrors or {},
    )
    return Endorsements(EndorsementCache(cache_folder(environ or os.environ)), access)
