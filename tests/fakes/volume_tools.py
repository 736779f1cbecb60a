"""cryptsetup, mkfs and mount as a pod with encrypted volumes uses them, on files; every command is recorded.

What is inside a volume lies in a file beside its device, and belongs to one secret. A process that dies leaves everything as it
is: no command after that has an effect.
"""

from collections.abc import Sequence
from pathlib import Path

from contrast_tasks.guest.commands import Finished
from tests.fakes import luks

_DONE = Finished(0, "", "")


def head(device: Path) -> bytes:
    """Return the first 16384 bytes of a device."""
    with device.open("rb") as disk:
        return disk.read(16384)


class Killed(BaseException):
    """The process is gone."""


class VolumeTools:
    """A kernel and its tools. dies_after: the number of commands or writes to devices after which the process is gone."""

    def __init__(self, mapped: Path) -> None:
        self.mapped = mapped
        self.asked: list[tuple[str, ...]] = []
        self.given: list[bytes] = []
        self.dies_after: int | None = None
        self.mounts: dict[str, str] = {}
        self.answers: dict[str, Finished] = {}
        self._keyslots: dict[bytes, bytes] = {}
        mapped.mkdir()

    def live(self) -> None:
        """Count one deed; raise Killed when there are no more to be done."""
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after < 0:
                raise Killed

    def __call__(self, argv: Sequence[str], given: bytes) -> Finished:
        self.live()
        self.asked.append(tuple(argv))
        self.given.append(given)
        known = next((key for key in self.answers if " ".join(argv).startswith(key)), None)
        if known is not None:
            return self.answers[known]
        program, *words = argv
        if program == "cryptsetup":
            return getattr(self, f"_{words[0]}")(words, given)
        return getattr(self, "_" + program.replace(".", "_"))(words)

    def _status(self, words: list[str], _given: bytes) -> Finished:
        return _DONE if (self.mapped / words[-1]).exists() else Finished(4, "", "")

    def _isLuks(self, words: list[str], _given: bytes) -> Finished:  # noqa: N802  # the command's name
        start = head(Path(words[-1]))
        return _DONE if start == luks.RECORDED else Finished(1, "", "")

    def _luksFormat(self, words: list[str], given: bytes) -> Finished:  # noqa: N802  # the command's name
        keyslots = (b"keyslot of volume %d" % len(self._keyslots)).ljust(1 << 20, b".")
        self._keyslots[keyslots] = given
        Path(words[words.index("--header") + 1]).write_bytes(
            luks.RECORDED + luks.secondary(luks.RECORDED) + keyslots
        )
        self._content(words[-1]).write_bytes(b"")
        return _DONE

    def _open(self, words: list[str], given: bytes) -> Finished:
        copy = Path(words[words.index("--header") + 1]).read_bytes()
        assert copy.startswith(luks.RECORDED)
        if self._keyslots.get(copy[32768:]) != given:
            return Finished(2, "", "No key available with this passphrase.")
        (self.mapped / words[-1]).symlink_to(self._content(words[-2]))
        return _DONE

    def _close(self, words: list[str], _given: bytes) -> Finished:
        path = self.mapped / words[-1]
        if str(path) in self.mounts.values():
            return Finished(5, "", f"Device {words[-1]} is still in use.")
        path.unlink()
        return _DONE

    def _mkfs_ext4(self, words: list[str]) -> Finished:
        if "-n" in words:
            return Finished(0, "Superblock backups stored on blocks: \n\t1, 3\n\n", "")
        path = Path(words[-1])
        assert path.read_bytes()[:4096] == bytes(4096)
        label = words[words.index("-L") + 1].encode().ljust(16, b"\0")
        superblock = bytes(0x38) + b"\x53\xef" + bytes(0x78 - 0x3A) + label
        path.write_bytes((bytes(1024) + superblock).ljust(16384, b"\0"))
        return _DONE

    def _mount(self, words: list[str]) -> Finished:
        self.mounts[words[-1]] = words[-2]
        return _DONE

    def _umount(self, words: list[str]) -> Finished:
        del self.mounts[words[-1]]
        return _DONE

    def _content(self, device: str) -> Path:
        return Path(f"{device}.content")
