"""Checks on the shape of a pod spec (G012): sequences that are none, items and values of another type.

The API server would refuse them later; here they are reported with their line, and whatever follows can rely on them.
"""

from typing import Any, Final

from contrast_tasks.findings import Finding
from contrast_tasks.kube import workloads
from contrast_tasks.kube.documents import Document
from contrast_tasks.kube.subject import Path, Subject

_POD_OBJECTS: Final = ("initContainers", "containers", "volumes")
_CONTAINER_OBJECTS: Final = ("env", "envFrom", "ports", "volumeMounts", "volumeDevices")
_CONTAINER_TEXTS: Final = ("command", "args")


def check_structure(document: Document) -> list[Finding]:
    """Return what stands in the place of a sequence, an object or a text of a pod spec and is none."""
    subject = Subject(document, document.obj)
    for key in _POD_OBJECTS:
        _objects(subject, (*subject.spec_path, key), subject.spec.get(key))
    for kind in ("initContainers", "containers"):
        for number, container in workloads.mappings_at(subject.spec, kind):
            path = (*subject.spec_path, kind, number)
            for key in _CONTAINER_OBJECTS:
                _objects(subject, (*path, key), container.get(key))
            for key in _CONTAINER_TEXTS:
                _texts(subject, (*path, key), container.get(key))
            for position, variable in workloads.mappings_at(container, "env"):
                _text(subject, (*path, "env", position, "value"), variable.get("value"))
    return subject.findings


def _objects(subject: Subject, path: Path, found: Any) -> None:
    if not _is_sequence(subject, path, found):
        return
    for number, item in enumerate(found):
        if not isinstance(item, dict):
            _wrong(subject, (*path, number), item, "a mapping")


def _texts(subject: Subject, path: Path, found: Any) -> None:
    if _is_sequence(subject, path, found):
        for number, item in enumerate(found):
            _text(subject, (*path, number), "" if item is None else item)


def _is_sequence(subject: Subject, path: Path, found: Any) -> bool:
    if found is not None and not isinstance(found, list):
        _wrong(subject, path, found, "a sequence")
    return isinstance(found, list)


def _text(subject: Subject, path: Path, found: Any) -> None:
    if found is not None and not isinstance(found, str):
        _wrong(subject, path, found, "a text")


def _wrong(subject: Subject, path: Path, found: Any, wanted: str) -> None:
    place = ".".join(map(str, path[len(subject.spec_path) :]))
    shown = "a mapping" if isinstance(found, dict) else repr(found)
    hint = "put the value in quotes" if wanted == "a text" else f"write {wanted}"
    subject.error("G012", "field-type", path, f"found {shown} as {place}, expected {wanted}", hint)
