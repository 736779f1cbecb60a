"""Run inside a virtual machine (tests/guest/volumes/test_in_a_machine.py): each step tells its outcome as one line, `name: outcome`.

/dev/vda, /dev/vdb and /dev/vdc are three empty devices.
"""

import itertools
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from contrast_tasks.guest.commands import Finished, run_command
from contrast_tasks.guest.volumes import volume as module
from contrast_tasks.guest.volumes.errors import VolumeNotOpened
from contrast_tasks.guest.volumes.volume import Volume, close_volume, open_volume

SECRET, OTHER = bytes(range(64)), bytes(range(1, 65))
FIRST = Volume(device=Path("/dev/vda"), mount=Path("/state"))
SECOND = Volume(device=Path("/dev/vdb"), mount=Path("/state1"), is_first=False)
THIRD = Volume(device=Path("/dev/vdc"), mount=Path("/state"))


def outcome(step: Callable[[], object]) -> str:
    try:
        return str(step())
    except VolumeNotOpened as err:
        return f"refused: {err}"


def tell(name: str, step: Callable[[], object]) -> None:
    print(f"{name}: {outcome(step)}", flush=True)  # noqa: T201  # the machine's console


def opened(volume: Volume, secret: bytes = SECRET) -> str:
    return "formatted" if open_volume(volume, secret, run_command) else "opened"


def closed(volume: Volume) -> str:
    close_volume(volume, run_command)
    return "closed"


def in_a_child(step: Callable[[], object]) -> int:
    """Run a step in a process of its own, and return how it ended."""
    pid = os.fork()
    if pid == 0:
        try:
            step()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def dying(program: str, writes: int) -> Callable[[], object]:
    """Return an opening whose process is gone after a program, or after so many writes to the device."""
    write, done = module.write_at, itertools.count(1)

    def run(argv: Sequence[str], given: bytes) -> Finished:
        ended = run_command(argv, given)
        if " ".join(argv).startswith(program):
            os._exit(9)
        return ended

    def write_at(descriptor: int, offset: int, content: bytes) -> None:
        write(descriptor, offset, content)
        if next(done) == writes:
            os._exit(9)

    def step() -> None:
        module.write_at = write_at
        open_volume(THIRD, SECRET, run)

    return step


def change(device: Path, offset: int, content: bytes) -> None:
    with device.open("r+b") as disk:
        disk.seek(offset)
        disk.write(content)
        os.fsync(disk.fileno())


def head(device: Path) -> bytes:
    with device.open("rb") as disk:
        return disk.read(2 << 20)


def mounts() -> str:
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    found = [line[2:4] for line in reversed(lines) if line[1] == "/state"]
    return " over ".join(f"{kind} {options}" if kind == "ext4" else kind for kind, options in found)


def one_volume() -> None:
    # As the agent makes an emptyDir in memory for a pod with an fsGroup.
    empty_dir = ["mount", "-t", "tmpfs", "-o", "mode=2775,gid=2000", "empty", "/state"]
    subprocess.run(empty_dir, check=True)
    tell("a new device", lambda: opened(FIRST))
    tell("mount", mounts)
    tell("owner and mode", owner_and_mode)
    tell("content", lambda: sorted(path.name for path in Path("/state").iterdir()))
    Path("/state/letter").write_text("kept")
    Path("/state").chmod(0o755)
    tell("restarted without closing", lambda: opened(FIRST))
    tell("mounts", mounts)
    FIRST.mapped.unlink()
    subprocess.run(["umount", "/state"], check=True)
    tell("restarted in a new container", lambda: opened(FIRST))
    tell("letter", lambda: Path("/state/letter").read_text())
    tell("closing while in use", lambda: held(FIRST))
    tell("closing", lambda: closed(FIRST))
    tell("what is left", mounts)
    tell("mappings", lambda: sorted(path.name for path in Path("/dev/mapper").iterdir()))
    tell("headers in memory", lambda: sorted(Path("/dev/shm/contrast-cryptsetup").iterdir()))
    before = head(FIRST.device)
    tell("another secret", lambda: opened(FIRST, OTHER))
    tell("device after another secret", lambda: "same" if head(FIRST.device) == before else "other")


def two_volumes() -> None:
    Path("/state1").chmod(0o777)
    tell("the first again", lambda: opened(FIRST))
    tell("owner and mode of a used volume", owner_and_mode)
    tell("a second", lambda: opened(SECOND))
    Path("/state1/other").write_text("beside")
    tell("letters", lambda: Path("/state/letter").read_text() + Path("/state1/other").read_text())
    tell("closing both", lambda: (closed(FIRST), closed(SECOND)))
    tell("exchanged", lambda: opened(FIRST.replace(device=SECOND.device)))


def killed() -> None:
    never = " "
    tell("killed after the mark", lambda: in_a_child(dying(never, writes=1)))
    tell("killed after mkfs", lambda: in_a_child(dying("mkfs.ext4 -F", writes=0)))
    tell("killed before the last block", lambda: in_a_child(dying(never, writes=3)))
    tell("after all that", lambda: opened(THIRD))
    tell("closing the third", lambda: closed(THIRD))


def damaged() -> None:
    good = head(THIRD.device)
    change(THIRD.device, 4096 + 10, b"X")
    tell("damaged header", lambda: opened(THIRD))
    change(THIRD.device, 0, bytes(16384))
    tell("first header gone", lambda: opened(THIRD))
    change(THIRD.device, 0, bytes(32768))
    tell("both headers gone", lambda: opened(THIRD))
    change(THIRD.device, 0, good)
    change(THIRD.device, (16 << 20) + 4096, os.urandom(24 << 20)[4096:])
    tell("damaged data", lambda: opened(THIRD))
    tell("mappings at the end", lambda: sorted(path.name for path in Path("/dev/mapper").iterdir()))


def main() -> None:
    one_volume()
    two_volumes()
    change(THIRD.device, 5 << 20, b"somebody's")
    tell("foreign data", lambda: opened(THIRD))
    change(THIRD.device, 5 << 20, bytes(10))
    killed()
    damaged()


def owner_and_mode() -> str:
    found = Path("/state").stat()
    return f"{found.st_uid}:{found.st_gid} {found.st_mode & 0o7777:o}"


def held(volume: Volume) -> str:
    with (volume.mount / "letter").open():
        return closed(volume)
