"""The store of results: entries by kind and key, each of which is verified when it is read.

    line 1   contrast-store/3 <kind> <key> <SHA-256 of everything below>
    line 2   what the key is the digest of, name -> digest, as JSON; {} for other keys
    rest     the content

An entry that is damaged, or that stands where another one should, does not count. Losing the store costs time only.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from contrast_tasks.files import replace_file
from contrast_tasks.records import Record

NOTHING: Mapping[str, str] = {}
_MAGIC = "contrast-store/3"


class Store(Record, kw_only=False):
    """One folder of entries; kind and key are file names, and most keys are the digest of the content's inputs."""

    folder: str

    def path(self, kind: str, key: str) -> str:
        """Return the file of an entry."""
        return f"{self.folder}/{kind}/{key}"

    def get(self, kind: str, key: str) -> bytes | None:
        """Return the content of an entry, None if it is missing or damaged."""
        _, content = self._read(kind, key)
        return content

    def made_from(self, kind: str, key: str) -> Mapping[str, str]:
        """Return what the key of an entry is the digest of; {} if that is not known."""
        made, _ = self._read(kind, key)
        return dict(json.loads(made))

    def _read(self, kind: str, key: str) -> tuple[bytes, bytes | None]:
        """Return the second line of an entry and its content, b"{}" and None if it is missing or damaged."""
        try:
            with open(self.path(kind, key), "rb") as entry:  # noqa: PTH123  # a thousand
                first, made, content = entry.readline(), entry.readline(), entry.read()
        except OSError:
            return b"{}", None
        is_intact = first == _first_line(kind, key, made, content)
        return (made, content) if is_intact else (b"{}", None)

    def put(
        self, kind: str, key: str, content: bytes, made_from: Mapping[str, str] = NOTHING
    ) -> None:
        """Write an entry; raises OSError, naming the file, on failure."""
        made = json.dumps(made_from, separators=(",", ":")).encode() + b"\n"
        entry = b"".join((_first_line(kind, key, made, content), made, content))
        replace_file(Path(self.path(kind, key)), entry, is_synced=False)

    def remember(self, kind: str, key: str, content: bytes) -> None:
        """Write an entry that only saves time; failure is ignored."""
        with contextlib.suppress(OSError):
            self.put(kind, key, content)

    def keep(self, kind: str, keys: Collection[str]) -> None:
        """Remove all entries of a kind but these."""
        with contextlib.suppress(OSError):
            for name in set(os.listdir(f"{self.folder}/{kind}")).difference(keys):  # noqa: PTH208  # a thousand
                os.unlink(self.path(kind, name))  # noqa: PTH108  # as above


class Rows:
    """A content of many values, name -> JSON value, each in a line of its own.

    A line is made for what is new only: a value that came from here is written as it was read.
    """

    def __init__(self, content: bytes | None) -> None:
        self._lines = content.split(b"\n") if content else []
        self.values: dict[str, Any] = dict(json.loads(b"[%b]" % b",".join(self._lines)))

    def content(self, values: Mapping[str, Any]) -> bytes:
        """Return the content for these values."""
        known = dict(zip(self.values, self._lines, strict=True))
        return b"\n".join(
            [
                known[name] if name in known and self.values[name] is value else _line(name, value)
                for name, value in values.items()
            ]
        )


def _line(name: str, value: object) -> bytes:
    return json.dumps([name, value], separators=(",", ":")).encode()


def _first_line(kind: str, key: str, made: bytes, content: bytes) -> bytes:
    digest = hashlib.sha256(made)
    digest.update(content)
    return f"{_MAGIC} {kind} {key} {digest.hexdigest()}\n".encode(errors="replace")
