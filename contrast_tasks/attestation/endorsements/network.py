"""How vendors are reached, as flags and environments say it.

CONTRAST_ENDORSEMENTS_FETCH     on or off; a guest asks vendors by default, a simulated one does not
CONTRAST_ENDORSEMENTS_MIRRORS   `PREFIX=REPLACEMENT` for each address that another one stands in for, with spaces between
https_proxy, no_proxy, ...      as everywhere; SSL_CERT_FILE names authorities in the system's place
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial

from contrast_tasks.attestation.endorsements.fetch import Answer
from contrast_tasks.attestation.endorsements.supply import Network
from contrast_tasks.errors import SettingsError, UsageError

VARIABLE_FETCH = "CONTRAST_ENDORSEMENTS_FETCH"
VARIABLE_MIRRORS = "CONTRAST_ENDORSEMENTS_MIRRORS"
_ADDRESS = re.compile(r"https?://[^@/\s]+(?:/\S*)?")
_METADATA = {"Metadata": "true"}


def parse_mirrors(texts: Sequence[str]) -> dict[str, str]:
    """Return address prefix to replacement from `PREFIX=REPLACEMENT`; raises UsageError for one of another form."""
    mirrors: dict[str, str] = {}
    for text in texts:
        prefix, _, replacement = text.partition("=")
        if not all(_ADDRESS.fullmatch(part) for part in (prefix, replacement)):
            # A user's password may stand in it.
            shown = repr(text) if "@" not in text else "one that names a user"
            raise UsageError(
                f"mirror is {shown}, wanted PREFIX=REPLACEMENT, both beginning with https:// or http:// and naming no user",
                hint="as --mirror https://kdsintf.amd.com=https://proxy.example/amd",
            )
        mirrors[prefix] = replacement
    return mirrors


def network_from_environment(environ: Mapping[str, str], *, default: bool) -> Network | None:
    """Return how a guest reaches vendors, None if it shall not; `default` decides where the environment does not say.

    Raises SettingsError naming the variable that is not understood.
    """
    wanted = environ.get(VARIABLE_FETCH) or ("on" if default else "off")
    if wanted not in {"on", "off"}:
        raise SettingsError(f"environment {VARIABLE_FETCH} is '{wanted}', wanted on or off")
    try:
        mirrors = parse_mirrors(environ.get(VARIABLE_MIRRORS, "").split())
    except UsageError as err:
        raise SettingsError(f"environment {VARIABLE_MIRRORS}: {err}", hint=err.hint) from err
    if wanted == "off":
        return None
    return Network(get=_get, get_from_host=partial(_get, from_host=True), mirrors=mirrors)


def _get(url: str, timeout_s: float, *, from_host: bool = False) -> Answer:
    from contrast_tasks.attestation.endorsements.http import http_get

    headers = _METADATA if from_host else {}
    return http_get(url, timeout_s, headers=headers, direct=from_host)
