"""`./doitw layer_roots DIR`: what the AKS snapshotter makes of archives by our rules, beside what its own tools made.

DIR has archives, `<name>.tar.gz`, and roots.json: for each name the diff_id, the bytes of the archive, the SHA-256 of what the
tools append before the tree, and the root hash.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ContrastError, UsageError
from contrast_tasks.files import sha256_hex
from contrast_tasks.images.tardev import layer_device
from dev.verdicts import Verdict, tell

_ENDING = ".tar.gz"


def run_layer_roots(words: Sequence[str] = ()) -> dict[str, Any]:
    """Compare every archive; words: the folder. Raises UsageError for another number of words, SomeFailed if one differs."""
    if len(words) != 1:
        raise UsageError(f"found {len(words)} words, expected one: the folder of the archives")
    folder = Path(words[0])
    try:
        expected = json.loads((folder / "roots.json").read_bytes())
    except (OSError, ValueError) as err:
        raise UsageError(f"{folder}/roots.json cannot be read: {err}") from err
    return tell(verdicts(folder, expected))


def verdicts(folder: Path, expected: Mapping[str, Mapping[str, Any]]) -> Iterator[Verdict]:
    """Yield a verdict for each archive, and one for each name without an archive."""
    names = {path.name.removesuffix(_ENDING) for path in folder.glob(f"*{_ENDING}")}
    for name in sorted(names | expected.keys()):
        yield _verdict(folder / f"{name}{_ENDING}", expected.get(name))


def _verdict(path: Path, expected: Mapping[str, Any] | None) -> Verdict:
    try:
        with path.open("rb") as stream:
            device = layer_device(stream, path.name)
    except (ContrastError, OSError) as err:
        return Verdict(path.name, "read", str(err))
    found = {
        "diff_id": device.diff_id,
        "size": device.size,
        "tail_sha256": sha256_hex(device.tail),
        "root": device.root,
    }
    shown = f"{found['diff_id']} {found['tail_sha256']} {found['root']}"
    if expected is None:
        return Verdict(path.name, shown, "roots.json does not have it")
    differences = [
        f"{key}: found {value}, expected {expected.get(key)}"
        for key, value in found.items()
        if expected.get(key) != value
    ]
    return Verdict(path.name, shown, "\n".join(differences))
