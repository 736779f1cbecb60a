"""The outputs of one source: its YAML with objects prepared and policies attached, and a record and policy per workload.

The source's text is edited, never its earlier output, so that a mark that is not wanted any more is gone. In place,
where the two are one file, the earlier additions are taken out first.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contrast_tasks.annotations import POLICY_KEYS
from contrast_tasks.files import pretty_json, write_atomic
from contrast_tasks.kube.documents import decode, kept_documents
from contrast_tasks.kube.edits import rewrite
from contrast_tasks.kube.workloads import template_path, volume_mode
from contrast_tasks.manifest.policy_document import annotation_of, make_document
from contrast_tasks.pointers import replaced
from contrast_tasks.prepare.encrypted import claims_of
from contrast_tasks.steps.id_blocks import id_block_annotations
from contrast_tasks.steps.in_place import write_source
from contrast_tasks.steps.index import CLAIM, Workload, read_source
from contrast_tasks.steps.project import Project
from contrast_tasks.steps.work import Work, placed


def write_outputs(project: Project, file: str, works: Mapping[str, Work]) -> list[str]:
    """Write the annotated YAML, records and policies of one source; return the files with new bytes.

    works: the results of its workloads, and of those that name its claims, by id.
    """
    source, paths = project.sources[file], project.paths
    text = decode(read_source(project.settings, source), file)
    wanted: dict[int, dict[str, Any]] = {}
    outputs: dict[str, bytes] = {}
    for workload in project.workloads_in(file):
        work = works[workload.id]
        obj = work.obj
        if work.policy:
            document = make_document(work.policy, paths.channel)
            key, value = annotation_of(document, paths.channel)
            blocks = id_block_annotations(project, work.head.vcpus)
            obj = with_annotations(obj, {key: value, **dict(sorted(blocks.items()))})
            outputs[paths.record(workload.id)] = pretty_json(record_of(workload, work))
            outputs[paths.policy(workload.id)] = work.policy
            outputs[paths.document(workload.id)] = document
        wanted[workload.position] = obj
    wanted |= _block_claims(project, file, text, works)
    annotated = rewrite(text, wanted, file).encode()
    written = []
    if paths.in_place:
        if write_source(project.root, file, annotated):
            written.append(file)
    else:
        outputs[paths.deployment(source)] = annotated
        _make_way(project.root, paths.build, paths.deployment(source))
    # The record of the task has their digests, so the next run notices a file lost in a power failure.
    return written + [
        name
        for name, content in outputs.items()
        if write_atomic(project.root / name, content, is_synced=False)
    ]


def _block_claims(
    project: Project, file: str, text: str, works: Mapping[str, Work]
) -> dict[int, dict[str, Any]]:
    """Return the claims of a source that workloads encrypt, as block devices, by their position."""
    places = set()
    for workload in project.claimants.get(file, ()):
        for name in claims_of(works[workload.id].obj):
            use = (CLAIM, workload.namespace or "default", name)
            holder, position = project.index.places.get(use, ("", 0))
            if holder == file:
                places.add(position)
    documents = kept_documents(text, file)[0] if places else ()
    return {
        document.index: replaced(
            document.obj, ("spec",), {**document.obj["spec"], "volumeMode": "Block"}
        )
        for document in documents
        if document.index in places and volume_mode(document.obj) != "Block"
    }


def _make_way(root: Path, build: str, name: str) -> None:
    """Remove earlier outputs from where a folder or a file has to be now: a source became a folder of sources, or back.

    What lies there is made by generate alone, and nothing generates it any more.
    """
    path, top = root / name, root / build / "deployment"
    for above in path.parents:
        if above == top:
            break
        if above.is_file():
            above.unlink()
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def with_annotations(obj: dict[str, Any], added: Mapping[str, str]) -> dict[str, Any]:
    """Return a copy of the object with its policy and more in the annotations of its pod, and with no other policy."""
    copy = dict(obj)
    level = copy
    for step in (*template_path(obj), "metadata", "annotations"):
        inner = level.get(step)
        level[step] = level = dict(inner) if isinstance(inner, dict) else {}
    for key in POLICY_KEYS:
        level.pop(key, None)
    level.update(added)
    return copy


def record_of(workload: Workload, work: Work) -> dict[str, Any]:
    """Return the workload's record for deployment, as in schemas/record.schema.json."""
    return {
        "version": 1,
        "key": workload.key,
        "namespace": workload.namespace,
        "kind": workload.kind,
        "name": workload.name,
        "policy_sha256": work.head.policy_sha256,
        "sans": list(work.head.sans),
        "workload_secret_id": work.head.workload_secret_id,
        "role": work.head.role,
        "file": workload.file,
        "document": workload.position,
        "line": workload.line,
        "findings": [finding.to_json() for finding in placed(work.head, workload)],
    }
