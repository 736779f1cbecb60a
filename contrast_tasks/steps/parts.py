"""What each task is made from, part by part, so that `explain` can say which part made it run.

The names are for people. Order and number follow from the same project, since a record keeps digests only. What is said
here decides nothing: whether a task runs, the digests of `inputs` and `project` decide.
"""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ContrastError
from contrast_tasks.files import canonical_json, sha256_hex
from contrast_tasks.steps import inputs
from contrast_tasks.steps.index import Workload
from contrast_tasks.steps.project import Project

_DECLARED = (
    "ingress",
    "egress",
    "admin_port",
    "env",
    "sans",
    "memory",
    "runtime_class",
    "secret_id",
)
Parts = dict[str, str]


def _of(*values: Any) -> str:
    return sha256_hex(canonical_json(values))


def _common(project: Project) -> Parts:
    settings = project.settings
    components = settings.components
    return {
        "contrast-tasks itself": project.code,
        "the platform": _of(settings.platform),
        "[defaults]": _of(settings.runtime_class, settings.memory),
        "[components]": _of(
            components.initializer, components.service_mesh, components.coordinator
        ),
    }


def of_workload(project: Project, workload: str) -> Parts:
    """Return the parts of a workload's policy and object."""
    entry = project.index.workloads[workload]
    configs = project.index.configs
    return {
        **_common(project),
        "its document": entry.digest,
        f'[workloads."{entry.key}"]': _declared(project, entry),
        **{"/".join(name): _of(configs.get(name)) for name in entry.configs},
        **{
            f"the lock of image {image}": digest
            for image, digest in _images(project, project.images_of(entry))
        },
        "a ServiceAccount of its namespace": _of(_accounts(project, entry.namespace or "default")),
        "the namespace of the Coordinator": _of(project.coordinator_namespace),
    }


def _declared(project: Project, workload: Workload) -> str:
    settings = project.workload_settings(workload)
    if settings is None:
        return ""
    # Where it is declared says nothing about what.
    return _of([getattr(settings, name) for name in _DECLARED])


def _images(project: Project, references: Iterable[str]) -> Iterator[tuple[str, str]]:
    try:
        lock = project.lock()
    except ContrastError:
        lock = None
    for reference in references:
        found = None
        with contextlib.suppress(ContrastError):
            found = lock.resolve(reference) if lock is not None else None
        yield reference, "absent" if found is None else _of(found.to_json())


def _accounts(project: Project, wanted: str) -> list[tuple[str, str]]:
    return sorted(
        (name, digest)
        for (kind, namespace, name), digest in project.index.configs.items()
        if (kind, namespace) == ("ServiceAccount", wanted)
    )


def of_output(project: Project, file: str) -> Parts:
    """Return the parts of the files written for one source."""
    source = project.sources[file]
    return {
        "contrast-tasks itself": project.code,
        file: source.digest,
        "where it is written": _of(source.output, project.paths.build),
        **_results(project, project.workloads_in(file)),
    }


def of_sources(project: Project) -> Parts:
    """Return the parts of the checks over all sources."""
    findings = [finding.to_json() for finding in project.index.findings]
    return {
        "contrast-tasks itself": project.code,
        "a setting": project.settings.digest,
        "what the sources cannot be read for": _of(findings),
        "which sources there are": _of(list(project.sources)),
        **{file: _of(source.facts) for file, source in project.sources.items()},
    }


def of_lock(project: Project) -> Parts:
    """Return the parts of the lock file's completion."""
    settings = project.settings
    return {
        "contrast-tasks itself": project.code,
        "the list of images in use": _of(project.used_images()),
        "which layouts are declared": _of(list(settings.layouts)),
        **{
            f"layout {name}": _file(project.root / name / "index.json") for name in settings.layouts
        },
        settings.lock: _file(project.root / settings.lock),
    }


def of_documents(project: Project) -> Parts:
    """Return the parts of the validation of settings and lock file."""
    names = (project.settings.file, project.settings.lock)
    return {
        "contrast-tasks itself": project.code,
        **{name: _file(project.root / name) for name in names},
    }


def of_keys(project: Project) -> Parts:
    """Return the parts of the owner keys."""
    settings = project.settings
    names = (*settings.workload_owner_keys, *settings.seedshare_owner_keys)
    return {
        "contrast-tasks itself": project.code,
        "which keys are declared, or [owners] disable_updates": _of(
            names, settings.disable_updates
        ),
        **{name: _file(project.root / name) for name in names},
        "the simulated processor": inputs.of_processor(project),
    }


def of_check(project: Project) -> Parts:
    """Return the parts of the checks before anything is written."""
    own = project.settings.reference_values
    return {
        "the outcome of the checks over all sources": inputs.of_sources(project),
        "the public parts of the owner keys": _file(project.root / project.paths.keys),
        "the file of reference values": "" if own is None else _file(project.root / own),
        "which workloads there are": _of(list(project.index.workloads)),
        **_results(project, project.index.workloads.values()),
    }


def of_manifest(project: Project) -> Parts:
    """Return the parts of the manifest's last step."""
    return {
        "contrast-tasks itself": project.code,
        "what the checks composed": _file(project.root / project.paths.candidate),
        "where the manifest goes": _of(project.paths.manifest),
        "which outputs there are": _of(sorted(inputs.expected_outputs(project))),
    }


def _results(project: Project, workloads: Any) -> Parts:
    entries = list(workloads)
    digests = project.inputs_of_workloads(entries)
    return {
        f"what {entry.key} is made from": digest
        for entry, digest in zip(entries, digests, strict=True)
    }


def _file(path: Path) -> str:
    try:
        return sha256_hex(path.read_bytes())
    except OSError:
        return "absent"
