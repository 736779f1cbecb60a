"""How guests reach the vendors, by environment variables.

CONTRAST_ENDORSEMENTS_FETCH     on or off; by default on, but off in a simulated guest
CONTRAST_ENDORSEMENTS_MIRRORS   address prefixes to replace, each as `PREFIX=REPLACEMENT`, separated by spaces
CONTRAST_ENDORSEMENTS_PROXY     http:// address of the proxy for these requests; overrides https_proxy
https_proxy, no_proxy           the usual proxy variables
SSL_CERT_FILE                   certificate authorities to trust instead of the system's
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial

from contrast_tasks import variables
from contrast_tasks.addresses import is_address, is_proxy
from contrast_tasks.attestation.endorsements.fetch import MAXIMUM_BODY_BYTES
from contrast_tasks.attestation.endorsements.supply import Network
from contrast_tasks.attestation.endorsements.thim import MAXIMUM_ANSWER_BYTES
from contrast_tasks.errors import SettingsError, UsageError
from contrast_tasks.web.answers import Answer

_BETWEEN = re.compile("=(?=https?://)")
_METADATA = {"Metadata": "true"}


def parse_mirrors(texts: Sequence[str]) -> dict[str, str]:
    """Return address prefix to replacement from `PREFIX=REPLACEMENT`; raises UsageError for one of another form."""
    mirrors: dict[str, str] = {}
    for text in texts:
        # A prefix may reach into a query, as `https://a/tcb?fmspc=`.
        prefix, replacement = (*_BETWEEN.split(text, maxsplit=1), "")[:2]
        if not all(map(is_address, (prefix, replacement))):
            # The text may hold a password.
            shown = repr(text) if "@" not in text else "one that names a user"
            raise UsageError(
                f"mirror is {shown}, wanted PREFIX=REPLACEMENT, both beginning with https:// or http:// and naming no user",
                hint="as --mirror https://kdsintf.amd.com=https://proxy.example/amd",
            )
        mirrors[prefix] = replacement
    return mirrors


def network_from_environment(environ: Mapping[str, str], *, default: bool) -> Network | None:
    """Return a guest's access to the vendors, None if fetching is off; `default`: whether it is on unless a variable is set.

    Raises SettingsError naming the invalid variable.
    """
    wanted = environ.get(variables.ENDORSEMENTS_FETCH) or ("on" if default else "off")
    if wanted not in {"on", "off"}:
        raise SettingsError(
            f"environment {variables.ENDORSEMENTS_FETCH} is '{wanted}', wanted on or off"
        )
    try:
        mirrors = parse_mirrors(environ.get(variables.ENDORSEMENTS_MIRRORS, "").split())
    except UsageError as err:
        raise SettingsError(
            f"environment {variables.ENDORSEMENTS_MIRRORS}: {err}", hint=err.hint
        ) from err
    if wanted == "off":
        return None
    proxy = environ.get(variables.ENDORSEMENTS_PROXY, "")
    if proxy and not is_proxy(proxy):
        raise SettingsError(
            f"environment {variables.ENDORSEMENTS_PROXY} is invalid, wanted an address that begins with http:// and names no user"
        )
    return Network(get=partial(_get, proxy=proxy), get_from_host=_get_from_host, mirrors=mirrors)


def _get(url: str, timeout_s: float, *, proxy: str) -> Answer:
    from contrast_tasks.web.client import Bound, fetch_once

    return fetch_once(url, Bound(max_bytes=MAXIMUM_BODY_BYTES, seconds=timeout_s), proxy=proxy)


def _get_from_host(url: str, timeout_s: float) -> Answer:
    from contrast_tasks.web.client import Bound, fetch_once

    bound = Bound(max_bytes=MAXIMUM_ANSWER_BYTES, seconds=timeout_s)
    return fetch_once(url, bound, headers=_METADATA, direct=True)
