"""The shape of contrast.toml, checked with the standard library only because every run loads it.

schemas/settings.schema.json says the same for editors and for the check step; a test holds both together.
The classes are named tuples because those take a sixth of a dataclass's time to make.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from contrast_tasks.addresses import is_address, is_proxy
from contrast_tasks.platforms import NAMES, did_you_mean
from contrast_tasks.pods.quantities import MEMORY_PATTERN
from contrast_tasks.pods.workload_kinds import WORKLOAD_KINDS
from contrast_tasks.pointers import Path
from contrast_tasks.sans import san_kind

_NAME = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
# Compiled on first use: every run imports this module, few files hold everything.
_WORKLOAD = rf"(?:{_NAME}/)?(?P<kind>[A-Za-z]+)/{_NAME}(?:\.{_NAME})*"
_ENV_NAME = r"[-._a-zA-Z][-._a-zA-Z0-9]*"
_SURROGATE = re.compile("[\ud800-\udfff]")
_BARE_KEY = r"[A-Za-z0-9_-]+"
_HEX = frozenset("0123456789abcdefABCDEF")


class Leaf(NamedTuple):
    """One value: what it must be, in words, and whether a value is that; hint: for a value like none of `known`."""

    wanted: str
    accepts: Callable[[Any], bool]
    known: tuple[str, ...] = ()
    hint: str = ""


class Table(NamedTuple):
    """A table with a fixed set of keys."""

    keys: Mapping[str, "Leaf | Table | Map"]


class Map(NamedTuple):
    """A table whose keys the user chooses."""

    key: Leaf
    value: "Leaf | Table"


class Problem(NamedTuple):
    """One thing wrong at `path`; `hint` may be empty."""

    path: Path
    message: str
    hint: str = ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_inner_path(value: Any) -> bool:
    if not _is_text(value) or value.startswith("/"):
        return False
    parts = [part for part in value.split("/") if part not in ("", ".")]
    return bool(parts) and ".." not in parts


def _is_integer(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _hex(size_bytes: int) -> Leaf:
    return Leaf(
        wanted=f"{2 * size_bytes} hex digits",
        accepts=lambda value: (
            isinstance(value, str) and len(value) == 2 * size_bytes and _HEX.issuperset(value)
        ),
    )


def _list_of(leaf: Leaf, wanted: str, *, least: int = 0) -> Leaf:
    return Leaf(
        wanted=wanted,
        accepts=lambda value: (
            isinstance(value, list) and len(value) >= least and all(map(leaf.accepts, value))
        ),
    )


def _is_workload_key(value: Any) -> bool:
    match = re.fullmatch(_WORKLOAD, value)
    return match is not None and match["kind"] in WORKLOAD_KINDS


_TEXT = Leaf(wanted="a string that is not empty", accepts=_is_text)
_ANY_TEXT = Leaf(wanted="a string", accepts=lambda value: isinstance(value, str))
_BOOL = Leaf(wanted="true or false", accepts=lambda value: isinstance(value, bool))
_PATHS = _list_of(_TEXT, "an array of strings that are not empty")
_INNER_PATH = Leaf(wanted="a relative path inside the project", accepts=_is_inner_path)
_ADDRESS = Leaf(
    wanted="an address that begins with https:// or http:// and names no user",
    accepts=lambda value: isinstance(value, str) and is_address(value),
)
_PROXY = Leaf(
    wanted="an address that begins with http:// and names no user, as http://proxy.example:3128",
    accepts=lambda value: isinstance(value, str) and is_proxy(value),
)
_SAN = Leaf(
    wanted="an IP address, a DNS name or a URI",
    accepts=lambda value: isinstance(value, str) and san_kind(value) is not None,
)
_QUANTITY_LEAF = Leaf(
    wanted='a memory quantity such as "700Mi"',
    accepts=lambda value: isinstance(value, str) and bool(re.fullmatch(MEMORY_PATTERN, value)),
)
_SVN = Leaf(wanted="an integer from 0 to 255", accepts=_is_integer(0, 255))
_SVN16 = Leaf(wanted="an integer from 0 to 65535", accepts=_is_integer(0, 65535))
_PRODUCTS = ("Milan", "Genoa")
_PRODUCT = Leaf(wanted="Milan or Genoa", accepts=lambda value: value in _PRODUCTS, known=_PRODUCTS)

_WORKLOAD_TABLE = Table(
    keys={
        "ingress": _ANY_TEXT,
        "egress": _ANY_TEXT,
        "admin_port": Leaf(wanted="a port from 1 to 65535", accepts=_is_integer(1, 65535)),
        "env": Map(
            key=Leaf(
                wanted="the name of an environment variable",
                accepts=lambda value: bool(re.fullmatch(_ENV_NAME, value)),
            ),
            value=_ANY_TEXT,
        ),
        "sans": _list_of(_SAN, "an array of IP addresses, DNS names or URIs"),
        "memory": _QUANTITY_LEAF,
        "runtime_class": _BOOL,
        "secret_id": _TEXT,
    }
)
_SNP_TABLE = Table(
    keys={
        "trusted_measurement": _hex(48),
        "minimum_tcb": Table(
            keys={"bootloader": _SVN, "tee": _SVN, "snp": _SVN, "microcode": _SVN}
        ),
        "platform_info": Table(
            keys=dict.fromkeys(
                (
                    "smt_enabled",
                    "tsme_enabled",
                    "ecc_enabled",
                    "rapl_disabled",
                    "ciphertext_hiding_dram_enabled",
                    "alias_check_complete",
                    "tio_enabled",
                ),
                _BOOL,
            )
        ),
        "allowed_chip_ids": _list_of(_hex(64), "an array of 128 hex digits each"),
        "allow_vlek": _BOOL,
    }
)
_TDX_TABLE = Table(
    keys={
        "mr_td": _hex(48),
        "rtmrs": Leaf(
            wanted="an array of four times 96 hex digits",
            accepts=lambda value: (
                isinstance(value, list) and len(value) == 4 and all(map(_hex(48).accepts, value))  # noqa: PLR2004  # RTMR0..3
            ),
        ),
        "mr_seam": _hex(48),
        "minimum_tee_tcb_svn": _hex(16),
        "minimum_qe_svn": _SVN16,
        "minimum_pce_svn": _SVN16,
        "xfam": _hex(8),
        "td_attributes": _hex(8),
        "allowed_piids": _list_of(_hex(16), "an array of 32 hex digits each"),
        "memory_integrity": _BOOL,
        "allow_quote_v5": _BOOL,
    }
)

SHAPE = Table(
    keys={
        "platform": Leaf(
            wanted=f"one of {', '.join(NAMES)}",
            accepts=lambda value: isinstance(value, str) and value.lower() in NAMES,
            known=NAMES,
            hint="local is this machine, the others name the runtime of a cluster",
        ),
        "sources": _list_of(_TEXT, "an array of at least one string, none of them empty", least=1),
        "build_dir": _INNER_PATH,
        "manifest": _INNER_PATH,
        "lock": _INNER_PATH,
        "defaults": Table(
            keys={
                "runtime_class": _BOOL,
                "memory": _QUANTITY_LEAF,
                "initializer": _BOOL,
                "service_mesh": _BOOL,
            }
        ),
        "images": Table(keys={"layouts": _PATHS}),
        "components": Table(
            keys={"initializer": _TEXT, "service_mesh": _TEXT, "coordinator": _TEXT}
        ),
        "coordinator": Table(keys={"include": _BOOL}),
        "owners": Table(keys={"workload": _PATHS, "seedshare": _PATHS, "disable_updates": _BOOL}),
        "reference_values": Table(
            keys={
                "file": _TEXT,
                "products": _list_of(_PRODUCT, "an array of Milan, Genoa or both", least=1),
                "snp": Map(key=_PRODUCT, value=_SNP_TABLE),
                "tdx": _TDX_TABLE,
            }
        ),
        "endorsements": Table(keys={"mirrors": Map(key=_ADDRESS, value=_ADDRESS), "proxy": _PROXY}),
        "workloads": Map(
            key=Leaf(
                wanted='"<Kind>/<name>" or "<namespace>/<Kind>/<name>" with a kind of '
                + ", ".join(sorted(WORKLOAD_KINDS)),
                accepts=_is_workload_key,
                known=tuple(sorted(WORKLOAD_KINDS)),
            ),
            value=_WORKLOAD_TABLE,
        ),
    }
)


def shown(value: Any) -> str:
    """Return how a TOML value is quoted in a message: its kind for tables and arrays, itself otherwise."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        wrong = [shown(element) for element in value[:8]]
        return f"[{', '.join(wrong)}{', ...' if len(value) > len(wrong) else ''}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{_without_user(value)}"' if isinstance(value, str) else str(value)


def _without_user(text: str) -> str:
    """Return a text without the user and the password that an address in it names."""
    return re.sub(r"://\S*@", "://...@", text)


def dotted(path: Path) -> str:
    """Return a path as TOML writes it, quoting what is not a bare key."""
    return ".".join(
        str(part) if re.fullmatch(_BARE_KEY, str(part)) else f'"{part}"' for part in path
    )


def _strange(value: Any) -> str:
    """Return what no file of ours can hold of a string, or of the strings of an array; empty if there is nothing."""
    texts = value if isinstance(value, list) else [value]
    text = "".join(part for part in texts if isinstance(part, str))
    if "\0" in text:
        return "a NUL character"
    # From the command line and the environment, where bytes that are no text arrive as these.
    return "bytes that are not UTF-8" if _SURROGATE.search(text) else ""


def _check_key(key: str, rule: Leaf, path: Path) -> Iterator[Problem]:
    if rule.accepts(key):
        return
    # Of a workload's key it is the kind that may be mistyped.
    guessed = key.split("/")[-2:][0]
    hint = "" if guessed in rule.known else did_you_mean(guessed, rule.known)
    yield Problem(path=path, message=f"'{_without_user(key)}' is not {rule.wanted}", hint=hint)


def check(value: Any, shape: Leaf | Table | Map = SHAPE, path: Path = ()) -> Iterator[Problem]:
    """Yield every problem of a parsed document, in the order of its keys."""
    if isinstance(shape, Leaf):
        if strange := _strange(value):
            message = f"{dotted(path)} holds {strange}, expected {shape.wanted} without"
            yield Problem(path=path, message=message)
        elif not shape.accepts(value):
            near = did_you_mean(value, shape.known) if isinstance(value, str) else ""
            message = f"{dotted(path)} is {shown(value)}, expected {shape.wanted}"
            yield Problem(path=path, message=message, hint=near or shape.hint)
        return
    if not isinstance(value, dict):
        yield Problem(path=path, message=f"{dotted(path)} is {shown(value)}, expected a table")
        return
    for key, element in value.items():
        inner = (*path, key)
        if isinstance(shape, Map):
            yield from _check_key(key, shape.key, inner)
            yield from check(element, shape.value, inner)
        elif key in shape.keys:
            yield from check(element, shape.keys[key], inner)
        else:
            known = tuple(shape.keys)
            place = f" in [{dotted(path)}]" if path else ""
            yield Problem(
                path=inner,
                message=f"unknown key '{key}'{place}, expected one of {', '.join(known)}",
                hint=did_you_mean(key, known),
            )


def fixed_leaves(shape: Table = SHAPE, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all values that do not lie below a key the user chooses."""
    for key, value in shape.keys.items():
        if isinstance(value, Leaf):
            yield (*path, key)
        elif isinstance(value, Table):
            yield from fixed_leaves(value, (*path, key))


def leaf_at(path: tuple[str, ...]) -> Leaf:
    """Return the leaf at a path of `fixed_leaves`."""
    shape: Leaf | Table | Map = SHAPE
    for part in path:
        shape = shape.keys[part]  # type: ignore[union-attr]  # the path comes from fixed_leaves
    return shape  # type: ignore[return-value]  # the path ends at a leaf


def workload_key(key: str) -> str:
    """Return the one spelling of a workload's key: without the namespace when that is `default`."""
    return key.removeprefix("default/")
