"""What is known of a file without parsing it again: one short record for each Kubernetes object.

No-op runs import this module, so it imports YAML and the checks only where a file is parsed.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from contrast_tasks import catalogue
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding
from contrast_tasks.pods.service_links import ServicePort
from contrast_tasks.pointers import to_pointer
from contrast_tasks.records import Record

if TYPE_CHECKING:
    from contrast_tasks.kube.documents import Document

# Kinds where two definitions of one name make the outcome depend on the order of files.
_EXCLUSIVE_CONFIG = frozenset({"ConfigMap", "Secret"})


class ConfigUse(Record):
    """A pod's reference to a ConfigMap or Secret of its namespace; is_mounted: as files, not as variables.

    pointer: of the name inside the object.
    """

    kind: str
    name: str
    optional: bool
    line: int
    is_mounted: bool = False
    pointer: str = ""


class DocIndex(Record):
    """One Kubernetes object.

    index, line: as in kube.documents.Document. sha256: of the object's own text, comments included.
    namespace: as written, "" if absent. selector, ports: of a Service; ports only if it has an address, for which the
    kubelet sets variables in the pods, has_no_links: those that want none.
    images, references, claims, service_account, role, runtime_class, pod_labels, annotations: of the pod; the annotations
    are the effective ones with our prefix.
    claim: of a PersistentVolumeClaim, its storage, and its accessModes joined by blanks.
    findings: of an object that runs no pods; workloads are checked once the settings are applied.
    """

    file: str
    index: int
    line: int
    kind: str
    api_version: str
    namespace: str
    name: str
    sha256: str
    is_workload: bool
    images: tuple[str, ...] = ()
    references: tuple[ConfigUse, ...] = ()
    claims: tuple[str, ...] = ()
    service_account: str = ""
    role: str = ""
    runtime_class: str = ""
    pod_labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    has_no_links: bool = False
    claim: Mapping[str, str] = {}
    selector: Mapping[str, str] = {}
    ports: tuple[ServicePort, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def key(self) -> str:
        """Return `Deployment/web` or `shop/Deployment/web`, the key of [workloads] in contrast.toml."""
        name = f"{self.kind}/{self.name}"
        return f"{self.namespace}/{name}" if self.namespace else name

    @property
    def effective_namespace(self) -> str:
        """Return the namespace, `default` if none is written."""
        return self.namespace or "default"

    @property
    def where(self) -> Location:
        """Return the place of the object."""
        return Location(file=self.file, line=self.line)

    def selects(self, workload: "DocIndex") -> bool:
        """Return whether a Service with a selector leads to a workload's pods."""
        return self.effective_namespace == workload.effective_namespace and all(
            workload.pod_labels.get(key) == value for key, value in self.selector.items()
        )


class FileIndex(Record):
    """The objects of one file, in its order."""

    file: str
    documents: tuple[DocIndex, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON value; empty members are left out."""
        return {"file": self.file, "documents": [_document_json(doc) for doc in self.documents]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "FileIndex":
        """Read back what `to_json` wrote."""
        file = document["file"]
        documents = tuple(_document_from_json(doc, file) for doc in document["documents"])
        return cls(file=file, documents=documents)


def index_file(text: str, file: str) -> FileIndex:
    """Return the index of one file.

    Raises KubeError with every G003 finding of the file.
    """
    from contrast_tasks.kube.documents import KubeError

    index, faults = index_readable(text, file)
    if faults:
        raise KubeError(faults)
    return index


def index_readable(text: str, file: str) -> tuple[FileIndex, list[Finding]]:
    """Return the index of the documents of one file that can be read, and the G003 findings on the others."""
    from contrast_tasks.files import sha256_hex
    from contrast_tasks.kube import documents, workloads
    from contrast_tasks.kube.check_plain import check_plain

    found: list[DocIndex] = []
    readable, faults = documents.kept_documents(text, file)
    for document in readable:
        obj = document.obj
        is_workload = workloads.is_workload(obj)
        found.append(
            DocIndex(
                file=file,
                index=document.index,
                line=document.line,
                kind=document.kind,
                api_version=str(obj["apiVersion"]),
                namespace=workloads.namespace_of(obj),
                name=document.name,
                sha256=sha256_hex(document.text.encode()),
                is_workload=is_workload,
                selector=_selector(obj),
                ports=tuple(_ports(obj)),
                claim=workloads.claim_facts(obj),
                **(_pod(document) if is_workload else {"findings": tuple(check_plain(document))}),
            )
        )
    return FileIndex(file=file, documents=tuple(found)), list(faults)


def _pod(document: "Document") -> dict[str, Any]:
    from contrast_tasks.kube import workloads
    from contrast_tasks.kube.documents import line_of

    obj = document.obj
    return {
        "images": tuple(workloads.images(obj)),
        "references": tuple(
            ConfigUse(
                kind=reference.kind,
                name=reference.name,
                optional=reference.optional,
                is_mounted="volumes" in reference.path,
                line=line_of(document, reference.path),
                pointer=to_pointer(reference.path),
            )
            for reference in workloads.config_references(obj)
        ),
        "claims": tuple(workloads.claims_used(obj)),
        "service_account": workloads.service_account(obj),
        "role": workloads.role(obj),
        "runtime_class": workloads.runtime_class(obj),
        "pod_labels": _texts(workloads.pod_metadata(obj), "labels"),
        "annotations": workloads.annotations(obj),
        "has_no_links": workloads.pod_spec(obj).get("enableServiceLinks") is False,
    }


def duplicates(documents: Iterable[DocIndex]) -> list[Finding]:
    """Return a G005 finding for each object that the sources define twice, naming both places.

    Duplicate workloads, ConfigMaps and Secrets are errors, because it is not clear which one is meant; others are
    warnings.
    """
    first: dict[tuple[str, str, str, str], DocIndex] = {}
    findings: list[Finding] = []
    for doc in documents:
        group = doc.api_version.rpartition("/")[0]
        earlier = first.setdefault((group, doc.kind, doc.effective_namespace, doc.name), doc)
        if earlier is not doc:
            findings.append(
                Finding(
                    catalogue.DUPLICATE,
                    doc.where,
                    f"found a second {doc.key}, the first is at {earlier.where}; expected each object once",
                    is_milder=not doc.is_workload and doc.kind not in _EXCLUSIVE_CONFIG,
                )
            )
    return findings


def selections(documents: Sequence[DocIndex]) -> Iterator[tuple[DocIndex, list[DocIndex]]]:
    """Yield each Service that has a selector, with the workloads whose pods it selects."""
    by_label: dict[tuple[str, str, str], list[DocIndex]] = defaultdict(list)
    for doc in documents:
        if doc.is_workload:
            for key, value in doc.pod_labels.items():
                by_label[doc.effective_namespace, key, value].append(doc)
    for service in documents:
        if service.selector:
            namespace = service.effective_namespace
            labels = ((namespace, key, value) for key, value in service.selector.items())
            rarest = min((by_label.get(label, []) for label in labels), key=len)
            yield service, [doc for doc in rarest if service.selects(doc)]


def _selector(obj: Mapping[str, Any]) -> dict[str, str]:
    spec = obj.get("spec")
    is_service = obj.get("kind") == "Service" and obj.get("apiVersion") == "v1"
    return _texts(spec, "selector") if is_service and isinstance(spec, dict) else {}


def _ports(obj: Mapping[str, Any]) -> Iterator[ServicePort]:
    """Yield the ports of a Service; one without an address of its own has none."""
    spec = obj.get("spec")
    if obj.get("kind") != "Service" or obj.get("apiVersion") != "v1" or not isinstance(spec, dict):
        return
    if (
        "None" in (spec.get("clusterIP"), *_listed(spec.get("clusterIPs")))
        or spec.get("type") == "ExternalName"
    ):
        return
    for port in _listed(spec.get("ports")):
        if isinstance(port, dict) and isinstance(port.get("port"), int):
            protocol = str(port.get("protocol") or "TCP").upper()
            yield ServicePort(port["port"], str(port.get("name") or ""), protocol)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(obj: Mapping[str, Any], key: str) -> dict[str, str]:
    found = obj.get(key)
    items = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in items if isinstance(value, str)}


def _document_json(doc: DocIndex) -> dict[str, Any]:
    members = {name: getattr(doc, name) for name in doc.parts if name != "file"}
    members["images"], members["claims"] = list(doc.images), list(doc.claims)
    members["ports"] = [list(port) for port in doc.ports]
    members["references"] = [vars(reference) for reference in doc.references]
    members["findings"] = [finding.to_json() for finding in doc.findings]
    always = {"index", "line", "kind", "api_version", "namespace", "name", "sha256", "is_workload"}
    return {key: value for key, value in members.items() if key in always or value}


def _document_from_json(document: Mapping[str, Any], file: str) -> DocIndex:
    members = {"file": file, **document}
    members["images"] = tuple(document.get("images", ()))
    members["claims"] = tuple(document.get("claims", ()))
    members["references"] = tuple(ConfigUse(**use) for use in document.get("references", ()))
    members["ports"] = tuple(ServicePort(*port) for port in document.get("ports", ()))
    members["findings"] = tuple(map(Finding.from_json, document.get("findings", ())))
    return DocIndex(**members)
