"""Checks on the types of a workload's fields (G012), so that later steps can rely on them.

The API server would refuse wrong types too, but later and without the line.
"""

import re
from typing import Any, Final

from contrast_tasks import annotations, catalogue
from contrast_tasks.findings import Finding
from contrast_tasks.kube import workloads
from contrast_tasks.kube.documents import Document
from contrast_tasks.kube.shape import has_generated_name
from contrast_tasks.kube.subject import Subject
from contrast_tasks.pods.containers import PROBES
from contrast_tasks.pods.workload_kinds import WORKLOAD_KINDS
from contrast_tasks.pointers import Path

# Source: RFC 1123 subdomain, as Kubernetes requires for names of objects that run pods.
_NAME: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"
# A generated name goes on behind its beginning.
_BEGINNING: Final = rf"(?:{_NAME}[-.]?)?"
_KEY_LENGTH: Final = 240
# Kinds whose names become labels of their pods; a CronJob's Jobs have eleven characters more.
# Source: Kubernetes, pkg/apis/batch/validation.
_NAME_LENGTHS: Final = {"Job": 63, "CronJob": 52}
_POD_OBJECTS: Final = ("initContainers", "containers", "volumes")
_METADATA: Final = ("annotations", "labels")
_AMOUNTS: Final = ("limits", "requests")
_CONTAINER_OBJECTS: Final = ("env", "envFrom", "ports", "volumeMounts", "volumeDevices")
_CONTAINER_TEXTS: Final = ("command", "args")
_PROBE_ACTIONS: Final = ("httpGet", "tcpSocket", "grpc")


def check_structure(document: Document) -> list[Finding]:
    """Return a finding for each name that is malformed and each field of a workload that has another type than expected."""
    subject = Subject(document, document.obj)
    _name(subject, document.name)
    for place in workloads.metadata_places(subject.obj):
        _metadata(subject, place)
    spec, base = subject.spec, subject.spec_path
    for key in _POD_OBJECTS:
        _objects(subject, (*base, key), spec.get(key))
    _text(subject, (*base, "runtimeClassName"), spec.get("runtimeClassName"))
    for kind in ("initContainers", "containers"):
        for number, container in workloads.mappings_at(spec, kind):
            _container(subject, (*base, kind, number), container)
    if WORKLOAD_KINDS[subject.obj["kind"]].has_replicas:
        _count(
            subject, ("spec", "replicas"), workloads.mapping_at(subject.obj, "spec").get("replicas")
        )
    if subject.obj["kind"] == "StatefulSet":
        claims = workloads.mapping_at(subject.obj, "spec").get("volumeClaimTemplates")
        _objects(subject, ("spec", "volumeClaimTemplates"), claims)
    return subject.findings


def _name(subject: Subject, name: str) -> None:
    is_generated = has_generated_name(subject.obj)
    place = ("metadata", "generateName" if is_generated else "name")
    most = _NAME_LENGTHS.get(subject.obj["kind"], len(name))
    if re.fullmatch(_BEGINNING if is_generated else _NAME, name) is None:
        subject.report(
            catalogue.WORKLOAD_NAME,
            place,
            f"the name {name!r} becomes a DNS name, expected lower-case letters, digits, '-' and '.'",
        )
    elif len(name) > most and not is_generated:
        subject.report(
            catalogue.WORKLOAD_NAME,
            place,
            f"the name of the {subject.obj['kind']} has {len(name)} characters, expected at most {most}",
            "shorten it; Kubernetes refuses it too",
        )
    elif len(subject.key) > _KEY_LENGTH:
        subject.report(
            catalogue.WORKLOAD_NAME,
            place,
            f"kind, namespace and name have {len(subject.key)} characters, expected at most {_KEY_LENGTH}:"
            " they become a file name",
            "shorten the name",
        )


def check_generated_name(document: Document) -> list[Finding]:
    """Return the finding on a name that the API server completes: `kubectl apply` refuses such an object."""
    if not has_generated_name(document.obj):
        return []
    subject = Subject(document, document.obj)
    message = f"found metadata.generateName {document.name!r}, which kubectl apply does not accept; expected metadata.name"
    subject.report(catalogue.GENERATED_NAME, ("metadata", "generateName"), message)
    return subject.findings


def _metadata(subject: Subject, place: Path) -> None:
    metadata: Any = subject.obj
    for step in place:
        metadata = metadata.get(step) if isinstance(metadata, dict) else None
    if not _is_mapping(subject, place, metadata):
        return
    for key in _METADATA:
        found = metadata.get(key)
        if not _is_mapping(subject, (*place, key), found):
            continue
        for name, value in found.items():
            # check_annotations checks our annotations.
            if not str(name).startswith(annotations.PREFIX):
                _text(subject, (*place, key, name), "" if value is None else value)


def _container(subject: Subject, path: Path, container: dict[str, Any]) -> None:
    _scalar(subject, (*path, "name"), container.get("name"), "a string")
    for key in _CONTAINER_OBJECTS:
        _objects(subject, (*path, key), container.get(key))
    for position, port in workloads.mappings_at(container, "ports"):
        _scalar(subject, (*path, "ports", position, "name"), port.get("name"), "a string")
    for key in PROBES:
        for action in _PROBE_ACTIONS:
            probe = workloads.mapping_at(workloads.mapping_at(container, key), action)
            _scalar(subject, (*path, key, action, "port"), probe.get("port"), "a port")
    for key in _CONTAINER_TEXTS:
        _texts(subject, (*path, key), container.get(key))
    for position, variable in workloads.mappings_at(container, "env"):
        _text(subject, (*path, "env", position, "value"), variable.get("value"))
    resources: Any = container.get("resources")
    if _is_mapping(subject, (*path, "resources"), resources):
        for key in _AMOUNTS:
            _is_mapping(subject, (*path, "resources", key), resources.get(key))


def _is_mapping(subject: Subject, path: Path, found: Any) -> bool:
    if found is not None and not isinstance(found, dict):
        _wrong(subject, path, found, "a mapping")
    return isinstance(found, dict)


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
        _wrong(subject, path, found, "a string")
    elif found and "\0" in found:
        # The kernel ends arguments and variables at NUL.
        _wrong(subject, path, found, "a string without NUL")


def _count(subject: Subject, path: Path, found: Any) -> None:
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    if found is not None and not (is_number and found >= 0 and found % 1 == 0):
        _wrong(subject, path, found, "a number of pods")


def _scalar(subject: Subject, path: Path, found: Any, wanted: str) -> None:
    # Other checks look at the value; here any scalar will do.
    if isinstance(found, dict | list):
        _wrong(subject, path, found, wanted)


def _wrong(subject: Subject, path: Path, found: Any, wanted: str) -> None:
    is_inside = path[: len(subject.spec_path)] == subject.spec_path
    place = ".".join(map(str, path[len(subject.spec_path) :] if is_inside else path))
    shown = "a mapping" if isinstance(found, dict) else repr(found)
    hint = "put the value in quotes" if wanted == "a string" else f"write {wanted}"
    subject.report(catalogue.FIELD_TYPE, path, f"found {shown} as {place}, expected {wanted}", hint)
