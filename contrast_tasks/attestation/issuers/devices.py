"""Evidence from /dev/sev-guest and /dev/tdx_guest, for kernels without configfs-tsm.

Both devices take ioctls with structures that hold addresses, so the buffers are ctypes objects that live as long as the call.
Firmware throttles requests: they are serialised, and retried a bounded number of times after EAGAIN or EBUSY.

Source: Linux <linux/sev-guest.h> and <linux/tdx-guest.h> (docs/internals/attestation.md 7); GHCB specification, certificate table.
"""

import contextlib
import ctypes
import errno
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from contrast_tasks.attestation.issuers.qgs import QuoteService
from contrast_tasks.attestation.issuers.tsm import (
    CONFIGFS,
    SEV_GUEST,
    TDX_GUEST,
    Busy,
    ConfigfsSource,
    EvidenceSource,
    IssuerError,
    RawEvidence,
    fetch_patiently,
    require_report_data,
)
from contrast_tasks.attestation.snp.report import REPORT_BYTES
from contrast_tasks.evidence_documents import REPORT_DATA_BYTES

_SNP_GET_REPORT = 0xC0205300
_SNP_GET_EXT_REPORT = 0xC0205302
_TDX_GET_REPORT0 = 0xC4405401
_RESPONSE_BYTES = 4000
_RESPONSE_HEADER = 32
_TABLE_BYTES = 4 * 4096
_TDX_REPORT_BYTES = 1024
# In the upper half of exitinfo2; the lower half is the firmware's status.
_VMM_TABLE_TOO_SMALL = 1

VCEK_GUID = UUID("63da758d-e664-4564-adc5-f4b93be8accd")
VLEK_GUID = UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1")
ASK_GUID = UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782")
ARK_GUID = UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae")
_ENTRY = struct.Struct("<16sII")

Ioctl = Callable[[int, int, Any], int]


class _Request(ctypes.Structure):
    _fields_ = (
        ("message_version", ctypes.c_uint8),
        ("request", ctypes.c_uint64),
        ("response", ctypes.c_uint64),
        ("exit_info2", ctypes.c_uint64),
    )


class _ExtendedRequest(ctypes.Structure):
    _fields_ = (
        ("report_data", ctypes.c_uint8 * REPORT_DATA_BYTES),
        ("vmpl", ctypes.c_uint32),
        ("reserved", ctypes.c_uint8 * 28),
        ("certificates", ctypes.c_uint64),
        ("certificates_bytes", ctypes.c_uint32),
    )


def parse_certificate_table(table: bytes) -> dict[UUID, bytes]:
    """Return the certificates in a host's table by GUID; an empty table is normal on bare metal.

    Entries have 24 bytes (GUID, u32 offset, u32 length), the last one is zero, and the certificates follow. Raises IssuerError.
    """
    found: dict[UUID, bytes] = {}
    spans: list[tuple[UUID, int, int]] = []
    at = 0
    while table:
        if at + _ENTRY.size > len(table):
            raise IssuerError("the host's certificate table has no end")
        guid, offset, size = _ENTRY.unpack_from(table, at)
        at += _ENTRY.size
        if not any(guid) and not offset and not size:
            break
        spans.append((UUID(bytes=guid), offset, size))
    for name, offset, size in spans:
        if offset < at or offset + size > len(table) or name in found:
            raise IssuerError(f"the host's certificate table has a bad entry {name}")
        found[name] = table[offset : offset + size]
    return found


class SevGuestDevice:
    """SNP reports from /dev/sev-guest, with the host's certificates if it has any."""

    provider = SEV_GUEST

    def __init__(
        self,
        path: Path = Path("/dev/sev-guest"),
        *,
        ioctl: Ioctl | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Use the device at `path`; `ioctl` is the system call."""
        self._path = path
        self._ioctl = ioctl or _system_ioctl()
        self._sleep = sleep
        self._one_at_a_time = threading.Lock()

    def fetch(self, report_data: bytes) -> RawEvidence:
        """Return a report of 0x4A0 bytes and the certificate table, which may be empty."""
        require_report_data(report_data)
        table = ctypes.create_string_buffer(_TABLE_BYTES)
        request = _ExtendedRequest()
        ctypes.memmove(request.report_data, report_data, REPORT_DATA_BYTES)
        request.certificates = ctypes.addressof(table)
        request.certificates_bytes = _TABLE_BYTES
        with self._one_at_a_time:
            try:
                response = self._call(_SNP_GET_EXT_REPORT, request)
            except _NoTableError:
                response = self._call(_SNP_GET_REPORT, request)
                return RawEvidence(provider=SEV_GUEST, report=response)
        # A table that begins with a zero entry has no certificates.
        auxiliary = table.raw if any(table.raw[: _ENTRY.size]) else b""
        return RawEvidence(provider=SEV_GUEST, report=response, auxiliary=auxiliary)

    def _call(self, number: int, payload: _ExtendedRequest) -> bytes:
        response = ctypes.create_string_buffer(_RESPONSE_BYTES)
        message = _Request(
            message_version=1,
            request=ctypes.addressof(payload),
            response=ctypes.addressof(response),
        )
        with _opened(self._path) as descriptor:
            fetch_patiently(lambda: self._attempt(descriptor, number, message), self._sleep)
        return _report_of(response.raw)

    def _attempt(self, descriptor: int, number: int, message: _Request) -> None:
        try:
            self._ioctl(descriptor, number, message)
        except OSError as err:
            if err.errno in (errno.EAGAIN, errno.EBUSY):
                raise Busy(f"{self._path.name} stayed busy") from err
            is_about_table = (
                message.exit_info2 >> 32 == _VMM_TABLE_TOO_SMALL or err.errno == errno.ENOTTY
            )
            if number == _SNP_GET_EXT_REPORT and is_about_table:
                raise _NoTableError from err
            raise IssuerError(
                f"{self._path.name}: {err.strerror}, firmware status {message.exit_info2:#x}"
            ) from err


class _NoTableError(Exception):
    """The host has no certificate table, or one that is too large: request a plain report."""


def _report_of(response: bytes) -> bytes:
    status, size = struct.unpack_from("<II", response)
    if status:
        raise IssuerError(f"firmware refused to report, status {status:#x}")
    if size != REPORT_BYTES:
        raise IssuerError(f"firmware gave a report of {size} bytes, wanted {REPORT_BYTES}")
    return response[_RESPONSE_HEADER : _RESPONSE_HEADER + size]


class TdxGuestDevice:
    """TDX quotes: a report from /dev/tdx_guest, turned into a quote by the host's quote generation service."""

    provider = TDX_GUEST

    def __init__(
        self,
        quote: Callable[[bytes], bytes],
        path: Path = Path("/dev/tdx_guest"),
        *,
        ioctl: Ioctl | None = None,
    ) -> None:
        """Use the device at `path`; `quote` turns a TD report of 1024 bytes into a quote."""
        self._quote = quote
        self._path = path
        self._ioctl = ioctl or _system_ioctl()
        self._one_at_a_time = threading.Lock()

    def fetch(self, report_data: bytes) -> RawEvidence:
        """Return a quote."""
        require_report_data(report_data)
        buffer = ctypes.create_string_buffer(report_data, REPORT_DATA_BYTES + _TDX_REPORT_BYTES)
        with self._one_at_a_time:
            with _opened(self._path) as descriptor:
                try:
                    self._ioctl(descriptor, _TDX_GET_REPORT0, buffer)
                except OSError as err:
                    raise IssuerError(f"{self._path.name}: {err.strerror}") from err
            quote = self._quote(buffer.raw[REPORT_DATA_BYTES:])
        if not quote:
            raise IssuerError("the quote generation service gave an empty quote")
        return RawEvidence(provider=TDX_GUEST, report=quote)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as err:
        raise IssuerError(f"cannot open {path.name}: {err.strerror}") from err
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _system_ioctl() -> Ioctl:
    import fcntl

    return fcntl.ioctl


def find_source(
    *,
    configfs: Path = CONFIGFS,
    devices: Path = Path("/dev"),
    quote: Callable[[bytes], bytes] | None = None,
) -> EvidenceSource:
    """Return the guest's best source: configfs-tsm if a driver serves it, else a device.

    quote: turns a TD report into a quote if /dev/tdx_guest is used, by default over vsock. Raises IssuerError if this is no
    confidential guest.
    """
    sev, tdx = devices / "sev-guest", devices / "tdx_guest"
    device: EvidenceSource | None = None
    if sev.exists():
        device = SevGuestDevice(sev)
    elif tdx.exists():
        device = TdxGuestDevice(quote or QuoteService(), tdx)
    if configfs.is_dir():
        source = ConfigfsSource(configfs)
        # A kernel may have configfs-tsm but an older guest driver that does not serve it.
        if device is None or source.has_provider():
            return source
    if device is None:
        raise IssuerError(
            "this is no confidential guest: it has neither configfs-tsm nor sev-guest nor tdx_guest",
            hint="CONTRAST_EVIDENCE=simulated:DIR uses a simulated processor",
        )
    return device
