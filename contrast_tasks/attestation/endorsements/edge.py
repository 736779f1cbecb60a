"""How commands reach the vendors: the network, the user's cache folder, the clock."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from contrast_tasks.attestation.endorsements.fetch import (
    MAXIMUM_BODY_BYTES,
    Access,
    EndorsementCache,
    Endorsements,
)
from contrast_tasks.web.answers import Answer


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder for endorsements: below CONTRAST_CACHE_DIR, else the user's cache directory."""
    if chosen := environ.get("CONTRAST_CACHE_DIR"):
        return Path(chosen) / "endorsements"
    base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "contrast-tasks" / "endorsements"


def http_get(url: str, timeout_s: float, *, proxy: str = "") -> Answer:
    """Ask for one address by HTTP, in a command. Raises NoAnswer.

    Trusted are the system's authorities and those that the user names, by default the ones that certifi brings.
    proxy: in place of the environment's.
    """
    import certifi

    from contrast_tasks.web.client import Bound, fetch_once, named_authorities

    bound = Bound(max_bytes=MAXIMUM_BODY_BYTES, seconds=timeout_s)
    authorities = (named_authorities(os.environ) or certifi.where(),)
    return fetch_once(url, bound, proxy=proxy, authorities=authorities)


def open_endorsements(
    *,
    environ: Mapping[str, str],
    offline: bool,
    mirrors: Mapping[str, str],
    proxy: str,
    tell: Callable[[str], None],
) -> Endorsements:
    """Return the vendors' publications through the user's cache.

    offline: never use the network. mirrors: address prefix to its replacement. proxy: "" is the environment's.
    tell: is given a line that says why people wait.
    """
    get = None if offline else partial(http_get, proxy=proxy)
    access = Access(get=get, mirrors=mirrors, tell=tell)
    return Endorsements(EndorsementCache(cache_folder(environ)), access)
