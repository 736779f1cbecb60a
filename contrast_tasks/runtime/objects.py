"""Objects of Kubernetes as the kubelet gets them: reading their members, and the namespace that a pod lives in.

A member that is absent, null or empty counts as not set, as in Kubernetes.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from contrast_tasks.decode import DecodeError, Json


def child(place: Json, *keys: str) -> Json:
    """Return the member at a path, an empty object if one of its steps is not set."""
    for key in keys:
        place = place.filled(key) or Json({}, f"{place.pointer}/{key}")
    return place


def entries(place: Json, key: str) -> list[Json]:
    """Return the elements of a list."""
    found = place.filled(key)
    return found.items() if found else []


def text(place: Json, key: str, default: str = "") -> str:
    """Return a string."""
    found = place.filled(key)
    return found.text() if found else default


def texts(place: Json, key: str) -> tuple[str, ...]:
    """Return a list of strings."""
    found = place.filled(key)
    return found.texts() if found else ()


def flag(place: Json, key: str) -> bool:
    """Return true or false, false if it is not set."""
    found = place.filled(key)
    return found.flag() if found else False


def number(place: Json, key: str) -> int | None:
    """Return an integer, None if it is not set; 0 is set."""
    found = place.get(key)
    return None if found is None or found.value is None else found.integer()


def strings(place: Json, key: str) -> dict[str, str]:
    """Return a mapping of strings, such as labels."""
    found = place.filled(key)
    return {name: value.text() for name, value in found.members()} if found else {}


class Namespace:
    """The objects that the kubelet reads for a pod; those of other namespaces do not count.

    objects: documents of any kind. name: the pod's namespace.
    """

    def __init__(self, objects: Iterable[Mapping[str, Any]], name: str) -> None:
        self.name = name
        self._objects: dict[tuple[str, str], Json] = {}
        for document in objects:
            place = Json(document)
            metadata = child(place, "metadata")
            if text(metadata, "namespace", "default") == name:
                self._objects[text(place, "kind"), text(metadata, "name")] = place

    def config(self, kind: str, name: str) -> dict[str, str | bytes] | None:
        """Return the entries of a ConfigMap or Secret, None if there is none of this name.

        Raises DecodeError for malformed base64.
        """
        found = self._objects.get((kind, name))
        if found is None:
            return None
        if kind == "ConfigMap":
            return dict(strings(found, "data"))
        encoded = strings(found, "data")
        data = {key: _decoded(value, f"/data/{key}") for key, value in encoded.items()}
        return {**data, **strings(found, "stringData")}

    def files(self, kind: str, name: str) -> dict[str, str | bytes] | None:
        """Return the entries that a volume of a ConfigMap or Secret has, binary ones too; None as in `config`."""
        data = self.config(kind, name)
        if data is None or kind == "Secret":
            return data
        encoded = strings(self._objects[kind, name], "binaryData")
        return data | {key: _decoded(value, f"/binaryData/{key}") for key, value in encoded.items()}

    def services(self) -> list[Json]:
        """Return the Services, in the order of their names."""
        names = sorted(name for kind, name in self._objects if kind == "Service")
        return [self._objects["Service", name] for name in names]

    def limit_ranges(self) -> list[Json]:
        """Return the LimitRanges, in the order of their names."""
        names = sorted(name for kind, name in self._objects if kind == "LimitRange")
        return [self._objects["LimitRange", name] for name in names]

    def mounts_token(self, account: str) -> bool:
        """Return whether pods of a ServiceAccount get its token unless they say otherwise."""
        found = self._objects.get(("ServiceAccount", account))
        member = found.get("automountServiceAccountToken") if found else None
        return member is None or member.value is None or member.flag()


def _decoded(value: str, pointer: str) -> bytes:
    # Go's decoder passes over line breaks.
    try:
        return base64.b64decode(value.replace("\r", "").replace("\n", ""), validate=True)
    except binascii.Error as err:
        raise DecodeError(f"{pointer}: found text that is not base64") from err
