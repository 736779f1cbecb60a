"""Evidence through configfs-tsm, and what all sources of evidence share.

A source turns 64 bytes of report data into the hardware's report or quote. configfs is preferred: there the kernel handles
firmware and host for both kinds of guest. Other processes may write to the same entry. The kernel counts all writes in
`generation`; if the count differs from our own writes, the report may not be ours.

Source: Linux ABI documentation of configfs-tsm, and of /dev/sev-guest (docs/internals/attestation.md 7).
"""

import contextlib
import errno
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from contrast_tasks.errors import ContrastError
from contrast_tasks.evidence_documents import REPORT_DATA_BYTES

CONFIGFS = Path("/sys/kernel/config/tsm/report")
SEV_GUEST, TDX_GUEST = "sev_guest", "tdx_guest"
# Between attempts while firmware or host are busy; together far less than a handshake may take.
PAUSES_S = (0.1, 0.3, 0.9, 2.7)
MAXIMUM_ATTEMPTS = len(PAUSES_S) + 1
_MAXIMUM_BLOB_BYTES = 64 * 1024

T = TypeVar("T")


class IssuerError(ContrastError):
    """The hardware provides no evidence."""


class NoProvider(IssuerError):
    """The kernel has configfs-tsm, but no driver for it."""


class Busy(Exception):
    """The hardware cannot answer now; another attempt may succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEvidence:
    """An SNP report with the host's certificate table, which may be empty, or a TDX quote."""

    provider: str
    report: bytes
    auxiliary: bytes = b""


class EvidenceSource(Protocol):
    """Gets evidence for 64 bytes of report data; blocks until the hardware answers."""

    @property
    def provider(self) -> str:
        """Return `sev_guest` or `tdx_guest`."""

    def fetch(self, report_data: bytes) -> RawEvidence:
        """Return evidence; raises IssuerError."""


def fetch_patiently(attempt: Callable[[], T], sleep: Callable[[float], None]) -> T:
    """Return what `attempt` returns; retry after a pause if it raises Busy. Raises IssuerError after the last attempt."""
    for pause_s in (*PAUSES_S, 0.0):
        try:
            return attempt()
        except Busy as err:
            cause = str(err)
            sleep(pause_s)
    raise IssuerError(f"{cause}; gave up after {MAXIMUM_ATTEMPTS} attempts")


def require_report_data(report_data: bytes) -> None:
    """Raise IssuerError unless it is 64 bytes."""
    if len(report_data) != REPORT_DATA_BYTES:
        raise IssuerError(f"report data has {len(report_data)} bytes, wanted {REPORT_DATA_BYTES}")


class KernelAttributes:
    """The file operations on configfs, where making a folder has side effects; tests replace them."""

    def make(self, folder: Path) -> None:
        """Make an entry; raises FileExistsError if the name is taken."""
        folder.mkdir()

    def remove(self, folder: Path) -> None:
        """Remove an entry with its attributes."""
        folder.rmdir()

    def read(self, path: Path) -> bytes:
        """Read to the end; the kernel returns binary attributes in pieces of a page."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            pieces = []
            while piece := os.read(descriptor, _MAXIMUM_BLOB_BYTES):
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            os.close(descriptor)

    def write(self, path: Path, content: bytes) -> None:
        """Write in one call, since configfs takes each call as a complete value."""
        descriptor = os.open(path, os.O_WRONLY)
        try:
            if os.write(descriptor, content) != len(content):
                raise OSError(errno.EIO, "short write", str(path))
        finally:
            os.close(descriptor)


class ConfigfsSource:
    """Evidence through configfs-tsm."""

    def __init__(
        self,
        root: Path = CONFIGFS,
        *,
        attributes: KernelAttributes | None = None,
        unique: Callable[[], str] = lambda: secrets.token_hex(8),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Use entries below `root`."""
        self._sleep = sleep
        self._one_at_a_time = threading.Lock()
        self._root = root
        self._attributes = attributes or KernelAttributes()
        self._unique = unique
        self._provider: str | None = None

    @property
    def provider(self) -> str:
        """Return the kernel's name for the kind of guest."""
        if self._provider is None:
            self._provider = self._with_entry(self._read_provider)
        return self._provider

    def has_provider(self) -> bool:
        """Return False if the kernel has no driver; `fetch` reports any other error."""
        try:
            _ = self.provider
        except NoProvider:
            return False
        except IssuerError:
            return True
        return True

    def fetch(self, report_data: bytes) -> RawEvidence:
        """Return a report or quote that was made for our report data."""
        require_report_data(report_data)
        with self._one_at_a_time:
            return fetch_patiently(
                lambda: self._with_entry(lambda entry: self._attempt(entry, report_data)),
                self._sleep,
            )

    def _with_entry(self, action: Callable[[Path], T]) -> T:
        entry = self._root / f"contrast-{self._unique()}"
        try:
            self._attributes.make(entry)
        except OSError as err:
            if err.errno == errno.ENXIO:
                raise NoProvider(
                    "this is no confidential guest, or its driver is not loaded: configfs-tsm has no provider",
                    hint="CONTRAST_EVIDENCE=simulated:DIR uses a simulated processor",
                ) from err
            raise IssuerError(f"cannot make a configfs entry: {err.strerror}") from err
        try:
            return action(entry)
        except OSError as err:
            raise IssuerError(
                f"cannot get evidence through configfs: {err.strerror or 'I/O error'}"
            ) from err
        finally:
            with contextlib.suppress(OSError):
                self._attributes.remove(entry)

    def _read_provider(self, entry: Path) -> str:
        text = self._attributes.read(entry / "provider").decode("ascii", "replace").strip()
        if text not in (SEV_GUEST, TDX_GUEST):
            raise IssuerError(f"configfs provider is {text!r}, wanted {SEV_GUEST} or {TDX_GUEST}")
        return text

    def _generation(self, entry: Path) -> int:
        text = self._attributes.read(entry / "generation").decode("ascii", "replace").strip()
        if not text.isdecimal():
            raise IssuerError(f"configfs generation is {text!r}, wanted a number")
        return int(text)

    def _attempt(self, entry: Path, report_data: bytes) -> RawEvidence:
        provider = self._read_provider(entry)
        expected = self._generation(entry) + 1
        self._attributes.write(entry / "inblob", report_data)
        try:
            report = self._attributes.read(entry / "outblob")
            auxiliary = self._auxiliary(entry) if provider == SEV_GUEST else b""
        except OSError as err:
            if err.errno in (errno.EWOULDBLOCK, errno.EBUSY, errno.EINTR):
                raise Busy("firmware or host stayed busy") from err
            raise
        if self._generation(entry) != expected:
            raise Busy("another process writes to our configfs entry")
        if not report:
            raise IssuerError("configfs returned an empty report")
        return RawEvidence(provider=provider, report=report, auxiliary=auxiliary)

    def _auxiliary(self, entry: Path) -> bytes:
        """Return the certificate table, empty if the host has none or the kernel lacks the attribute."""
        try:
            return self._attributes.read(entry / "auxblob")
        except FileNotFoundError:
            return b""
