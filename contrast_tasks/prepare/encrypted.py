"""Claims that the settings want encrypted, and what a pod with encrypted volumes has to know.

A claim that containers mount becomes a block device of the initializer's, and its mounts those of an emptyDir, where the
initializer mounts the file system. Whoever writes the annotation secure-pv by hand writes the same.
Source: docs/internals/generate.md 8.3; docs/internals/runtime.md 7.4.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from contrast_tasks import annotations, catalogue
from contrast_tasks.findings import Finding, Setting
from contrast_tasks.kube import workloads
from contrast_tasks.kube.check_volumes import place_of
from contrast_tasks.kube.index import FileIndex
from contrast_tasks.kube.subject import Subject
from contrast_tasks.manifest.entries import default_secret_id
from contrast_tasks.pods.quantities import QuantityError, parse_bytes
from contrast_tasks.pods.volume_kinds import DEVICES, kind_of
from contrast_tasks.pointers import Path
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.workloads import WorkloadSettings

PREFIX: Final = "decrypted-"
"""Of the names of the emptyDirs that take the mounts of claims."""
# What header, integrity and a journal need; the reference product needs more. Source: docs/internals/runtime.md 7.4.
_LEAST: Final = ("32Mi", 32 << 20)
_LEAST_OF_REFERENCE: Final = ("151Mi", 151 << 20)
_TEMPLATE: Final = "volumeClaimTemplate"
_SHARED_MODES: Final = ("ReadWriteMany", "ReadOnlyMany")


def encrypt(subject: Subject, obj: dict[str, Any], declared: WorkloadSettings) -> str:
    """Turn the declared claims of a workload into encrypted volumes; return the annotation that asks for them.

    "" if there is none to encrypt. obj is changed. A claim that does not exist or that nothing mounts becomes a G051 finding. An
    annotation that names them all already is returned as it is, and its mounts are taken.
    """
    asked = dict(workloads.secure_pvs(workloads.annotations(obj)) or ())
    templates = {name: claim for _, name, claim in _templates(obj)}
    spec = workloads.pod_spec(obj)
    volumes = [
        str(volume.get("name"))
        for _, volume in workloads.mappings_at(spec, "volumes")
        if kind_of(volume) in DEVICES
    ]
    names = _chosen(spec, declared, [*templates, *volumes])
    mounts = {name: asked.get(name, PREFIX + name) for name in names}
    for name, mount in tuple(mounts.items()):
        if name not in templates and name not in volumes:
            known = ", ".join([*templates, *volumes]) or "it has none"
            _report(
                subject,
                declared,
                f"encrypted_claims names {name}, expected a claim of {subject.key}: {known}",
                "name a claim template, or a volume with a persistentVolumeClaim",
            )
            del mounts[name]
            continue
        if name in templates:
            claim = templates[name]
            claim["spec"] = {**workloads.mapping_at(claim, "spec"), "volumeMode": "Block"}
        if not _redirect(spec, name, mount):
            _report(
                subject,
                declared,
                f"encrypted_claims names {name}, which no container of {subject.key} mounts; expected a volumeMount of it",
                "add the volumeMount, or remove the claim from encrypted_claims",
            )
    if asked and mounts.keys() <= asked.keys():
        return workloads.annotations(obj)[annotations.SECURE_PV]
    return ",".join(f"{name}:{mount}" for name, mount in mounts.items())


def _chosen(spec: Mapping[str, Any], declared: WorkloadSettings, known: Sequence[str]) -> list[str]:
    """Return the names of the claims to encrypt: all that are mounted where `*` says so, and those that are named.

    What is said for several workloads is for those that have a claim of this name.
    """
    mounted = {
        str(mount.get("name"))
        for key in ("initContainers", "containers")
        for _, container in workloads.mappings_at(spec, key)
        for _, mount in workloads.mappings_at(container, "volumeMounts")
    }
    # What has become an emptyDir holds nothing to encrypt.
    empty = {
        str(volume.get("name"))
        for _, volume in workloads.mappings_at(spec, "volumes")
        if declared.empty_dirs and kind_of(volume) == "emptyDir"
    }
    names = [name for name in declared.encrypted_claims if name != "*" and name not in empty]
    if not declared.is_own("encrypted_claims"):
        names = [name for name in names if name in mounted.intersection(known)]
    if "*" in declared.encrypted_claims:
        names += [name for name in known if name in mounted and name not in names]
    return names


def _redirect(spec: Mapping[str, Any], claim: str, decrypted: str) -> bool:
    """Let the mounts of a claim be those of its emptyDir; return whether there are any."""
    found = False
    for key in ("initContainers", "containers"):
        for _, container in workloads.mappings_at(spec, key):
            for _, mount in workloads.mappings_at(container, "volumeMounts"):
                if mount.get("name") in (claim, decrypted):
                    mount["name"] = decrypted
                    mount.setdefault("mountPropagation", "HostToContainer")
                    found = True
    return found


def claims_of(obj: Mapping[str, Any]) -> set[str]:
    """Return the names of the PersistentVolumeClaims that a prepared workload encrypts; they have to be block devices."""
    pairs = workloads.secure_pvs(workloads.annotations(obj)) or ()
    devices = {device for device, _ in pairs}
    if not devices:
        return set()
    return {
        str(workloads.mapping_at(volume, "persistentVolumeClaim").get("claimName"))
        for _, volume in workloads.mappings_at(workloads.pod_spec(obj), "volumes")
        if volume.get("name") in devices and kind_of(volume) == "persistentVolumeClaim"
    }


def check(subject: Subject, settings: Settings, declared: WorkloadSettings | None) -> None:
    """Report claims of encrypted volumes that cannot work (G051), and what their data depend on (G052)."""
    pairs = workloads.secure_pvs(workloads.annotations(subject.obj)) or ()
    devices = [device for device, _ in pairs]
    if not devices:
        return
    place = place_of(subject, annotations.SECURE_PV)
    is_reference = settings.components.are_reference
    if is_reference and len(devices) > 1:
        subject.report(
            catalogue.SECURE_PV,
            place,
            f"secure-pv names {len(devices)} devices, and the initializer of the reference product opens one",
            "name one device, or remove the three images from [components]",
        )
    for path, name, claim in _templates(subject.obj):
        if name in devices:
            spec = workloads.mapping_at(claim, "spec")
            requests = workloads.mapping_at(workloads.mapping_at(spec, "resources"), "requests")
            faults = _faults(
                f"the claim {name}",
                workloads.items_at(spec, "accessModes"),
                requests.get("storage"),
                is_reference=is_reference,
            )
            for member, message, hint in faults:
                at, answer = (*path, "spec", *member), ("empty_dirs", [name])
                subject.report(catalogue.ENCRYPTED_CLAIM, at, message, hint, answer)
    if declared is None or declared.secret_id is None:
        effective = workloads.annotations(subject.obj)
        if annotations.WORKLOAD_SECRET_ID not in effective or not settings.release.has_secret_id:
            _tell_secret(subject, place, devices)


def _tell_secret(subject: Subject, place: Path, devices: list[str]) -> None:
    obj = subject.obj
    secret_id = default_secret_id(
        str(obj["apiVersion"]),
        str(obj["kind"]),
        workloads.namespace_of(obj) or "default",
        str(obj["metadata"]["name"]),
    )
    subject.report(
        catalogue.VOLUME_SECRET,
        place,
        f"the data of {', '.join(devices)} are encrypted with the workload secret {secret_id}; they are lost with the"
        " Coordinator's seed, and when kind, namespace or name of the workload change. A claim that holds data already is not"
        " converted",
    )


def check_claims(indexes: Sequence[FileIndex], settings: Settings) -> Iterator[Finding]:
    """Yield G051 findings on PersistentVolumeClaims of the sources that pods with encrypted volumes name.

    Their volumeMode is checked with the devices of the pod.
    """
    documents = [doc for index in indexes for doc in index.documents]
    claims = {(doc.effective_namespace, doc.name): doc for doc in documents if doc.claim}
    for doc in documents if claims else ():
        declared = settings.workload(doc.key)
        is_declared = declared is not None and bool(declared.encrypted_claims)
        if not is_declared and annotations.SECURE_PV not in doc.annotations:
            continue
        for name in doc.claims:
            claim = claims.get((doc.effective_namespace, name))
            if claim is None or (declared is not None and name in declared.empty_dirs):
                continue
            modes, size = claim.claim["accessModes"].split(), claim.claim["storage"] or None
            is_reference = settings.components.are_reference
            for _, message, hint in _faults(claim.key, modes, size, is_reference=is_reference):
                answer = Setting(("workloads", doc.key, "empty_dirs"), [name])
                yield Finding(catalogue.ENCRYPTED_CLAIM, claim.where, message, hint, answer=answer)


def _faults(
    name: str, modes: Sequence[Any], size: Any, *, is_reference: bool
) -> Iterator[tuple[Path, str, str]]:
    """Yield the member of a claim's spec, what is wrong with it, and what to do."""
    shared = [mode for mode in modes if mode in _SHARED_MODES]
    if shared:
        yield (
            ("accessModes",),
            f"{name} is encrypted and has the access mode {shared[0]}, expected ReadWriteOnce: two guests would destroy the file system",
            "write ReadWriteOnce; replicas of a StatefulSet have a claim each",
        )
    least, least_bytes = _LEAST_OF_REFERENCE if is_reference else _LEAST
    try:
        is_small = size is not None and parse_bytes(size) < least_bytes
    except QuantityError:
        return
    if is_small:
        yield (
            ("resources", "requests", "storage"),
            f"{name} is encrypted and requests {size}, expected at least {least} for header, integrity and journal",
            f"request {least} or more",
        )


def _templates(obj: Mapping[str, Any]) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """Yield path, name and claim of each claim template of a StatefulSet, and of each volume that has one for itself."""
    path = (*workloads.spec_path(obj), "volumes")
    for number, volume in workloads.mappings_at(workloads.pod_spec(obj), "volumes"):
        claim = workloads.mapping_at(workloads.mapping_at(volume, "ephemeral"), _TEMPLATE)
        if claim:
            yield (*path, number, "ephemeral", _TEMPLATE), str(volume.get("name")), claim
    if obj.get("kind") != "StatefulSet":
        return
    spec = workloads.mapping_at(obj, "spec")
    for number, claim in workloads.mappings_at(spec, "volumeClaimTemplates"):
        name = str(workloads.mapping_at(claim, "metadata").get("name"))
        yield ("spec", "volumeClaimTemplates", number), name, claim


def _report(subject: Subject, declared: WorkloadSettings, message: str, hint: str) -> None:
    where = declared.place("encrypted_claims")
    subject.findings.append(Finding(catalogue.ENCRYPTED_CLAIM, where, message, hint))
