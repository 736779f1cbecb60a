"""The output of generate, read back for later steps: the annotated objects and one record for each workload."""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from contrast_tasks.annotations import POLICY
from contrast_tasks.decode import DecodeError, parse_json
from contrast_tasks.errors import Location, UsageError
from contrast_tasks.files import norm_path, sha256_hex
from contrast_tasks.platforms import is_confidential_class
from contrast_tasks.records import Record
from contrast_tasks.settings.model import Settings


class Annotated(Record):
    """One Kubernetes object of the annotated YAML.

    policy_b64: the policy annotation of its pod template, "" if there is none or it runs no pods.
    """

    obj: Mapping[str, Any]
    where: Location
    is_workload: bool
    key: str
    role: str
    policy_b64: str
    is_confidential: bool

    @property
    def kind(self) -> str:
        """Return the kind."""
        return str(self.obj["kind"])

    @property
    def name(self) -> str:
        """Return metadata.name."""
        return str(self.obj["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Return metadata.namespace, `default` if it is absent."""
        return str(self.obj["metadata"].get("namespace") or "default")

    def policy(self) -> bytes:
        """Return the decoded policy; raise UsageError if it is not base64."""
        try:
            return base64.b64decode(self.policy_b64, validate=True)
        except binascii.Error as err:
            raise UsageError(
                f"{self.key}: annotation {POLICY} is not base64",
                where=self.where,
                hint="run generate again",
            ) from err


class WorkloadRecord(Record):
    """The record of one workload: its entry in the manifest."""

    id: str
    key: str
    policy_sha256: str
    sans: tuple[str, ...]
    workload_secret_id: str
    role: str


def deployment_folder(settings: Settings) -> Path:
    """Return the folder of the annotated YAML."""
    return settings.root / settings.build_dir / "deployment"


def _yaml_files(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += [file for file in path.rglob("*") if file.suffix in {".yml", ".yaml"}]
        else:
            found.append(path)
    return sorted(set(found))


def load_annotated(settings: Settings, paths: Sequence[Path] = ()) -> tuple[Annotated, ...]:
    """Return all objects of the annotated YAML, or of the files and folders in `paths` instead.

    Raises UsageError if there are none, and FindingsError for malformed YAML.
    """
    from contrast_tasks.kube import workloads
    from contrast_tasks.kube.documents import parse_documents

    found: list[Annotated] = []
    generated = deployment_folder(settings)
    for path in _yaml_files(paths or ([generated] if generated.is_dir() else [])):
        file = norm_path(path, settings.root)
        try:
            text = path.read_text()
        except OSError as err:
            raise UsageError(f"cannot read {file}: {err.strerror}") from err
        for document in parse_documents(text, file):
            obj = document.obj
            is_workload = workloads.is_workload(obj)
            metadata = workloads.pod_metadata(obj) if is_workload else {}
            annotations = workloads.mapping_at(metadata, "annotations")
            found.append(
                Annotated(
                    obj=obj,
                    where=Location(file=file, line=document.line),
                    is_workload=is_workload,
                    key=workloads.workload_key(obj),
                    role=workloads.role(obj) if is_workload else "",
                    policy_b64=str(annotations.get(POLICY) or ""),
                    is_confidential=is_workload
                    and is_confidential_class(workloads.runtime_class(obj)),
                )
            )
    if not found:
        place = ", ".join(norm_path(path, settings.root) for path in paths) or norm_path(
            deployment_folder(settings), settings.root
        )
        raise UsageError(f"no Kubernetes objects in {place}", hint="run generate first")
    return tuple(found)


def refuse_without_policy(objects: Sequence[Annotated]) -> None:
    """Raise UsageError naming the first confidential pod without a policy annotation."""
    for item in objects:
        if item.is_confidential and not item.policy_b64:
            raise UsageError(
                f"{item.key} has no annotation {POLICY}; a host could start anything instead",
                where=item.where,
                hint="run generate, and deploy its output",
            )


def policies_of(objects: Sequence[Annotated]) -> dict[str, bytes]:
    """Return the policies of all confidential pods by SHA-256 hex."""
    policies = [item.policy() for item in objects if item.policy_b64]
    return {sha256_hex(policy): policy for policy in policies}


def load_records(settings: Settings) -> dict[str, WorkloadRecord]:
    """Return the workload records by key; {} before the first generate.

    Raises UsageError naming a record that is malformed.
    """
    records: dict[str, WorkloadRecord] = {}
    for path in sorted((settings.root / settings.build_dir / "workloads").glob("**/*.json")):
        try:
            document = parse_json(path.read_bytes())
            record = WorkloadRecord(
                id=path.stem,
                key=document.at("key").text(),
                policy_sha256=document.at("policy_sha256").text(),
                sans=document.at("sans").texts(),
                workload_secret_id=document.at("workload_secret_id").text(),
                role=document.at("role").text(),
            )
        except (OSError, DecodeError) as err:
            file = norm_path(path, settings.root)
            raise UsageError(f"{file} is not a workload record", hint="run generate again") from err
        records[record.key] = record
    return records
