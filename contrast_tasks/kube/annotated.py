"""The output of generate, read back for later steps: the annotated objects and one record for each workload."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks.annotations import ID_PREFIXES, POLICY_KEYS
from contrast_tasks.decode import DecodeError, parse_json
from contrast_tasks.errors import Location, UsageError
from contrast_tasks.files import norm_path
from contrast_tasks.manifest.policy_document import (
    ANNOTATIONS,
    DESCRIBED,
    DocumentError,
    PolicyDocument,
    document_in,
)
from contrast_tasks.platforms import SNP_PRODUCTS, is_confidential_class
from contrast_tasks.records import Record
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.outputs import SOURCE_SUFFIXES

if TYPE_CHECKING:
    from contrast_tasks.kube.documents import Document


class Annotated(Record):
    """One Kubernetes object of the annotated YAML.

    carried: the annotations of its pod template that can hold a policy, id_block: those of an ID block; none if it runs no
    pods.
    """

    obj: Mapping[str, Any]
    where: Location
    is_workload: bool
    key: str
    role: str
    carried: Mapping[str, Any]
    id_block: frozenset[str]
    is_confidential: bool
    _document: "Document"

    @property
    def kind(self) -> str:
        """Return the kind."""
        return str(self.obj["kind"])

    @property
    def name(self) -> str:
        """Return metadata.name, or the beginning of it that metadata.generateName is."""
        return str(self.obj["metadata"].get("name") or self.obj["metadata"]["generateName"])

    @property
    def has_generated_name(self) -> bool:
        """Return whether the API server completes the name."""
        return not self.obj["metadata"].get("name")

    @property
    def namespace(self) -> str:
        """Return metadata.namespace, `default` if it is absent."""
        return str(self.obj["metadata"].get("namespace") or "default")

    @cached_property
    def policy(self) -> PolicyDocument | None:
        """Return the policy in its annotations, None if there is none; raise UsageError if it cannot be read."""
        try:
            return document_in(self.carried)
        except DocumentError as err:
            where, hint = self.place_of_policy, "run generate again"
            raise UsageError(f"{self.key}: {err}", where=where, hint=hint) from err

    @property
    def place_of_policy(self) -> Location:
        """Return the place of the annotation that can hold a policy, of the document if there is none."""
        return self.place_of(self.carried)

    def place_of(self, annotations: Iterable[str]) -> Location:
        """Return the place of the first of these annotations of the pod, of the document if there are none."""
        from contrast_tasks.kube import workloads
        from contrast_tasks.kube.documents import location

        for key in annotations:
            path = (*workloads.template_path(self.obj), "metadata", "annotations", key)
            return location(self._document, path)
        return self.where


class WorkloadRecord(Record):
    """The record of one workload: its entry in the manifest."""

    id: str
    key: str
    policy_sha256: str
    sans: tuple[str, ...]
    workload_secret_id: str
    role: str


def deployment_places(settings: Settings) -> tuple[Path, ...]:
    """Return the files and folders of the annotated YAML that exist: the sources if they are annotated in place."""
    built = (f"{settings.build_dir}/deployment",)
    places = (settings.root / name for name in (settings.sources if settings.in_place else built))
    return tuple(place for place in places if place.exists())


def annotated_files(settings: Settings, paths: Sequence[Path] = ()) -> list[Path]:
    """Return the files of the annotated YAML, or those that `paths` names and those in its folders."""
    found: list[Path] = []
    for path in paths or deployment_places(settings):
        if path.is_dir():
            found += [file for file in path.rglob("*") if file.suffix in SOURCE_SUFFIXES]
        else:
            found.append(path)
    return sorted(set(found))


def load_annotated(settings: Settings, paths: Sequence[Path] = ()) -> tuple[Annotated, ...]:
    """Return all objects of the annotated YAML, or of the files and folders in `paths` instead.

    Raises UsageError if there are none, and FindingsError for malformed YAML.
    """
    found = read_annotated(settings, annotated_files(settings, paths))
    if not found:
        raise no_objects(settings, paths)
    return found


def no_objects(settings: Settings, paths: Sequence[Path]) -> UsageError:
    """Return the error for annotated YAML that holds nothing."""
    named = (norm_path(path, settings.root) for path in paths or deployment_places(settings))
    place = ", ".join(named) or f"{settings.build_dir}/deployment"
    return UsageError(
        f"no Kubernetes objects in {place}", hint="run 'contrast-tasks generate' first"
    )


def read_annotated(settings: Settings, files: Iterable[Path]) -> tuple[Annotated, ...]:
    """Return all objects of these files. Raises UsageError for one that cannot be read, FindingsError for malformed YAML."""
    from contrast_tasks.kube import workloads
    from contrast_tasks.kube.documents import decode, parse_documents

    found: list[Annotated] = []
    for path in files:
        file = norm_path(path, settings.root)
        try:
            content = path.read_bytes()
        except OSError as err:
            raise UsageError(f"cannot read {file}: {err.strerror}") from err
        for document in parse_documents(decode(content, file), file):
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
                    carried={key: annotations[key] for key in POLICY_KEYS if annotations.get(key)},
                    id_block=frozenset(
                        key for key in annotations if str(key).startswith(ID_PREFIXES)
                    ),
                    is_confidential=is_workload
                    and is_confidential_class(workloads.runtime_class(obj)),
                    _document=document,
                )
            )
    return tuple(found)


def files_to_create(objects: Sequence[Annotated], settings: Settings) -> list[Path]:
    """Return the files whose objects have names that the API server completes, which `kubectl apply` refuses.

    Raises UsageError for a file that has objects of both kinds, since kubectl takes a file as a whole.
    """
    generated = {item.where.file: item for item in objects if item.has_generated_name}
    for item in objects:
        found = generated.get(item.where.file)
        if found is not None and not item.has_generated_name:
            raise UsageError(
                f"{found.key} has metadata.generateName, and {item.key} in the same file has a name; expected them in two"
                " files: kubectl creates the one and applies the other",
                where=found.where,
                hint="move it to a file of its own in the sources, or give it a name",
            )
    return [settings.root / file for file in generated]


def refuse_unfit(objects: Sequence[Annotated], settings: Settings) -> None:
    """Raise UsageError naming the first confidential pod whose policy or ID block is absent or not what the release takes.

    Outside of a project any channel is right, since nothing says which release runs.
    """
    runtime = f"release {settings.release_name} of the runtime" if settings.platform else ""
    for item in objects:
        if not item.is_confidential:
            continue
        found = item.policy
        if found is None:
            wanted = " or ".join(POLICY_KEYS)
            if runtime:
                wanted = f"{ANNOTATIONS[settings.channel]} with {DESCRIBED[settings.channel]}, as {runtime} expects"
            raise UsageError(
                f"{item.key} has no annotation {wanted}; a host could start anything instead",
                where=item.where,
                hint="run generate, and deploy its output",
            )
        if runtime and found.channel != settings.channel:
            raise UsageError(
                f"{item.key} has {DESCRIBED[found.channel]} in {ANNOTATIONS[found.channel]}, {runtime} expects"
                f" {DESCRIBED[settings.channel]} in {ANNOTATIONS[settings.channel]}",
                where=item.place_of_policy,
                hint="run generate again, or correct [runtime] release",
            )
        if runtime and not settings.is_local:
            _refuse_id_block(item, settings)


def is_plainly_fit(content: bytes, pods: int, settings: Settings) -> bool:
    """Return whether the text alone shows that `refuse_unfit` has nothing to say of a file; False where that is not certain.

    pods: how many pods got a policy of the settings' channel when the file was written as it is.
    """

    def count(name: str) -> int:
        return content.count(name.encode())

    wanted = ANNOTATIONS[settings.channel]
    if any(count(key) != (pods if key == wanted else 0) for key in POLICY_KEYS):
        return False
    if settings.is_local:
        return True
    if settings.release.id_blocks_on(settings.platform) is None:
        return not any(map(count, ID_PREFIXES))
    return any(all(count(prefix + name) == pods for prefix in ID_PREFIXES) for name in SNP_PRODUCTS)


def _refuse_id_block(item: Annotated, settings: Settings) -> None:
    """Raise UsageError for a pod without an ID block on a runtime that has none itself, and for one elsewhere."""
    runtime = f"release {settings.release_name} of the runtime"
    if settings.release.id_blocks_on(settings.platform) is None:
        for key in sorted(item.id_block):
            raise UsageError(
                f"{item.key} has the annotation {key}, which {runtime} refuses on {settings.platform}",
                where=item.place_of([key]),
                hint="run generate again, or correct [runtime] release",
            )
        return
    if not any({prefix + name for prefix in ID_PREFIXES} <= item.id_block for name in SNP_PRODUCTS):
        raise no_id_block(item.key, item.where, settings)


def no_id_block(key: str, where: Location, settings: Settings) -> UsageError:
    """Return the error for a pod without the ID block that the runtime needs."""
    return UsageError(
        f"{key} has no annotations with an ID block, expected those of Milan or Genoa: under release"
        f" {settings.release_name} of the runtime its guest would start without one, and its evidence would"
        " be refused",
        where=where,
        hint="give the runtime's measurements ([reference_values]), run generate, and deploy its output",
    )


def policies_of(objects: Sequence[Annotated]) -> dict[str, bytes]:
    """Return the policies' documents of all pods by their key in the manifest.

    Raises UsageError for one that a Coordinator cannot know by its SHA-256.
    """
    policies: dict[str, bytes] = {}
    for item in objects:
        found = item.policy
        if found is None:
            continue
        if found.algorithm != "sha256":
            raise UsageError(
                f"{item.key}: found initdata with algorithm {found.algorithm}, expected sha256 as in manifests",
                where=item.place_of_policy,
            )
        policies[found.key_hex] = found.content
    return policies


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
