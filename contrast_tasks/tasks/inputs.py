"""The inputs of each task: name -> digest, in a fixed order; the names are for people.

Whether a task runs, the digest of its mapping decides; why it ran, the difference of two mappings tells. What does not
apply to a task has no name in its mapping; a file that applies and is not there is "absent".
"""

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from contrast_tasks.declare.documents import to_json
from contrast_tasks.errors import ContrastError
from contrast_tasks.files import canonical_json, norm_path, sha256_hex
from contrast_tasks.platforms import platform
from contrast_tasks.pods.service_links import is_link
from contrast_tasks.settings.outputs import PROCESSOR
from contrast_tasks.signatures import signature_of
from contrast_tasks.steps.ignored import ignored_errors
from contrast_tasks.steps.index import COORDINATOR_SOURCE, Workload
from contrast_tasks.steps.project import Project
from contrast_tasks.tasks.code import signature_of_all_code

_ABSENT = "absent"


class Inputs:
    """The inputs of one task, in groups that tasks share, and their digest."""

    def __init__(self, digest: str, *groups: Mapping[str, str]) -> None:
        self.digest = digest
        self._groups = groups

    @property
    def named(self) -> dict[str, str]:
        """Return all inputs, name -> digest."""
        return {name: digest for group in self._groups for name, digest in group.items()}


def inputs_of(parts: Mapping[str, str]) -> Inputs:
    """Return the inputs with their digest, 64 hex digits."""
    return Inputs(sha256_hex(_text(parts).encode()), parts)


def _text(parts: Mapping[str, str]) -> str:
    # Neither names of files nor of Kubernetes objects hold a NUL, so no two mappings give one text.
    return "\0".join([f"{name}\0{digest}" for name, digest in parts.items()])


class ProjectInputs:
    """The inputs of a project's tasks, determined when asked: after the tasks that a task depends on."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._common = _common(project)
        self._common_text = _text(self._common)
        self._lock_path = str(project.root / project.settings.lock)
        self._lock_signature: tuple[int, ...] | None = None
        self._locked: dict[str, str] = {}
        self._links: dict[str, list[str]] = {}
        self._workloads: dict[str, Inputs] = {}
        self._images: dict[tuple[str, ...], tuple[Mapping[str, str], str]] = {}
        self._results: tuple[Mapping[str, str], str] | None = None

    def look_at_lock(self) -> None:
        """Read the lock file again if it changed; a task of the run may have written it."""
        try:
            status = os.stat(self._lock_path)  # noqa: PTH116  # asked by every task that runs
        except FileNotFoundError:
            signature: tuple[int, ...] = ()
        else:
            signature = signature_of(status)
        if signature != self._lock_signature:
            content = Path(self._lock_path).read_bytes() if signature else b""
            self._lock_signature = signature
            self._locked, self._links = _locked(content, self._project.used_images)
            self._workloads, self._images, self._results = {}, {}, None

    def workload(self, name: str) -> Inputs:
        """Return the inputs of a workload's policy and object, by the lock file as `look_at_lock` last read it."""
        if self._lock_signature is None:
            self.look_at_lock()
        known = self._workloads.get(name)
        if known is None:
            known = self._workloads[name] = self._workload(self._project.index.workloads[name])
        return known

    def _workload(self, entry: Workload) -> Inputs:
        configs = self._project.index.configs
        declared = self._project.workload_settings(entry)
        parts = {"its document": entry.digest}
        if entry.file == COORDINATOR_SOURCE:
            parts["that it is ours"] = ""
        if declared is not None:
            # The place of a declaration does not affect the policy.
            parts |= declared.digests
        namespaces = self._project.namespaces
        for use in namespaces.uses(entry):
            parts["/".join(use)] = configs.get(use, _ABSENT)
            elsewhere = self._project.settings.config(*use)
            if elsewhere is not None and use not in configs:
                parts[f"[elsewhere] of {'/'.join(use)}"] = _of(to_json(elsewhere))
        used = self._project.images_of(entry)
        if links := sorted({name for image in used for name in self._links.get(image, ())}):
            setters = namespaces.services(entry, links)
            for variable in links:
                parts[f"the Service that sets {variable}"] = setters.get(variable, _ABSENT)
        images, images_text = self._lock_of(used)
        text = f"{self._common_text}\0{_text(parts)}\0{images_text}"
        return Inputs(sha256_hex(text.encode()), self._common, parts, images)

    def _lock_of(self, references: tuple[str, ...]) -> tuple[Mapping[str, str], str]:
        known = self._images.get(references)
        if known is None:
            locked = self._locked
            images = {f"the lock of image {name}": locked.get(name, _ABSENT) for name in references}
            known = self._images[references] = (images, _text(images))
        return known

    def output(self, file: str) -> Inputs:
        """Return the inputs of the annotated YAML, records and policies of one source."""
        project = self._project
        source = project.sources[file]
        return inputs_of(
            {
                "contrast-tasks itself": project.code,
                file: source.digest,
                "where it is written": f"{project.paths.build} {project.paths.deployment(source)}",
                **self._id_blocks,
                **self._results_of([*project.workloads_in(file), *project.claimants.get(file, ())]),
            }
        )

    @cached_property
    def _id_blocks(self) -> dict[str, str]:
        """Return the inputs of ID blocks beside the number of processors: the reference values."""
        project, settings = self._project, self._project.settings
        if settings.release.id_blocks_on(settings.platform) is None:
            return {}
        own, prefix = settings.reference_values, "reference_values"
        declared = {
            key: digest
            for key, digest in settings.digests.items()
            if key.partition(".")[0] == prefix
        }
        return {**_named(declared), **({} if own is None else {own: _file(project.root / own)})}

    def _results_of(self, workloads: Iterable[Workload]) -> dict[str, str]:
        return {
            f"what {each.key} is made from": self.workload(each.id).digest for each in workloads
        }

    def lock(self) -> Inputs:
        """Return the inputs of the lock file's completion; calls `look_at_lock`."""
        self.look_at_lock()
        project, settings = self._project, self._project.settings
        return inputs_of(
            {
                "contrast-tasks itself": project.code,
                "the list of images in use": _of(project.used_images),
                "whether the platform attaches layers": _of(
                    platform(settings.platform).attaches_layers
                ),
                **self._layouts(),
                settings.lock: _file(Path(self._lock_path)),
            }
        )

    def _layouts(self) -> dict[str, str]:
        root = self._project.root
        names = self._project.settings.layouts
        return {f"layout {name}": _file(root / name / "index.json") for name in names}

    def components(self) -> Inputs:
        """Return the inputs of our own images, and the layouts that may have them already."""
        return inputs_of({"contrast-tasks itself": signature_of_all_code(), **self._layouts()})

    def keys(self) -> Inputs:
        """Return the inputs of the owner keys and, on platform `local`, of the processor's certificates."""
        root, settings = self._project.root, self._project.settings
        names = {
            "[owners] workload": settings.workload_owner_keys,
            "[owners] seedshare": settings.seedshare_owner_keys,
        }
        parts = {
            "contrast-tasks itself": self._project.code,
            "[owners] disable_updates": _of(settings.disable_updates),
            **{name: _of(files) for name, files in names.items()},
            **{file: _file(root / file) for files in names.values() for file in files},
        }
        if settings.is_local:
            found = sorted(path for path in (root / PROCESSOR).glob("*") if path.is_file())
            parts["the simulated processor"] = _of([[path.name, _file(path)] for path in found])
        return inputs_of(parts)

    def sources(self) -> Inputs:
        """Return the inputs of the checks over all sources: settings, and every document's facts."""
        return self._sources

    @cached_property
    def _sources(self) -> Inputs:
        index = self._project.index
        return inputs_of(
            {
                **self._common,
                **_named(self._project.settings.digests),
                "the names of the reference values": _of(self._project.handlers),
                "what the sources cannot be read for": _of(
                    [each.to_json() for each in index.findings]
                ),
                **{source.file: source.facts for source in index.files},
            }
        )

    def check(self) -> Inputs:
        """Return the inputs of the checks before anything is written."""
        project, own = self._project, self._project.settings.reference_values
        parts = {
            "what the checks over all sources are made from": self.sources().digest,
            "what the owner keys are made from": self.keys().digest,
            **({} if own is None else {own: _file(project.root / own)}),
        }
        if self._results is None:
            made = self._results_of(project.index.workloads.values())
            self._results = (made, _text(made))
        results, text = self._results
        return Inputs(sha256_hex(f"{_text(parts)}\0{text}".encode()), parts, results)

    def combined(self) -> Inputs:
        """Return the inputs of the file with all annotated YAML; the order of the sources is that of its parts."""
        project = self._project
        return inputs_of(
            {
                "contrast-tasks itself": project.code,
                "where it is written": str(project.combined),
                **{
                    f"the annotated {source.file}": self.output(source.file).digest
                    for source in project.index.files
                },
            }
        )

    def manifest(self) -> Inputs:
        """Return the inputs of the manifest's bytes and of the set of outputs."""
        project = self._project
        return inputs_of(
            {
                "contrast-tasks itself": project.code,
                "what the checks composed": _composed(project.root / project.paths.check),
                "where the manifest goes": project.paths.manifest,
                "which outputs there are": self._outputs,
            }
        )

    @cached_property
    def _outputs(self) -> str:
        return sha256_hex("\0".join(sorted(self._project.expected_outputs)).encode())

    def pack(self) -> Inputs:
        """Return the inputs of packing images: our own code, and the files that images.toml names."""
        root = self._project.root
        files = {
            norm_path(path, root): _file(path)
            for place in packed_places(self._project)
            for path in (sorted(place.rglob("*")) if place.is_dir() else [place])
            if not path.is_dir() and "__pycache__" not in path.parts
        }
        return inputs_of({"contrast-tasks itself": signature_of_all_code(), **files})


def packed_places(project: Project) -> list[Path]:
    """Return the inputs of packing images: each images.toml beside the sources, and the files and folders that it names.

    What else lies beside it counts for nothing; it may be what generate writes itself.
    """
    places: list[Path] = []
    for folder in sorted({(project.root / source).parent for source in project.settings.sources}):
        recipe = folder / "images.toml"
        if recipe.is_file():
            places += [recipe, *(folder / name for name in sorted(_named_by(recipe)))]
    return places


def _named_by(recipe: Path) -> set[str]:
    # A malformed recipe names nothing; packing it reports the fault.
    try:
        images = tomllib.loads(recipe.read_text(encoding="utf-8"))["images"].values()
        return {
            str(name)
            for image in images
            for key in ("executables", "files", "modules")
            for name in (image.get(key, {}) if key == "modules" else image.get(key, {}).values())
        }
    except (OSError, ValueError, KeyError, AttributeError):
        return set()


def _common(project: Project) -> dict[str, str]:
    """Return the inputs of every workload, each setting under its own name."""
    settings = project.settings
    components = settings.components
    named: dict[str, object] = {
        "platform": settings.platform,
        "[runtime] release": settings.release_name,
        "the runtime class": project.runtime_class,
        "[defaults] runtime_class": settings.runtime_class,
        "[defaults] memory": settings.memory,
        "[defaults] initializer": settings.initializer,
        "[defaults] service_mesh": settings.service_mesh,
        "[defaults] image_store": settings.image_store,
        "[defaults] image_store_size": settings.image_store_size,
        "[components] reference": components.are_reference,
        "[components] initializer": components.initializer,
        "[components] service_mesh": components.service_mesh,
        "[components] coordinator": components.coordinator,
        "[coordinator] certificate_lifetime": settings.certificate_lifetime,
        "[endorsements] mirrors": dict(settings.mirrors),
        "[endorsements] proxy": settings.proxy,
        "the namespace of the Coordinator": project.coordinator_namespace,
    }
    named["[lint] ignore"] = [to_json(each) for each in ignored_errors(settings)]
    if settings.channel == "gzip":
        from contrast_tasks.manifest.compression import implementation

        # The compressed bytes are hashed, and another version may find others.
        named["zlib"] = implementation()
    values = {name: _of(value) for name, value in named.items()}
    if project.replacements:
        values["the replacements of images"] = _of(dict(project.replacements))
    return {"contrast-tasks itself": project.code, **values}


def _named(digests: Mapping[str, str]) -> dict[str, str]:
    """Return the digests of settings by the names that people see: `platform`, `[defaults] memory`."""
    tables = ((key.partition("."), digest) for key, digest in digests.items())
    return {f"[{table}] {name}" if name else table: digest for (table, _, name), digest in tables}


def _locked(
    content: bytes, references: Iterable[str]
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the digest of the lock's entry of each reference that has one, and its variables that a Service could set.

    Only references spelled otherwise than in the file need it parsed in earnest. Whatever is wrong with the file is for
    the tasks of the lock and of the workload to say.
    """
    try:
        images = {image["reference"]: image for image in json.loads(content)["images"]}
        images |= _spelled_otherwise(content, [name for name in references if name not in images])
        digests = {name: sha256_hex(canonical_json(image)) for name, image in images.items()}
        links = {name: _links(image["config"]["env"]) for name, image in images.items()}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}, {}
    return digests, links


def _links(env: Iterable[str]) -> list[str]:
    names = (entry.partition("=")[0] for entry in env)
    return [name for name in names if is_link(name)]


def _spelled_otherwise(content: bytes, references: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    lock = None
    for reference in references:
        from contrast_tasks.images.lock import parse_lock

        try:
            lock = lock or parse_lock(content)
            image = lock.resolve(reference)
        except ContrastError:
            continue
        if image is not None:
            found[reference] = to_json(image)
    return found


def _of(value: object) -> str:
    return sha256_hex(canonical_json(value))


def _composed(outcome: Path) -> str:
    """Return the digest of the manifest in build/check.json, which the checks write at their end."""
    try:
        return str(json.loads(outcome.read_bytes())["manifest_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return _ABSENT


def _file(path: Path) -> str:
    try:
        return sha256_hex(path.read_bytes())
    except OSError:
        return _ABSENT
