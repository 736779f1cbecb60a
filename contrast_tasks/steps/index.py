"""The index: which documents the sources hold, kept in .contrast/index.json so that only changed files are parsed.

It is a pure function of the sources' contents; the file is a cache. A file whose signature is the recorded one is not
read, a file whose content is the recorded one is not parsed, and an index that cannot be read is made anew. The facts
that only checks over all sources look at lie beside it, one file per source, so that a run that does nothing reads none.
"""

import contextlib
import errno
import json
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from contrast_tasks import catalogue
from contrast_tasks.errors import Location
from contrast_tasks.files import canonical_json, sha256_hex
from contrast_tasks.findings import Finding
from contrast_tasks.settings.load import Settings
from contrast_tasks.steps.sources import Found, find_sources

if TYPE_CHECKING:
    from contrast_tasks.kube.index import FileIndex

INDEX = ".contrast/index.json"
DOCUMENTS = ".contrast/documents"
VERSION = 2

# Two changes within one tick of the file system's clock share a change time; younger files are read again.
_RACY_NS = 2_000_000_000
# What workloads take values from; a change reaches those that name it.
_CONFIG_KINDS = ("ConfigMap", "Secret", "ServiceAccount")


class Workload(NamedTuple):
    """One object that runs pods, as the graph sees it.

    id: the key as a file name, `Deployment.web` or `shop.Deployment.web`; position, line: in its file.
    digest: SHA-256 hex of the document's text. configs: (kind, namespace, name) of the ConfigMaps and Secrets it names.
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
    configs: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One source.

    file: path as shown, relative to the project, or a name in angle brackets for a resource of ours.
    output: path below build/deployment; digest: SHA-256 hex of the content.
    facts: digest of the documents but for their own digests: what checks over all sources look at.
    """

    file: str
    output: str
    digest: str
    facts: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """All sources in the order they were found; findings: what the search itself has to say.

    workloads: by id, the first of two with the same name. directories: every folder searched.
    configs, places: text digest, and (file, position), of each ConfigMap, Secret and ServiceAccount by
    (kind, namespace, name).
    """

    files: tuple[SourceFile, ...]
    findings: tuple[Finding, ...] = ()
    directories: tuple[str, ...] = ()
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    configs: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    places: Mapping[tuple[str, str, str], tuple[str, int]] = field(default_factory=dict)


def load_index(
    settings: Settings,
    *,
    code: str,
    ours: Mapping[str, bytes] | None = None,
    now_ns: int | None = None,
) -> Index:
    """Return the index of the settings' sources; parses what changed and writes .contrast/index.json if anything did.

    code: digest of the code that reads documents; entries of another one are not used.
    ours: sources that are no files, by name: they are added when no file declares the role they play.
    now_ns: the clock, for tests; files younger than two seconds are read again next time.
    """
    now_ns = time.time_ns() if now_ns is None else now_ns
    recorded = _recorded(settings.root / INDEX, code)
    try:
        return _load(settings, recorded, code=code, ours=ours or {}, now_ns=now_ns)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        # Whatever stands in the recorded index, it is not what we wrote.
        return _load(settings, {}, code=code, ours=ours or {}, now_ns=now_ns)


def _load(
    settings: Settings,
    recorded: Mapping[str, Any],
    *,
    code: str,
    ours: Mapping[str, bytes],
    now_ns: int,
) -> Index:
    root = settings.root
    found = find_sources(root, settings.sources)
    entries: dict[str, Mapping[str, Any]] = {}
    parsed: dict[str, list[Any]] = {}
    files: list[tuple[SourceFile, Mapping[str, Any]]] = []
    for path, output in found.paths.items():
        try:
            entry = _current(root, path, recorded.get(path), parsed)
        except OSError as error:
            found.findings.append(_unreadable(path, error))
            continue
        entries[path] = entry
        files.append((_source(path, output, entry), entry))
    taken = {source.output for source, _ in files}
    for name, content in ours.items():
        source = f"<{name}>"
        digest = sha256_hex(content)
        known = recorded.get(source)
        entry = (
            known
            if known is not None and known["digest"] == digest
            else {"signature": None, "digest": digest, **_parsed(content, source, parsed)}
        )
        entries[source] = entry
        if settings.include_coordinator and not _has_coordinator(files):
            output = name if name not in taken else f"contrast-{name}"
            files.append((_source(source, output, entry), entry))
    index = _index(files, found)
    if entries != recorded:
        _save(root, code, entries, parsed, now_ns)
    return index


def _has_coordinator(files: Sequence[tuple[SourceFile, Mapping[str, Any]]]) -> bool:
    place = Workload._fields.index("role")
    return any(row[place] == "coordinator" for _, entry in files for row in entry["workloads"])


def _index(files: Sequence[tuple[SourceFile, Mapping[str, Any]]], found: Found) -> Index:
    workloads: dict[str, Workload] = {}
    configs: dict[tuple[str, str, str], str] = {}
    places: dict[tuple[str, str, str], tuple[str, int]] = {}
    for source, entry in files:
        for *members, images, named in entry["workloads"]:
            workload = Workload._make([*members, tuple(images), tuple(map(tuple, named))])
            workloads.setdefault(workload.id, workload)
        for kind, namespace, name, digest, position in entry["configs"]:
            configs.setdefault((kind, namespace, name), digest)
            places.setdefault((kind, namespace, name), (source.file, position))
    return Index(
        files=tuple(source for source, _ in files),
        findings=tuple(found.findings),
        directories=tuple(found.directories),
        workloads=workloads,
        configs=configs,
        places=places,
    )


def _rows(file: str, documents: Sequence[Mapping[str, Any]]) -> tuple[list[Any], list[Any]]:
    """Return the rows of Workload and of configs that a file's documents give."""
    workloads, configs = [], []
    for document in documents:
        kind, name, namespace = document["kind"], document["name"], document["namespace"]
        if document["is_workload"]:
            key = f"{namespace}/{kind}/{name}" if namespace else f"{kind}/{name}"
            uses = document.get("references", ())
            named = {(use["kind"], namespace or "default", use["name"]) for use in uses}
            workload = Workload(
                file=file,
                id=key.replace("/", "."),
                key=key,
                namespace=namespace,
                kind=kind,
                name=name,
                position=document["index"],
                line=document["line"],
                digest=document["sha256"],
                role=document.get("role", ""),
                runtime_class=document.get("runtime_class", ""),
                images=tuple(document.get("images", ())),
                configs=tuple(sorted(named)),
            )
            workloads.append(list(workload))
        elif kind in _CONFIG_KINDS:
            row = [kind, namespace or "default", name, document["sha256"], document["index"]]
            configs.append(row)
    return workloads, configs


def _recorded(path: Path, code: str) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
        if document["version"] != VERSION or document["code"] != code:
            return {}
        return dict(document["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _current(
    root: Path, path: str, entry: Mapping[str, Any] | None, parsed: dict[str, list[Any]]
) -> Mapping[str, Any]:
    status = os.stat(f"{root}{os.sep}{path}")  # noqa: PTH116
    if not stat.S_ISREG(status.st_mode):
        # Reading a pipe would wait for whoever writes it.
        raise OSError(errno.EINVAL, "it is not a regular file")
    signature = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    if entry is not None and entry["signature"] == signature:
        return entry
    content = (root / path).read_bytes()
    digest = sha256_hex(content)
    if entry is not None and entry["digest"] == digest:
        return {**entry, "signature": signature}
    return {"signature": signature, "digest": digest, **_parsed(content, path, parsed)}


def _parsed(content: bytes, path: str, parsed: dict[str, list[Any]]) -> dict[str, Any]:
    """Return the entry of a source but for its signature and digest; adds the documents to `parsed`, by path."""
    from contrast_tasks.kube.documents import KubeError, decode
    from contrast_tasks.kube.index import index_file

    findings: list[Finding] = []
    documents: list[dict[str, Any]] = []
    try:
        documents = index_file(decode(content, path), path).to_json()["documents"]
    except KubeError as error:
        findings.extend(error.findings)
    parsed[path] = documents
    workloads, configs = _rows(path, documents)
    facts = [{**document, "sha256": ""} for document in documents]
    return {
        "facts": sha256_hex(canonical_json(facts)),
        "workloads": workloads,
        "configs": configs,
        "findings": [finding.to_json() for finding in findings],
    }


def _source(path: str, output: str, entry: Mapping[str, Any]) -> SourceFile:
    return SourceFile(
        file=path,
        output=output,
        digest=entry["digest"],
        facts=entry["facts"],
        findings=tuple(Finding.from_json(finding) for finding in entry["findings"]),
    )


def _unreadable(path: str, error: OSError) -> Finding:
    return Finding(
        catalogue.NO_SOURCES,
        Location(file=path),
        f"cannot be read: {(error.strerror or type(error).__name__).lower()}",
        hint="",
    )


def read_documents(
    root: Path, code: str, source: SourceFile, read: Callable[[str], bytes]
) -> "FileIndex":
    """Return the documents of a source as kube.index has them; they are parsed again if their file is not usable.

    read: gives the bytes of a source by its name.
    """
    from contrast_tasks.kube.index import FileIndex

    with contextlib.suppress(
        OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError
    ):
        content = (
            root / DOCUMENTS / _documents_name(code, source.file, source.digest)
        ).read_bytes()
        return FileIndex.from_json({"file": source.file, "documents": json.loads(content)})
    parsed: dict[str, list[Any]] = {}
    _parsed(read(source.file), source.file, parsed)
    return FileIndex.from_json({"file": source.file, "documents": parsed[source.file]})


def _documents_name(code: str, file: str, digest: str) -> str:
    return sha256_hex(f"{code}\n{file}\n{digest}".encode())


def _save(
    root: Path,
    code: str,
    entries: Mapping[str, Mapping[str, Any]],
    parsed: Mapping[str, Sequence[Any]],
    now_ns: int,
) -> None:
    files = {
        name: {**entry, "signature": None}
        if entry["signature"] and entry["signature"][2] > now_ns - _RACY_NS
        else entry
        for name, entry in entries.items()
    }
    from contrast_tasks.steps.work import write_plain

    document = {"version": VERSION, "code": code, "files": files}
    names = {path: _documents_name(code, path, entry["digest"]) for path, entry in entries.items()}
    # A cache that cannot be written costs time, not correctness.
    with contextlib.suppress(OSError):
        for path, documents in parsed.items():
            write_plain(root / DOCUMENTS / names[path], canonical_json(documents))
        write_plain(root / INDEX, json.dumps(document, separators=(",", ":")).encode())
        for name in set(os.listdir(root / DOCUMENTS)).difference(names.values()):  # noqa: PTH208
            (root / DOCUMENTS / name).unlink()
