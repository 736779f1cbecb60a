"""What the checks accepted last time, workload by workload: a changed one is checked, the others are taken from here.

Each row holds a workload's head and its entry as it stands in the manifest, so that neither a thousand heads are read
nor a thousand entries rendered and validated because one changed. It serves the plain case only, a manifest nobody has
anything to say about; whenever there may be a finding, everything is looked at again, and the bytes are the same.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from contrast_tasks.files import sha256_hex
from contrast_tasks.steps.work import Head, head_of, write_plain

if TYPE_CHECKING:
    from contrast_tasks.manifest.model import Manifest

_MAGIC = "contrast-accepted/1"
_NO_POLICIES = '"Policies": {}'
_OPEN, _CLOSE = '"Policies": {\n', "\n  }"
_BETWEEN = "\n    },\n"
_END = "\n    }"


class Row(NamedTuple):
    """One workload: the digest of its inputs, its head as JSON, and its entry's text, "" while nobody accepted it."""

    inputs: str
    head: Mapping[str, Any]
    entry: str = ""

    @property
    def policy_sha256(self) -> str:
        """Return the policy's hash, "" without a policy."""
        return str(self.head["policy_sha256"])

    def as_head(self) -> Head:
        """Return the head."""
        return head_of(self.head)


def load_rows(path: Path, code: str) -> dict[str, Row]:
    """Return the rows by workload; none if the file was written by other code, or is not as it was written."""
    try:
        first, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return {}
    if first != _first_line(code, content):
        return {}
    return {name: Row(*row) for name, row in json.loads(content).items()}


def save_rows(path: Path, code: str, rows: Mapping[str, Row]) -> None:
    """Keep the rows; what cannot be kept is checked again."""
    content = json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode()
    with contextlib.suppress(OSError):
        write_plain(path, _first_line(code, content) + b"\n" + content)


def _first_line(code: str, content: bytes) -> bytes:
    return f"{_MAGIC} {code} {sha256_hex(content)}".encode()


def is_plain(rows: Iterable[Row]) -> bool:
    """Return whether no two workloads share a policy or a secret, so that each entry stands for itself."""
    heads = [row.head for row in rows if row.policy_sha256]
    secrets = [head["workload_secret_id"] for head in heads if head["workload_secret_id"]]
    hashes = {head["policy_sha256"] for head in heads}
    return len(hashes) == len(heads) and len(set(secrets)) == len(secrets)


def to_check(rows: Mapping[str, Row]) -> list[str]:
    """Return the workloads whose entries must be checked: those not accepted yet, and the Coordinators to be counted."""
    return [
        name
        for name, row in rows.items()
        if row.policy_sha256 and (not row.entry or row.head["role"])
    ]


def accept(
    rows: Mapping[str, Row], names: Iterable[str], frame: str, checked: str
) -> dict[str, Row] | None:
    """Return the rows with the entries of `names`, taken from the bytes that were checked.

    frame: the manifest without policies; checked: the manifest with the policies of `names`. None if the one does not
    surround the other as expected.
    """
    before, found, after = frame.partition(_NO_POLICIES)
    before, after = before + _OPEN, _CLOSE + after
    if not found or not (checked.startswith(before) and checked.endswith(after)):
        return None
    texts = checked[len(before) : -len(after)].removesuffix(_END).split(_BETWEEN)
    # The manifest's policies are sorted by hash.
    ordered = sorted(names, key=lambda name: rows[name].policy_sha256)
    if len(texts) != len(ordered):
        return None
    new = {name: rows[name]._replace(entry=text) for name, text in zip(ordered, texts, strict=True)}
    return {**rows, **new}


def assemble(rows: Mapping[str, Row], frame: str) -> str:
    """Return the manifest: the frame with every row's entry, sorted by hash."""
    entries = sorted((row.policy_sha256, row.entry) for row in rows.values() if row.policy_sha256)
    before, _, after = frame.partition(_NO_POLICIES)
    inside = _BETWEEN.join([text for _, text in entries]) + _END
    return f"{before}{_OPEN}{inside}{_CLOSE}{after}"


def frame_of(manifest: "Manifest") -> str:
    """Return the text of a manifest without its policies."""
    from contrast_tasks.manifest.codec import render_manifest

    return render_manifest(manifest.replace(policies={})).decode()
