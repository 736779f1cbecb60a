"""Checks on objects that are no workloads: our annotations, data of ConfigMaps and Secrets, foreign pods (G004).

They need neither settings nor other documents, so they run when a file is read, and its index keeps the findings.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from contrast_tasks import catalogue
from contrast_tasks.findings import Finding
from contrast_tasks.kube import workloads
from contrast_tasks.kube.check_annotations import check_annotations
from contrast_tasks.kube.documents import Document
from contrast_tasks.kube.subject import Subject
from contrast_tasks.pods.workload_kinds import WORKLOAD_KINDS
from contrast_tasks.pointers import Path

# Member of a ConfigMap or Secret, and whether its values are base64. Source: Kubernetes API, core/v1.
_DATA: Final[Mapping[str, Mapping[str, bool]]] = {
    "ConfigMap": {"data": False, "binaryData": True},
    "Secret": {"data": True, "stringData": False},
}
# Source: Kubernetes, apimachinery, util/validation: IsConfigMapKey.
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_NO_KEYS: Final = (".", "..")
# Where custom resources usually have the spec of the pods that their controllers make.
_POD_SPECS: Final[tuple[Path, ...]] = (
    ("spec",),
    ("spec", "template", "spec"),
    ("spec", "jobTemplate", "spec", "template", "spec"),
    ("template", "spec"),
)


def check_plain(document: Document) -> list[Finding]:
    """Return the findings on an object that is not a workload."""
    subject = Subject(document, document.obj)
    subject.findings.extend(check_annotations(document))
    if document.obj["apiVersion"] == "v1":
        for member, is_base64 in _DATA.get(document.kind, {}).items():
            _check_data(subject, member, is_base64=is_base64)
    _check_pods(subject)
    return subject.findings


def _check_data(subject: Subject, member: str, *, is_base64: bool) -> None:
    # Values are never shown, since they may be secret.
    found = subject.obj.get(member)
    if found is None:
        return
    if not isinstance(found, dict):
        message = f"{member} is not a mapping, expected one of strings"
        subject.report(catalogue.FIELD_TYPE, (member,), message, "write name: value")
        return
    for key, value in found.items():
        place = (member, key)
        if not _KEY.fullmatch(key) or key in _NO_KEYS:
            message = (
                f"{member} has the key {key[:40]!r}, expected letters, digits, '-', '_' and '.'"
            )
            subject.report(catalogue.FIELD_TYPE, place, message, "rename it; Kubernetes refuses it")
        if not isinstance(value, str):
            message = f"{member}.{key} is not a string"
            subject.report(catalogue.FIELD_TYPE, place, message, "put the value in quotes")
        elif is_base64 and not _is_base64(value):
            message = f"{member}.{key} is not base64"
            hint = "encode it with base64" + (", or use stringData" * (member == "data"))
            subject.report(catalogue.FIELD_TYPE, place, message, hint)


def _is_base64(text: str) -> bool:
    # Kubernetes decodes with Go's library, which ignores line breaks.
    try:
        base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _check_pods(subject: Subject) -> None:
    for path in _POD_SPECS:
        if any("image" in item for item in _containers(subject.obj, path)):
            kind, version = subject.obj["kind"], subject.obj["apiVersion"]
            subject.report(
                catalogue.FOREIGN_PODS,
                (*path, "containers"),
                f"a {kind} of {version} has containers, expected one of"
                f" {', '.join(WORKLOAD_KINDS)}; its pods run outside the confidential deployment",
            )
            return


def _containers(obj: Mapping[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    for step in path:
        obj = workloads.mapping_at(obj, str(step))
    return (item for _, item in workloads.mappings_at(obj, "containers"))
