"""A deployment file as it was before `generate` annotated it in place: what was added is taken out again.

Additions are recognised by their form and not by a record kept elsewhere, so a file of another clone is understood, and
one that the reference product's command line annotated. A container that a user wrote by hand stays: every injected
one has members that the documented way to write one by hand leaves out.
Source: docs/internals/generate.md 8; docs/internals/releases.md 3, 5.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from contrast_tasks.annotations import ID_PREFIXES, POLICY_KEYS
from contrast_tasks.errors import SettingsError
from contrast_tasks.kube import workloads
from contrast_tasks.kube.documents import KubeError, parse_documents
from contrast_tasks.kube.edits import rewrite
from contrast_tasks.platforms import CONFIDENTIAL_CLASS, HANDLER_PREFIX, platform_of_handler
from contrast_tasks.pods.injected import (
    DEBUG_SHELL,
    IMAGE_STORE,
    IMAGE_STORE_VOLUME,
    INITIALIZER,
    SECRETS_VOLUME,
    SERVICE_MESH,
)

NOTHING_PINNED: Final[Mapping[str, str]] = {}
_MARKS: Final = (
    *POLICY_KEYS,
    *ID_PREFIXES,
    INITIALIZER,
    SERVICE_MESH,
    IMAGE_STORE,
    DEBUG_SHELL,
    HANDLER_PREFIX,
)
_SECRETS_PATH: Final = "/contrast"
_STATE_PATH: Final = re.compile("/state[0-9]*")
# Every form in which a release adds the volume and its mount, with the order of keys, in which a user's may differ.
_SECRETS_VOLUMES: Final = (
    [("emptyDir", {}), ("name", SECRETS_VOLUME)],
    [("emptyDir", {"medium": "Memory"}), ("name", SECRETS_VOLUME)],
)
_SECRETS_MOUNTS: Final = (
    [("mountPath", _SECRETS_PATH), ("name", SECRETS_VOLUME)],
    [("mountPath", _SECRETS_PATH), ("name", SECRETS_VOLUME), ("readOnly", True)],
)


def pristine(text: str, file: str = "", written: Mapping[str, str] = NOTHING_PINNED) -> str:
    """Return a file without what `generate` added to it; text that is not Kubernetes YAML is returned as it is.

    written: image references as the user wrote them, by the pinned form that replaced them.
    A runtime class with the name of a platform becomes the general one. Values that settings declare, as memory, are
    the file's own from then on and stay.
    """
    if not any(mark in text for mark in (*_MARKS, *written)):
        return text
    try:
        found = {each.index: each.obj for each in parse_documents(text, file)}
    except KubeError:
        return text
    whole = _undone(found, written, keeps_volume=False)
    undone = _rewritten(text, whole, file)
    careful = _undone(found, written, keeps_volume=True)
    if careful != whole and rewrite(undone, found, file) != text:
        # The volume or a mount is written as `generate` would not write it, as with a comment: it is the user's.
        kept = _rewritten(text, careful, file)
        if rewrite(kept, found, file) == text:
            return kept
    return undone


def _rewritten(text: str, wanted: Mapping[int, dict[str, Any]], file: str) -> str:
    result = rewrite(text, wanted, file)
    # Removed last lines leave the line break before them, which a text without one at its end did not have.
    return result if text.endswith("\n") else result.rstrip("\r\n")


def _undone(
    found: Mapping[int, dict[str, Any]], written: Mapping[str, str], *, keeps_volume: bool
) -> dict[int, dict[str, Any]]:
    undone = {}
    for index, obj in found.items():
        if workloads.is_workload(obj):
            undone[index] = copy.deepcopy(obj)
            _take_out(undone[index], written, keeps_volume=keeps_volume)
    return undone


def _take_out(obj: dict[str, Any], written: Mapping[str, str], *, keeps_volume: bool) -> None:
    template = workloads.pod_template(obj)
    spec = workloads.pod_spec(obj)
    _take_out_annotations(template)
    name = workloads.runtime_class(obj)
    if _is_handler(name):
        spec["runtimeClassName"] = CONFIDENTIAL_CLASS
    for container in _containers(spec):
        image = container.get("image")
        if isinstance(image, str) and image in written:
            container["image"] = written[image]
    injected = [
        each for _, each in workloads.mappings_at(spec, "initContainers") if _is_injected(each)
    ]
    if not injected:
        return
    _keep(spec, "initContainers", lambda each: each not in injected)
    states = {mount["name"] for each in injected for mount in _mounts_at(each, _STATE_PATH)}
    names = {each["name"] for each in injected}
    _keep(spec, "volumes", lambda each: not _is_other_volume(each, names, states))
    if keeps_volume or names.isdisjoint({INITIALIZER, SERVICE_MESH}):
        return
    _keep(spec, "volumes", lambda each: _items(each) not in _SECRETS_VOLUMES)
    for container in _containers(spec):
        _keep(container, "volumeMounts", lambda each: _items(each) not in _SECRETS_MOUNTS)


def _take_out_annotations(template: dict[str, Any]) -> None:
    metadata = workloads.mapping_at(template, "metadata")
    annotations = workloads.mapping_at(metadata, "annotations")
    added = [key for key in annotations if key in POLICY_KEYS or key.startswith(ID_PREFIXES)]
    if not added:
        return
    for key in added:
        del annotations[key]
    if not annotations:
        del metadata["annotations"]
    if not metadata:
        del template["metadata"]


def _keep(mapping: dict[str, Any], key: str, is_kept: Any) -> None:
    """Keep the items of a sequence that a function accepts, and remove the key with the last item."""
    before = workloads.items_at(mapping, key)
    kept = [item for item in before if is_kept(item)]
    if kept:
        mapping[key] = kept
    elif before:
        del mapping[key]


def _is_handler(name: str) -> bool:
    try:
        platform_of_handler(name)
    except SettingsError:
        return False
    return True


def _containers(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key in ("initContainers", "containers"):
        for _, container in workloads.mappings_at(spec, key):
            yield container


def _mounts_at(container: Mapping[str, Any], path: re.Pattern[str]) -> list[dict[str, Any]]:
    mounts = (each for _, each in workloads.mappings_at(container, "volumeMounts"))
    return [
        each for each in mounts if path.fullmatch(str(each.get("mountPath"))) and "name" in each
    ]


def _is_injected(container: Mapping[str, Any]) -> bool:
    name = container.get("name")
    if name == IMAGE_STORE:
        devices = (
            each.get("name") for _, each in workloads.mappings_at(container, "volumeDevices")
        )
        return IMAGE_STORE_VOLUME in devices
    if name == DEBUG_SHELL:
        return "resources" in container
    mounts = (each["name"] for each in _mounts_at(container, re.compile(_SECRETS_PATH)))
    if SECRETS_VOLUME not in mounts or "securityContext" not in container:
        return False
    if name == INITIALIZER:
        variables = (each.get("name") for _, each in workloads.mappings_at(container, "env"))
        return "COORDINATOR_HOST" in variables and "resources" in container
    return name == SERVICE_MESH and container.get("restartPolicy") == "Always"


def _is_other_volume(volume: Any, names: set[str], states: set[str]) -> bool:
    """Return whether a volume is the one of images, or one for the file system of an encrypted device."""
    items = _items(volume)
    if len(items) != 2 or items[1][0] != "name":  # noqa: PLR2004  # its kind and its name
        return False
    (kind, value), (_, name) = items
    if name == IMAGE_STORE_VOLUME:
        return IMAGE_STORE in names and kind == "ephemeral"
    return name in states and kind == "emptyDir" and value in ({}, {"medium": "Memory"})


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []
