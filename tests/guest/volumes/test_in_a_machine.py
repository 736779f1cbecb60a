"""Our code with the real tools and a real kernel: volumes are made, opened, exchanged, damaged, and their maker is killed."""

import os
from pathlib import Path

import pytest

from tests.fakes import machine

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(bool(machine.missing()), reason=machine.missing() or "complete"),
]
MIB = 1 << 20
REFUSED = "refused: "
HEADER = f"{REFUSED}the volume's header is damaged: "
# Source: docs/internals/runtime.md 7.4; the kernel adds nodelalloc and nodioread_nolock for data=journal.
EXT4 = "ext4 rw,sync,relatime,nodioread_nolock,nodelalloc,data=journal"
EMPTY_DIR = "tmpfs"

WANTED = {
    "a new device": "formatted",
    "mount": f"{EXT4} over {EMPTY_DIR}",
    "owner and mode": "0:2000 2775",
    "content": "[]",
    "restarted without closing": "opened",
    "mounts": f"{EXT4} over {EMPTY_DIR}",
    "restarted in a new container": "opened",
    "letter": "kept",
    "closing while in use": f"{REFUSED}the volume at /state cannot be closed: umount ended with status 32: umount: /state: target is"
    " busy.",
    "closing": "closed",
    "what is left": EMPTY_DIR,
    "mappings": "['control']",
    "headers in memory": "[]",
    "another secret": f"{REFUSED}the volume on /dev/vda was encrypted with another workload secret, or its keyslot is damaged",
    "device after another secret": "same",
    "the first again": "opened",
    "owner and mode of a used volume": "0:2000 755",
    "a second": "formatted",
    "letters": "keptbeside",
    "closing both": "('closed', 'closed')",
    "exchanged": f"{REFUSED}the volume on /dev/vdb is labelled 'state1', wanted 'state'",
    "foreign data": f"{REFUSED}the device /dev/vdc holds data, first at byte 5242880, and is no encrypted volume",
    "killed after the mark": "9",
    "killed after mkfs": "9",
    "killed before the last block": "9",
    "after all that": "formatted",
    "closing the third": "closed",
    "damaged header": f"{HEADER}its checksum is wrong",
    "first header gone": f"{HEADER}it does not begin with the magic of LUKS",
    "both headers gone": f"{REFUSED}the device /dev/vdc holds data, first at byte 32768, and is no encrypted volume",
    "damaged data": f"{REFUSED}the volume is open, and its file system is damaged or was never finished",
    "mappings at the end": "['control']",
}


def test_volumes_live_as_they_should(tmp_path: Path) -> None:
    disks = [tmp_path / name for name in ("vda", "vdb", "vdc")]
    for disk, size in zip(disks, (64, 40, 40), strict=True):
        disk.touch()
        os.truncate(disk, size * MIB)

    shown = machine.run("tests.fakes.life_of_volumes", disks, tmp_path, timeout_s=300)

    assert dict(line.split(": ", 1) for line in shown.splitlines()) == WANTED
    # Nothing that was written into a volume lies on its device in the clear.
    assert b"kept" not in disks[0].read_bytes()
