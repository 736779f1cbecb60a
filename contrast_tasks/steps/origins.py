"""Where an expectation of a policy comes from: a line of the YAML, the configuration of an image, or contrast.toml."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from contrast_tasks.images.lock import Lock
from contrast_tasks.kube import workloads
from contrast_tasks.kube.documents import Document, location
from contrast_tasks.kube.workloads import mapping_at, mappings_at
from contrast_tasks.pods.injected import DEBUG_SHELL, IMAGE_STORE, INITIALIZER, SERVICE_MESH
from contrast_tasks.pointers import Path
from contrast_tasks.steps.index import Workload
from contrast_tasks.steps.prepare import document_of, documents_of
from contrast_tasks.steps.project import Project

if TYPE_CHECKING:
    from contrast_tasks.settings.workloads import WorkloadSettings

_USER = ("securityContext/runAsUser", "securityContext/runAsGroup")
_PRIVILEGED = "securityContext/privileged"
# Members of the container that decide what a code checks, and those of its image that do so where it has none of them.
_CONTAINER: Mapping[str, tuple[str, ...]] = {
    "E_ARGS": ("command", "args"),
    "E_CAPS": ("securityContext/capabilities", _PRIVILEGED),
    "E_CWD": ("workingDir",),
    "E_DEVICE": ("volumeDevices", "resources/limits"),
    "E_IMG_REF": ("image",),
    "E_MASKED": (_PRIVILEGED, "securityContext/procMount"),
    "E_NNP": ("securityContext/allowPrivilegeEscalation", _PRIVILEGED),
    "E_PROPAGATION": ("volumeMounts",),
    "E_READONLY": (_PRIVILEGED, "securityContext/procMount"),
    "E_ROOT_RO": ("securityContext/readOnlyRootFilesystem",),
    "E_STORAGE": ("volumeMounts",),
    "E_TTY": ("tty",),
    "E_USER": _USER,
}
_IMAGE: Mapping[str, tuple[str, ...]] = {
    "E_ARGS": ("entrypoint", "cmd"),
    "E_CWD": ("working_dir",),
    "E_USER": ("user",),
}
_PROBES = (
    *("livenessProbe/exec", "readinessProbe/exec", "startupProbe/exec"),
    *("lifecycle/postStart", "lifecycle/preStop"),
)
# Members of the pod that decide, besides those of the container.
_POD: Mapping[str, tuple[str, ...]] = {
    "E_DNS": ("dnsPolicy", "dnsConfig"),
    "E_HOSTNAME": ("hostname", "setHostnameAsFQDN"),
    "E_IDMAP": ("hostUsers",),
    "E_LSM": ("securityContext/seLinuxOptions",),
    "E_MOUNT_MISSING": ("automountServiceAccountToken",),
    "E_NAMESPACES": ("hostNetwork", "hostPID", "hostIPC"),
    "E_ORDER": ("initContainers",),
    "E_PIDNS": ("shareProcessNamespace",),
    "E_SELECT": ("containers",),
    "E_STORAGE": ("volumes",),
    "E_SYSCTL": ("securityContext/sysctls",),
    "E_USER": (*_USER, "securityContext/fsGroup", "securityContext/supplementalGroups"),
}
_SETTING_OF = {
    INITIALIZER: "[components] initializer",
    SERVICE_MESH: "[components] service_mesh",
    IMAGE_STORE: "[defaults] image_store",
    DEBUG_SHELL: "[components] debug_shell",
}


class Asked(NamedTuple):
    """What an origin is asked for: kind of the request, name of the container, code and the names it concerns."""

    kind: str
    container: str
    code: str
    names: Sequence[str]


class Origins:
    """The sources of one workload, with its lines as the user wrote them."""

    def __init__(self, project: Project, workload: Workload, lock: Lock) -> None:
        self._project = project
        self._workload = workload
        self._lock = lock
        self._document: Document = document_of(project, workload, lock)
        self._declared: WorkloadSettings | None = project.workload_settings(workload)

    def of(self, asked: Asked) -> tuple[str, ...]:
        """Return the places as lines for people, () if the expectation is the same for every pod."""
        return tuple(dict.fromkeys(self._lines(asked)))

    def _lines(self, asked: Asked) -> Iterator[str]:
        code = asked.code
        spec_path = workloads.spec_path(self._document.obj)
        if code == "E_POD_NAME":
            yield self._line(("metadata", "name"), "name of the object")
        if code == "E_POD_NAMESPACE":
            yield self._line(("metadata", "namespace"), "namespace of the object")
        if code == "E_ANNOTATION":
            metadata = (*spec_path[:-1], "metadata", "annotations")
            for name in asked.names:
                yield self._line((*metadata, name), "annotations of the pod template")
        found = self._container(asked.container)
        if found is None:
            yield from self._injected(asked.container)
        else:
            yield from self._of_container(asked, *found)
        for member in _POD.get(code, ()):
            if _at(workloads.pod_spec(self._document.obj), member) is not None:
                yield self._line((*spec_path, *member.split("/")), member)

    def _container(self, name: str) -> tuple[Path, Mapping[str, Any]] | None:
        """Return a container of the source with its path, None if it has none of that name."""
        obj = self._document.obj
        for key in ("initContainers", "containers"):
            for position, item in mappings_at(workloads.pod_spec(obj), key):
                if name and item.get("name") == name:
                    return (*workloads.spec_path(obj), key, position), item
        return None

    def _injected(self, name: str) -> Iterator[str]:
        if name in _SETTING_OF:
            yield f"contrast-tasks adds this container; contrast.toml: {_SETTING_OF[name]}"

    def _of_container(
        self, asked: Asked, path: Path, container: Mapping[str, Any]
    ) -> Iterator[str]:
        if asked.code == "E_ENV":
            for name in asked.names:
                yield from self._variable(name, path, container)
            return
        if asked.code.startswith("E_MOUNT"):
            for name in asked.names:
                yield from self._mount(name, path, container)
            return
        is_exec = asked.kind == "ExecProcessRequest" and asked.code == "E_ARGS"
        members = _PROBES if is_exec else _CONTAINER.get(asked.code, ())
        present = [each for each in members if _at(container, each) is not None]
        if asked.code == "E_USER":
            yield from self._setting("user")
        if asked.code in ("E_USER", "E_CAPS"):
            yield from self._setting("containers", str(container.get("name")))
        for member in present:
            yield self._line((*path, *member.split("/")), member)
        from_image = () if is_exec or present else _IMAGE.get(asked.code, ())
        yield from self._image(container, from_image)
        if members and not present:
            yield self._line(path, f"the container has no {' and no '.join(members)}")

    def _variable(self, name: str, path: Path, container: Mapping[str, Any]) -> Iterator[str]:
        found = False
        for position, entry in mappings_at(container, "env"):
            if entry.get("name") == name:
                found = True
                yield self._line((*path, "env", position), f"env {name}")
                yield from self._value_from(entry)
        declared = [*self._setting("env", name)]
        found = found or bool(declared)
        yield from declared
        for position, source in mappings_at(container, "envFrom"):
            for kind, member in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                key = name.removeprefix(str(source.get("prefix", "")))
                lines = list(self._config(kind, mapping_at(source, member).get("name"), key))
                if lines:
                    found = True
                    yield self._line((*path, "envFrom", position), f"envFrom with {name}")
                    yield from lines
        image = self._lock.resolve(str(container.get("image", "")))
        entries = [] if image is None else image.config.env
        if any(each.partition("=")[0] == name for each in entries):
            yield f"image {container.get('image')}: its variable {name}"
        elif not found:
            yield self._line(path, f"neither the container nor its image has {name}")

    def _setting(self, key: str, name: str = "") -> Iterator[str]:
        """Yield the line of contrast.toml that declares a member, of a mapping the one with a name."""
        declared = self._declared
        value = getattr(declared, key) if declared is not None else None
        if declared is not None and (name in value if name and value else value):
            yield f"{declared.place(key)}: {key} of {declared.title(key)}"

    def _value_from(self, entry: Mapping[str, Any]) -> Iterator[str]:
        source = mapping_at(entry, "valueFrom")
        for kind, member in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
            reference = mapping_at(source, member)
            yield from self._config(kind, reference.get("name"), reference.get("key"))

    def _config(self, kind: str, name: Any, key: Any) -> Iterator[str]:
        """Yield the line of a key of a ConfigMap or Secret that is among the sources."""
        for use in self._workload.uses:
            if use[0] != kind or use[2] != name or use not in self._project.index.places:
                continue
            file, position = self._project.index.places[use]
            document = documents_of(self._project, file, self._lock)[position]
            for member in ("stringData", "data"):
                if key in mapping_at(document.obj, member):
                    yield f"{location(document, (member, key))}: {key} of {kind} {name}"
                    return
        made = self._project.settings.config(str(kind), self._workload.namespace, str(name))
        if made is not None and name is not None:
            yield f"{made.where}: {key} of {kind} {name}, which is made elsewhere"

    def _mount(self, point: str, path: Path, container: Mapping[str, Any]) -> Iterator[str]:
        for member in ("volumeMounts", "volumeDevices"):
            for position, mount in mappings_at(container, member):
                if str(mount.get("mountPath", "")).rstrip("/") == point.rstrip("/"):
                    yield self._line((*path, member, position), f"the mount at {point}")
                    yield from self._volume(mount.get("name"))
                    return
        image = self._lock.resolve(str(container.get("image", "")))
        if image is not None and point in image.config.volumes:
            yield from self._setting("image_volumes")
        yield self._line(
            path, f"no mount at {point}; what a runtime mounts by itself is not listed"
        )

    def _volume(self, name: Any) -> Iterator[str]:
        obj = self._document.obj
        for position, volume in mappings_at(workloads.pod_spec(obj), "volumes"):
            if volume.get("name") == name:
                path = (*workloads.spec_path(obj), "volumes", position)
                yield self._line(path, f"volume {name}")

    def _image(self, container: Mapping[str, Any], members: Sequence[str]) -> Iterator[str]:
        reference = str(container.get("image", ""))
        image = self._lock.resolve(reference) if members and reference else None
        if image is None:
            return
        for member in members:
            value = getattr(image.config, member)
            if value:
                shown = " ".join(value) if isinstance(value, tuple) else value
                yield f"image {reference}: its {member.replace('_', ' ')} is {shown}"

    def _line(self, path: Path, what: str) -> str:
        return f"{location(self._document, path)}: {what}"


def _at(value: Any, member: str) -> Any:
    for part in member.split("/"):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
