import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.images.verity import VerityTree

VERITYSETUP = shutil.which("veritysetup") or shutil.which("veritysetup", path="/usr/sbin:/sbin")


def root_of(content: bytes, piece: int = 1 << 20) -> str:
    tree = VerityTree()
    for start in range(0, len(content), piece):
        tree.update(content[start : start + piece])
    return tree.finish()


def test_the_empty_layer_has_its_published_root() -> None:
    # An archive of two zero blocks with its index: one inode, the root; docs/internals/aks.md 2.2.
    inode = bytes.fromhex("6d41") + bytes(22) + (1024 + 32).to_bytes(8, "little")
    index = inode + bytes(4096 - 1024 - 32)
    super_block = bytes(3584) + (1024).to_bytes(8, "little") + (1).to_bytes(8, "little")

    content = (bytes(1024) + index + super_block).ljust(8192, b"\0")

    assert root_of(content) == "67450082ab56da1aecc5eae2f18d980cd9e7306e79334a1a826a91cfd90114a8"


@pytest.mark.skipif(VERITYSETUP is None, reason="veritysetup is not installed")
@pytest.mark.parametrize(
    "blocks",
    [2, 127, 128, 129]
    + [pytest.param(blocks, marks=pytest.mark.sweep) for blocks in (128 * 128, 128 * 128 + 1)],
)
def test_veritysetup_finds_the_same_root(blocks: int, tmp_path: Path) -> None:
    content = b"".join(number.to_bytes(4096, "big") for number in range(blocks))
    (tmp_path / "file").write_bytes(content)
    words = [
        *(str(VERITYSETUP), "format", "--no-superblock", "--hash=sha256", "-s", "0" * 64),
        *("--data-block-size=4096", "--hash-block-size=4096", "--uuid="),
        *(str(tmp_path / "file"), str(tmp_path / "tree")),
    ]

    out = subprocess.run(words, check=True, capture_output=True, text=True).stdout

    found = re.search(r"Root hash:\s*([0-9a-f]{64})", out)
    assert found is not None
    assert root_of(content) == found[1]


@pytest.mark.sweep
@given(st.integers(1, 9000))
def test_the_pieces_do_not_matter(piece: int) -> None:
    content = bytes(range(256)) * 16 * 150

    assert root_of(content, piece) == root_of(content)
