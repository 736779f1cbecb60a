"""Packs of a Coordinator's history that were received before, in .contrast/packs: a repeated caller gets only what is new.

Each file is named by its SHA-256 and verified when it is read. Losing them costs time only.
"""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

from contrast_tasks.api.packs import BadPack, Pack, read_pack
from contrast_tasks.files import replace_file
from contrast_tasks.settings.outputs import STATE

_NAME = re.compile(r"[0-9a-f]{64}")


class KeptPacks:
    """The packs that a project keeps; of a folder without a project's state nothing is kept."""

    def __init__(self, root: Path) -> None:
        self._state = root / STATE
        self._whole: frozenset[str] = frozenset()

    @property
    def _folder(self) -> Path:
        return self._state / "packs"

    def load(self) -> dict[bytes, Pack]:
        """Return the packs that are whole, by digest."""
        found = {}
        for path in self._files():
            with contextlib.suppress(OSError, BadPack):
                pack = read_pack(path.read_bytes())
                if pack.digest.hex() == path.name:
                    found[pack.digest] = pack
        self._whole = frozenset(digest.hex() for digest in found)
        return found

    def keep(self, packs: Mapping[bytes, Pack]) -> None:
        """Keep these packs and no others; a disk that is full or read-only is no error."""
        with contextlib.suppress(OSError):
            if not self._state.is_dir():
                return
            here = {path.name: path for path in self._files()}
            wanted = {digest.hex(): pack.content for digest, pack in packs.items()}
            for name in here.keys() - wanted.keys():
                here[name].unlink()
            for name in wanted.keys() - self._whole:
                replace_file(self._folder / name, wanted[name], is_synced=False)
            self._whole = frozenset(wanted)

    def _files(self) -> list[Path]:
        try:
            return [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
        except OSError:
            return []
