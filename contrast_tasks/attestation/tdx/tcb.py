"""Intel's statements about patch levels: TCB info and QE identity. `levels` finds the ones that a quote meets.

Source: Intel PCS API v4, "Get TCB Info" (TDX, version 3) and "Get QE Identity" (TD_QE, version 2).
"""

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import TypeVar

from contrast_tasks.attestation.errors import CollateralRejected
from contrast_tasks.attestation.pki.validity import Period
from contrast_tasks.decode import DecodeError, Json, parse_json

T = TypeVar("T")

COMPONENTS = 16
TCB_INFO, QE_IDENTITY = "TCB info", "QE identity"
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


class TcbStatus(IntEnum):
    """The statuses from good to bad; the worst of several is the largest."""

    UpToDate = 0
    SWHardeningNeeded = 1
    ConfigurationNeeded = 2
    ConfigurationAndSWHardeningNeeded = 3
    TDRelaunchAdvised = 4
    TDRelaunchAdvisedConfigurationNeeded = 5
    OutOfDate = 6
    OutOfDateConfigurationNeeded = 7
    Revoked = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class IsvLevel:
    """A level of an enclave or module, met by an SVN of at least `isv_svn`."""

    isv_svn: int
    status: TcbStatus
    advisories: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformLevel:
    """A platform level, met if every component is at least as new; 16 components of each kind.

    sgx_names, tdx_names: Intel's names of the components, as `Early Microcode Update`; empty where it gives none.
    """

    sgx_components: tuple[int, ...]
    tdx_components: tuple[int, ...]
    sgx_names: tuple[str, ...]
    tdx_names: tuple[str, ...]
    pce_svn: int
    status: TcbStatus
    advisories: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleIdentity:
    """Signer and attributes of a TDX module: `mr_signer` 48, attributes and mask 8 bytes; no levels for module version 0."""

    name: str
    mr_signer: bytes
    attributes: bytes
    attributes_mask: bytes
    levels: tuple[IsvLevel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbInfo:
    """TCB info of one processor family; `fmspc` 6 and `pce_id` 2 bytes."""

    fmspc: bytes
    pce_id: bytes
    period: Period
    evaluation_number: int
    module: ModuleIdentity
    module_identities: tuple[ModuleIdentity, ...]
    levels: tuple[PlatformLevel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QeIdentity:
    """The fields of a genuine quoting enclave; byte strings in the order of the report."""

    period: Period
    evaluation_number: int
    misc_select: bytes
    misc_select_mask: bytes
    attributes: bytes
    attributes_mask: bytes
    mr_signer: bytes
    isv_prod_id: int
    levels: tuple[IsvLevel, ...]


def parse_tcb_info(text: str) -> TcbInfo:
    """Read the inner `tcbInfo` object: TDX, version 3. The caller verifies the signature over this text."""
    return _decode(_tcb_info, text, TCB_INFO)


def parse_qe_identity(text: str) -> QeIdentity:
    """Read the inner `enclaveIdentity` object: TD_QE, version 2. The caller verifies the signature over this text."""
    return _decode(_qe_identity, text, QE_IDENTITY)


def _decode(read: Callable[[Json], T], text: str, what: str) -> T:
    try:
        return read(parse_json(text))
    except DecodeError as err:
        raise CollateralRejected(f"{what}: {err}") from err


def _tcb_info(document: Json) -> TcbInfo:
    _require_text(document.at("id"), "TDX")
    _number(document.at("version"), 3, 3)
    # The algorithm that compares levels; Intel defines only one so far.
    if kind := document.get("tcbType"):
        _number(kind, 0, 0)
    identities = document.get("tdxModuleIdentities")
    return TcbInfo(
        fmspc=_hex(document.at("fmspc"), 6),
        pce_id=_hex(document.at("pceId"), 2),
        period=_period(document, TCB_INFO),
        evaluation_number=_number(document.at("tcbEvaluationDataNumber")),
        module=_module(document.at("tdxModule"), "tdxModule", ()),
        module_identities=tuple(
            _module(identity, identity.at("id").text(), _isv_levels(identity))
            for identity in (identities.items() if identities else ())
        ),
        levels=tuple(_platform_level(level) for level in _level_items(document)),
    )


def _qe_identity(document: Json) -> QeIdentity:
    _require_text(document.at("id"), "TD_QE")
    _number(document.at("version"), 2, 2)
    return QeIdentity(
        period=_period(document, QE_IDENTITY),
        evaluation_number=_number(document.at("tcbEvaluationDataNumber")),
        misc_select=_hex(document.at("miscselect"), 4),
        misc_select_mask=_hex(document.at("miscselectMask"), 4),
        attributes=_hex(document.at("attributes"), 16),
        attributes_mask=_hex(document.at("attributesMask"), 16),
        mr_signer=_hex(document.at("mrsigner"), 32),
        isv_prod_id=_number(document.at("isvprodid"), 0, 0xFFFF),
        levels=_isv_levels(document),
    )


def _platform_level(level: Json) -> PlatformLevel:
    tcb = level.at("tcb")
    sgx_components, sgx_names = _components(tcb.at("sgxtcbcomponents"))
    tdx_components, tdx_names = _components(tcb.at("tdxtcbcomponents"))
    return PlatformLevel(
        sgx_components=sgx_components,
        tdx_components=tdx_components,
        sgx_names=sgx_names,
        tdx_names=tdx_names,
        pce_svn=_number(tcb.at("pcesvn"), 0, 0xFFFF),
        status=_status(level),
        advisories=_advisories(level),
    )


def _components(place: Json) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return SVNs and names; the names are for people and decide nothing."""
    items = place.items()
    if len(items) != COMPONENTS:
        raise DecodeError(f"{place.pointer}: found {len(items)} entries, wanted {COMPONENTS}")
    svns = tuple(_number(item.at("svn"), 0, 0xFF) for item in items)
    names = (item.get("type") for item in items)
    return svns, tuple(str(name.value) if name else "" for name in names)


def _module(identity: Json, name: str, levels: tuple[IsvLevel, ...]) -> ModuleIdentity:
    return ModuleIdentity(
        name=name,
        mr_signer=_hex(identity.at("mrsigner"), 48),
        attributes=_hex(identity.at("attributes"), 8),
        attributes_mask=_hex(identity.at("attributesMask"), 8),
        levels=levels,
    )


def _isv_levels(document: Json) -> tuple[IsvLevel, ...]:
    levels = (
        IsvLevel(
            isv_svn=_number(level.at("tcb").at("isvsvn"), 0, 0xFFFF),
            status=_status(level),
            advisories=_advisories(level),
        )
        for level in _level_items(document)
    )
    return tuple(sorted(levels, key=lambda level: -level.isv_svn))


def _level_items(document: Json) -> list[Json]:
    place = document.at("tcbLevels")
    levels = place.items()
    if not levels:
        raise DecodeError(f"{place.pointer}: no TCB levels")
    return levels


def _status(level: Json) -> TcbStatus:
    place = level.at("tcbStatus")
    if place.text() not in TcbStatus.__members__:
        raise DecodeError(f"{place.pointer}: unknown TCB status {place.value!r}")
    return TcbStatus[place.text()]


def _advisories(level: Json) -> tuple[str, ...]:
    place = level.get("advisoryIDs")
    return () if place is None or place.value is None else place.texts()


def _require_text(place: Json, wanted: str) -> None:
    if place.text() != wanted:
        raise DecodeError(f"{place.pointer}: found {place.value!r}, wanted {wanted!r}")


def _number(place: Json, least: int = 0, most: int = 0xFFFFFFFF) -> int:
    value = place.integer()
    if not least <= value <= most:
        wanted = f"{least} to {most}" if least != most else f"{least}"
        raise DecodeError(f"{place.pointer}: found {value}, wanted {wanted}")
    return value


def _hex(place: Json, size: int) -> bytes:
    text = place.text()
    try:
        value = bytes.fromhex(text)
    except ValueError as err:
        raise DecodeError(f"{place.pointer}: not hex") from err
    if len(value) != size or len(text) != 2 * size:
        raise DecodeError(f"{place.pointer}: found {len(value)} bytes, wanted {size}")
    return value


def _period(document: Json, what: str) -> Period:
    return Period(what, _time(document.at("issueDate")), _time(document.at("nextUpdate")))


def _time(place: Json) -> datetime:
    # Stricter than `fromisoformat`, which also takes forms that Intel does not write.
    if _TIME.fullmatch(place.text()):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(place.text())
    raise DecodeError(f"{place.pointer}: not a UTC time: {place.value!r}")
