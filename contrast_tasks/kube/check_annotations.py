"""Checks on our annotations: unknown or misplaced keys (G110), roles (G060), conflicting values (G040, W101).

A misspelt or misplaced annotation would silently leave a workload unprotected.
Source: docs/internals/generate.md 5 and 6; docs/internals/service-mesh.md 1.
"""

from typing import Any, Final

from contrast_tasks import annotations, catalogue
from contrast_tasks.errors import did_you_mean
from contrast_tasks.findings import Finding
from contrast_tasks.kube import workloads
from contrast_tasks.kube.documents import Document
from contrast_tasks.kube.sizes import check_sizes
from contrast_tasks.kube.subject import Subject
from contrast_tasks.platforms import (
    AKS_CLASS,
    CONFIDENTIAL_CLASS,
    HANDLER_PREFIX,
    NAMES,
    is_confidential_class,
)
from contrast_tasks.pods.quantities import QuantityError, parse_bytes
from contrast_tasks.pointers import Path

_PREFIX: Final = annotations.PREFIX
_STORE_SIZE: Final = "image-store-size"
_POD_KEYS: Final = (
    _STORE_SIZE,
    "platform",
    "pod-role",
    "secure-pv",
    "servicemesh-admin-interface-port",
    "servicemesh-egress",
    "servicemesh-egress-peers",
    "servicemesh-ingress",
    "servicemesh-ingress-peers",
    "skip-initializer",
    "workload-secret-id",
)
# Read from the pod template only; elsewhere they have no effect.
_TEMPLATE_KEYS: Final = (_STORE_SIZE, "pod-role", "workload-secret-id")
_SERVICE_KEYS: Final = ("expose-service",)
_ID_BLOCK: Final = "snp-id-block/"
_CONFIDENTIAL_ROLES: Final = ("", annotations.ROLE_COORDINATOR)
_ROLES: Final = (*_CONFIDENTIAL_ROLES, "contrast-node-installer")


def check_annotations(document: Document) -> list[Finding]:
    """Return the findings on the annotations of any object."""
    obj = document.obj
    subject = Subject(document, obj)
    if not workloads.is_workload(obj):
        _check_type(subject)
        known: tuple[str, ...] = _SERVICE_KEYS if obj["kind"] == "Service" else ()
        _check_place(subject, ("metadata", "annotations"), known)
        check_sizes(subject, [("metadata", "annotations")])
        return subject.findings
    places = workloads.annotation_places(obj)
    check_sizes(subject, places)
    for number, place in enumerate(places):
        known = _POD_KEYS if number == 0 else tuple(k for k in _POD_KEYS if k not in _TEMPLATE_KEYS)
        _check_place(subject, place, known)
    _check_agreement(subject, places)
    _check_role(subject, places[0])
    return subject.findings


def is_known_class(name: str) -> bool:
    """Return whether a runtime class of ours is the general one or that of a known platform."""
    return name in {CONFIDENTIAL_CLASS, AKS_CLASS} or platform_in(name) in NAMES


def platform_in(name: str) -> str:
    """Return the platform that a runtime class names, with any suffix or none; "" for another class."""
    rest = name.removeprefix(HANDLER_PREFIX).lower()
    return next((each for each in (rest, rest.rpartition("-")[0]) if each in NAMES), "")


def check_runtime_class(subject: Subject) -> None:
    """Report a runtime class of ours for an unknown platform."""
    name = workloads.runtime_class(subject.obj)
    if not is_confidential_class(name) or is_known_class(name):
        return
    subject.report(
        catalogue.UNKNOWN_PLATFORM,
        (*subject.spec_path, "runtimeClassName"),
        f"the runtime class {name} is for an unknown platform, expected contrast-cc or"
        f" contrast-cc-<platform> with one of {', '.join(NAMES)}",
        did_you_mean(name.removeprefix(HANDLER_PREFIX), NAMES) or None,
    )


def _check_place(subject: Subject, place: Path, known: tuple[str, ...]) -> None:
    for key, value in workloads.annotations_at(subject.obj, place).items():
        if not key.startswith(_PREFIX):
            continue
        short = key.removeprefix(_PREFIX)
        path = (*place, key)
        if short not in known and not (short.startswith(_ID_BLOCK) and known[:1] == _POD_KEYS[:1]):
            _unknown(subject, path, short, known)
        elif not isinstance(value, str):
            subject.report(
                catalogue.ANNOTATION_VALUE,
                path,
                f"the annotation {key} is {_shown(value)}, expected a string",
                "put the value in quotes",
            )
        elif short == "skip-initializer" and value not in {"true", "false"}:
            subject.report(
                catalogue.ANNOTATION_VALUE,
                path,
                f"the annotation {key} is {value!r}, expected exactly 'true'",
                'write "true"',
            )
        elif short == _STORE_SIZE:
            _check_store_size(subject, path, value)


def _check_store_size(subject: Subject, path: Path, value: str) -> None:
    key = _PREFIX + _STORE_SIZE
    try:
        parse_bytes(value)
    except QuantityError as error:
        message = f"the annotation {key}: {error}"
        subject.report(catalogue.ANNOTATION_VALUE, path, message, error.hint)


def _check_type(subject: Subject) -> None:
    found = workloads.mapping_at(subject.obj, "metadata").get("annotations")
    if found is not None and not isinstance(found, dict):
        subject.report(
            catalogue.FIELD_TYPE,
            ("metadata", "annotations"),
            f"found {type(found).__name__} as metadata.annotations, expected a mapping",
            "write key: value",
        )


def _unknown(subject: Subject, path: Path, short: str, known: tuple[str, ...]) -> None:
    key = _PREFIX + short
    if short in _TEMPLATE_KEYS:
        subject.report(
            catalogue.ROLE_PLACE if short == "pod-role" else catalogue.ANNOTATION_PLACE,
            path,
            f"the annotation {key} is on the {subject.obj['kind']}, expected on its pod template",
            f"move it to {'.'.join(workloads.template_path(subject.obj))}.metadata.annotations"
            if workloads.is_workload(subject.obj)
            else "remove it",
        )
    elif short in (*_POD_KEYS, *_SERVICE_KEYS):
        wanted = "a Service" if short in _SERVICE_KEYS else "an object that runs pods"
        subject.report(
            catalogue.ANNOTATION_PLACE,
            path,
            f"the annotation {key} has no effect on a {subject.obj['kind']}, expected on {wanted}",
            "move it to the workload it is meant for",
        )
    else:
        near = did_you_mean(short, known or (*_POD_KEYS, *_SERVICE_KEYS))
        subject.report(
            catalogue.UNKNOWN_ANNOTATION,
            path,
            f"unknown annotation {key}, expected one of {', '.join(known) or 'none here'}",
            near.replace("'", f"'{_PREFIX}", 1) if near else None,
        )


def _check_agreement(subject: Subject, places: list[Path]) -> None:
    # The pod template is first; a different value elsewhere would be silently ignored.
    effective: dict[str, tuple[Path, str]] = {}
    for place in places:
        for key, value in workloads.annotations_at(subject.obj, place).items():
            if not key.startswith(_PREFIX) or not isinstance(value, str):
                continue
            winner, other = effective.setdefault(key, (place, value))
            if other == value:
                continue
            where = ".".join(map(str, winner))
            message = f"the annotation {key} is {value!r} here and {other!r} in {where}"
            if key.startswith(_PREFIX + "servicemesh-"):
                entry, message = (
                    catalogue.MESH_ANNOTATION_CONFLICT,
                    f"{message}, expected one value",
                )
            else:
                entry, message = catalogue.ANNOTATION_CONFLICT, f"{message}; the latter applies"
            subject.report(entry, (*place, key), message)


def check_confidential_role(subject: Subject) -> None:
    """Report a role that no confidential pod can have; such pods have an entry in the manifest."""
    role = workloads.role(subject.obj)
    if role in _ROLES and role not in _CONFIDENTIAL_ROLES:
        subject.report(
            catalogue.ROLE_CONFIDENTIAL,
            (*workloads.annotation_places(subject.obj)[0], annotations.POD_ROLE),
            f"the role is {role!r} in a confidential pod, expected coordinator or none",
        )


def _check_role(subject: Subject, place: Path) -> None:
    role = workloads.role(subject.obj)
    path = (*place, annotations.POD_ROLE)
    if role not in _ROLES:
        subject.report(
            catalogue.UNKNOWN_ROLE,
            path,
            f"the role is {role!r}, expected {annotations.ROLE_COORDINATOR}",
            did_you_mean(role, _ROLES[1:]) or None,
        )
    elif role == annotations.ROLE_COORDINATOR and subject.obj["kind"] != "StatefulSet":
        subject.report(
            catalogue.COORDINATOR_KIND,
            path,
            f"the role coordinator is on a {subject.obj['kind']}, expected a StatefulSet",
        )


def _shown(value: Any) -> str:
    return "empty" if value is None else f"the {type(value).__name__} {value!r}"
