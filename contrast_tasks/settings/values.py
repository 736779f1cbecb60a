"""What the values of settings look like: names, paths, addresses, quantities.

Source: docs/internals/graph.md 4.
"""

from typing import Any

from contrast_tasks import lifetimes, sans
from contrast_tasks.addresses import is_address, is_proxy
from contrast_tasks.declare.shapes import TEXT, Leaf, List, text
from contrast_tasks.platforms import HANDLER_PREFIX, NAMES, why_refused
from contrast_tasks.pods.quantities import MEMORY_PATTERN
from contrast_tasks.pods.workload_kinds import WORKLOAD_KINDS
from contrast_tasks.releases.table import RELEASE_NAMES

_KINDS = tuple(sorted(WORKLOAD_KINDS))
_NAME = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"


def _any_case(words: tuple[str, ...]) -> str:
    """Return the pattern of words in any case; JSON Schema has no flag for that."""
    letters = (
        f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in "|".join(words)
    )
    return f"^(?:{''.join(letters)})$"


def _is_inner_path(value: Any) -> bool:
    if not TEXT.accepts(value) or value.startswith("/"):
        return False
    parts = [part for part in value.split("/") if part not in ("", ".")]
    return bool(parts) and ".." not in parts


PLATFORM = Leaf(
    f"one of {', '.join(NAMES)}",
    lambda value: isinstance(value, str) and value.lower() in NAMES,
    {"type": "string", "pattern": _any_case(NAMES)},
    known=NAMES,
    hint="local is this machine, the others name the runtime of a cluster",
    explain=why_refused,
)
RELEASE = text("a release such as v1.21.0", r"v?[0-9]+(?:\.[0-9]+){1,2}", known=RELEASE_NAMES)
HANDLER = text(
    f"{HANDLER_PREFIX}<platform>-<8 hex digits>",
    rf"{HANDLER_PREFIX}(?:{'|'.join(NAMES)})-[0-9a-f]{{8}}",
)
INNER_PATH = Leaf(
    "a relative path inside the project",
    _is_inner_path,
    {
        "type": "string",
        "pattern": r"^(?!/)(?!(?:[\s\S]*/)?\.\.(?:/|$))(?!(?:\.?/)*\.?$)[\s\S]*\S",
    },
)
PATHS = List(TEXT, "an array of strings that are not empty")
ADDRESS = Leaf(
    "an address that begins with https:// or http:// and names no user",
    lambda value: isinstance(value, str) and is_address(value),
    {"type": "string", "pattern": r"^https?://[^@/\s]+(?:/\S*)?$"},
)
MIRROR = text(
    "an address that begins with https:// or http://, with {archive} where the archive's name stands",
    r"https?://[^@/\s]+(?:/\S*)?",
)
PROXY = Leaf(
    "an address that begins with http:// and names no user, as http://proxy.example:3128",
    lambda value: isinstance(value, str) and is_proxy(value),
    {"type": "string", "pattern": r"^http://[^@/\s]+/?$"},
)
SAN = Leaf(
    "an IP address, a DNS name or a URI",
    lambda value: isinstance(value, str) and sans.san_kind(value) is not None,
    sans.SCHEMA,
)
LABEL = text(
    "a name of at most 53 lower-case letters, digits and dashes", rf"(?=.{{1,53}}$){_NAME}"
)
NAMESPACE = text(
    "a name of at most 63 lower-case letters, digits and dashes", rf"(?=.{{1,63}}$){_NAME}"
)
QUANTITY = text('a memory quantity such as "700Mi"', MEMORY_PATTERN)
LIFETIME = text(f'{lifetimes.WANTED}, such as "24h"', lifetimes.PATTERN)
STORE_SIZE = text('a quantity such as "10Gi", or "0" for none', rf"0|{MEMORY_PATTERN}")
# Source: Kubernetes, validation of user and group ids: 0 to 2^31 - 1.
USER = text(
    'the number of a user, or of a user and a group, such as "65534:65534"',
    r"[0-9]{1,9}(?::[0-9]{1,9})?",
)
# What pulls images in the guest matches no ports and no addresses. Source: docs/internals/runtime.md 10.
REGISTRY = text(
    "the host name of a registry without a port, `.example` for those below one, or `.` for all others",
    rf"\.|\.?(?:{_NAME}\.)*[a-z](?:[a-z0-9-]*[a-z0-9])?",
)
_ANY_NAMESPACE = r"[a-z0-9*](?:[a-z0-9*-]*[a-z0-9*])?"
# What the API server completes a generated name of ends in a dash.
_ANY_NAME = r"[a-z0-9*](?:[a-z0-9.*-]*[a-z0-9*-])?"


def _keys(kinds: tuple[str, ...]) -> str:
    """Return the pattern of the names of objects with `*` in any part: `*`, `shop/*`, `Kind/web-*`, `shop/Kind/web`."""
    return rf"\*|{_ANY_NAMESPACE}/\*|(?:{_ANY_NAMESPACE}/)?(?:{'|'.join(kinds)}|\*)/{_ANY_NAME}"


WORKLOAD_KEY = text(
    '"<Kind>/<name>" or "<namespace>/<Kind>/<name>", with * for any characters, or "<namespace>/*" or "*"; a kind is one of '
    + ", ".join(_KINDS),
    _keys(_KINDS),
    known=_KINDS,
)
_CONFIGS = ("ConfigMap", "Secret")
CONFIG_KEY = text(
    '"<Kind>/<name>" or "<namespace>/<Kind>/<name>" with the kind ConfigMap or Secret, and * for any characters',
    rf"(?:{_ANY_NAMESPACE}/)?(?:{'|'.join(_CONFIGS)})/{_ANY_NAME}",
    known=_CONFIGS,
)
CONTAINER = text("the name of a container", _NAME)
VOLUME = text('the name of a volume or claim, or "*"', rf"\*|(?=.{{1,63}}$){_NAME}")
# Where a name has other characters, as the dots of nvidia.com/gpu, * stands for each.
FIELD = text(
    "a field of the pod's spec such as hostNetwork or containers.web.securityContext.seLinuxOptions",
    r"[a-zA-Z0-9_*-]+(?:\.[a-zA-Z0-9_*-]+)*",
)
VARIABLE = text("the name of an environment variable", r"[-._a-zA-Z][-._a-zA-Z0-9]*")
