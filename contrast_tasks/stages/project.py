"""One project as the stages see it: settings, index, lock, where outputs lie, and what each output is made from.

Every generated file has one digest over all its inputs. It decides whether the file is up to date, and it is the key of
the content-addressed cache; two equal digests stand for equal bytes.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks import resources
from contrast_tasks.errors import ContrastError, GraphError
from contrast_tasks.files import canonical_json, sha256_hex
from contrast_tasks.settings import (
    ComponentSettings,
    Settings,
    WorkloadSettings,
    load_settings,
)
from contrast_tasks.stages.code import code_digest
from contrast_tasks.stages.index import Index, SourceFile, Workload, load_index, read_documents

if TYPE_CHECKING:
    from contrast_tasks.images.lock import Lock
    from contrast_tasks.kube.index import FileIndex

COORDINATOR = "coordinator.yml"
# How the Coordinator's template appears among the sources.
COORDINATOR_SOURCE = f"<{COORDINATOR}>"
# The simulated processor of platform `local`, relative to the project.
PROCESSOR = ".contrast/local/processor"
STATE = ".contrast"
# Runtime classes of confidential pods, as kube.workloads.is_confidential_class has them.
_CLASSES = ("contrast-cc", "kata-cc-isolation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What names a project: enough for another process to open the same one.

    root: absolute path; overrides: TOML lines from --set; flags: (dotted key, value) pairs.
    state: folder of what is kept between runs, relative to root.
    """

    root: str
    overrides: tuple[str, ...] = ()
    flags: tuple[tuple[str, Any], ...] = ()
    state: str = STATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where things lie, relative to the project, with `/`."""

    build: str
    manifest: str
    state: str = STATE

    @property
    def check(self) -> str:
        """Return the outcome of the checks."""
        return f"{self.build}/check.json"

    @property
    def candidate(self) -> str:
        """Return the manifest as it will be once every other output is written."""
        return f"{self.state}/candidate.json"

    @property
    def accepted(self) -> str:
        """Return what the checks accepted last time."""
        return f"{self.state}/accepted"

    @property
    def sources(self) -> str:
        """Return the findings about the sources as a whole."""
        return f"{self.state}/sources.json"

    @property
    def keys(self) -> str:
        """Return the public parts of the owner keys."""
        return f"{self.state}/keys.json"

    def work(self, workload: str) -> str:
        """Return the result of a workload's costly step, before it is published."""
        return f"{self.state}/results/{workload}"

    def record(self, workload: str) -> str:
        """Return the published record of a workload."""
        return f"{self.build}/workloads/{workload}.json"

    def policy(self, workload: str) -> str:
        """Return the published policy of a workload."""
        return f"{self.build}/policies/{workload}.rego"

    def deployment(self, source: SourceFile) -> str:
        """Return the annotated YAML of a source."""
        return f"{self.build}/deployment/{source.output}"


@dataclass(slots=True)
class _LockState:
    """The lock file as it was read last, and the digests that follow from it.

    entries: digest of each entry by its reference as written; what is spelled otherwise goes through `lock`.
    """

    signature: tuple[int, ...] | None = None
    content: bytes = b""
    lock: "Lock | None" = None
    entries: dict[str, str] = field(default_factory=dict)
    images: dict[tuple[str, ...], str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)


class Project:
    """An opened project. Reads the lock file again whenever it changed, because a task of the run may write it."""

    def __init__(self, spec: Spec, settings: Settings, code: str) -> None:
        self.spec = spec
        self.settings = settings
        self.code = code
        self.root = settings.root
        self.paths = Paths(build=settings.build_dir, manifest=settings.manifest, state=spec.state)
        self._lock = _LockState()
        self._lock_path = str(self.root / settings.lock)

    @cached_property
    def index(self) -> Index:
        """Return the index of the sources as they are now."""
        return load_index(self.settings, code=self.code, ours=self._ours())

    @cached_property
    def sources(self) -> Mapping[str, SourceFile]:
        """Return the sources by name."""
        return {source.file: source for source in self.index.files}

    def _ours(self) -> dict[str, bytes]:
        if not self.settings.include_coordinator:
            return {}
        return {COORDINATOR: resources.read_bytes(f"templates/coordinator/{COORDINATOR}")}

    def read(self, file: str) -> bytes:
        """Return the bytes of a source; raises GraphError if they are not the indexed ones any more."""
        source = self.sources[file]
        content = (
            self._ours()[file[1:-1]] if file.startswith("<") else (self.root / file).read_bytes()
        )
        if sha256_hex(content) != source.digest:
            raise GraphError(f"{file} changed while it was being read", hint="run again")
        return content

    def documents_of(self, source: SourceFile) -> "FileIndex":
        """Return the documents of a source as checks over all sources see them."""
        return read_documents(self.root, self.code, source, self.read)

    def workload_settings(self, workload: Workload) -> WorkloadSettings | None:
        """Return what contrast.toml declares for a workload."""
        return self.settings.workload(workload.key)

    @cached_property
    def component_images(self) -> tuple[str, ...]:
        """Return the images of the containers we inject."""
        components = self.settings.components
        return (components.initializer, components.service_mesh)

    def images_of(self, workload: Workload) -> tuple[str, ...]:
        """Return every image reference the workload's policy may need."""
        if workload.file == COORDINATOR_SOURCE:
            return (self.settings.components.coordinator,)
        return (*workload.images, *self.component_images)

    def used_images(self) -> tuple[str, ...]:
        """Return every image reference the lock must resolve, sorted."""
        used = {
            image
            for workload in self.index.workloads.values()
            if self.is_confidential(workload)
            for image in self.images_of(workload)
        }
        return tuple(sorted(used))

    @cached_property
    def _confidential(self) -> frozenset[str]:
        workloads = self.index.workloads.values()
        return frozenset(item.id for item in workloads if self._is_confidential(item))

    @cached_property
    def own_components(self) -> tuple[str, ...]:
        """Return the images we can make ourselves: on platform `local` the components in use under their default names."""
        if self.settings.platform != "local":
            return ()
        default = ComponentSettings()
        ours = {default.initializer, default.service_mesh, default.coordinator}
        return tuple(sorted(ours.intersection(self.used_images())))

    def is_confidential(self, workload: Workload) -> bool:
        """Return whether the workload gets a policy: by its own runtime class, or by the settings."""
        return workload.id in self._confidential

    def _is_confidential(self, workload: Workload) -> bool:
        if workload.runtime_class:
            return workload.runtime_class.startswith(_CLASSES)
        declared = self.workload_settings(workload)
        if declared is not None and declared.runtime_class is not None:
            return declared.runtime_class
        return self.settings.runtime_class

    def lock(self) -> "Lock | None":
        """Return the lock file, None if there is none; raises ImageError if it cannot be understood."""
        return self._parsed_lock(self._current_lock())

    def _parsed_lock(self, state: _LockState) -> "Lock | None":
        if state.lock is None and state.signature:
            from contrast_tasks.images.lock import parse_lock

            state.lock = parse_lock(state.content, self.settings.lock)
        return state.lock

    def _current_lock(self) -> _LockState:
        try:
            status = os.stat(self._lock_path)  # noqa: PTH116  # asked by every task that runs
        except FileNotFoundError:
            signature: tuple[int, ...] = ()
        else:
            signature = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        if signature != self._lock.signature:
            content = Path(self._lock_path).read_bytes() if signature else b""
            entries = _entries_of_lock(content)
            self._lock = _LockState(signature=signature, content=content, entries=entries)
        return self._lock

    def _image_digest(self, state: _LockState, reference: str) -> str:
        digest = state.entries.get(reference)
        if digest is None:
            digest = "absent"
            try:
                lock = self._parsed_lock(state)
                found = lock.resolve(reference) if lock is not None else None
                if found is not None:
                    digest = sha256_hex(canonical_json(found.to_json()))
            except ContrastError:
                pass  # the tasks of the workload and of the lock say what is wrong
            state.entries[reference] = digest
        return digest

    @cached_property
    def shared(self) -> str:
        """Return the digest of what every workload depends on."""
        settings = self.settings
        components = settings.components
        return sha256_hex(
            canonical_json(
                [
                    self.code,
                    settings.platform,
                    settings.runtime_class,
                    settings.memory,
                    [components.initializer, components.service_mesh, components.coordinator],
                    [dict(settings.mirrors), settings.proxy],
                ]
            )
        )

    def look_at_lock(self) -> None:
        """See whether the lock file changed; who asks with look=False relies on whoever called this."""
        self._current_lock()

    def inputs_of_workload(self, workload: str, *, look: bool = True) -> str:
        """Return the digest over everything a workload's policy and object are made from.

        look: see first whether the lock file changed.
        """
        return self._inputs(self._seen_lock(look=look), workload)

    def _seen_lock(self, *, look: bool) -> _LockState:
        return self._current_lock() if look or self._lock.signature is None else self._lock

    def inputs_of_workloads(self, workloads: Iterable[Workload]) -> list[str]:
        """Return the digests of several workloads; the lock file is looked at once."""
        state = self._current_lock()
        return [self._inputs(state, workload.id) for workload in workloads]

    def _inputs(self, state: _LockState, workload: str) -> str:
        digest = state.inputs.get(workload)
        if digest is None:
            entry = self.index.workloads[workload]
            images = self.images_of(entry)
            named = state.images.get(images)
            if named is None:
                named = state.images[images] = " ".join(
                    f"{image}={self._image_digest(state, image)}" for image in images
                )
            configs = self.index.configs
            parts = (
                "workload",
                self.shared,
                entry.digest,
                self._declared(entry),
                *(f"{'/'.join(name)}={configs.get(name)}" for name in entry.configs),
                named,
                self._context_of(entry),
            )
            # No part holds a line break: names, digests and JSON without indentation.
            digest = state.inputs[workload] = sha256_hex("\n".join(parts).encode())
        return digest

    def _declared(self, workload: Workload) -> str:
        settings = self.workload_settings(workload)
        if settings is None:
            return ""
        values = [
            settings.ingress,
            settings.egress,
            settings.admin_port,
            dict(settings.env),
            list(settings.sans),
            settings.memory,
            settings.runtime_class,
            settings.secret_id,
        ]
        return canonical_json(values).decode()

    def _context_of(self, workload: Workload) -> str:
        """Return what a workload needs to know of other documents, beyond the ConfigMaps it names.

        Which ServiceAccount a pod names is not in the index, so all of its namespace count.
        """
        accounts = self._accounts.get(workload.namespace or "default", "")
        return f"{workload.file == COORDINATOR_SOURCE} {self.coordinator_namespace} {accounts}"

    @cached_property
    def _accounts(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for (kind, namespace, name), digest in self.index.configs.items():
            if kind == "ServiceAccount":
                found[namespace] = f"{found.get(namespace, '')} {name}={digest}"
        return found

    @cached_property
    def coordinator_namespace(self) -> str | None:
        """Return the namespace written at the Coordinator, None without one among the sources."""
        for workload in self.index.workloads.values():
            if workload.role == "coordinator":
                return workload.namespace
        return None

    def outputs_of(self, source: SourceFile) -> list[str]:
        """Return every file below the build directory that is made from one source."""
        paths = self.paths
        confidential = [
            item.id for item in self.workloads_in(source.file) if self.is_confidential(item)
        ]
        return [
            paths.deployment(source),
            *map(paths.record, confidential),
            *map(paths.policy, confidential),
        ]

    def inputs_of_output(self, file: str, *, look: bool = True) -> str:
        """Return the digest over everything the annotated YAML, records and policies of a source are made from.

        look: see first whether the lock file changed.
        """
        source = self.sources[file]
        state = self._seen_lock(look=look)
        workloads = [self._inputs(state, workload.id) for workload in self.workloads_in(file)]
        parts = ("output", self.code, source.digest, source.output, self.paths.build, *workloads)
        return sha256_hex("\n".join(parts).encode())

    @cached_property
    def _by_file(self) -> dict[str, list[Workload]]:
        by_file: dict[str, list[Workload]] = {}
        for workload in self.index.workloads.values():
            by_file.setdefault(workload.file, []).append(workload)
        return by_file

    def workloads_in(self, file: str) -> list[Workload]:
        """Return the workloads of a source, in its order."""
        return self._by_file.get(file, [])


def _entries_of_lock(content: bytes) -> dict[str, str]:
    """Return the digest of each entry by reference; whatever is wrong with the file is for `parse_lock` to say."""
    try:
        return {
            image["reference"]: sha256_hex(canonical_json(image))
            for image in json.loads(content)["images"]
        }
    except (ValueError, KeyError, TypeError):
        return {}


_opened: dict[Spec, Project] = {}


def open_project(spec: Spec, *, fresh: bool = False) -> Project:
    """Return the project of `spec`, the same object within a process; fresh: look at settings and sources again.

    Raises SettingsError for settings that are not understood.
    """
    project = _opened.get(spec)
    if project is None or fresh:
        root = Path(spec.root)
        settings = load_settings(
            root, environ=os.environ, overrides=spec.overrides, flags=dict(spec.flags)
        )
        project = _opened[spec] = Project(spec, settings, code_digest(root))
    return project
