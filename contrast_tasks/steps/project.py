"""One project as the stages see it: settings, index, lock, where outputs lie, and what each output is made from.

Every generated file has one digest over all its inputs. It decides whether the file is up to date, and it is the key of
the content-addressed cache; two equal digests stand for equal bytes.
"""

import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks import resources
from contrast_tasks.errors import GraphError
from contrast_tasks.files import canonical_json, sha256_hex
from contrast_tasks.settings.load import (
    ComponentSettings,
    Settings,
    WorkloadSettings,
    load_settings,
)
from contrast_tasks.steps.code import code_digest
from contrast_tasks.steps.handler import names_of_values, runtime_class
from contrast_tasks.steps.index import (
    Index,
    SourceFile,
    Workload,
    load_index,
    read_documents,
)
from contrast_tasks.steps.locked import LockFile
from contrast_tasks.steps.paths import COORDINATOR, COORDINATOR_SOURCE, Paths, Spec

if TYPE_CHECKING:
    from contrast_tasks.images.lock import Lock
    from contrast_tasks.kube.index import FileIndex

# Runtime classes of confidential pods, as kube.workloads.is_confidential_class has them.
_CLASSES = ("contrast-cc", "kata-cc-isolation")


class Project:
    """An opened project. Reads the lock file again whenever it changed, because a task of the run may write it."""

    def __init__(self, spec: Spec, settings: Settings, code: str) -> None:
        self.spec = spec
        self.settings = settings
        self.code = code
        self.root = settings.root
        self.paths = Paths(build=settings.build_dir, manifest=settings.manifest, state=spec.state)
        self._locked = LockFile(self.root / settings.lock, settings.lock)

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
        settings = self.settings
        return (
            *((components.initializer,) if settings.initializer else ()),
            *((components.service_mesh,) if settings.service_mesh else ()),
        )

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
        self._locked.look()
        return self._locked.parsed()

    @cached_property
    def runtime_class(self) -> str:
        """Return the runtime class that confidential pods get."""
        return runtime_class(self.settings.platform, names_of_values(self.root, self.settings))

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
                    self.runtime_class,
                    settings.runtime_class,
                    settings.memory,
                    settings.initializer,
                    settings.service_mesh,
                    [components.initializer, components.service_mesh, components.coordinator],
                    [dict(settings.mirrors), settings.proxy],
                ]
            )
        )

    def look_at_lock(self) -> None:
        """See whether the lock file changed; who asks with look=False relies on whoever called this."""
        self._locked.look()

    def inputs_of_workload(self, workload: str, *, look: bool = True) -> str:
        """Return the digest over everything a workload's policy and object are made from.

        look: see first whether the lock file changed.
        """
        self._see_lock(look=look)
        return self._inputs(workload)

    def _see_lock(self, *, look: bool) -> None:
        if look:
            self._locked.look()
        else:
            self._locked.look_once()

    def inputs_of_workloads(self, workloads: Iterable[Workload]) -> list[str]:
        """Return the digests of several workloads; the lock file is looked at once."""
        self._locked.look()
        return [self._inputs(workload.id) for workload in workloads]

    def _inputs(self, workload: str) -> str:
        known = self._locked.inputs
        digest = known.get(workload)
        if digest is None:
            entry = self.index.workloads[workload]
            configs = self.index.configs
            parts = (
                "workload",
                self.shared,
                entry.digest,
                self._declared(entry),
                *(f"{'/'.join(name)}={configs.get(name)}" for name in entry.configs),
                self._locked.digests(self.images_of(entry)),
                self._context_of(entry),
            )
            # No part holds a line break: names, digests and JSON without indentation.
            digest = known[workload] = sha256_hex("\n".join(parts).encode())
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
        self._see_lock(look=look)
        workloads = [self._inputs(workload.id) for workload in self.workloads_in(file)]
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
