"""An opened project with its store, shared by the tasks of one process."""

import json
import os
import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks.errors import GraphError
from contrast_tasks.files import cache_folder, sha256_hex
from contrast_tasks.records import Record
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.outputs import STATE
from contrast_tasks.steps.ignored import without_ignored
from contrast_tasks.steps.in_place import in_files
from contrast_tasks.steps.index import (
    Index,
    SourceFile,
    index_sources,
    read_facts,
    read_source,
)
from contrast_tasks.steps.kustomize import is_kustomization, rendered_file
from contrast_tasks.steps.plan import with_outputs_in
from contrast_tasks.steps.project import Project, Spec, handlers_of
from contrast_tasks.steps.work import Head, Work, head_of, parse_head, parse_work
from contrast_tasks.tasks.code import code_digest
from contrast_tasks.tasks.inputs import Inputs, ProjectInputs
from contrast_tasks.tasks.store import Rows, Store

if TYPE_CHECKING:
    from contrast_tasks.findings import Finding
    from contrast_tasks.kube.index import FileIndex

# Key of kinds with one entry only: the last.
_LAST = "last"
_opened: "dict[Spec, Workspace]" = {}


class Workspace(Record):
    """A project, the inputs of its tasks, and the stores of results.

    results: of tasks; memo: what is known of sources and code, also while `plan` keeps its results elsewhere; shared:
    results that serve other projects too. All three are stores of the same form.
    """

    project: Project
    inputs: ProjectInputs
    results: Store
    memo: Store
    shared: Store

    def read_facts(self, source: SourceFile) -> "FileIndex":
        """Return the facts of a source's documents for the checks over all sources."""
        from contrast_tasks.kube.index import FileIndex

        key = _facts_key(self.project.code, source.file, source.digest)
        if (content := self.memo.get("facts", key)) is not None:
            return FileIndex.from_json(json.loads(content))
        return read_facts(read_source(self.project.settings, source), source.file)

    def rules(self, parts: frozenset[str]) -> str:
        """Return the rules as policies contain them, and keep them; parts: those that the policy needs."""
        name = " ".join(sorted(parts))
        if name not in self._rules:
            from contrast_tasks.policy.rules import compact_rules

            self._rules[name] = compact_rules(parts)
            code = self.project.code
            self.memo.remember("rules", code, json.dumps(self._rules).encode())
            self.memo.keep("rules", (code,))
        return self._rules[name]

    @cached_property
    def _rules(self) -> dict[str, str]:
        return dict(json.loads(self.memo.get("rules", self.project.code) or b"{}"))

    def in_files(self, findings: "Iterable[Finding]") -> "list[Finding]":
        """Return the findings to show, with the lines of the files as they are now, which differ where `generate` added to them."""
        project = self.project
        settings = project.settings
        findings = without_ignored(findings, settings)
        if not settings.in_place:
            sources = {
                rendered_file(settings.root, source, settings.build_dir): source
                for source in settings.sources
                if is_kustomization(source)
            }
            return [
                each.replace(where=each.where.rendered_from(sources[each.where.file]))
                if each.where.file in sources
                else each
                for each in findings
            ]
        pins = {source.file: dict(source.pins) for source in project.index.files}
        return in_files(project.root, pins, findings)

    def work(self, workload: str) -> Work:
        """Return the result of a workload; raises GraphError if there is none for the inputs as they are now."""
        return parse_work(self.result("workload", self.inputs.workload(workload).digest))

    def heads(self, *, only_known: bool = False) -> dict[str, Head]:
        """Return the heads of all workloads by id; raises GraphError if a result is missing.

        only_known: leave out workloads without a result.
        """
        accepted, heads = self._accepted[0].values, {}
        for name in self.project.index.workloads:
            digest = self.inputs.workload(name).digest
            if digest in accepted:
                heads[name] = head_of(accepted[digest])
            elif not only_known or self.results.get("workload", digest) is not None:
                heads[name] = parse_head(self.result("workload", digest))
        return heads

    def accepted(self) -> dict[str, str]:
        """Return the entries of the workloads that the checks accepted before, by id; see `check.Checked`."""
        _, accepted = self._accepted
        made_from = {
            name: self.inputs.workload(name).digest for name in self.project.index.workloads
        }
        return {name: accepted[digest] for name, digest in made_from.items() if digest in accepted}

    def accept(self, heads: Mapping[str, Head], entries: Mapping[str, str]) -> None:
        """Keep heads and entries of the workloads that the checks accepted, so that they are not checked again."""
        rows, _ = self._accepted
        kept, texts = {}, {}
        for name, text in entries.items():
            digest = self.inputs.workload(name).digest
            kept[digest] = rows.values.get(digest) or [*heads[name]]
            texts[digest] = text.encode()
        # JSON has no NUL, and as members of the rows the texts would take longer to read than all heads.
        content = b"\0".join((rows.content(kept), *texts.values()))
        self.results.remember("accepted", _LAST, content)

    @cached_property
    def _accepted(self) -> tuple[Rows, dict[str, str]]:
        """Return the rows of the heads, and the entries, both by the digest of what they are made from."""
        content, *texts = (self.results.get("accepted", _LAST) or b"").split(b"\0")
        rows = Rows(content)
        return rows, dict(zip(rows.values, map(bytes.decode, texts), strict=True))

    def result(self, kind: str, digest: str) -> bytes:
        """Return the result of a task for inputs with this digest; raises GraphError if it is missing."""
        content = self.results.get(kind, digest)
        if content is None:
            raise GraphError(
                "a result is not that of the current sources",
                hint=f"run again; if it stays, remove the directory {self.project.spec.state}/store",
            )
        return content

    def keep(self, kind: str, inputs: Inputs, content: bytes) -> None:
        """Keep the result of a task for its inputs."""
        self.results.put(kind, inputs.digest, content, inputs.named)

    def prune(self) -> None:
        """Remove results that are no longer used, so that the project's store does not grow."""
        inputs, project = self.inputs, self.project
        workloads = [inputs.workload(name).digest for name in project.index.workloads]
        self.results.keep("workload", workloads)
        whole = {"sources": inputs.sources(), "keys": inputs.keys(), "check": inputs.check()}
        for kind, made in whole.items():
            self.results.keep(kind, (made.digest,))


def open_workspace(spec: Spec, *, is_fresh: bool = False) -> Workspace:
    """Return the workspace of `spec`, the same object within a process; is_fresh: look at settings and sources again.

    Raises SettingsError for settings that are not understood.
    """
    workspace = _opened.get(spec)
    if workspace is None or is_fresh:
        root = Path(spec.root)
        settings = load_settings(
            root, environ=os.environ, overrides=spec.overrides, flags=dict(spec.flags)
        )
        if spec.state != STATE:
            settings = with_outputs_in(spec.state, settings)
        memo = Store(f"{root}/{STATE}/store")
        results = Store(f"{root}/{spec.state}/store")
        code = code_digest(memo)
        project = Project(
            spec=spec,
            settings=settings,
            index=_index(settings, memo, code),
            code=code,
            handlers=handlers_of(settings),
        )
        workspace = _opened[spec] = Workspace(
            project=project,
            inputs=ProjectInputs(project),
            results=results,
            memo=memo,
            shared=Store(str(cache_folder(os.environ))),
        )
    return workspace


def open_project(spec: Spec) -> Project:
    """Return the project of `spec` as it is now."""
    return open_workspace(spec, is_fresh=True).project


def _index(settings: Settings, memo: Store, code: str) -> Index:
    """Return the index of the sources; keeps it, and the facts of each source."""
    rows = Rows(memo.get("index", code))
    found = index_sources(settings, rows.values, now_ns=time.time_ns())
    if found.is_new:
        keys = {
            file: _facts_key(code, file, entry["digest"]) for file, entry in found.entries.items()
        }
        for file, facts in found.parsed.items():
            text = json.dumps(facts.to_json(), separators=(",", ":"))
            memo.remember("facts", keys[file], text.encode())
        memo.keep("facts", keys.values())
        memo.remember("index", code, rows.content(found.entries))
        memo.keep("index", (code,))
    return found.index


def _facts_key(code: str, file: str, digest: str) -> str:
    return sha256_hex(f"{code}\0{file}\0{digest}".encode())
