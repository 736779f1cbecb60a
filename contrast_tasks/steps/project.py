"""A project as the steps see it: settings, index and the places of its files. Plain data."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.errors import Location, SettingsError
from contrast_tasks.platforms import (
    CONFIDENTIAL_CLASS,
    HANDLER_PREFIX,
    handlers_among,
    is_confidential_class,
)
from contrast_tasks.records import Record
from contrast_tasks.releases.table import Channel
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.outputs import STATE
from contrast_tasks.settings.workloads import WorkloadSettings
from contrast_tasks.steps.index import CLAIM, COORDINATOR_SOURCE, Index, SourceFile, Workload
from contrast_tasks.steps.namespaces import Namespaces

# The simulated processor of platform `local`, relative to the project.


class Spec(Record):
    """The identity of a project, from which another process can open the same one.

    root: absolute path; overrides: TOML lines from --set; flags: (dotted key, value) pairs.
    state: folder of what is kept between runs, relative to root; outputs go there too unless it is the usual one.
    """

    root: str
    overrides: tuple[str, ...] = ()
    flags: tuple[tuple[str, object], ...] = ()
    state: str = STATE


class Paths(Record):
    """Paths of outputs, relative to the project, with `/`."""

    build: str
    manifest: str
    channel: Channel
    in_place: bool = False

    @property
    def check(self) -> str:
        """Return the outcome of the checks."""
        return f"{self.build}/check.json"

    def record(self, workload: str) -> str:
        """Return the published record of a workload."""
        return f"{self.build}/workloads/{workload}.json"

    def policy(self, workload: str) -> str:
        """Return the published policy of a workload, as text."""
        return f"{self.build}/policies/{workload}.rego"

    def document(self, workload: str) -> str:
        """Return the published document of a workload, whose SHA-256 is its key in the manifest; as plain it is the policy."""
        suffix = {"plain": "rego", "gzip": "rego.gz", "initdata": "initdata.toml"}[self.channel]
        return f"{self.build}/policies/{workload}.{suffix}"

    def deployment(self, source: SourceFile) -> str:
        """Return the annotated YAML of a source."""
        return source.file if self.in_place else f"{self.build}/deployment/{source.output}"

    def outputs(self, deployment: str, confidential: Sequence[str]) -> list[str]:
        """Return every file that is made from a source, its annotated YAML first; confidential: ids of its workloads."""
        policies = [*map(self.policy, confidential), *map(self.document, confidential)]
        return [deployment, *map(self.record, confidential), *dict.fromkeys(policies)]

    def workloads_among(self, outputs: Iterable[str]) -> list[str]:
        """Return the ids of the workloads whose records are among outputs."""
        folder = f"{self.build}/workloads/"
        found = (name.removeprefix(folder) for name in outputs if name.startswith(folder))
        return [name.removesuffix(".json") for name in found]


class Project(Record):
    """An opened project.

    code: digest of everything of ours that shapes an output. handlers: the platform's runtime classes that the reference
    values name.
    """

    spec: Spec
    settings: Settings
    index: Index
    code: str
    handlers: tuple[str, ...]

    @cached_property
    def runtime_class(self) -> str:
        """Return that of confidential pods, one that no installer creates if it is not known; see `handler_fault`."""
        return chosen_class(self.settings, self.handlers)

    @cached_property
    def handler_fault(self) -> str:
        """Return why the runtime class of confidential pods is not known, "" if it is."""
        settings, named = self.settings, self.handlers
        if settings.is_local or (settings.handler and not named) or settings.handler in named:
            return ""
        listed = ", ".join(named)
        if settings.handler:
            return f"[runtime] class is {settings.handler}, and {settings.reference_values} has values for {listed}; expected the same"
        if len(named) == 1:
            return ""
        found = f"{settings.reference_values} names {listed}" if named else "nothing names it"
        return (
            f"the runtime class of platform {settings.platform} ends in 8 hex digits, which differ from runtime to"
            f" runtime; {found}, expected one"
        )

    @property
    def root(self) -> Path:
        """Return the project's folder."""
        return self.settings.root

    @cached_property
    def paths(self) -> Paths:
        """Return the paths of outputs."""
        settings = self.settings
        return Paths(
            build=settings.build_dir,
            manifest=settings.manifest,
            channel=settings.channel,
            in_place=settings.in_place and self._is_real,
        )

    @property
    def _is_real(self) -> bool:
        """Return whether outputs go where they belong, and not below the state, as for a plan."""
        return self.spec.state == STATE

    @property
    def combined(self) -> str | None:
        """Return the file of all annotated YAML in one, None without one."""
        return self.settings.combined if self._is_real else None

    @cached_property
    def sources(self) -> Mapping[str, SourceFile]:
        """Return the sources by name."""
        return {source.file: source for source in self.index.files}

    @cached_property
    def workloads_by_source(self) -> Mapping[str, list[Workload]]:
        """Return the workloads of each source that has any, in its order."""
        by_source: dict[str, list[Workload]] = {}
        for workload in self.index.workloads.values():
            by_source.setdefault(workload.file, []).append(workload)
        return by_source

    def workloads_in(self, file: str) -> list[Workload]:
        """Return the workloads of a source, in its order."""
        return self.workloads_by_source.get(file, [])

    @cached_property
    def claimants(self) -> Mapping[str, list[Workload]]:
        """Return the workloads whose pods name claims, by the source that has the claims; other sources have none."""
        found: dict[str, list[Workload]] = {}
        claims = {use: file for use, (file, _) in self.index.places.items() if use[0] == CLAIM}
        for workload in self.index.workloads.values() if claims else ():
            for file in sorted({claims[use] for use in workload.uses if use in claims}):
                found.setdefault(file, []).append(workload)
        return found

    def workload_settings(self, workload: Workload) -> WorkloadSettings | None:
        """Return what contrast.toml declares for a workload."""
        is_coordinator = workload.role == ROLE_COORDINATOR
        return self.settings.workload(workload.key, is_coordinator=is_coordinator)

    @cached_property
    def namespaces(self) -> Namespaces:
        """Return what workloads get from objects of their namespace."""
        return Namespaces(self.index)

    @cached_property
    def confidential(self) -> frozenset[str]:
        """Return the ids of the workloads that get a policy."""
        workloads = self.index.workloads.values()
        return frozenset(item.id for item in workloads if self._is_confidential(item))

    def is_confidential(self, workload: Workload) -> bool:
        """Return whether the workload gets a policy: by its own runtime class, or by the settings."""
        return workload.id in self.confidential

    def _is_confidential(self, workload: Workload) -> bool:
        if workload.runtime_class:
            return is_confidential_class(workload.runtime_class)
        declared = self.workload_settings(workload)
        if declared is not None and declared.runtime_class is not None:
            return declared.runtime_class
        return self.settings.runtime_class

    @cached_property
    def coordinator_namespace(self) -> str | None:
        """Return the namespace of the Coordinator in the sources, None if it has none or is not among them."""
        for workload in self.index.workloads.values():
            if workload.role == ROLE_COORDINATOR:
                return workload.namespace
        return None

    @cached_property
    def component_images(self) -> tuple[str, ...]:
        """Return the images of the injected containers; that of the initializer holds the image store too."""
        settings = self.settings
        has_initializer = settings.initializer or settings.has_image_store
        return (
            *((settings.components.initializer,) if has_initializer else ()),
            *((settings.components.service_mesh,) if settings.service_mesh else ()),
        )

    def images_of(self, workload: Workload) -> tuple[str, ...]:
        """Return every image reference that the workload's policy may need."""
        if workload.file == COORDINATOR_SOURCE:
            components = self.settings.components
            store = (components.initializer,) if self.settings.has_image_store else ()
            named: tuple[str, ...] = (components.coordinator, *store)
        else:
            named = (*workload.images, *self.component_images)
        if not self.replacements:
            return named
        from contrast_tasks.prepare.replacements import replacement_of

        return tuple(replacement_of(image, self.replacements) for image in named)

    @cached_property
    def replacements(self) -> Mapping[str, str]:
        """Return the images to use instead of others; raises SettingsError and ImageError for the file of them."""
        name = self.settings.replacements
        if name is None:
            return {}
        from contrast_tasks.prepare.replacements import parse_replacements

        try:
            text = (self.root / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as err:
            reason = getattr(err, "strerror", None) or "it is not UTF-8"
            message = f"the replacements of images cannot be read: {reason.lower()}"
            raise SettingsError(message, where=Location(file=name)) from err
        return parse_replacements(text, name)

    @cached_property
    def used_images(self) -> tuple[str, ...]:
        """Return every image reference that the lock must resolve, sorted."""
        used = {
            image
            for workload in self.index.workloads.values()
            if self.is_confidential(workload)
            for image in self.images_of(workload)
        }
        return tuple(sorted(used))

    @cached_property
    def own_components(self) -> tuple[str, ...]:
        """Return the images to pack ourselves: on platform `local` the used components with their default names."""
        if not self.settings.is_local:
            return ()
        default = ComponentSettings()
        ours = {default.initializer, default.service_mesh, default.coordinator}
        return tuple(sorted(ours.intersection(self.used_images)))

    @cached_property
    def outputs(self) -> Mapping[str, list[str]]:
        """Return every file below the build directory that is made from a source, by the source's name."""
        return {source.file: self._outputs_of(source) for source in self.index.files}

    def _outputs_of(self, source: SourceFile) -> list[str]:
        confidential = [
            item.id for item in self.workloads_in(source.file) if item.id in self.confidential
        ]
        return self.paths.outputs(self.paths.deployment(source), confidential)

    @cached_property
    def expected_outputs(self) -> frozenset[str]:
        """Return every file below the build directory that a finished `generate` leaves there."""
        return frozenset((self.paths.check,)).union(*self.outputs.values())


def handlers_of(settings: Settings) -> tuple[str, ...]:
    """Return the platform's runtime classes that the reference values name; what is wrong with them the manifest says.

    A measurement holds for one build of the runtime: pods of another class would run in guests that the manifest refuses.
    """
    return handlers_among(_names_of_values(settings), settings.platform)


def chosen_class(settings: Settings, handlers: Sequence[str]) -> str:
    """Return the runtime class of confidential pods, without digits if it is not known; `local` has the generic one."""
    if settings.is_local:
        return CONFIDENTIAL_CLASS
    only = handlers[0] if len(handlers) == 1 else f"{HANDLER_PREFIX}{settings.platform}"
    return settings.handler or only


def _names_of_values(settings: Settings) -> list[str]:
    name = settings.reference_values
    if name is None:
        return []
    try:
        document = json.loads((settings.root / name).read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return list(document) if isinstance(document, dict) else []
