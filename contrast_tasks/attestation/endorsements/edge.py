"""How commands reach the vendors: network and the user's cache folder."""

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
from contrast_tasks.files import cache_folder
from contrast_tasks.web.answers import Answer


def endorsements_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of kept endorsements."""
    return cache_folder(environ) / "endorsements"


def http_get(url: str, timeout_s: float, *, proxy: str = "") -> Answer:
    """Fetch one address by HTTP. Raises NoAnswer.

    Trusts the system's certificate authorities and the ones that the user names, by default those of certifi.
    proxy: URL of the HTTP proxy; overrides the environment.
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
    """Return access to the vendors' publications through the user's cache.

    offline: never use the network. mirrors: address prefix to its replacement. proxy: URL of the HTTP proxy, "" for the
    environment's. tell: called with a line for the user before a wait.
    """
    get = None if offline else partial(http_get, proxy=proxy)
    access = Access(get=get, mirrors=mirrors, tell=tell)
    return Endorsements(EndorsementCache(endorsements_folder(environ)), access)
