"""What Intel says about patch levels: TCB info and QE identity, read into levels. `levels` tells which of them a quote meets.

Source: Intel PCS API v4, "Get TCB Info" (TDX, version 3) and "Get QE Identity" (TD_QE, version 2).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from contrast_tasks.attestation.errors import CollateralRejected
from contrast_tasks.json_text import NotJson, read_json

COMPONENTS = 16
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


class TcbStatus(IntEnum):
    """Levels from good to bad; the worst of several is the largest."""

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
    """A level of an enclave or module, reached from `isv_svn` on."""

    isv_svn: int
    status: TcbStatus
    advisories: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformLevel:
    """A platform level, reached when every component is at least as new; 16 components each.

    sgx_names, tdx_names: what Intel calls each component, as `Early Microcode Update`; empty where it says nothing.
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
    """Who signed a TDX module; `mr_signer` 48, attributes and mask 8 bytes. `levels` is empty for the unnumbered module."""

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
    issue_date: datetime
    next_update: datetime
    evaluation_number: int
    module: ModuleIdentity
    module_identities: tuple[ModuleIdentity, ...]
    levels: tuple[PlatformLevel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QeIdentity:
    """What a genuine quoting enclave looks like; byte strings in report order."""

    issue_date: datetime
    next_update: datetime
    evaluation_number: int
    misc_select: bytes
    misc_select_mask: bytes
    attributes: bytes
    attributes_mask: bytes
    mr_signer: bytes
    isv_prod_id: int
    levels: tuple[IsvLevel, ...]


class _Fields:
    """Reads typed members of a JSON object and names what is missing or of another type."""

    def __init__(self, document: Any, what: str) -> None:
        if not isinstance(document, Mapping):
            raise CollateralRejected(f"{what} is not a JSON object")
        self._document = document
        self._what = what

    def get(self, name: str) -> Any:
        if name not in self._document:
            raise CollateralRejected(f"{self._what} lacks {name}")
        return self._document[name]

    def text(self, name: str) -> str:
        value = self.get(name)
        if not isinstance(value, str):
            raise CollateralRejected(f"{self._what}: {name} is not a string")
        return value

    def number(self, name: str, *, most: int = 0xFFFFFFFF) -> int:
        value = self.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise CollateralRejected(f"{self._what}: {name} is {value!r}, wanted 0 to {most}")
        return value

    def hexed(self, name: str, size: int) -> bytes:
        text = self.text(name)
        try:
            value = bytes.fromhex(text)
        except ValueError as err:
            raise CollateralRejected(f"{self._what}: {name} is not hex") from err
        if len(value) != size or len(text) != 2 * size:
            raise CollateralRejected(f"{self._what}: {name} has {len(value)} bytes, wanted {size}")
        return value

    def moment(self, name: str) -> datetime:
        text = self.text(name)
        try:
            if _MOMENT.fullmatch(text) is None:
                raise ValueError  # noqa: TRY301  # fromisoformat takes more than Intel writes
            return datetime.fromisoformat(text)
        except ValueError as err:
            raise CollateralRejected(f"{self._what}: {name} is not a UTC time: {text!r}") from err

    def items(self, name: str) -> list[Any]:
        value = self.get(name)
        if not isinstance(value, list):
            raise CollateralRejected(f"{self._what}: {name} is not a list")
        return value

    def status(self) -> TcbStatus:
        text = self.text("tcbStatus")
        try:
            return TcbStatus[text]
        except KeyError as err:
            raise CollateralRejected(f"{self._what}: unknown TCB status {text!r}") from err

    def advisories(self) -> tuple[str, ...]:
        if self._document.get("advisoryIDs") is None:
            return ()
        items = self.items("advisoryIDs")
        if not all(isinstance(item, str) for item in items):
            raise CollateralRejected(f"{self._what}: advisoryIDs is not a list of strings")
        return tuple(items)

    def has(self, name: str) -> bool:
        return name in self._document


def parse_tcb_info(text: str) -> TcbInfo:
    """Read the inner `tcbInfo` object; only TDX, version 3. Its signature is checked by the caller, over this very text."""
    fields = _Fields(load_json(text, "TCB info"), "TCB info")
    _require(fields.text("id"), "TDX", "TCB info: id")
    _require(fields.number("version"), 3, "TCB info: version")
    # The way levels are compared; Intel has one so far, and another would not be ours.
    if fields.has("tcbType"):
        _require(fields.number("tcbType"), 0, "TCB info: tcbType")
    levels = tuple(_parse_platform_level(item) for item in fields.items("tcbLevels"))
    if not levels:
        raise CollateralRejected("TCB info has no TCB levels")
    identities = fields.items("tdxModuleIdentities") if fields.has("tdxModuleIdentities") else []
    return TcbInfo(
        fmspc=fields.hexed("fmspc", 6),
        pce_id=fields.hexed("pceId", 2),
        issue_date=fields.moment("issueDate"),
        next_update=fields.moment("nextUpdate"),
        evaluation_number=fields.number("tcbEvaluationDataNumber"),
        module=_parse_module(fields.get("tdxModule"), numbered=False),
        module_identities=tuple(_parse_module(item, numbered=True) for item in identities),
        levels=levels,
    )


def parse_qe_identity(text: str) -> QeIdentity:
    """Read the inner `enclaveIdentity` object; only TD_QE, version 2."""
    fields = _Fields(load_json(text, "QE identity"), "QE identity")
    _require(fields.text("id"), "TD_QE", "QE identity: id")
    _require(fields.number("version"), 2, "QE identity: version")
    return QeIdentity(
        issue_date=fields.moment("issueDate"),
        next_update=fields.moment("nextUpdate"),
        evaluation_number=fields.number("tcbEvaluationDataNumber"),
        misc_select=fields.hexed("miscselect", 4),
        misc_select_mask=fields.hexed("miscselectMask", 4),
        attributes=fields.hexed("attributes", 16),
        attributes_mask=fields.hexed("attributesMask", 16),
        mr_signer=fields.hexed("mrsigner", 32),
        isv_prod_id=fields.number("isvprodid", most=0xFFFF),
        levels=_parse_isv_levels(fields, "QE identity"),
    )


def load_json(text: str | bytes, what: str) -> Any:
    """Return a strict JSON document; raises CollateralRejected."""
    try:
        return read_json(text).document
    except NotJson as err:
        raise CollateralRejected(f"{what}: {err}") from err


def _require(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise CollateralRejected(f"{what} is {found!r}, wanted {wanted!r}")


def _parse_platform_level(document: Any) -> PlatformLevel:
    level = _Fields(document, "TCB level")
    tcb = _Fields(level.get("tcb"), "TCB level")
    sgx_components, sgx_names = _parse_components(tcb, "sgxtcbcomponents")
    tdx_components, tdx_names = _parse_components(tcb, "tdxtcbcomponents")
    return PlatformLevel(
        sgx_components=sgx_components,
        tdx_components=tdx_components,
        sgx_names=sgx_names,
        tdx_names=tdx_names,
        pce_svn=tcb.number("pcesvn", most=0xFFFF),
        status=level.status(),
        advisories=level.advisories(),
    )


def _parse_components(tcb: _Fields, name: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the SVNs and what the components are called; names are for people and decide nothing."""
    items = [
        _Fields(item, f"TCB level: {name}[{index}]") for index, item in enumerate(tcb.items(name))
    ]
    if len(items) != COMPONENTS:
        raise CollateralRejected(f"TCB level: {name} has {len(items)} entries, wanted {COMPONENTS}")
    svns = tuple(item.number("svn", most=0xFF) for item in items)
    return svns, tuple(str(item.get("type")) if item.has("type") else "" for item in items)


def _parse_module(document: Any, *, numbered: bool) -> ModuleIdentity:
    fields = _Fields(document, "TDX module identity")
    return ModuleIdentity(
        name=fields.text("id") if numbered else "tdxModule",
        mr_signer=fields.hexed("mrsigner", 48),
        attributes=fields.hexed("attributes", 8),
        attributes_mask=fields.hexed("attributesMask", 8),
        levels=_parse_isv_levels(fields, "TDX module identity") if numbered else (),
    )


def _parse_isv_levels(fields: _Fields, what: str) -> tuple[IsvLevel, ...]:
    levels = []
    for item in fields.items("tcbLevels"):
        level = _Fields(item, what)
        tcb = _Fields(level.get("tcb"), what)
        levels.append(
            IsvLevel(
                isv_svn=tcb.number("isvsvn", most=0xFFFF),
                status=level.status(),
                advisories=level.advisories(),
            )
        )
    if not levels:
        raise CollateralRejected(f"{what} has no TCB levels")
    return tuple(sorted(levels, key=lambda level: -level.isv_svn))
