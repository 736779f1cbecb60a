"""What `generate` would change: a second set of outputs beside the first, and the differences between them.

Everything is made in a folder of its own, from the same cache, so planning what was generated before costs little and
touches nothing that anybody else looks at.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from contrast_tasks.annotations import ID_PREFIXES, POLICY_KEYS
from contrast_tasks.files import sha256_hex
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.outputs import STATE
from contrast_tasks.steps.project import Project

PLAN = f"{STATE}/plan"
# Members of a workload's record, and what they are to people, who do not read a policy's hash.
_MEMBERS = {
    "policy_sha256": "",
    "sans": "names in its certificate",
    "workload_secret_id": "workload secret",
    "role": "role",
}
# What `client.policy_changes` says in the words of the policy.
_OF_POLICIES = frozenset(
    {"image", "command", "args", "env", "envFrom", "volumeMounts", "securityContext", "workingDir"}
)
_FILES_READ, _LONGEST, _MARK = 40, 100, 12


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs; before, after: "" where it is not there."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One workload or file; what: `added`, `removed` or `changed`."""

    what: str
    name: str
    detail: str = ""
    changes: tuple[Change, ...] = ()


def copy_lock(settings: Settings, folder: str) -> None:
    """Put the lock file where a plan in this folder looks for it, or take away an earlier one if there is none."""
    planned = settings.root / with_outputs_in(folder, settings).lock
    if (settings.root / settings.lock).is_file():
        shutil.copyfile(settings.root / settings.lock, planned)
    else:
        planned.unlink(missing_ok=True)


def with_outputs_in(folder: str, settings: Settings) -> Settings:
    """Return settings by which all outputs go to a folder.

    Owner keys that would be made are made there too, so that planning leaves none behind.
    """

    def keys(names: tuple[str, ...]) -> tuple[str, ...]:
        is_made = len(names) == 1 and not (settings.root / names[0]).exists()
        return (f"{folder}/{Path(names[0]).name}",) if is_made else names

    return settings.replace(
        build_dir=f"{folder}/build",
        manifest=f"{folder}/manifest.json",
        lock=f"{folder}/contrast.lock",
        workload_owner_keys=keys(settings.workload_owner_keys),
        seedshare_owner_keys=keys(settings.seedshare_owner_keys),
    )


def differences(now: Project, planned: Project) -> list[Difference]:
    """Return what a `generate` would change: workloads first, then the manifest, then files, each sorted."""
    old, new = (_files(each) for each in (now, planned))
    found = _with_objects(_of_workloads(_records(now), _records(planned)), old, new)
    before, after = (_read(each, each.paths.manifest) for each in (now, planned))
    if before != after:
        found.append(_of_manifest(before, after))
    sources = _in_place(now)
    for name in sorted(old.keys() | new.keys()):
        what = _what(old.get(name), new.get(name))
        if what:
            found.append(Difference(what=what, name=sources.get(name, f"{now.paths.build}/{name}")))
    return found


def _records(project: Project) -> dict[str, Mapping[str, Any]]:
    folder = project.root / project.paths.build / "workloads"
    records = [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
    return {record["key"]: record for record in records}


def _of_workloads(
    old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]
) -> list[Difference]:
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before is None or after is None:
            found.append(Difference(what="removed" if after is None else "added", name=key))
            continue
        details = [name for name in _MEMBERS if before[name] != after[name]]
        if details:
            changes = tuple(
                Change(_MEMBERS[name], _shown(before[name]), _shown(after[name]))
                for name in details
                if _MEMBERS[name]
            )
            detail = ", ".join(details)
            found.append(Difference(what="changed", name=key, detail=detail, changes=changes))
    return found


def _shown(value: str | list[str]) -> str:
    return value if isinstance(value, str) else " ".join(value)


def _with_objects(
    found: list[Difference], old: Mapping[str, bytes], new: Mapping[str, bytes]
) -> list[Difference]:
    """Return the differences with what changes in the objects that are deployed, beside what policies say of them."""
    files = [
        name
        for name in sorted(old.keys() & new.keys())
        if name.startswith("deployment/") and old[name] != new[name]
    ]
    known = {each.name: each for each in found}
    # Reading a file takes longer than all else that is said of it.
    for name in files[:_FILES_READ]:
        before, after = (_objects(each[name], name) for each in (old, new))
        for key in before.keys() & after.keys():
            changes = tuple(_of_object(before[key], after[key]))
            if changes:
                same = known.get(key, Difference(what="changed", name=key))
                known[key] = replace(same, changes=(*same.changes, *changes))
    return [known[name] for name in sorted(known)]


def _objects(content: bytes, file: str) -> dict[str, Any]:
    from contrast_tasks.kube.documents import decode, kept_documents
    from contrast_tasks.kube.workloads import workload_key

    documents, _ = kept_documents(decode(content, file), file)
    return {workload_key(each.obj): each.obj for each in documents}


def _of_object(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """Yield what differs, in a pod's spec by the names that contrast.toml has, as `containers.web.resources`."""
    from contrast_tasks.kube.workloads import is_workload, spec_path

    base = f"{'.'.join(map(str, spec_path(before)))}." if is_workload(before) else "."
    for change in _members(before, after, ()):
        what = change.what.removeprefix(base)
        if before["kind"] == "Secret":
            is_new, is_gone = not change.before, not change.after
            yield Change(what, "" if is_new else "a value", "" if is_gone else "another value")
        else:
            yield replace(change, what=what)


def _members(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[Change]:
    """Yield the members that differ, by their names; items of lists go by theirs."""
    if before == after or (path and (path[-1] in _OF_POLICIES or _is_generated(path))):
        return
    old, new = _by_name(before), _by_name(after)
    if old is None or new is None:
        yield Change(".".join(path), _value(before), _value(after))
        return
    for key in [*old, *(key for key in new if key not in old)]:
        yield from _members(old.get(key), new.get(key), (*path, key))


def _is_generated(path: tuple[str, ...]) -> bool:
    return path[-1] in POLICY_KEYS or path[-1].startswith(ID_PREFIXES)


def _by_name(value: Any) -> dict[str, Any] | None:
    """Return the members of an object or of a list of named items, None for anything else; nothing has none."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return {str(key): each for key, each in value.items()}
    if isinstance(value, list) and all(
        isinstance(each, dict) and each.get("name") for each in value
    ):
        return {str(each["name"]): each for each in value}
    return None


def _value(value: Any) -> str:
    """Return a value on one line, the mark of one that is long."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) > _LONGEST or "\n" in text:
        return f"{len(text)} characters, SHA-256 {sha256_hex(text.encode())[:_MARK]}"
    return text


def _of_manifest(before: bytes | None, after: bytes | None) -> Difference:
    detail = "" if before is None else "setting it rotates the mesh CA, workloads must be restarted"
    return Difference(what=_what(before, after), name="manifest.json", detail=detail)


def _files(project: Project) -> dict[str, bytes]:
    build = project.root / project.paths.build
    files = {
        path.relative_to(build).as_posix(): path.read_bytes()
        for folder in ("deployment", "policies")
        for path in sorted((build / folder).rglob("*"))
        if path.is_file()
    }
    own = {name: (project.root / file).read_bytes() for name, file in _in_place(project).items()}
    return {**files, **own}


def _in_place(project: Project) -> dict[str, str]:
    """Return the sources that are annotated in place, by the name of the output that they take the place of."""
    if not project.paths.in_place:
        return {}
    return {f"deployment/{source.output}": source.file for source in project.index.files}


def _read(project: Project, name: str) -> bytes | None:
    path = project.root / name
    return path.read_bytes() if path.is_file() else None


def _what(before: bytes | None, after: bytes | None) -> str:
    if before == after:
        return ""
    if before is None:
        return "added"
    return "removed" if after is None else "changed"
