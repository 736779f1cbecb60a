"""The kernel's configfs-tsm, simulated by a directory."""

from collections.abc import Callable
from pathlib import Path

from contrast_tasks.attestation.issuers.tsm import KernelAttributes


class Configfs(KernelAttributes):
    """A directory whose entries behave like the kernel's: writes are counted, and reports hold the written report data."""

    def __init__(self, provider: bytes = b"sev_guest\n") -> None:
        self.provider = provider
        self.auxiliary = b"table"
        self.report: Callable[[bytes], bytes] = lambda data: b"report over " + data
        self.intruders = 0
        self.failures: dict[str, int] = {}
        self.log: list[str] = []

    def make(self, folder: Path) -> None:
        super().make(folder)
        self.log.append("make")
        (folder / "provider").write_bytes(self.provider)
        (folder / "generation").write_bytes(b"0\n")
        if self.auxiliary is not None:
            (folder / "auxblob").write_bytes(self.auxiliary)

    def remove(self, folder: Path) -> None:
        self.log.append("remove")
        for path in folder.iterdir():
            path.unlink()
        super().remove(folder)

    def count(self, folder: Path) -> None:
        generation = int((folder / "generation").read_bytes())
        (folder / "generation").write_bytes(b"%d\n" % (generation + 1))

    def read(self, path: Path) -> bytes:
        if error := self.failures.get(path.name):
            raise OSError(error, "as told", str(path))
        if path.name == "outblob" and self.intruders:
            self.intruders -= 1
            self.count(path.parent)
        return super().read(path)

    def write(self, path: Path, content: bytes) -> None:
        if error := self.failures.get(f"write {path.name}"):
            raise OSError(error, "as told", str(path))
        path.write_bytes(content)
        self.log.append(f"write {path.name}")
        self.count(path.parent)
        if path.name == "inblob":
            (path.parent / "outblob").write_bytes(self.report(content))
