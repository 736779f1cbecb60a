"""The objects of the fake API server, their versions and their events. Source: Kubernetes API conventions; recordings of 1.36."""

import copy
import itertools
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from tests.fakes.kube import fields
from tests.fakes.kube.kinds import RESOURCES, Resource
from tests.fakes.kube.status import (
    Failure,
    already_exists,
    forbidden,
    invalid,
    not_found,
    outdated,
)

MAX_ANNOTATION_BYTES = 256 * 1024
CREATED = "2026-11-30T00:00:00Z"
Object = dict[str, Any]
Admission = Callable[["Cluster", Resource, Object], None]
NAMESPACES = next(each for each in RESOURCES if each.kind == "Namespace")
RUNTIME_CLASSES = next(each for each in RESOURCES if each.kind == "RuntimeClass")


class Key(NamedTuple):
    """An object's place."""

    resource: Resource
    namespace: str
    name: str


class Event(NamedTuple):
    """What a watch tells: ADDED, MODIFIED or DELETED, and the object then."""

    version: int
    type: str
    key: Key
    object: Object


class Cluster:
    """A cluster's objects; safe for many threads. admissions: called before each write, they raise Failure to refuse.

    controllers: called after each write outside of the lock, as Deployments become Pods.
    """

    def __init__(self) -> None:
        self.admissions: list[Admission] = [_admit_pod]
        self.controllers: list[Callable[[Cluster, Event], None]] = [_establish]
        self.warnings: list[str] = []
        self._objects: dict[Key, Object] = {}
        self._owned: dict[Key, dict[str, dict[fields.Path, Any]]] = {}
        self._events: list[Event] = []
        self._version = itertools.count(1)
        self._changed = threading.Condition(threading.RLock())
        self._is_closed = False
        for name in ("default", "kube-system"):
            self.create(NAMESPACES, "", {"metadata": {"name": name}})

    def get(self, key: Key) -> Object:
        """Return an object. Raises Failure."""
        with self._changed:
            if key not in self._objects:
                raise not_found(key.resource.plural, key.name)
            return copy.deepcopy(self._objects[key])

    def list(
        self,
        resource: Resource,
        namespace: str = "",
        matches: Callable[[Object], bool] = lambda _: True,
    ) -> tuple[int, list[Object]]:
        """Return the version of the list, and the objects of a namespace ("": of all) in the order of their names."""
        with self._changed:
            found = [
                copy.deepcopy(one)
                for key, one in sorted(self._objects.items(), key=lambda item: item[0][1:])
                if key.resource == resource and namespace in {"", key.namespace} and matches(one)
            ]
            return self.version, found

    @property
    def version(self) -> int:
        """Return the newest version."""
        return self._events[-1].version if self._events else 0

    def create(
        self, resource: Resource, namespace: str, body: Mapping[str, Any], *, dry: bool = False
    ) -> Object:
        """Store a new object. Raises Failure."""
        with self._changed:
            made = copy.deepcopy(dict(body))
            metadata = made.setdefault("metadata", {})
            if "name" not in metadata and "generateName" in metadata:
                metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
            key = Key(resource, namespace, metadata.get("name", ""))
            if key in self._objects:
                raise already_exists(resource.plural, key.name)
            return self._store(key, made, "ADDED", dry=dry)

    def replace(self, key: Key, body: Mapping[str, Any], *, dry: bool = False) -> Object:
        """Store a new version of an object, whose resourceVersion must be the newest if it has one. Raises Failure."""
        with self._changed:
            live = self.get(key)
            found = body.get("metadata", {}).get("resourceVersion", "")
            if found not in {"", live["metadata"]["resourceVersion"]}:
                raise outdated(key.resource.plural, key.name)
            return self._store(key, copy.deepcopy(dict(body)), "MODIFIED", dry=dry)

    def patch(self, key: Key, change: Callable[[Object], Object], *, dry: bool = False) -> Object:
        """Store what `change` makes of an object. Raises Failure."""
        with self._changed:
            return self._store(key, change(self.get(key)), "MODIFIED", dry=dry)

    def set_status(self, key: Key, status: Mapping[str, Any]) -> Object:
        """Let a controller tell an object's state."""
        return self.patch(key, lambda live: fields.merge_patch(live, {"status": status}))

    def apply(
        self, key: Key, body: Mapping[str, Any], *, manager: str, force: bool, dry: bool = False
    ) -> tuple[bool, Object]:
        """Apply server-side; return whether the object is new, and it. Raises Failure."""
        with self._changed:
            live = self._objects.get(key)
            owned = copy.deepcopy(self._owned.get(key, {}))
            made = fields.apply(live, body, owned, manager=manager, force=force)
            stored = self._store(key, made, "ADDED" if live is None else "MODIFIED", dry=dry)
            if not dry:
                self._owned[key] = owned
            return live is None, stored

    def delete(self, key: Key, *, dry: bool = False) -> Object:
        """Remove an object and what it owns. Raises Failure."""
        with self._changed:
            gone = self.get(key)
            if dry:
                return gone
            del self._objects[key]
            self._owned.pop(key, None)
            self._tell("DELETED", key, gone)
            for other in [
                place
                for place, one in self._objects.items()
                if any(
                    owner.get("uid") == gone["metadata"]["uid"]
                    for owner in one["metadata"].get("ownerReferences", [])
                )
                or (key.resource == NAMESPACES and place.namespace == key.name)
            ]:
                if other in self._objects:
                    self.delete(other)
            return gone

    def watch(
        self, since: int, matches: Callable[[Event], bool], timeout_s: float
    ) -> Iterator[Event | None]:
        """Yield the events after a version; None when nothing came for a while, so that the caller can look around."""
        while True:
            with self._changed:
                news = [event for event in self._events if event.version > since]
                if not news:
                    if self._is_closed or not self._changed.wait(timeout_s):
                        return
                    continue
                since = news[-1].version
            yield from (event for event in news if matches(event))

    def events_of(self, key: Key, since: int, timeout_s: float) -> Iterator[Event]:
        """Yield the events of an object after a version."""
        found = self.watch(since, lambda event: event.key == key, timeout_s)
        return (event for event in found if event is not None)

    def versions(self) -> dict[Key, str]:
        """Return all objects with their versions."""
        with self._changed:
            return {key: one["metadata"]["resourceVersion"] for key, one in self._objects.items()}

    def close(self) -> None:
        """End all watches."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _store(self, key: Key, made: Object, kind: str, *, dry: bool) -> Object:
        made["apiVersion"], made["kind"] = key.resource.api_version, key.resource.kind
        metadata = made.setdefault("metadata", {})
        metadata["name"] = key.name
        if key.resource.is_namespaced:
            metadata["namespace"] = key.namespace
            if Key(NAMESPACES, "", key.namespace) not in self._objects:
                raise not_found("namespaces", key.namespace)
        live = self._objects.get(key)
        for name, fresh in (("uid", str(uuid.uuid4())), ("creationTimestamp", CREATED)):
            metadata[name] = live["metadata"][name] if live is not None else fresh
        for admit in (_default, _validate, *self.admissions):
            admit(self, key.resource, made)
        if live is not None and _without_version(live) == _without_version(made):
            return copy.deepcopy(live)
        if live is None or live.get("spec") != made.get("spec"):
            metadata["generation"] = 1 + (live["metadata"].get("generation", 0) if live else 0)
        if dry:
            return made
        version = next(self._version)
        metadata["resourceVersion"] = str(version)
        self._objects[key] = made
        event = self._tell(kind, key, made, version)
        for controller in self.controllers:
            controller(self, event)
        return copy.deepcopy(self._objects[key])

    def _tell(self, kind: str, key: Key, told: Object, version: int | None = None) -> Event:
        event = Event(
            next(self._version) if version is None else version, kind, key, copy.deepcopy(told)
        )
        self._events.append(event)
        self._changed.notify_all()
        return event


def _establish(cluster: Cluster, event: Event) -> None:
    """Serve a new kind, as the API server itself does a moment later."""
    if event.type == "ADDED" and event.key.resource.kind == "CustomResourceDefinition":
        condition = {"type": "Established", "status": "True"}
        cluster.set_status(event.key, {"conditions": [condition]})


def _without_version(one: Object) -> Object:
    metadata = {
        name: value
        for name, value in one["metadata"].items()
        if name not in {"resourceVersion", "generation"}
    }
    return {**one, "metadata": metadata}


def _default(_cluster: Cluster, resource: Resource, made: Object) -> None:
    if resource.kind in {"DaemonSet", "StatefulSet"}:
        made.setdefault("spec", {}).setdefault("updateStrategy", {"type": "RollingUpdate"})


def _validate(_cluster: Cluster, resource: Resource, made: Object) -> None:
    metadata, template = made["metadata"], _template(made)
    causes = _annotation_causes("metadata.", metadata)
    if not metadata.get("name"):
        causes.append(("metadata.name", "Required value: name or generateName is required"))
    if resource.group == "apps":
        selector = (made.get("spec") or {}).get("selector") or {}
        labels = template.get("metadata", {}).get("labels") or {}
        if not selector:
            causes.append(("spec.selector", "Required value"))
        elif not (selector.get("matchLabels") or {}).items() <= labels.items():
            causes.append(
                (
                    "spec.template.metadata.labels",
                    "Invalid value: `selector` does not match template `labels`",
                )
            )
    causes += _annotation_causes("spec.template.", template.get("metadata") or {})
    for path, spec in (("spec", made.get("spec")), ("spec.template.spec", template.get("spec"))):
        is_pod = resource.kind == "Pod" if path == "spec" else resource.group in {"apps", "batch"}
        if is_pod and resource.kind != "CronJob" and not (spec or {}).get("containers"):
            causes.append((f"{path}.containers", "Required value"))
    if causes:
        raise invalid(resource.kind, metadata.get("name", ""), causes)


def _annotation_causes(path: str, metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    annotations = metadata.get("annotations") or {}
    size = sum(len(name) + len(value) for name, value in annotations.items())
    if size <= MAX_ANNOTATION_BYTES:
        return []
    return [(f"{path}annotations", f"Too long: may not be more than {MAX_ANNOTATION_BYTES} bytes")]


def _template(made: Object) -> dict[str, Any]:
    template = (made.get("spec") or {}).get("template")
    return template if isinstance(template, dict) else {}


def _admit_pod(cluster: Cluster, resource: Resource, made: Object) -> None:
    wanted = (made.get("spec") or {}).get("runtimeClassName")
    if resource.kind != "Pod" or not wanted:
        return
    try:
        cluster.get(Key(RUNTIME_CLASSES, "", wanted))
    except Failure as err:
        if err.code is not HTTPStatus.NOT_FOUND:
            raise
        raise forbidden(
            "pods", made["metadata"]["name"], f'pod rejected: RuntimeClass "{wanted}" not found'
        ) from err
