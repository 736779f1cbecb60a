"""The store that the history needs: small values under two-part keys, and one compare-and-swap.

Keys are `<folder>/<name>`, both of letters, digits and dashes. Source: docs/internals/coordinator.md 8.1, 8.2.

StoreError            the store cannot be read or written
├── NotFound          no value under this key
├── InvalidKey        the key is not of that form
└── StoreConflict     compare-and-swap found another value than expected
"""

import re
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from contrast_tasks.errors import ClusterError

NAME = re.compile(r"[a-zA-Z0-9-]+", re.ASCII)
_KEY = re.compile(rf"{NAME.pattern}/{NAME.pattern}", re.ASCII)


class StoreError(ClusterError):
    """The store cannot be read or written."""


class NotFound(StoreError):
    """There is no value under this key."""


class InvalidKey(StoreError):
    """A key is not of the form `<folder>/<name>`."""


class StoreConflict(StoreError):
    """Another process changed the value in between."""


class Store(Protocol):
    """A key-value store; every method raises StoreError, InvalidKey for a malformed key."""

    def get(self, key: str) -> bytes:
        """Return the value, NotFound if there is none; reads no more than one object may have."""

    def set(self, key: str, value: bytes) -> None:
        """Store the value; readers see the old one or the new one, never a part."""

    def set_all(self, values: Mapping[str, bytes]) -> None:
        """Store each value as `set` does, in any order; after an error some may be stored."""

    def compare_and_swap(self, key: str, old: bytes, new: bytes) -> None:
        """Replace `old` by `new`; raises StoreConflict if the value is another. A missing value counts as empty."""

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of all keys below `folder`."""

    def watch(self, key: str, on_change: Callable[[], None], stop: threading.Event) -> None:
        """Call `on_change` now, and whenever the value may have changed, until `stop` is set."""

    def describe(self, key: str) -> str:
        """Return the file name under which a person finds the value; the key need not exist."""


def split_key(key: str) -> tuple[str, str]:
    """Return folder and name of a key, InvalidKey if it is malformed."""
    if not _KEY.fullmatch(key):
        raise InvalidKey(
            f"invalid key {key!r}: wanted <folder>/<name> of letters, digits and dashes"
        )
    folder, _, name = key.partition("/")
    return folder, name


def check_folder(folder: str) -> str:
    """Return `folder`, InvalidKey if it cannot be the first part of a key."""
    if not NAME.fullmatch(folder):
        raise InvalidKey(f"invalid key folder {folder!r}: wanted letters, digits and dashes")
    return folder
