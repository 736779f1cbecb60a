"""Evidence sources, against a directory that imitates configfs and devices whose ioctl is a function."""

import ctypes
import errno
import struct
import threading
from pathlib import Path
from uuid import UUID

import pytest

from contrast_tasks.attestation.issuers import tsm
from contrast_tasks.attestation.issuers.devices import (
    ARK_GUID,
    VCEK_GUID,
    SevGuestDevice,
    TdxGuestDevice,
    find_source,
    parse_certificate_table,
)
from contrast_tasks.attestation.issuers.qgs import QuoteService
from contrast_tasks.attestation.issuers.tsm import (
    MAXIMUM_ATTEMPTS,
    ConfigfsSource,
    IssuerError,
)
from tests.fakes.configfs import Configfs

DATA = bytes(range(64))


class Pauses(list[float]):
    """Stands in for the clock: waiting takes no time and is remembered."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def source(
    root: Path, configfs: Configfs, *, pauses: Pauses | None = None, **options: int
) -> ConfigfsSource:
    sleep = Pauses() if pauses is None else pauses
    return ConfigfsSource(root, attributes=configfs, sleep=sleep, **options)


def test_a_report_comes_with_the_certificate_table(tmp_path: Path) -> None:
    evidence = source(tmp_path, Configfs()).fetch(DATA)

    assert evidence.provider == "sev_guest"
    assert evidence.report == b"report over " + DATA
    assert evidence.auxiliary == b"table"


def test_a_quote_comes_without_a_table(tmp_path: Path) -> None:
    evidence = source(tmp_path, Configfs(b"tdx_guest\n")).fetch(DATA)

    assert evidence.provider == "tdx_guest"
    assert evidence.auxiliary == b""


def test_an_empty_or_missing_table_is_normal(tmp_path: Path) -> None:
    configfs = Configfs()
    configfs.failures["auxblob"] = errno.ENOENT

    assert source(tmp_path, configfs).fetch(DATA).auxiliary == b""


def test_the_entry_is_removed_after_success_and_failure(tmp_path: Path) -> None:
    source(tmp_path, Configfs()).fetch(DATA)
    failing = Configfs()
    failing.failures["write inblob"] = errno.ENXIO

    with pytest.raises(IssuerError):
        source(tmp_path, failing).fetch(DATA)

    assert list(tmp_path.iterdir()) == []


def test_a_write_by_somebody_else_makes_us_try_again(tmp_path: Path) -> None:
    configfs = Configfs()
    configfs.intruders = 2

    assert source(tmp_path, configfs).fetch(DATA).report == b"report over " + DATA
    assert configfs.log.count("make") == 3


def test_an_intruder_that_never_rests_ends_in_an_error(tmp_path: Path) -> None:
    configfs = Configfs()
    configfs.intruders = 1000

    with pytest.raises(IssuerError, match="another process writes"):
        source(tmp_path, configfs).fetch(DATA)

    assert configfs.log.count("make") == MAXIMUM_ATTEMPTS
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [errno.EBUSY, errno.EWOULDBLOCK, errno.EINTR])
def test_a_busy_report_is_tried_again_after_pauses_a_bounded_number_of_times(
    tmp_path: Path, error: int
) -> None:
    configfs, pauses = Configfs(), Pauses()
    configfs.failures["outblob"] = error

    with pytest.raises(IssuerError, match="firmware or host stayed busy; gave up after 5 attempts"):
        source(tmp_path, configfs, pauses=pauses).fetch(DATA)

    assert configfs.log.count("make") == MAXIMUM_ATTEMPTS
    assert pauses == [0.1, 0.3, 0.9, 2.7, 0.0]
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_was_busy_once_is_ours_the_next_time(tmp_path: Path) -> None:
    configfs = Configfs()
    configfs.failures["outblob"] = errno.EBUSY

    def rest(_: float) -> None:
        configfs.failures.clear()

    evidence = ConfigfsSource(tmp_path, attributes=configfs, sleep=rest).fetch(DATA)

    assert evidence.report == b"report over " + DATA
    assert configfs.log.count("make") == 2


def test_handshakes_at_the_same_time_ask_one_after_the_other(tmp_path: Path) -> None:
    configfs, together = Configfs(), []
    inside = threading.Semaphore(1)

    def report(data: bytes) -> bytes:
        together.append(inside.acquire(blocking=False))
        inside.release()
        return b"report over " + data

    configfs.report = report
    shared = source(tmp_path, configfs)
    wanted = [bytes((number,)) * 64 for number in range(8)]
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda data=data: found.append(shared.fetch(data).report))
        for data in wanted
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert together == [True] * 8
    assert sorted(found) == [b"report over " + data for data in wanted]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("provider", errno.EIO),
        ("generation", errno.EIO),
        ("outblob", errno.EIO),
        ("auxblob", errno.EACCES),
        ("write inblob", errno.EINVAL),
        ("write inblob", errno.ENOSPC),
    ],
)
def test_every_failing_file_is_a_clear_error(tmp_path: Path, name: str, error: int) -> None:
    configfs = Configfs()
    configfs.failures[name] = error

    with pytest.raises(IssuerError, match="cannot get evidence through configfs: as told"):
        source(tmp_path, configfs).fetch(DATA)


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(IssuerError, match="cannot make a configfs entry"):
        ConfigfsSource(tmp_path / "missing").fetch(DATA)


def test_two_users_never_share_an_entry(tmp_path: Path) -> None:
    (tmp_path / "contrast-taken").mkdir()

    with pytest.raises(IssuerError, match="cannot make"):
        ConfigfsSource(tmp_path, attributes=Configfs(), unique=lambda: "taken").fetch(DATA)


@pytest.mark.parametrize("provider", [b"", b"arm_cca_guest\n", b"\xff\xfe"])
def test_another_provider_is_refused(tmp_path: Path, provider: bytes) -> None:
    with pytest.raises(IssuerError, match="wanted sev_guest or tdx_guest"):
        source(tmp_path, Configfs(provider)).fetch(DATA)


def test_an_empty_report_is_refused(tmp_path: Path) -> None:
    configfs = Configfs()
    configfs.report = lambda _: b""

    with pytest.raises(IssuerError, match="empty report"):
        source(tmp_path, configfs).fetch(DATA)


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_report_data_of_another_length_never_reaches_the_hardware(
    tmp_path: Path, size: int
) -> None:
    configfs = Configfs()

    with pytest.raises(IssuerError, match=f"{size} bytes, wanted 64"):
        source(tmp_path, configfs).fetch(bytes(size))

    assert configfs.log == []


def table(*entries: tuple[UUID, bytes]) -> bytes:
    offset = 24 * (len(entries) + 1)
    head, body = b"", b""
    for guid, content in entries:
        head += struct.pack("<16sII", guid.bytes, offset + len(body), len(content))
        body += content
    return head + bytes(24) + body


def test_a_certificate_table_is_read_by_guid() -> None:
    parsed = parse_certificate_table(table((VCEK_GUID, b"vcek"), (ARK_GUID, b"ark")) + bytes(100))

    assert parsed == {VCEK_GUID: b"vcek", ARK_GUID: b"ark"}


def test_no_table_and_an_empty_table_have_no_certificates() -> None:
    assert parse_certificate_table(b"") == {}
    assert parse_certificate_table(bytes(24)) == {}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(table((VCEK_GUID, b"vcek"))[:24], id="no terminator"),
        pytest.param(table((VCEK_GUID, b"vcek"))[:-1], id="beyond the end"),
        pytest.param(
            struct.pack("<16sII", VCEK_GUID.bytes, 0, 4) + bytes(24), id="inside the head"
        ),
        pytest.param(
            struct.pack("<16sII", VCEK_GUID.bytes, 0xFFFFFFFF, 4) + bytes(24), id="4 GiB away"
        ),
        pytest.param(table((VCEK_GUID, b"a"), (VCEK_GUID, b"b")), id="twice"),
        pytest.param(b"\1", id="one byte"),
    ],
)
def test_a_bad_certificate_table_is_refused(content: bytes) -> None:
    with pytest.raises(IssuerError):
        parse_certificate_table(content)


class Firmware:
    """What answers an ioctl on /dev/sev-guest: reads the request and writes the response at the addresses given."""

    def __init__(self) -> None:
        self.busy = 0
        self.table = table((VCEK_GUID, b"vcek"))
        self.status = 0
        self.size = 0x4A0
        self.fails: OSError | None = None
        self.exit_info2 = 0xFF
        self.calls: list[int] = []

    def ioctl(self, _: int, number: int, message: object) -> int:
        self.calls.append(number)
        if self.busy:
            self.busy -= 1
            raise OSError(errno.EAGAIN, "busy")
        if self.fails is not None and number == 0xC0205302:
            message.exit_info2 = self.exit_info2  # type: ignore[attr-defined]
            raise self.fails
        data = ctypes.string_at(message.request, 64)  # type: ignore[attr-defined]
        address, room = struct.unpack("<QI", ctypes.string_at(message.request + 96 + 0, 12))  # type: ignore[attr-defined]
        if number == 0xC0205302:
            assert room >= len(self.table)
            ctypes.memmove(address, self.table, len(self.table))
        report = data.ljust(0x4A0, b"R")
        response = struct.pack("<II24x", self.status, self.size) + report
        ctypes.memmove(message.response, response, len(response))  # type: ignore[attr-defined]
        return 0


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "sev-guest"
    path.write_bytes(b"")
    return path


def test_the_device_gives_report_and_table(device: Path) -> None:
    evidence = SevGuestDevice(device, ioctl=Firmware().ioctl).fetch(DATA)

    assert evidence.report == DATA.ljust(0x4A0, b"R")
    assert parse_certificate_table(evidence.auxiliary) == {VCEK_GUID: b"vcek"}


def test_a_throttled_device_is_asked_again(device: Path) -> None:
    firmware = Firmware()
    firmware.busy = 3

    SevGuestDevice(device, ioctl=firmware.ioctl, sleep=Pauses()).fetch(DATA)

    assert len(firmware.calls) == 4


def test_a_device_that_stays_busy_is_an_error(device: Path) -> None:
    firmware = Firmware()
    firmware.busy = 100

    with pytest.raises(IssuerError, match="stayed busy"):
        SevGuestDevice(device, ioctl=firmware.ioctl, sleep=Pauses()).fetch(DATA)


@pytest.mark.parametrize(
    ("error", "exit_info2"),
    [
        pytest.param(errno.ENOTTY, 0xFF, id="an older kernel"),
        pytest.param(errno.EIO, 1 << 32, id="a table that does not fit"),
    ],
)
def test_a_host_without_a_table_still_gives_a_report(
    device: Path, error: int, exit_info2: int
) -> None:
    firmware = Firmware()
    firmware.fails, firmware.exit_info2 = OSError(error, "not supported"), exit_info2

    evidence = SevGuestDevice(device, ioctl=firmware.ioctl, sleep=Pauses()).fetch(DATA)

    assert evidence.auxiliary == b""
    assert firmware.calls == [0xC0205302, 0xC0205300]


@pytest.mark.parametrize(
    ("exit_info2", "shown"), [(0x27, "0x27"), (2 << 32, "0x200000000"), (3 << 32, "0x300000000")]
)
def test_a_failure_for_another_reason_is_no_reason_to_ask_for_less(
    device: Path, exit_info2: int, shown: str
) -> None:
    firmware = Firmware()
    firmware.fails, firmware.exit_info2 = OSError(errno.EIO, "I/O error"), exit_info2

    with pytest.raises(IssuerError, match=f"sev-guest: I/O error, firmware status {shown}"):
        SevGuestDevice(device, ioctl=firmware.ioctl).fetch(DATA)

    assert firmware.calls == [0xC0205302]


def test_the_bytes_of_a_request_are_those_of_the_kernels_header(device: Path) -> None:
    seen: list[bytes] = []

    def ioctl(descriptor: int, number: int, message: object) -> int:
        raw = bytes(message)  # type: ignore[call-overload]
        (request, response) = struct.unpack_from("<QQ", raw, 8)
        seen.extend((raw, ctypes.string_at(request, 112)))
        ctypes.memmove(response, struct.pack("<II24x", 0, 0x4A0) + bytes(0x4A0), 32 + 0x4A0)
        return 0

    SevGuestDevice(device, ioctl=ioctl).fetch(DATA)

    message, request = seen
    # u8 version, 7 of padding, u64 request, u64 response, u64 exitinfo2
    assert len(message) == 32
    assert message[:8] == b"\1" + bytes(7)
    assert message[24:] == bytes(8)
    # user data 64, u32 vmpl 0, 28 reserved, u64 table, u32 its size in whole pages, 4 of padding
    assert request[:64] == DATA
    assert request[64:96] == bytes(32)
    assert request[96:104] != bytes(8)
    assert request[104:108] == (4 * 4096).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("status", "size", "message"), [(0x16, 0x4A0, "status 0x16"), (0, 0x4A1, "1185 bytes")]
)
def test_a_refusal_of_firmware_is_a_clear_error(
    device: Path, status: int, size: int, message: str
) -> None:
    firmware = Firmware()
    firmware.status, firmware.size = status, size

    with pytest.raises(IssuerError, match=message):
        SevGuestDevice(device, ioctl=firmware.ioctl, sleep=Pauses()).fetch(DATA)


def test_a_tdx_report_becomes_a_quote(tmp_path: Path) -> None:
    path = tmp_path / "tdx_guest"
    path.write_bytes(b"")

    def ioctl(_: int, number: int, buffer: object) -> int:
        assert number == 0xC4405401
        report = bytes(reversed(buffer.raw[:64])).ljust(1024, b"T")  # type: ignore[attr-defined]
        ctypes.memmove(ctypes.addressof(buffer) + 64, report, 1024)  # type: ignore[arg-type]
        return 0

    evidence = TdxGuestDevice(lambda report: b"quote " + report, path, ioctl=ioctl).fetch(DATA)

    assert evidence.report == b"quote " + bytes(reversed(DATA)).ljust(1024, b"T")


def test_an_empty_quote_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tdx_guest"
    path.write_bytes(b"")

    with pytest.raises(IssuerError, match="empty quote"):
        TdxGuestDevice(lambda _: b"", path, ioctl=lambda *_: 0).fetch(DATA)


def test_configfs_is_preferred_then_the_devices(tmp_path: Path) -> None:
    devices = tmp_path / "dev"
    devices.mkdir()
    configfs = tmp_path / "report"
    (devices / "tdx_guest").touch()

    assert isinstance(
        find_source(configfs=configfs, devices=devices, quote=lambda report: report), TdxGuestDevice
    )
    (devices / "sev-guest").touch()
    assert isinstance(find_source(configfs=configfs, devices=devices), SevGuestDevice)
    configfs.mkdir()
    assert isinstance(find_source(configfs=configfs, devices=devices), ConfigfsSource)


class NoDriver(Configfs):
    """configfs-tsm of a kernel whose driver for this kind of guest does not serve it."""

    def make(self, folder: Path) -> None:
        raise OSError(errno.ENXIO, "No such device or address", str(folder))


def test_configfs_without_a_driver_is_no_confidential_guest(tmp_path: Path) -> None:
    with pytest.raises(IssuerError, match="no confidential guest, or its driver") as caught:
        source(tmp_path, NoDriver()).fetch(DATA)

    assert "simulated" in caught.value.hint


def test_a_device_serves_where_configfs_has_no_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sev-guest").touch()
    configfs = tmp_path / "report"
    configfs.mkdir()
    monkeypatch.setattr(tsm, "KernelAttributes", NoDriver)

    found = find_source(configfs=configfs, devices=tmp_path)
    (tmp_path / "sev-guest").unlink()
    alone = find_source(configfs=configfs, devices=tmp_path)

    assert isinstance(found, SevGuestDevice)
    assert isinstance(alone, ConfigfsSource)


def test_a_td_without_configfs_asks_the_hosts_quote_service(tmp_path: Path) -> None:
    (tmp_path / "tdx_guest").touch()

    found = find_source(configfs=tmp_path / "none", devices=tmp_path)

    assert isinstance(found, TdxGuestDevice)
    assert isinstance(found._quote, QuoteService)


def test_no_confidential_guest_is_said_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(IssuerError, match="no confidential guest") as caught:
        find_source(configfs=tmp_path / "none", devices=tmp_path)

    assert "simulated" in caught.value.hint
