"""`./doitw corpus DIR`: real deployments as a user has them, each linted as a project of its own, on several platforms.

DIR, or `yaml` in it, has a folder for each deployment. No source is edited: `lint --fix` writes what is certain to contrast.toml, then
the choices that it shows are taken. A workload passes if it gets a policy that allows the life of its pod, or if every finding that
refuses it is one that was looked at (dev/corpus/refusals.py). The images are stand-ins.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from contrast_tasks.errors import UsageError
from contrast_tasks.images.lock import parse_lock
from contrast_tasks.kube import nodes
from contrast_tasks.kube.documents import decode, split
from contrast_tasks.settings.components import COMPONENT_IMAGES, ComponentSettings
from contrast_tasks.settings.edit import Change, with_changes
from contrast_tasks.settings.outputs import SOURCE_SUFFIXES
from dev.checkout import ROOT
from dev.corpus.refusals import why
from dev.corpus.stand_ins import images_in, lock_file
from dev.verdicts import Verdict, tell

PLATFORMS = ("local", "metal-qemu-snp")
_SETTINGS = """\
platform = "{platform}"
sources = ["deployment"]
defaults.memory = "700Mi"
"""
_CLASS = 'runtime.class = "contrast-cc-{platform}-00000001"\n'
# Some nodes see the files of an image, others start nothing by a user's name; `simulate` shows one of the latter.
_UNSEEN_USER = "image-user-name"
_TASK = "workload:"
# Of our own Coordinator, whose source has a name in angle brackets.
_OURS = f"{_TASK}<"


class Linted(NamedTuple):
    """What `lint` says of a deployment.

    workloads: whether each one passed, by file and key. findings: as JSON. faults: messages of errors that are none. choices: what
    `lint --fix` leaves to the user, as JSON.
    """

    workloads: Mapping[tuple[str, str], bool]
    findings: tuple[Mapping[str, Any], ...]
    faults: tuple[str, ...]
    choices: tuple[Mapping[str, Any], ...]

    @property
    def errors(self) -> list[Mapping[str, Any]]:
        """Return the findings that are errors."""
        return [each for each in self.findings if each["severity"] == "error"]

    def said_of(self, rule: str) -> set[str]:
        """Return the keys of the workloads that a rule has found something about."""
        return {_subject(each) for each in self.findings if each["rule"] == rule}


def run_corpus(words: Sequence[str] = ()) -> dict[str, Any]:
    """Check every deployment; words: the folder, and the platforms if they are not the usual ones.

    Raises UsageError without a folder that has deployments, SomeFailed if a refusal was not looked at.
    """
    if not words:
        raise UsageError("found no word, expected the folder of the deployments")
    folder = Path(words[0])
    deployments = find_deployments(folder)
    if not deployments:
        raise UsageError(
            f"{folder} has no deployment, expected folders with YAML",
            hint="relative paths begin at the root of the checkout",
        )
    return tell(
        verdict
        for path in deployments
        for platform in (*words[1:],) or PLATFORMS
        for verdict in verdicts_on(path, platform)
    )


def find_deployments(folder: Path) -> list[Path]:
    """Return the folders of deployments, sorted."""
    top = folder / "yaml" if (folder / "yaml").is_dir() else folder
    if not top.is_dir():
        return []
    return [each for each in sorted(top.iterdir()) if each.is_dir() and any(_sources(each))]


def verdicts_on(deployment: Path, platform: str) -> Iterator[Verdict]:
    """Yield a verdict for each workload, and for each error that is not one workload's."""
    with tempfile.TemporaryDirectory() as name:
        project = Path(name)
        _make_project(project, deployment, platform)
        before = _lint(project)
        written = _lint(project, "--fix", "--write")
        _take(project, written.choices)
        linted = _lint(project) if written.choices else written
        means = {
            at: "as it is"
            if before.workloads[at]
            else "by settings"
            if written.workloads[at]
            else "by choices"
            for at in linted.workloads
        }
        plain = linted.said_of("not-confidential")
        good = [key for (_, key), passed in linted.workloads.items() if passed and key not in plain]
        denied = _denied(project, good) if good else {}
    title = f"{deployment.name} on {platform}"
    yield from (Verdict(title, "lint", fault) for fault in linted.faults)
    for at, passed in linted.workloads.items():
        file, key = at
        if key in plain:
            yield Verdict(title, f"{key} left as it is, since it has a runtime class of others")
        elif passed and key in linted.said_of(_UNSEEN_USER):
            yield Verdict(title, f"{key} generated {means[at]}, with a warning of its user")
        elif passed:
            yield Verdict(title, f"{key} generated {means[at]}", denied.get(key, ""))
        else:
            own = [each for each in linted.errors if _subject(each) == key]
            others = [each for each in linted.errors if each["where"]["file"] == file]
            yield _refused(title, key, own or others)
    keys = {key for _, key in linted.workloads}
    for each in linted.errors:
        if _subject(each) not in keys:
            yield _refused(title, f"{each['where']['file']}:{each['where'].get('line', 1)}", [each])


def _subject(finding: Mapping[str, Any]) -> str:
    """Return the first word of a message, which is the workload's key where a finding is of one."""
    return str(finding["message"]).split(" ")[0].rstrip(":")


def _refused(title: str, what: str, findings: Sequence[Mapping[str, Any]]) -> Verdict:
    codes = sorted({f"{each['code']} {each['rule']}" for each in findings})
    unknown = [f"{each['code']} {each['message']}" for each in findings if not why(each)]
    if not findings:
        unknown = ["it was refused without a finding"]
    return Verdict(title, f"{what} refused: {', '.join(codes)}", "\n".join(unknown))


def _sources(folder: Path) -> Iterator[Path]:
    return (each for each in sorted(folder.rglob("*")) if each.suffix in SOURCE_SUFFIXES)


def _make_project(project: Path, deployment: Path, platform: str) -> None:
    # Modes stay behind: a corpus may be read-only.
    for source in _sources(deployment):
        target = project / "deployment" / source.relative_to(deployment)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    settings = _SETTINGS + ("" if platform == "local" else _CLASS)
    (project / "contrast.toml").write_text(settings.format(platform=platform))
    default = ComponentSettings()
    images = {getattr(default, name) for name in COMPONENT_IMAGES}
    for source in _sources(deployment):
        images |= set(_images(source))
    content = lock_file(images)
    parse_lock(content, "contrast.lock")
    (project / "contrast.lock").write_bytes(content)


def _images(source: Path) -> Iterator[str]:
    for chunk in split(decode(source.read_bytes(), source.name)):
        try:
            root = nodes.compose(chunk.text)
        except yaml.YAMLError:
            continue
        if root is not None:
            yield from images_in(nodes.build(root)[0])


def _take(project: Path, choices: Sequence[Mapping[str, Any]]) -> None:
    """Write the choices that `lint --fix` shows to contrast.toml, as a user does who decides for each."""
    path = project / "contrast.toml"
    changes = [Change(tuple(each["path"]), each["value"]) for each in choices]
    path.write_text(with_changes(path.read_text(), changes))


def _lint(project: Path, *words: str) -> Linted:
    answer = _run(project, "lint", "--output", "json", *words)
    workloads = {}
    for task in answer["tasks"]:
        if task["name"].startswith(_TASK) and not task["name"].startswith(_OURS):
            file, _, key = task["name"].removeprefix(_TASK).partition("#")
            workloads[file, key] = task["status"] != "failed"
    faults = tuple(each["message"] for each in answer.get("errors", ()))
    choices = (answer.get("result") or {}).get("choices", ())
    return Linted(workloads, tuple(answer["findings"]), faults, tuple(choices))


def _denied(project: Path, keys: Sequence[str]) -> dict[str, str]:
    """Return what policies say against their own pods, by workload."""
    answer = _run(project, "simulate", "--output", "json", *keys)
    faults = [each["message"] for each in answer.get("errors", ())]
    found = answer.get("result") or {}
    return {
        key: "\n".join(
            [str(each["prints"]) for each in found[key]["decisions"]] + found[key]["refused"]
            if key in found
            else faults or ["it was not simulated"]
        )
        for key in keys
    }


def _run(project: Path, *words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "contrast_tasks", *words, "--project", str(project)]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    own = {name: value for name, value in os.environ.items() if not name.startswith("CONTRAST_")}
    done = subprocess.run(
        command,
        cwd=project,
        env=own | {"PYTHONPATH": path, "CONTRAST_CACHE_DIR": str(project / "cache")},
        capture_output=True,
        check=False,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
