"""One document under inspection: collects findings with the line of whatever they speak of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contrast_tasks.findings import Finding, Severity
from contrast_tasks.kube import workloads
from contrast_tasks.kube.documents import Document, location

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """A document, the object to judge (with settings applied, or the document's own), and the findings so far."""

    document: Document
    obj: Mapping[str, Any]
    findings: list[Finding] = field(default_factory=list)

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
        """Return `Deployment/web`."""
        return workloads.workload_key(self.obj)

    def error(self, code: str, rule: str, path: Path, message: str, hint: str = "") -> None:
        """Note an error at `path` inside the object."""
        self._add(code, rule, Severity.ERROR, path, text=message, hint=hint)

    def warn(self, code: str, rule: str, path: Path, message: str, hint: str = "") -> None:
        """Note a warning at `path` inside the object."""
        self._add(code, rule, Severity.WARNING, path, text=message, hint=hint)

    def _add(
        self, code: str, rule: str, severity: Severity, path: Path, *, text: str, hint: str
    ) -> None:
        self.findings.append(
            Finding(
                code=code,
                rule=rule,
                severity=severity,
                message=f"{self.key}: {text}",
                where=location(self.document, path),
                hint=hint,
            )
        )
