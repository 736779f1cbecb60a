"""The index of the documents in the sources, so that only changed files are parsed.

It is a pure function of the sources' contents. A file whose signature is the recorded one is not read, and a file whose
content is the recorded one is not parsed. The facts that only checks over all sources look at are handed out apart, so
that a run that does nothing reads none of them.
"""

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from contrast_tasks import catalogue
from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.errors import GraphError, Location
from contrast_tasks.files import canonical_json, sha256_hex
from contrast_tasks.findings import Finding
from contrast_tasks.pods.service_links import ServicePort
from contrast_tasks.prepare.coordinator import coordinator_of
from contrast_tasks.records import Record
from contrast_tasks.settings.model import Settings
from contrast_tasks.signatures import RACY_NS, signature_of
from contrast_tasks.steps.in_place import Pins, without_additions
from contrast_tasks.steps.kustomize import is_kustomization, render
from contrast_tasks.steps.sources import Found, find_sources

if TYPE_CHECKING:
    from contrast_tasks.kube.index import FileIndex

LIMIT_RANGE = "LimitRange"
_COORDINATOR = "coordinator.yml"
# The name of the Coordinator's template among the sources.
COORDINATOR_SOURCE = f"<{_COORDINATOR}>"

# Kinds that workloads take values from; a change concerns the workloads that name the object, or all of the namespace.
CLAIM = "PersistentVolumeClaim"
_CONFIG_KINDS = ("ConfigMap", "Secret", "ServiceAccount", CLAIM, LIMIT_RANGE)

Entries = Mapping[str, Mapping[str, Any]]


class Workload(NamedTuple):
    """One object that runs pods, as the graph sees it.

    id: the key as a file name, `Deployment.web` or `shop.Deployment.web`; position, line: in its file.
    digest: SHA-256 hex of the document's text. uses: (kind, namespace, name) of the ConfigMaps, Secrets, claims
    and the ServiceAccount that its pods name.
    """

    file: str
    id: str
    key: str
    namespace: str
    kind: str
    name: str
    position: int
    line: int
    digest: str
    role: str
    runtime_class: str
    images: tuple[str, ...]
    uses: tuple[tuple[str, str, str], ...]


class Service(NamedTuple):
    """A Service for which the kubelet sets variables; place: file and line."""

    namespace: str
    name: str
    place: str
    ports: tuple[ServicePort, ...]


class SourceFile(Record):
    """One source.

    file: path as shown, relative to the project, or a name in angle brackets for a resource of ours.
    output: path below build/deployment; digest: SHA-256 hex of the content, without what was added to it in place.
    pins: (pinned, as the user wrote it) of the image references that were pinned in place.
    facts: digest of the documents but for their own digests: what checks over all sources look at.
    """

    file: str
    output: str
    digest: str
    facts: str
    findings: tuple[Finding, ...] = ()
    pins: tuple[tuple[str, str], ...] = ()


class Index(Record):
    """All sources in the order they were found; findings: those of the search itself.

    workloads: by id, the first of two with the same name. directories: every folder searched, and what
    kustomizations were rendered from.
    configs, places: text digest, and (file, position), of each ConfigMap, Secret, ServiceAccount and LimitRange by
    (kind, namespace, name). services: those with an address.
    """

    files: tuple[SourceFile, ...]
    findings: tuple[Finding, ...] = ()
    directories: tuple[str, ...] = ()
    workloads: Mapping[str, Workload] = MappingProxyType({})
    configs: Mapping[tuple[str, str, str], str] = MappingProxyType({})
    places: Mapping[tuple[str, str, str], tuple[str, int]] = MappingProxyType({})
    services: tuple[Service, ...] = ()


class Indexed(Record):
    """An index, and the parts of it to keep.

    entries: what the next call may be given as `recorded`; is_new: whether they differ from those given.
    parsed: the facts of the sources that were parsed, by name.
    """

    index: Index
    entries: Entries
    is_new: bool
    parsed: "Mapping[str, FileIndex]"


def index_sources(settings: Settings, recorded: Entries, *, now_ns: int) -> Indexed:
    """Return the index of the settings' sources; parses what changed since `recorded`, {} for everything.

    The Coordinator's template is among the sources unless a file declares that role.
    now_ns: the clock; files younger than two seconds are read again next time.
    """
    root = settings.root
    found = _found(settings)
    pins = Pins(root / settings.lock) if settings.in_place else None
    entries: dict[str, Mapping[str, Any]] = {}
    parsed: dict[str, FileIndex] = {}
    files: list[tuple[SourceFile, Mapping[str, Any]]] = []
    for path, output in found.paths.items():
        try:
            entry = _current(f"{root}{os.sep}{path}", path, recorded.get(path), parsed, pins)
        except OSError as error:
            found.findings.append(_unreadable(path, error))
            continue
        entries[path] = entry
        files.append((_source(path, output, entry), entry))
    if settings.adds_coordinator:
        content, known = _coordinator(settings), recorded.get(COORDINATOR_SOURCE)
        digest = sha256_hex(content)
        if known is None or known["digest"] != digest:
            facts = _parsed(content, COORDINATOR_SOURCE, parsed)
            known = {"signature": None, "lock": "", "pins": [], "digest": digest, **facts}
        entries[COORDINATOR_SOURCE] = known
        if not _has_coordinator(files):
            taken = {source.output for source, _ in files}
            output = _COORDINATOR if _COORDINATOR not in taken else f"contrast-{_COORDINATOR}"
            files.append((_source(COORDINATOR_SOURCE, output, known), known))
    is_new = entries != recorded
    trusted = {name: _without_young(entry, now_ns) for name, entry in entries.items()}
    return Indexed(index=_index(files, found), entries=trusted, is_new=is_new, parsed=parsed)


def _found(settings: Settings) -> Found:
    """Return the sources; of a kustomization what it renders to, or a finding if it cannot be rendered."""
    named = [source for source in settings.sources if is_kustomization(source)]
    rendered: dict[str, str] = {}
    inputs: list[str] = []
    refused: list[Finding] = []
    for source in named:
        if not (settings.root / source).is_file():
            continue
        rendered[source] = ""
        try:
            rendered[source], made_of = render(settings.root, source, settings.build_dir)
        except GraphError as error:
            where = error.where or Location(file=source)
            refused.append(Finding(catalogue.NOT_RENDERED, where, str(error), error.hint))
            continue
        inputs += made_of
        if settings.in_place:
            refused.append(_not_in_place(source))
    found = find_sources(settings.root, settings.sources, rendered, settings.where("sources"))
    found.findings += refused
    found.directories += inputs
    return found


def _not_in_place(source: str) -> Finding:
    return Finding(
        catalogue.NOT_RENDERED,
        Location(file=source),
        "found a kustomization, which cannot be annotated in place, expected a file of objects",
        "set in_place = false under [output], and deploy the files of the build folder",
    )


def read_source(settings: Settings, source: SourceFile) -> bytes:
    """Return the bytes of a source; raises GraphError if they are no longer the indexed ones."""
    file = source.file
    is_ours = file == COORDINATOR_SOURCE
    content = _coordinator(settings) if is_ours else (settings.root / file).read_bytes()
    if settings.in_place:
        content = without_additions(content, file, dict(source.pins))
    if sha256_hex(content) != source.digest:
        raise GraphError(f"{file} changed while it was being read", hint="run again")
    return content


def read_facts(content: bytes, file: str) -> "FileIndex":
    """Return the facts of a source's documents that can be read."""
    parsed: dict[str, FileIndex] = {}
    _parsed(content, file, parsed)
    return parsed[file]


def _coordinator(settings: Settings) -> bytes:
    return coordinator_of(settings).encode()


def _has_coordinator(files: Sequence[tuple[SourceFile, Mapping[str, Any]]]) -> bool:
    place = Workload._fields.index("role")
    return any(row[place] == ROLE_COORDINATOR for _, entry in files for row in entry["workloads"])


def _without_young(entry: Mapping[str, Any], now_ns: int) -> Mapping[str, Any]:
    signature = entry["signature"]
    if signature and signature[2] > now_ns - RACY_NS:
        return {**entry, "signature": None}
    return entry


def _index(files: Sequence[tuple[SourceFile, Mapping[str, Any]]], found: Found) -> Index:
    workloads: dict[str, Workload] = {}
    configs: dict[tuple[str, str, str], str] = {}
    places: dict[tuple[str, str, str], tuple[str, int]] = {}
    services: list[Service] = []
    for source, entry in files:
        for *members, images, used in entry["workloads"]:
            workload = Workload._make([*members, tuple(images), tuple(map(tuple, used))])
            workloads.setdefault(workload.id, workload)
        for kind, namespace, name, digest, position in entry["configs"]:
            configs.setdefault((kind, namespace, name), digest)
            places.setdefault((kind, namespace, name), (source.file, position))
        for namespace, name, line, ports in entry["services"]:
            ports_of = tuple(ServicePort(*port) for port in ports)
            services.append(Service(namespace, name, f"{source.file}:{line}", ports_of))
    return Index(
        files=tuple(source for source, _ in files),
        findings=tuple(found.findings),
        directories=tuple(found.directories),
        workloads=workloads,
        configs=configs,
        places=places,
        services=tuple(services),
    )


def _rows(facts: "FileIndex") -> dict[str, list[Any]]:
    """Return the rows of workloads, of configs and of Services that a file's documents give."""
    workloads, configs, services = [], [], []
    for doc in facts.documents:
        if doc.is_workload:
            account = ("ServiceAccount", doc.effective_namespace, doc.service_account)
            used = {(use.kind, doc.effective_namespace, use.name) for use in doc.references}
            used |= {(CLAIM, doc.effective_namespace, name) for name in doc.claims}
            workload = Workload(
                file=facts.file,
                id=doc.key.replace("/", "."),
                key=doc.key,
                namespace=doc.namespace,
                kind=doc.kind,
                name=doc.name,
                position=doc.index,
                line=doc.line,
                digest=doc.sha256,
                role=doc.role,
                runtime_class=doc.runtime_class,
                images=doc.images,
                uses=tuple(sorted({*used, account})),
            )
            workloads.append(list(workload))
        elif doc.kind in _CONFIG_KINDS:
            configs.append([doc.kind, doc.effective_namespace, doc.name, doc.sha256, doc.index])
        elif doc.ports:
            ports = [list(port) for port in doc.ports]
            services.append([doc.effective_namespace, doc.name, doc.line, ports])
    return {"workloads": workloads, "configs": configs, "services": services}


def _current(
    place: str,
    path: str,
    entry: Mapping[str, Any] | None,
    parsed: "dict[str, FileIndex]",
    pins: Pins | None,
) -> Mapping[str, Any]:
    status = os.stat(place)  # noqa: PTH116  # a thousand times per run
    if not stat.S_ISREG(status.st_mode):
        # Reading a pipe would wait for a writer.
        raise OSError(errno.EINVAL, "it is not a regular file")
    signature = [*signature_of(status)]
    lock = "" if pins is None else pins.state
    if entry is not None and entry["signature"] == signature and entry["lock"] == lock:
        return entry
    with open(place, "rb") as stream:  # noqa: PTH123  # as above
        content = stream.read()
    used = {} if pins is None else pins.used_in(content)
    if pins is not None:
        content = without_additions(content, path, used)
    digest = sha256_hex(content)
    state = {"signature": signature, "lock": lock, "pins": [list(pin) for pin in used.items()]}
    if entry is not None and entry["digest"] == digest:
        return {**entry, **state}
    return {**state, "digest": digest, **_parsed(content, path, parsed)}


def _parsed(content: bytes, path: str, parsed: "dict[str, FileIndex]") -> dict[str, Any]:
    """Return the entry of a source without signature and digest; adds its facts to `parsed`."""
    from contrast_tasks.kube.documents import KubeError, decode
    from contrast_tasks.kube.index import FileIndex, index_readable

    findings: tuple[Finding, ...] = ()
    facts = FileIndex(file=path, documents=())
    try:
        facts, faults = index_readable(decode(content, path), path)
        findings = tuple(faults)
    except KubeError as error:
        findings = tuple(error.findings)
    parsed[path] = facts
    documents = [{**document, "sha256": ""} for document in facts.to_json()["documents"]]
    return {
        "facts": sha256_hex(canonical_json(documents)),
        **_rows(facts),
        "findings": [finding.to_json() for finding in findings],
    }


def _source(path: str, output: str, entry: Mapping[str, Any]) -> SourceFile:
    return SourceFile(
        file=path,
        output=output,
        digest=entry["digest"],
        facts=entry["facts"],
        pins=tuple((pin, name) for pin, name in entry["pins"]),
        findings=tuple(Finding.from_json(finding) for finding in entry["findings"]),
    )


def _unreadable(path: str, error: OSError) -> Finding:
    return Finding(
        catalogue.NO_SOURCES,
        Location(file=path),
        f"cannot be read: {(error.strerror or type(error).__name__).lower()}",
        hint="",
    )
