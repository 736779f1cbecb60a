"""The Coordinator's ConfigMaps from outside of the cluster, by the user's own kubectl, for whoever keeps the store.

All are read at once, when the store is opened. What is written must not have changed since: ConfigMaps are created, or replaced
with the resourceVersion that was read. Source: docs/internals/coordinator.md 8.3, 8.7.
"""

import base64
import binascii
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from contrast_tasks.decode import DecodeError, Json, parse_json
from contrast_tasks.errors import ClusterError
from contrast_tasks.kubectl import KubectlFailed, run_kubectl
from coordinator.kubernetes.api import STATEFUL_SET
from coordinator.kubernetes.configmaps import PREFIX, SELECTOR, name_of, reference, render
from coordinator.store.base import NotFound, StoreConflict, StoreError, check_folder, split_key

_CONFLICTS = frozenset({"AlreadyExists", "Conflict"})


class _Read(NamedTuple):
    value: bytes
    version: str


class KubectlStore:
    """Keeps values in ConfigMaps of a namespace. options: of kubectl, as --context and --namespace. Raises StoreError."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._options = list(options)
        self._read = self._load()

    def get(self, key: str) -> bytes:
        """Return the value that was there when the store was opened, or was written since; NotFound if there is none."""
        split_key(key)
        try:
            return self._read[key].value
        except KeyError as err:
            raise NotFound(f"no value under {key}: {self.describe(key)} does not exist") from err

    def set(self, key: str, value: bytes) -> None:
        """Store the value."""
        self.set_all({key: value})

    def set_all(self, values: Mapping[str, bytes]) -> None:
        """Store each value. Raises StoreConflict if one was changed since the store was opened; others may be stored."""
        for key in values:
            split_key(key)
        owner = reference(self._uid())
        new, changed = [], []
        for key, value in values.items():
            found, made = self._read.get(key), render(key, value, owner)
            if found is None:
                new.append(made)
            elif found.value != value:
                made["metadata"]["resourceVersion"] = found.version
                changed.append(made)
        for verb, objects in (("create", new), ("replace", changed)):
            if objects:
                # A List would be validated as an object of its own, whose kind no API server has.
                content = "".join(f"---\n{json.dumps(each)}\n" for each in objects)
                self._run(verb, "--filename=-", "--output=name", content=content)
        self._read = self._load()

    def compare_and_swap(self, key: str, old: bytes, new: bytes) -> None:
        """Replace `old` by `new`, StoreConflict if another value stands there."""
        split_key(key)
        found = self._read.get(key)
        if (found.value if found is not None else b"") != old:
            raise StoreConflict(f"{self.describe(key)} was changed by another process")
        self.set(key, new)

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of all keys below `folder`."""
        prefix = f"{check_folder(folder)}/"
        return sorted(key.removeprefix(prefix) for key in self._read if key.startswith(prefix))

    def watch(self, key: str, on_change: Callable[[], None], stop: threading.Event) -> None:
        """Raise StoreError: whoever keeps a store does not wait for it."""
        del on_change, stop
        raise StoreError(f"kubectl does not watch {self.describe(key)}")

    def describe(self, key: str) -> str:
        """Return the ConfigMap's name."""
        return f"ConfigMap {name_of(key)}"

    def _load(self) -> dict[str, _Read]:
        found = self._run("get", "configmaps", f"--selector={SELECTOR}", "--output=json")
        try:
            items = parse_json(found).at("items").items()
            return {key: read for key, read in map(_parse, items) if key}
        except (DecodeError, binascii.Error) as err:
            raise StoreError("kubectl's list of ConfigMaps is malformed") from err

    def _uid(self) -> str:
        try:
            found = self._run("get", "statefulsets.apps", STATEFUL_SET, "--output=json")
        except StoreError as err:
            cause = err.__cause__
            if isinstance(cause, KubectlFailed) and "NotFound" in cause.reasons:
                err.hint = "deploy the Coordinator first, since its StatefulSet owns the ConfigMaps"
            raise
        try:
            return parse_json(found).at("metadata").at("uid").text()
        except DecodeError as err:
            raise StoreError("kubectl's answer about the StatefulSet is malformed") from err

    def _run(self, verb: str, *words: str, content: str = "") -> str:
        try:
            return run_kubectl([verb, *words, *self._options], content).text
        except ClusterError as err:
            is_conflict = isinstance(err, KubectlFailed) and bool(err.reasons & _CONFLICTS)
            kind = StoreConflict if is_conflict else StoreError
            raise kind(str(err), hint=err.hint) from err


def _parse(found: Json) -> tuple[str, _Read]:
    """Return the key and what is there; "" for a ConfigMap that is none of a store."""
    metadata = found.at("metadata")
    full, version = metadata.at("name").text(), metadata.at("resourceVersion").text()
    data = found.filled("binaryData")
    for name, value in data.members() if data is not None else ():
        # Folders may have dashes too; the key inside says where the name begins.
        folder = full.removeprefix(PREFIX).removesuffix(f"-{name}")
        if full == f"{PREFIX}{folder}-{name}":
            return f"{folder}/{name}", _Read(base64.b64decode(value.text(), validate=True), version)
    return "", _Read(b"", version)
