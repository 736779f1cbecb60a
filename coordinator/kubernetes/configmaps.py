"""A store in ConfigMaps of the pod's namespace, one for each key, as the reference product has it.

    name              contrast-store-<folder>-<name>
    binaryData        {<name>: base64}
    ownerReferences   the StatefulSet `coordinator`, so that deleting it removes the history

Source: docs/internals/coordinator.md 8.3.
"""

import base64
import binascii
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

from contrast_tasks.decode import DecodeError, Json
from contrast_tasks.errors import SettingsError
from coordinator.kubernetes.api import STATEFUL_SET, Api, Refused, items_of
from coordinator.store.base import (
    NotFound,
    StoreConflict,
    StoreError,
    check_folder,
    split_key,
)

PREFIX = "contrast-store-"
_LABEL, _LABEL_VALUE = "app.kubernetes.io/managed-by", "contrast.edgeless.systems"
SELECTOR = f"{_LABEL}={_LABEL_VALUE}"
_NAMES_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
# The API server is everybody's: no more requests at a time than a patient client makes.
_WRITERS = 4


class ConfigMapStore:
    """Keeps values in ConfigMaps, which belong to the StatefulSet of the Coordinator's pod.

    Raises SettingsError at once if the pod belongs to no such StatefulSet, StoreError if the API server does not answer.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._owner = _owner(api)

    def get(self, key: str) -> bytes:
        """Return the value, NotFound if there is none."""
        return self._read(key)[0]

    def set(self, key: str, value: bytes) -> None:
        """Store the value; readers see the old one or the new one."""
        try:
            self._api.create("configmaps", self._render(key, value))
        except Refused as err:
            if err.code != HTTPStatus.CONFLICT:
                raise
        else:
            return
        found, version = self._read(key)
        if found != value:
            self._replace(key, value, version)

    def set_all(self, values: Mapping[str, bytes]) -> None:
        """Store each value as `set` does, a few at a time."""
        for key in values:
            split_key(key)
        with ThreadPoolExecutor(_WRITERS) as writers:
            for _ in writers.map(self.set, values, values.values()):
                pass

    def compare_and_swap(self, key: str, old: bytes, new: bytes) -> None:
        """Replace `old` by `new`, StoreConflict if another value stands there."""
        try:
            found, version = self._read(key)
        except NotFound:
            found, version = b"", ""
        if found != old:
            raise StoreConflict(f"{self.describe(key)} was changed by another process")
        if version:
            self._replace(key, new, version)
            return
        try:
            self._api.create("configmaps", self._render(key, new))
        except Refused as err:
            raise self._conflict(key, err) from err

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of all keys below `folder`."""
        prefix = f"{PREFIX}{check_folder(folder)}-"
        found = self._api.get("configmaps", {"labelSelector": SELECTOR}, accept=_NAMES_ONLY)
        try:
            names = [item.at("metadata").at("name").text() for item in items_of(found)]
        except DecodeError as err:
            raise StoreError("the API server's list of ConfigMaps is malformed") from err
        return sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix))

    def watch(self, key: str, on_change: Callable[[], None], stop: threading.Event) -> None:
        """Call `on_change` now, and whenever the value may have changed, until `stop` is set; raises StoreError."""
        query = {"fieldSelector": f"metadata.name={name_of(key)}"}
        while not stop.is_set():
            version = self._api.get("configmaps", query, accept=_NAMES_ONLY)
            on_change()
            try:
                since = version.at("metadata").at("resourceVersion").text()
            except DecodeError as err:
                raise StoreError("the API server's list of ConfigMaps is malformed") from err
            self._api.watch("configmaps", {**query, "resourceVersion": since}, on_change)

    def describe(self, key: str) -> str:
        """Return the ConfigMap's name."""
        return f"ConfigMap {self._api.account.namespace}/{name_of(key)}"

    def _read(self, key: str) -> tuple[bytes, str]:
        """Return value and resourceVersion, NotFound if there is none."""
        _, name = split_key(key)
        try:
            found = self._api.get(f"configmaps/{name_of(key)}")
        except Refused as err:
            if err.code != HTTPStatus.NOT_FOUND:
                raise
            raise NotFound(f"no value under {key}: {self.describe(key)} does not exist") from err
        try:
            version = found.at("metadata").at("resourceVersion").text()
            return _value(found, name), version
        except (DecodeError, binascii.Error) as err:
            raise StoreError(f"cannot read {self.describe(key)}: it is malformed") from err

    def _replace(self, key: str, value: bytes, version: str) -> None:
        body = self._render(key, value)
        body["metadata"]["resourceVersion"] = version
        try:
            self._api.replace(f"configmaps/{name_of(key)}", body)
        except Refused as err:
            raise self._conflict(key, err) from err

    def _conflict(self, key: str, error: Refused) -> StoreError:
        if error.code == HTTPStatus.CONFLICT:
            return StoreConflict(f"{self.describe(key)} was changed by another process")
        return error

    def _render(self, key: str, value: bytes) -> dict[str, Any]:
        return render(key, value, self._owner)


def render(key: str, value: bytes, owner: Mapping[str, str]) -> dict[str, Any]:
    """Return the ConfigMap of a key; owner: a reference to a StatefulSet."""
    _, name = split_key(key)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name_of(key),
            "labels": {_LABEL: _LABEL_VALUE},
            "ownerReferences": [dict(owner)],
        },
        "binaryData": {name: base64.b64encode(value).decode()},
    }


def reference(uid: str) -> dict[str, str]:
    """Return the reference to the Coordinator's StatefulSet, which has this uid."""
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": STATEFUL_SET, "uid": uid}


def name_of(key: str) -> str:
    """Return the name of a key's ConfigMap."""
    return PREFIX + "-".join(split_key(key))


def _value(found: Json, name: str) -> bytes:
    data = found.filled("binaryData")
    value = data.get(name) if data is not None else None
    return b"" if value is None else base64.b64decode(value.text(), validate=True)


def _owner(api: Api) -> dict[str, str]:
    """Return the reference to the StatefulSet that owns the Coordinator's pod."""
    pod = api.account.pod
    try:
        metadata = api.get(f"pods/{pod}").at("metadata")
        owners = metadata.filled("ownerReferences")
        for owner in owners.items() if owners is not None else []:
            kind, name = owner.at("kind").text(), owner.at("name").text()
            if (kind, name) == ("StatefulSet", STATEFUL_SET):
                return reference(owner.at("uid").text())
    except DecodeError as err:
        raise StoreError(f"the API server's object of pod {pod} is malformed") from err
    raise SettingsError(
        f"pod {pod} does not belong to the StatefulSet {STATEFUL_SET}",
        hint="deploy the coordinator from coordinator.yml, or name a folder with --state",
    )
