"""Checks on volumes (G020) and on the encrypted volume annotation (G050).

No file system that the host can read or write may be mounted into a confidential pod.
Source: docs/internals/generate.md 6 and 8.3.
"""

from collections.abc import Iterator
from typing import Any

from contrast_tasks import annotations, catalogue
from contrast_tasks.kube import workloads
from contrast_tasks.kube.check_containers import containers
from contrast_tasks.kube.subject import Subject
from contrast_tasks.pods.volume_kinds import (
    ALLOWED,
    DEVICES,
    Reach,
    kind_of,
    kinds_of,
    known_kind,
)
from contrast_tasks.pointers import Path


def check_volumes(subject: Subject, *, has_guest: bool = True) -> None:
    """Report unsupported volumes, mounts without a volume, and block devices that are mounted as file systems.

    has_guest: whether pods run in guests, which have folders of their own.
    """
    claims = workloads.claim_modes(subject.obj)
    # Without a guest there is nobody who could encrypt.
    setting = "encrypted_claims" if has_guest else "empty_dirs"
    _check_claim_templates(subject, claims, setting)
    _check_types(subject, has_guest=has_guest)
    kinds = dict(_volumes(subject))
    for _, decrypted in workloads.secure_pvs(workloads.annotations(subject.obj)) or ():
        kinds.setdefault(decrypted, "emptyDir")  # added to the pod
    for path, container in containers(subject):
        for number, mount in workloads.mappings_at(container, "volumeMounts"):
            name = str(mount.get("name"))
            place = (*path, "volumeMounts", number)
            if name in claims or kinds.get(name) in DEVICES:
                subject.report(
                    catalogue.VOLUME_MODE,
                    place,
                    f"container {container.get('name')} mounts the claim {name} as a file system,"
                    " expected a block device that is encrypted in the guest",
                    _way_out(subject, name, setting),
                    answer=(setting, [name]),
                )
            elif name not in kinds:
                _no_volume(subject, place, container, name, [*kinds, *claims])
        for number, device in workloads.mappings_at(container, "volumeDevices"):
            name = str(device.get("name"))
            if name not in kinds and name not in claims:
                place = (*path, "volumeDevices", number)
                _no_volume(subject, place, container, name, [*kinds, *claims])


def _way_out(subject: Subject, claim: str, setting: str) -> str:
    """Return what to write for a claim; settings turn it into a device, or an emptyDir, and its mounts into those of it."""
    line = f'{setting} = ["{claim}"] under [workloads."{subject.key}"] in contrast.toml'
    if setting == "empty_dirs":
        return f"set {line}, if the data need not outlive the pod; encrypted_claims keeps them on clusters"
    return (
        f"encrypt it in the guest, by {line}; if the data need not outlive the pod, by empty_dirs"
    )


def _check_claim_templates(subject: Subject, claims: dict[str, str], setting: str) -> None:
    for number, (name, mode) in enumerate(claims.items()):
        if mode != "Block":
            subject.report(
                catalogue.VOLUME_MODE,
                ("spec", "volumeClaimTemplates", number),
                f"claim template {name} has volumeMode {mode}, expected Block",
                _way_out(subject, name, setting),
                answer=(setting, [name]),
            )


def _check_types(subject: Subject, *, has_guest: bool) -> None:
    refused = {Reach.SHARED} if has_guest else {Reach.SHARED, Reach.GUEST}
    for number, volume in workloads.mappings_at(subject.spec, "volumes"):
        place = (*subject.spec_path, "volumes", number)
        if len(kinds := kinds_of(volume)) > 1:
            subject.report(
                catalogue.VOLUME_TYPE,
                place,
                f"volume {volume.get('name')} is of the types {' and '.join(kinds)}, expected one",
                "give each of them a volume of its own",
            )
        elif (kind := known_kind(volume)).reach in refused:
            subject.report(
                catalogue.VOLUME_TYPE,
                place,
                f"volume {volume.get('name')} is of type {kind_of(volume)}, expected one of"
                f" {', '.join(ALLOWED)}",
                kind.remedy,
                answer=("empty_dirs", [volume.get("name")]),
            )
        elif kind.reach is Reach.COPIED and not has_guest and not kind.is_local:
            subject.report(
                catalogue.VOLUME_ISOLATED,
                place,
                f"volume {volume.get('name')} is of type {kind_of(volume)}, which pods that are processes here do not have",
            )


def check_secure_pv(subject: Subject) -> None:
    """Report a secure-pv annotation that does not name a block device and an emptyDir."""
    value = workloads.annotations(subject.obj).get(annotations.SECURE_PV)
    if value is None:
        return
    place = place_of(subject, annotations.SECURE_PV)
    pairs = workloads.secure_pvs(workloads.annotations(subject.obj))
    if pairs is None:
        subject.report(
            catalogue.SECURE_PV,
            place,
            f"secure-pv is {value!r}, expected <device volume>:<mount volume>, several joined by commas, each name once",
            "name the block volume and the emptyDir to decrypt it into",
        )
        return
    if workloads.annotations(subject.obj).get(annotations.SKIP_INITIALIZER) == "true":
        subject.report(
            catalogue.SECURE_PV,
            place,
            f"secure-pv is {value!r}, and skip-initializer is 'true'; expected only one of them, since the"
            " initializer encrypts the volume",
            "remove one of the two",
        )
    kinds, claims = dict(_volumes(subject)), workloads.claim_modes(subject.obj)
    for device, mount in pairs:
        if device not in claims and kinds.get(device) not in DEVICES:
            found = f"is of type {kinds[device]}" if device in kinds else "does not exist"
            subject.report(
                catalogue.SECURE_PV,
                place,
                f"the device {device} of secure-pv {found}, expected a volume of type"
                f" {' or '.join(DEVICES)}, or a claim template",
            )
        if mount in claims or kinds.get(mount, "emptyDir") != "emptyDir":
            found = "a claim template" if mount in claims else f"of type {kinds[mount]}"
            subject.report(
                catalogue.SECURE_PV,
                place,
                f"the mount {mount} of secure-pv is {found}, expected an emptyDir or no volume yet",
            )


def place_of(subject: Subject, key: str) -> Path:
    """Return the path of an annotation in the object as it was written, () if the settings added it."""
    for path in workloads.annotation_places(subject.document.obj):
        if key in workloads.annotations_at(subject.document.obj, path):
            return *path, key
    return ()


def _volumes(subject: Subject) -> Iterator[tuple[str, str]]:
    for _, volume in workloads.mappings_at(subject.spec, "volumes"):
        yield str(volume.get("name")), kind_of(volume)


def _no_volume(
    subject: Subject, place: Path, container: dict[str, Any], name: Any, known: list[str]
) -> None:
    subject.report(
        catalogue.MOUNT_WITHOUT_VOLUME,
        place,
        f"container {container.get('name')} mounts {name!r}, expected one of the volumes"
        f" {', '.join(known) or 'of the pod, which has none'}",
    )
