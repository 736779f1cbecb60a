"""Apply the settings to a workload: runtime class, memory, annotations, environment.

Values in the YAML are kept. If one differs from what the settings declare for the workload, that is an error naming both
places. Source: docs/internals/graph.md 4; docs/internals/generate.md 5.1, 8.5, 10.1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from contrast_tasks import annotations, catalogue
from contrast_tasks.errors import Location, did_you_mean
from contrast_tasks.findings import Finding
from contrast_tasks.kube import workloads
from contrast_tasks.kube.check_annotations import is_known_class, platform_in
from contrast_tasks.kube.documents import location
from contrast_tasks.kube.index import FileIndex
from contrast_tasks.kube.subject import Subject
from contrast_tasks.platforms import is_confidential_class
from contrast_tasks.pods.quantities import QuantityError, parse_quantity
from contrast_tasks.pointers import Path
from contrast_tasks.prepare import encrypted, fitted
from contrast_tasks.prepare.limit_ranges import LimitRanges
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.workloads import (
    Pattern,
    WorkloadSettings,
    parse_key,
    workload_key,
)

# The setting of a workload that declares an annotation.
_SETTING_OF = {
    annotations.EGRESS: "egress",
    annotations.INGRESS: "ingress",
    annotations.ADMIN_PORT: "admin_port",
    annotations.INGRESS_PEERS: "ingress_peers",
    annotations.EGRESS_PEERS: "egress_peers",
}


def apply(
    subject: Subject,
    settings: Settings,
    declared: WorkloadSettings | None,
    runtime_class: str,
    ranges: LimitRanges,
) -> dict[str, Any]:
    """Return the subject's object with the settings applied; it is changed in place. Conflicts become findings.

    Memory that all pods have by default is for those for which neither pod nor namespace says anything.
    """
    obj = dict(subject.obj)
    spec = workloads.pod_spec(obj)
    if not spec:
        return obj
    _runtime_class(subject, spec, settings, declared, runtime_class)
    is_confidential = is_confidential_class(str(spec.get("runtimeClassName", "")))
    if declared is not None and is_confidential:
        _leave_out(subject, obj, settings, declared)
    if is_confidential:
        fitted.split_empty_dirs(obj)
        _memory(subject, spec, settings, declared, ranges)
    if declared is not None and is_confidential:
        _without_effect(subject, declared, "containers", fitted.fit(spec, declared))
    if declared is not None:
        for key, value in declared_annotations(declared).items():
            place = workloads.read_place(obj, settings.release.annotations_at)
            _annotation(subject, obj, (*place, key), value, at=declared.place(_SETTING_OF[key]))
        _store_size(subject, obj, declared)
        _environment(spec, declared.env)
        if declared.encrypted_claims:
            value = encrypted.encrypt(subject, obj, declared)
            place = workloads.read_place(obj, settings.release.annotations_at)
            where = declared.place("encrypted_claims")
            path = (*place, annotations.SECURE_PV)
            if value:
                _annotation(subject, obj, path, value, at=where, entry=catalogue.SECURE_PV)
        if declared.user is not None:
            _user(spec, declared.user)
    return obj


def _leave_out(
    subject: Subject, obj: dict[str, Any], settings: Settings, declared: WorkloadSettings
) -> None:
    absent = fitted.remove_fields(workloads.pod_spec(obj), declared.remove)
    # A source that is annotated in place has lost its fields already.
    _without_effect(subject, declared, "remove", [] if settings.in_place else absent)
    _without_effect(subject, declared, "empty_dirs", fitted.empty_volumes(obj, declared.empty_dirs))


def _without_effect(
    subject: Subject, declared: WorkloadSettings, key: str, names: Sequence[str]
) -> None:
    """Report what the workload's own table names, and the workload does not have; other tables are for several."""
    if names and declared.is_own(key):
        subject.findings.append(
            Finding(
                catalogue.UNUSED_SETTING,
                declared.place(key),
                f"{key} names {', '.join(names)}, which {subject.key} does not have",
            )
        )


def _store_size(subject: Subject, obj: dict[str, Any], declared: WorkloadSettings) -> None:
    """Declare the size of the workload's image store, which is read on the pod template in every release."""
    if declared.image_store_size is None:
        return
    path = (*workloads.annotation_places(obj)[0], annotations.IMAGE_STORE_SIZE)
    place = declared.place("image_store_size")
    _annotation(
        subject, obj, path, declared.image_store_size, at=place, entry=catalogue.STORE_SIZE_CONFLICT
    )


def declared_places(declared: WorkloadSettings | None) -> dict[str, Location]:
    """Return the places where the settings declare mesh annotations, by annotation."""
    if declared is None:
        return {}
    return {key: declared.place(_SETTING_OF[key]) for key in declared_annotations(declared)}


def unknown_workloads(indexes: Sequence[FileIndex], settings: Settings) -> list[Finding]:
    """Return a G006 finding for each [workloads] table that matches no workload of the sources."""
    known = {
        workload_key(doc.key): doc.key
        for index in indexes
        for doc in index.documents
        if doc.is_workload
    }
    names = [parse_key(key) for key in known]
    return [
        Finding(
            catalogue.UNKNOWN_WORKLOAD,
            declared.where,
            f"settings for {key}, expected one of the workloads of the sources:"
            f" {', '.join(known.values()) or 'none'}",
            did_you_mean(key, tuple(known.values())) or None,
            is_milder="*" in key,
        )
        for key, declared in settings.workloads.items()
        if not (
            any(map(parse_key(key).matches, names)) if "*" in key else workload_key(key) in known
        )
    ]


def unused_objects(indexes: Sequence[FileIndex], settings: Settings) -> list[Finding]:
    """Return a G007 finding for each [elsewhere] table that is for nothing which the workloads name."""
    if not settings.elsewhere:
        return []
    documents = [doc for index in indexes for doc in index.documents]
    here = {(doc.kind, doc.effective_namespace, doc.name) for doc in documents}
    named = {
        Pattern(doc.effective_namespace, use.kind, use.name)
        for doc in documents
        for use in doc.references
        if (use.kind, doc.effective_namespace, use.name) not in here
    }
    keys = tuple(
        dict.fromkeys(f"{each.namespace}/{each.kind}/{each.name}" for each in sorted(named))
    )
    return [
        Finding(
            catalogue.UNUSED_SETTING,
            declared.where,
            f"[elsewhere] has {key}, expected a ConfigMap or Secret that workloads name and no source has:"
            f" {', '.join(map(workload_key, keys)) or 'none'}",
            did_you_mean(key, tuple(map(workload_key, keys))) or None,
        )
        for key, declared in settings.elsewhere.items()
        if not any(map(parse_key(key).matches, named))
    ]


def _runtime_class(
    subject: Subject,
    spec: dict[str, Any],
    settings: Settings,
    declared: WorkloadSettings | None,
    runtime_class: str,
) -> None:
    chosen = declared.runtime_class if declared is not None else None
    found = spec.get("runtimeClassName")
    is_ours = isinstance(found, str) and is_confidential_class(found)
    if declared is not None and chosen is not None and found and is_ours != chosen:
        wanted = "a confidential class" if chosen else "no confidential class"
        subject.report(
            catalogue.RUNTIME_CLASS_CONFLICT,
            (*subject.spec_path, "runtimeClassName"),
            f"the runtime class is {found} here, and runtime_class is {str(chosen).lower()} at"
            f" {declared.place('runtime_class')}; expected {wanted}",
        )
        return
    wanted_here = settings.runtime_class if chosen is None else chosen
    # A class for an unknown platform stays, so that the checks can name it.
    is_replaced = is_known_class(str(found)) if is_ours else not found and wanted_here
    if is_replaced and is_ours and _is_of_another_platform(str(found), settings):
        subject.report(
            catalogue.OTHER_PLATFORM,
            (*subject.spec_path, "runtimeClassName"),
            f"the runtime class is {found}, where release {settings.release.name} means that platform; expected"
            f" contrast-cc or a class of {settings.platform}, which is set at {settings.where('platform')}",
        )
    if is_replaced:
        spec["runtimeClassName"] = runtime_class


def _is_of_another_platform(found: str, settings: Settings) -> bool:
    """Return whether a release that has a class per platform would give the pod to another one.

    Source: docs/internals/releases.md 4.
    """
    if settings.is_local or not settings.release.has_class_per_platform:
        return False
    return platform_in(found) not in ("", settings.platform)


def _memory(
    subject: Subject,
    spec: dict[str, Any],
    settings: Settings,
    declared: WorkloadSettings | None,
    ranges: LimitRanges,
) -> None:
    whole = workloads.mapping_at(workloads.mapping_at(spec, "resources"), "limits").get("memory")
    has_other = whole is not None or ranges.gives("limits", "memory")
    default = None if has_other else settings.memory
    for number, container in workloads.mappings_at(spec, "containers"):
        resources = workloads.mapping_at(container, "resources")
        limit = workloads.mapping_at(resources, "limits").get("memory")
        request = workloads.mapping_at(resources, "requests").get("memory")
        if declared is not None and _says_memory(declared, container):
            continue
        own = declared.memory if declared is not None else None
        differing = _differing(own, {"limit": limit, "request": request}) if own else ""
        if declared is not None and differing:
            path = (*subject.spec_path, "containers", number, "resources")
            subject.report(
                catalogue.MEMORY_CONFLICT,
                path,
                f"container {container.get('name')} has the memory {differing} here, and memory"
                f" is {own} at {declared.place('memory')}; expected one value",
                answer=(f"containers.{container.get('name')}.memory", own),
            )
            continue
        value = limit
        if limit is None and request is None:
            value = own or default
        elif limit is None:
            value = own
        if value is not None:
            _put(container, ("resources", "limits", "memory"), value)
            if request is None:
                _put(container, ("resources", "requests", "memory"), value)


def _says_memory(declared: WorkloadSettings, container: Mapping[str, Any]) -> bool:
    own = declared.containers.get(str(container.get("name")))
    return own is not None and own.memory is not None


def _differing(wanted: str, found: Mapping[str, Any]) -> str:
    """Return name and value of the first amount that is another one, "" if there is none."""
    for name, value in found.items():
        try:
            if value is not None and parse_quantity(value) != parse_quantity(wanted):
                return f"{name} {value}"
        except QuantityError:
            # The malformed quantity is reported elsewhere.
            return ""
    return ""


def declared_annotations(declared: WorkloadSettings) -> dict[str, str]:
    """Return the mesh annotations that the settings declare for a workload."""
    values = {key: getattr(declared, setting) for key, setting in _SETTING_OF.items()}
    return {key: str(value) for key, value in values.items() if value is not None}


def _annotation(
    subject: Subject,
    obj: dict[str, Any],
    path: Path,
    value: str,
    *,
    at: Location,
    entry: catalogue.Entry = catalogue.MESH_ANNOTATION_CONFLICT,
) -> None:
    """Declare an annotation at its path for the release; a value that the file has wins, if it is the same."""
    key = str(path[-1])
    places = workloads.annotation_places(obj)
    found = [
        (place, workloads.annotations_at(obj, place)[key])
        for place in places
        if key in workloads.annotations_at(obj, place)
    ]
    for place, present in found:
        if present != value:
            where = location(subject.document, (*place, key))
            subject.report(
                entry,
                (*place, key),
                f"the annotation {key} is {present!r} at {where}, and {value!r} at {at};"
                " expected one value",
                "change one of the two",
            )
    if not found:
        _put(obj, path, value)


def _environment(spec: Mapping[str, Any], variables: Mapping[str, str]) -> None:
    for _, container in workloads.mappings_at(spec, "containers"):
        for name, value in variables.items():
            present = [entry for entry in _variables(container) if entry.get("name") == name]
            for entry in present:
                entry.pop("valueFrom", None)
                entry["value"] = value
            if not present:
                container["env"] = [
                    *workloads.items_at(container, "env"),
                    {"name": name, "value": value},
                ]


def _user(spec: Mapping[str, Any], user: str) -> None:
    """Name the user of the main containers for which nobody does, and the group in the same way.

    A group of the pod, which has no user beside it, becomes that of each container: the sandbox cannot have it.
    """
    uid, _, gid = user.partition(":")
    pod = workloads.mapping_at(spec, "securityContext")
    if pod.get("runAsUser") is not None:
        return
    group = pod.pop("runAsGroup", None)
    for kind in ("initContainers", "containers"):
        for _, container in workloads.mappings_at(spec, kind):
            own = workloads.mapping_at(container, "securityContext")
            if kind == "containers" and own.get("runAsUser") is None:
                _put(container, ("securityContext", "runAsUser"), int(uid))
                if gid and group is None and own.get("runAsGroup") is None:
                    _put(container, ("securityContext", "runAsGroup"), int(gid))
            if group is not None and own.get("runAsGroup") is None:
                _put(container, ("securityContext", "runAsGroup"), group)


def add_variables(obj: Mapping[str, Any], entries: Sequence[Mapping[str, str]]) -> None:
    """Add entries to the environment of every container, except for variables that it already has."""
    for _, container in workloads.mappings_at(workloads.pod_spec(obj), "containers"):
        names = {entry.get("name") for entry in _variables(container)}
        added = [dict(entry) for entry in entries if entry["name"] not in names]
        if added:
            container["env"] = [*workloads.items_at(container, "env"), *added]


def _variables(container: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [entry for _, entry in workloads.mappings_at(container, "env")]


def _put(obj: dict[str, Any], path: Path, value: Any) -> None:
    *steps, last = map(str, path)
    for step in steps:
        if not isinstance(obj.get(step), dict):
            obj[step] = {}
        obj = obj[step]
    obj[last] = value
