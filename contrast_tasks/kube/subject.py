"""One document being checked, and the findings on it with their lines."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from contrast_tasks.catalogue import Entry
from contrast_tasks.findings import Findings
from contrast_tasks.kube import workloads
from contrast_tasks.kube.documents import Document, location
from contrast_tasks.pointers import Path


class Subject:
    """A document, its object (as written, or with the settings applied), and the findings so far."""

    def __init__(
        self, document: Document, obj: Mapping[str, Any], findings: Findings[Path] | None = None
    ) -> None:
        self.document = document
        self.obj = obj
        if findings is None:
            findings = Findings(partial(location, document), self.key)
        self.findings = findings

    @property
    def spec(self) -> dict[str, Any]:
        """Return the pod spec."""
        return workloads.pod_spec(self.obj)

    @property
    def spec_path(self) -> Path:
        """Return the path of the pod spec."""
        return workloads.spec_path(self.obj)

    @property
    def key(self) -> str:
        """Return the workload key, such as `Deployment/web`."""
        return workloads.workload_key(self.obj)

    def report(
        self,
        entry: Entry,
        path: Path,
        message: str,
        hint: str | None = None,
        answer: tuple[str, Any] | None = None,
    ) -> None:
        """Add a finding at `path` inside the object; answer: dotted key of the workload's table in contrast.toml, and value."""
        self.findings.report(entry, path, message, hint, answer=answer)
