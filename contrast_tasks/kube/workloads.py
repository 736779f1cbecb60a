"""Which objects run pods, where their pod template is, and what it refers to."""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from contrast_tasks.annotations import POD_ROLE, PREFIX, ROLE_COORDINATOR, SECURE_PV
from contrast_tasks.pods.volume_kinds import CONFIG_VOLUMES, ConfigSource
from contrast_tasks.pods.workload_kinds import WORKLOAD_KINDS
from contrast_tasks.pointers import Path
from contrast_tasks.records import Record
from contrast_tasks.releases.table import Place

_CONFIG_MAP: Final = ConfigSource("ConfigMap", "name")
_SECRET: Final = ConfigSource("Secret", "name")


class ConfigReference(Record):
    """A pod's reference to a ConfigMap or Secret of its namespace; path: of the name inside the object."""

    kind: str
    name: str
    optional: bool
    path: Path


def is_workload(obj: Mapping[str, Any]) -> bool:
    """Return whether an object is of a kind that runs pods, and not a custom resource whose kind has the same name."""
    known = WORKLOAD_KINDS.get(str(obj.get("kind")))
    return known is not None and _group(str(obj.get("apiVersion"))) == known.group


def template_path(obj: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the path of the pod template; () for a Pod, which is its own template."""
    return WORKLOAD_KINDS[str(obj["kind"])].template


def pod_template(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pod template, {} if it is absent or not a mapping."""
    found: Any = obj
    for step in template_path(obj):
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def pod_spec(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pod spec, {} if there is none."""
    return mapping_at(pod_template(obj), "spec")


def pod_metadata(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pod's metadata, {} if there is none."""
    return mapping_at(pod_template(obj), "metadata")


def job_spec(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec of a Job, or of the Job that a CronJob makes, {} for other kinds."""
    spec = mapping_at(obj, "spec")
    if obj.get("kind") == "CronJob":
        return mapping_at(mapping_at(spec, "jobTemplate"), "spec")
    return spec if obj.get("kind") == "Job" else {}


def claim_modes(obj: Mapping[str, Any]) -> dict[str, str]:
    """Return the volumeMode of each claim template of a StatefulSet by name, {} for other kinds."""
    if obj.get("kind") != "StatefulSet":
        return {}
    return {
        str(mapping_at(claim, "metadata").get("name")): volume_mode(claim)
        for _, claim in mappings_at(mapping_at(obj, "spec"), "volumeClaimTemplates")
    }


def volume_mode(claim: Mapping[str, Any]) -> str:
    """Return the volumeMode of a claim or of a template of one."""
    return str(mapping_at(claim, "spec").get("volumeMode") or "Filesystem")


def claims_used(obj: Mapping[str, Any]) -> Iterator[str]:
    """Yield the name of each PersistentVolumeClaim that the pod's volumes name."""
    for _, volume in mappings_at(pod_spec(obj), "volumes"):
        name = mapping_at(volume, "persistentVolumeClaim").get("claimName")
        if isinstance(name, str):
            yield name


def claim_facts(obj: Mapping[str, Any]) -> dict[str, str]:
    """Return what decides whether a PersistentVolumeClaim can be encrypted, {} for other kinds."""
    if obj.get("kind") != "PersistentVolumeClaim" or obj.get("apiVersion") != "v1":
        return {}
    spec = mapping_at(obj, "spec")
    requests = mapping_at(mapping_at(spec, "resources"), "requests")
    return {
        "storage": str(requests.get("storage") or ""),
        "accessModes": " ".join(map(str, items_at(spec, "accessModes"))),
    }


def spec_path(obj: Mapping[str, Any]) -> Path:
    """Return the path of the pod spec inside the object."""
    return (*template_path(obj), "spec")


def mapping_at(obj: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the mapping under `key`, {} if it is absent, null or of another type."""
    found = obj.get(key)
    return found if isinstance(found, dict) else {}


def mappings_at(obj: Mapping[str, Any], key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (position, item) of the mappings in the sequence under `key`; other items are left out."""
    found = obj.get(key)
    for position, item in enumerate(found if isinstance(found, list) else ()):
        if isinstance(item, dict):
            yield position, item


def items_at(obj: Mapping[str, Any], key: str) -> list[Any]:
    """Return the sequence under `key`, [] if it is absent, null or of another type."""
    found = obj.get(key)
    return found if isinstance(found, list) else []


def service_account(obj: Mapping[str, Any]) -> str:
    """Return the name of the pod's ServiceAccount; `serviceAccount` is the deprecated alias."""
    spec = pod_spec(obj)
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")


def namespace_of(obj: Mapping[str, Any]) -> str:
    """Return metadata.namespace, "" if it is absent."""
    return str(mapping_at(obj, "metadata").get("namespace") or "")


def workload_key(obj: Mapping[str, Any]) -> str:
    """Return `Deployment/web`, with a namespace in the file `shop/Deployment/web`; `Job/nightly-` for generateName."""
    metadata = obj["metadata"]
    name = f"{obj['kind']}/{metadata.get('name') or metadata['generateName']}"
    namespace = namespace_of(obj)
    return f"{namespace}/{name}" if namespace else name


def metadata_places(obj: Mapping[str, Any]) -> list[Path]:
    """Return the paths of a workload's metadata: of the pod template, the object and a CronJob's job template.

    Source: docs/internals/generate.md 5.1.
    """
    template = template_path(obj)
    places: list[Path] = [(*template, "metadata")]
    if template:
        places.append(("metadata",))
    if obj["kind"] == "CronJob":
        places.append(("spec", "jobTemplate", "metadata"))
    return places


def annotation_places(obj: Mapping[str, Any]) -> list[Path]:
    """Return the paths of the annotation maps that can hold a workload's settings, the pod template's first."""
    return [(*place, "annotations") for place in metadata_places(obj)]


def read_place(obj: Mapping[str, Any], at: Place) -> tuple[str, ...]:
    """Return the path of the annotations that ask for mesh and volumes, where a release reads them.

    Source: docs/internals/releases.md 6.
    """
    metadata = "metadata", "annotations"
    return (*template_path(obj), *metadata) if at == "pod template" else metadata


def annotations_at(obj: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the annotations under a path of `annotation_places`."""
    found: Mapping[str, Any] = obj
    for step in path:
        found = mapping_at(found, str(step))
    return dict(found)


def annotations(obj: Mapping[str, Any]) -> dict[str, str]:
    """Return the effective annotations with our prefix; those of the pod template override those of the object."""
    effective: dict[str, str] = {}
    for place in reversed(annotation_places(obj)):
        effective |= {
            key: value
            for key, value in annotations_at(obj, place).items()
            if key.startswith(PREFIX) and isinstance(value, str)
        }
    return effective


def secure_pvs(effective: Mapping[str, str]) -> tuple[tuple[str, str], ...] | None:
    """Return the names of device and mount of each encrypted volume that a pod's annotations ask for, () without any.

    None if they are malformed: each pair is `device:mount`, pairs are joined by commas, and no name occurs twice.
    """
    value = effective.get(SECURE_PV)
    if value is None:
        return ()
    pairs = [tuple(each.split(":")) for each in value.split(",")]
    names = [name for pair in pairs for name in pair]
    if any(len(pair) != 2 for pair in pairs) or not all(names) or len(set(names)) < len(names):  # noqa: PLR2004  # a pair
        return None
    return tuple((pair[0], pair[1]) for pair in pairs)


def role(obj: Mapping[str, Any]) -> str:
    """Return the pod role of the template, "" if there is none."""
    value = mapping_at(pod_metadata(obj), "annotations").get(POD_ROLE)
    return value if isinstance(value, str) else ""


def is_coordinator(obj: Mapping[str, Any]) -> bool:
    """Return whether an object is the Coordinator, which gets neither initializer nor mesh."""
    return obj.get("kind") == "StatefulSet" and role(obj) == ROLE_COORDINATOR


def runtime_class(obj: Mapping[str, Any]) -> str:
    """Return the runtime class of the pod, "" if there is none."""
    value = pod_spec(obj).get("runtimeClassName")
    return value if isinstance(value, str) else ""


def images(obj: Mapping[str, Any]) -> list[str]:
    """Return the image references of the pod, each once: those of init containers, then those of main containers."""
    spec = pod_spec(obj)
    found = [
        item["image"]
        for key in ("initContainers", "containers")
        for _, item in mappings_at(spec, key)
        if isinstance(item.get("image"), str)
    ]
    return list(dict.fromkeys(found))


def config_data(obj: Mapping[str, Any]) -> dict[str, str | bytes]:
    """Return the entries of a ConfigMap or Secret; base64 is decoded, and stringData overrides data, as in Kubernetes."""
    is_secret = obj["kind"] == "Secret"
    encoded = mapping_at(obj, "data" if is_secret else "binaryData").items()
    plain = mapping_at(obj, "stringData" if is_secret else "data").items()
    data: dict[str, str | bytes] = {
        key: base64.b64decode(value) for key, value in encoded if isinstance(value, str)
    }
    return data | {key: value for key, value in plain if isinstance(value, str)}


def config_object(kind: str, namespace: str, name: str, data: Mapping[str, str]) -> dict[str, Any]:
    """Return a ConfigMap or Secret with these entries; namespace: "" for none."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    member = "stringData" if kind == "Secret" else "data"
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, member: dict(data)}


def config_references(obj: Mapping[str, Any]) -> list[ConfigReference]:
    """Return the references in env, envFrom, volumes and projected volumes, in the order of the file."""
    return [
        ConfigReference(
            kind=config.kind,
            name=source[config.name_key],
            optional=source.get("optional") is True,
            path=(*path, config.name_key),
        )
        for config, path, source in _config_sources(pod_spec(obj), spec_path(obj))
        if isinstance(source, dict) and isinstance(source.get(config.name_key), str)
    ]


def field_name(obj: Mapping[str, Any], path: Path) -> str:
    """Return a place in the pod's spec as `remove` of contrast.toml has it: `containers.web.tty`; "" for others.

    Items of lists go by their names; * stands for a character that separates names.
    """
    base = spec_path(obj)
    found: Any = pod_spec(obj)
    if path[: len(base)] != base:
        return ""
    steps: list[str] = []
    for step in path[len(base) :]:
        if isinstance(found, list) and isinstance(step, int):
            found = found[step]
            name = found.get("name") if isinstance(found, dict) else None
            if not isinstance(name, str):
                return ""
            steps.append(name)
        else:
            found = found.get(step) if isinstance(found, dict) else None
            steps.append(str(step))
    return ".".join(re.sub(r"[^A-Za-z0-9_-]", "*", step) for step in steps)


def config_keys(obj: Mapping[str, Any]) -> dict[tuple[str, str], set[str]]:
    """Return the keys that variables take by name, by kind and name of the ConfigMap or Secret."""
    found: dict[tuple[str, str], set[str]] = {}
    for config, _, source in _config_sources(pod_spec(obj), spec_path(obj)):
        if isinstance(source, dict) and isinstance(source.get("key"), str):
            name = str(source.get(config.name_key))
            found.setdefault((config.kind, name), set()).add(source["key"])
    return found


def _config_sources(
    spec: Mapping[str, Any], base: Path
) -> Iterator[tuple[ConfigSource, Path, Any]]:
    for key in ("initContainers", "containers"):
        for number, container in mappings_at(spec, key):
            place = (*base, key, number)
            for position, variable in mappings_at(container, "env"):
                source = mapping_at(variable, "valueFrom")
                path = (*place, "env", position, "valueFrom")
                yield _CONFIG_MAP, (*path, "configMapKeyRef"), source.get("configMapKeyRef")
                yield _SECRET, (*path, "secretKeyRef"), source.get("secretKeyRef")
            for position, source in mappings_at(container, "envFrom"):
                path = (*place, "envFrom", position)
                yield _CONFIG_MAP, (*path, "configMapRef"), source.get("configMapRef")
                yield _SECRET, (*path, "secretRef"), source.get("secretRef")
    for number, volume in mappings_at(spec, "volumes"):
        place = (*base, "volumes", number)
        for name, config in CONFIG_VOLUMES.items():
            yield config, (*place, name), volume.get(name)
        for position, source in mappings_at(mapping_at(volume, "projected"), "sources"):
            path = (*place, "projected", "sources", position)
            yield _CONFIG_MAP, (*path, "configMap"), source.get("configMap")
            yield _SECRET, (*path, "secret"), source.get("secret")


def _group(api_version: str) -> str:
    group, slash, _ = api_version.partition("/")
    return group if slash else ""
