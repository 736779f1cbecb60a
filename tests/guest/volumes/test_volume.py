"""Volumes on files: what is formatted, what is opened, what is refused, and a process that dies between any two steps."""

import os
from pathlib import Path

import pytest

from contrast_tasks.errors import SettingsError
from contrast_tasks.guest.commands import Finished
from contrast_tasks.guest.process import Terminated
from contrast_tasks.guest.volumes import volume as module
from contrast_tasks.guest.volumes.errors import VolumeNotOpened
from contrast_tasks.guest.volumes.pod import hold, parse_devices
from contrast_tasks.guest.volumes.volume import MARK, Places, Volume, close_volume, open_volume
from tests.fakes import luks
from tests.fakes.volume_tools import Killed, VolumeTools, head

SECRET = bytes(range(64))
KEY = SECRET.hex().encode()
SIZE = 40 << 20
# Commands and writes to the device of a first start, up to the mount.
FIRST_START = 14


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VolumeTools:
    found = VolumeTools(tmp_path / "mapper")
    write = module.write_at

    def write_at(descriptor: int, offset: int, content: bytes) -> None:
        found.live()
        write(descriptor, offset, content)

    monkeypatch.setattr(module, "write_at", write_at)
    return found


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    device, mount = tmp_path / "device", tmp_path / "state"
    device.touch()
    os.truncate(device, SIZE)
    mount.mkdir()
    places = Places(
        headers=tmp_path / "headers",
        locks=tmp_path / "locks",
        mapped=tmp_path / "mapper",
        kernel=tmp_path / "kernel",
    )
    return Volume(device=device, mount=mount, places=places)


def refusal(volume: Volume, tools: VolumeTools) -> VolumeNotOpened:
    with pytest.raises(VolumeNotOpened) as caught:
        open_volume(volume, SECRET, tools)
    return caught.value


def test_an_empty_device_is_formatted_once(volume: Volume, tools: VolumeTools) -> None:
    assert open_volume(volume, SECRET, tools)
    close_volume(volume, tools)
    first = volume.device.read_bytes()
    assert not open_volume(volume, SECRET, tools)

    assert volume.device.read_bytes() == first
    assert first[:16384] == luks.RECORDED
    assert [words[1] for words in tools.asked if words[0] == "cryptsetup"].count("luksFormat") == 1
    assert tools.mounts == {str(volume.mount): str(volume.mapped)}
    assert list(volume.places.headers.iterdir()) == []
    assert volume.places.headers.stat().st_mode & 0o777 == 0o700


def test_the_commands_are_those_of_the_format_that_is_documented(
    volume: Volume, tools: VolumeTools
) -> None:
    open_volume(volume, SECRET, tools)

    device, mapped, new = str(volume.device), str(volume.mapped), f"{volume.name}-new"
    header = str(volume.places.headers)
    assert tools.asked == [
        ("cryptsetup", "status", volume.name),
        ("cryptsetup", "isLuks", device),
        ("cryptsetup", "status", new),
        # Source: docs/internals/runtime.md 7.4, step 2.
        ("cryptsetup", "luksFormat", "--type", "luks2", "--cipher", "aes-xts-plain64", "--key-size", "512",
         "--pbkdf", "argon2id", "--pbkdf-memory", "10240", "--pbkdf-force-iterations", "4",
         "--integrity", "hmac-sha256", "--integrity-no-wipe", "--sector-size", "4096",
         "--luks2-keyslots-size", "1048576", "--batch-mode", "--key-file", "-",
         "--header", f"{header}/new-{volume.name[:8]}", "--offset", "32768", device),
        ("cryptsetup", "open", "--type", "luks2", "--header", f"{header}/new-{volume.name[:8]}", "--key-file", "-", device, new),
        ("mkfs.ext4", "-n", "-b", "4096", f"{mapped}-new"),
        ("mkfs.ext4", "-F", "-q", "-b", "4096", "-L", "state", "-E", "nodiscard", f"{mapped}-new"),
        ("cryptsetup", "close", new),
        ("cryptsetup", "open", "--type", "luks2", "--header", f"{header}/luks-header-{volume.name[:8]}", "--key-file", "-", device,
         volume.name),
        ("mount", "-t", "ext4", "-o", "sync,data=journal", mapped, str(volume.mount)),
    ]  # fmt: skip


def test_the_mapping_is_named_after_device_and_mount() -> None:
    volume = Volume(device=Path("/dev/csi0"), mount=Path("/state"))

    # printf /dev/csi0/state | sha256sum
    assert volume.name == "7bfcd783e98dd63a"


def test_the_secret_reaches_the_tools_on_standard_input_only(
    volume: Volume, tools: VolumeTools, capfd: pytest.CaptureFixture[str]
) -> None:
    open_volume(volume, SECRET, tools)
    close_volume(volume, tools)

    assert KEY.decode() not in str(tools.asked)
    assert {given for given in tools.given if given} == {KEY}
    assert "".join(capfd.readouterr()) == ""
    assert KEY not in volume.device.read_bytes()


@pytest.mark.first(3)
@pytest.mark.parametrize("number", range(FIRST_START + 1))
def test_a_process_that_dies_at_any_step_leaves_what_the_next_one_completes(
    volume: Volume, tools: VolumeTools, number: int
) -> None:
    tools.dies_after = number
    with pytest.raises(Killed):
        _ = open_volume(volume, SECRET, tools), tools.live()
    start = head(volume.device)
    assert start == luks.RECORDED or start[:4096] in (MARK, bytes(4096))

    tools.dies_after = None
    is_new = open_volume(volume, SECRET, tools)

    assert is_new == (start != luks.RECORDED)
    assert tools.mounts == {str(volume.mount): str(volume.mapped)}
    assert b"\x53\xef" in volume.mapped.read_bytes()


def test_a_first_start_has_as_many_steps_as_are_tried(volume: Volume, tools: VolumeTools) -> None:
    tools.dies_after = FIRST_START
    open_volume(volume, SECRET, tools)

    assert tools.dies_after == 0


def test_a_mapping_that_a_killed_process_left_is_used_again(
    volume: Volume, tools: VolumeTools
) -> None:
    open_volume(volume, SECRET, tools)
    tools.asked.clear()
    tools.mounts.clear()

    assert not open_volume(volume, SECRET, tools)

    assert [words[:2] for words in tools.asked] == [("cryptsetup", "status"), ("mount", "-t")]


def test_another_secret_opens_nothing_and_changes_nothing(
    volume: Volume, tools: VolumeTools
) -> None:
    open_volume(volume, bytes(64), tools)
    close_volume(volume, tools)
    before = volume.device.read_bytes()

    assert str(refusal(volume, tools)) == (
        f"the volume on {volume.device} was encrypted with another workload secret, or its keyslot is damaged"
    )
    assert volume.device.read_bytes() == before
    assert tools.mounts == {}


@pytest.mark.parametrize("offset", [0, 1, 1080, 16384, 5 << 20, (17 << 20) + 5, SIZE - 1])
def test_a_device_with_data_is_not_formatted(
    volume: Volume, tools: VolumeTools, offset: int
) -> None:
    with volume.device.open("r+b") as disk:
        disk.seek(offset)
        disk.write(b"\1")

    assert str(refusal(volume, tools)) == (
        f"the device {volume.device} holds data, first at byte {offset}, and is no encrypted volume"
    )
    assert [words[1] for words in tools.asked] == ["status"]


@pytest.mark.first(2)
@pytest.mark.parametrize(
    ("offset", "content", "message"),
    [
        pytest.param(5000, b"X", "the volume's header is damaged: its checksum is wrong", id="json"),
        pytest.param(0, bytes(6), "the volume's header is damaged: it does not begin with the magic of LUKS", id="magic"),
        pytest.param(0, bytes(16384), "the volume's header is damaged: it does not begin with the magic of LUKS", id="first-header"),
        pytest.param(0, bytes(32768), "holds data, first at byte 32768, and is no encrypted volume", id="both-headers"),
        pytest.param(0, luks.with_bytes(6, b"\0\1"), "the volume's header is none that was written for this pod: version is 1, wanted 2", id="luks1"),
        pytest.param(32768, bytes(385024), "was encrypted with another workload secret, or its keyslot is damaged", id="keyslot"),
    ],
)  # fmt: skip
def test_a_damaged_volume_is_refused_and_left_as_it_is(
    volume: Volume, tools: VolumeTools, offset: int, content: bytes, message: str
) -> None:
    open_volume(volume, SECRET, tools)
    close_volume(volume, tools)
    tools.asked.clear()
    with volume.device.open("r+b") as disk:
        disk.seek(offset)
        disk.write(content)
    before = volume.device.read_bytes()

    assert message in str(refusal(volume, tools))
    assert volume.device.read_bytes() == before
    # isLuks would write: it repairs one header from the other.
    assert {words[1] for words in tools.asked} <= {"status", "open"}


@pytest.mark.parametrize("content", [b"", bytes(16384), b"\1" * 16384])
def test_a_volume_without_its_file_system_is_not_given_a_new_one(
    volume: Volume, tools: VolumeTools, content: bytes
) -> None:
    open_volume(volume, SECRET, tools)
    close_volume(volume, tools)
    Path(f"{volume.device}.content").write_bytes(content)

    message = str(refusal(volume, tools))

    assert message == "the volume is open, and its file system is damaged or was never finished"
    assert Path(f"{volume.device}.content").read_bytes() == content
    assert not volume.mapped.exists()


def test_without_a_folder_to_mount_it_at_a_volume_is_closed_again(
    volume: Volume, tools: VolumeTools
) -> None:
    volume.mount.rmdir()

    assert str(refusal(volume, tools)) == f"{volume.mount}: No such file or directory"
    assert list(tools.mapped.iterdir()) == []


def test_exchanged_volumes_are_noticed(volume: Volume, tools: VolumeTools, tmp_path: Path) -> None:
    (tmp_path / "state1").mkdir()
    second = volume.replace(mount=tmp_path / "state1", is_first=False)
    open_volume(volume, SECRET, tools)
    close_volume(volume, tools)

    assert str(refusal(second, tools)) == (
        f"the volume on {volume.device} is labelled 'state', wanted 'state1'"
    )


def test_the_first_volume_may_have_no_label_as_those_of_the_reference_product(
    volume: Volume, tools: VolumeTools, tmp_path: Path
) -> None:
    open_volume(volume, SECRET, tools)
    close_volume(volume, tools)
    content = Path(f"{volume.device}.content")
    content.write_bytes(content.read_bytes().replace(b"state", bytes(5)))

    assert not open_volume(volume, SECRET, tools)
    close_volume(volume, tools)
    (tmp_path / "state1").mkdir()
    assert "is labelled '', wanted 'state1'" in str(
        refusal(volume.replace(mount=tmp_path / "state1", is_first=False), tools)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda path: path.unlink(), "there is no device {}", id="absent"),
        pytest.param(lambda path: os.truncate(path, (32 << 20) - 1), "the device {} has 33554431 bytes, wanted at least 33554432", id="small"),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), "the device {} cannot be read: Is a directory", id="folder"),
    ],
)  # fmt: skip
def test_a_device_that_cannot_be_one_is_named(
    volume: Volume, tools: VolumeTools, change: object, message: str
) -> None:
    change(volume.device)  # type: ignore[operator]  # a lambda of the table

    assert str(refusal(volume, tools)) == message.format(volume.device)


def test_an_error_of_the_disk_is_no_reason_to_format(
    volume: Volume, tools: VolumeTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int, _size: int, _offset: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)

    assert str(refusal(volume, tools)) == (
        f"the device {volume.device} cannot be read: Input/output error"
    )
    assert [words[1] for words in tools.asked] == ["status"]


@pytest.mark.first(3)
@pytest.mark.parametrize(
    ("command", "answer", "message"),
    [
        ("cryptsetup status", Finished(127, "", "the image has no program cryptsetup"), "cannot tell whether the volume is open: cryptsetup status ended with status 127: the image has no program cryptsetup"),
        ("cryptsetup status", Finished(1, "", "Cannot initialize device-mapper. Is dm_mod kernel module loaded?\n"), "cannot tell whether the volume is open: cryptsetup status ended with status 1: Cannot initialize device-mapper. Is dm_mod kernel module loaded?"),
        ("cryptsetup isLuks", Finished(4, "", "Device x does not exist or access denied."), "cannot tell what is on the device: cryptsetup isLuks ended with status 4: Device x does not exist or access denied."),
        ("cryptsetup isLuks", Finished(0, "", ""), "cannot tell what is on the device: cryptsetup isLuks ended with status 0"),
        ("cryptsetup isLuks", Finished(-9, "", ""), "cannot tell what is on the device: cryptsetup isLuks ended with status -9"),
        ("cryptsetup luksFormat", Finished(1, "", "no"), "cannot format the device: cryptsetup luksFormat ended with status 1: no"),
        ("cryptsetup open", Finished(1, "", "no"), "cannot open the volume: cryptsetup open ended with status 1: no"),
        ("mkfs.ext4 -n", Finished(1, "", "too small"), "no file system fits into the volume: mkfs.ext4 ended with status 1: too small"),
        ("mkfs.ext4 -F", Finished(1, "", "no"), "the file system cannot be made: mkfs.ext4 ended with status 1: no"),
        ("mount", Finished(32, "", "wrong fs type"), "cannot mount the volume: mount ended with status 32: wrong fs type"),
    ],
)  # fmt: skip
def test_a_tool_that_fails_is_quoted_and_the_next_start_completes_the_work(
    volume: Volume, tools: VolumeTools, command: str, answer: Finished, message: str
) -> None:
    tools.answers = {command: answer}
    assert str(refusal(volume, tools)) == message
    assert list(tools.mapped.iterdir()) == []

    tools.answers = {}
    open_volume(volume, SECRET, tools)

    assert tools.mounts == {str(volume.mount): str(volume.mapped)}


def test_a_header_that_cryptsetup_writes_in_another_way_is_not_put_on_the_device(
    volume: Volume, tools: VolumeTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(luks, "RECORDED", luks.with_bytes(6, b"\0\3"))

    assert "version is 3, wanted 2" in str(refusal(volume, tools))
    assert head(volume.device)[:4096] == MARK


def test_a_pods_volumes_are_open_while_it_lives(
    volume: Volume, tools: VolumeTools, tmp_path: Path
) -> None:
    other = volume.replace(device=tmp_path / "other", mount=tmp_path / "state1", is_first=False)
    other.device.touch()
    os.truncate(other.device, SIZE)
    other.mount.mkdir()
    said: list[str] = []
    seen: list[int] = []

    hold([volume, other], SECRET, tools, said.append, ready=lambda: seen.append(len(tools.mounts)), wait=lambda: None)  # fmt: skip

    assert seen == [2]
    assert tools.mounts == {}
    assert list(tools.mapped.iterdir()) == []
    assert said == [
        f"volume {volume.device} is formatted and mounted at {volume.mount}",
        f"volume {other.device} is formatted and mounted at {other.mount}",
        "volumes are closed",
    ]


def test_a_signal_ends_a_pod_that_is_ready(volume: Volume, tools: VolumeTools) -> None:
    def wait() -> None:
        raise Terminated

    hold([volume], SECRET, tools, lambda _: None, ready=lambda: None, wait=wait)

    assert tools.mounts == {}


def test_a_signal_before_that_closes_what_is_open(volume: Volume, tools: VolumeTools) -> None:
    def ready() -> None:
        raise Terminated

    with pytest.raises(Terminated):
        hold([volume], SECRET, tools, lambda _: None, ready=ready, wait=lambda: None)

    assert tools.mounts == {}
    assert list(tools.mapped.iterdir()) == []


def test_without_a_secret_nothing_is_tried(volume: Volume, tools: VolumeTools) -> None:
    with pytest.raises(VolumeNotOpened) as caught:
        hold([volume], None, tools, lambda _: None, ready=lambda: None, wait=lambda: None)

    assert "gives this workload no secret" in str(caught.value)
    assert tools.asked == []


def test_devices_are_mounted_in_their_order() -> None:
    found = parse_devices("/dev/csi0,/dev/csi1,/dev/csi2", Places())

    assert [(str(each.device), str(each.mount), each.is_first) for each in found] == [
        ("/dev/csi0", "/state", True),
        ("/dev/csi1", "/state1", False),
        ("/dev/csi2", "/state2", False),
    ]
    assert parse_devices("", Places()) == []


@pytest.mark.parametrize("text", ["csi0", "/dev/csi0,", "/dev/csi0,/dev/csi0", ","])
def test_devices_that_are_no_paths_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="wanted paths of devices"):
        parse_devices(text, Places())
