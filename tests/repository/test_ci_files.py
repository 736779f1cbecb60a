"""What others' repositories take from this one: hooks of pre-commit, the action, the jobs of GitLab; each is run as its service runs it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.commands import Terminal
from tests.fakes.fixtures import project, terminal
from tests.fakes.workloads import FakeProject

__all__ = ["project", "terminal"]

ROOT = Path(__file__).resolve().parents[2]
# A name of an action as GitHub wants it for one that cannot change: forty hex digits.
PINNED = re.compile(r"[\w-]+/[\w/-]+@[0-9a-f]{40}")
UNPINNED = {"OWNER/contrast-tasks@COMMIT"}


def document(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def hooks() -> dict[str, dict[str, Any]]:
    return {hook["id"]: hook for hook in document(".pre-commit-hooks.yaml")}


def words_of(hook: str) -> list[str]:
    """Return what pre-commit calls, without the program."""
    program, *words = [*shlex.split(hooks()[hook]["entry"]), *hooks()[hook].get("args", ())]
    assert program == "contrast-tasks"
    assert not hooks()[hook]["pass_filenames"]
    return words


def test_hooks_are_what_pre_commit_takes() -> None:
    """Source: pre-commit's own schema, which it validates the file with."""
    clientlib = pytest.importorskip("pre_commit.clientlib")

    loaded = clientlib.load_manifest(str(ROOT / ".pre-commit-hooks.yaml"))
    own = clientlib.load_config(str(ROOT / "templates/ci/pre-commit.yaml"))

    assert [hook["id"] for hook in loaded] == ["contrast-lint", "contrast-generate-check"]
    assert {hook["id"] for hook in own["repos"][0]["hooks"]} <= set(hooks())


def test_the_hooks_fail_for_errors_and_for_what_was_not_generated(
    project: FakeProject, terminal: Terminal
) -> None:
    assert terminal.run(*words_of("contrast-lint")).code == 0
    assert terminal.run(*words_of("contrast-generate-check")).code == 5

    assert terminal.run("generate").code == 0
    assert terminal.run(*words_of("contrast-generate-check")).code == 0

    project.write("broken.yml", "kind: Deployment\nmetadata: [\n")
    assert terminal.run(*words_of("contrast-lint")).code == 12


@pytest.mark.e2e
def test_pre_commit_installs_the_hooks_and_runs_them(project: FakeProject, tmp_path: Path) -> None:
    """By the file that `init --ci pre-commit` writes, with this checkout's last commit as the copy."""
    config = (ROOT / "templates/ci/pre-commit.yaml").read_text()
    for name, value in {
        "https://git.example/contrast-tasks.git": str(ROOT),
        "COMMIT\n": subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True),
        "path/to/project": ".",
        "      # ": "      ",  # the second hook
        "      For": "      # For",
    }.items():
        assert name in config
        config = config.replace(name, value)
    (project.root / ".pre-commit-config.yaml").write_text(config)
    (project.root / ".gitignore").write_text("/.contrast/\n")  # as `init` does
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CONTRAST_")}
    environment = {**kept, "PRE_COMMIT_HOME": str(tmp_path / "pre-commit")}

    def run(*files: str) -> dict[str, str]:
        subprocess.run(["git", "add", "--all"], cwd=project.root, check=True)
        done = subprocess.run(
            [sys.executable, "-m", "pre_commit", "run", "--files", *files],
            cwd=project.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.findall(
            r"^contrast-tasks ([a-z]+).*\.(Passed|Failed)$", done.stdout, re.MULTILINE
        )
        assert found, done.stdout + done.stderr
        codes = re.findall(r"^- exit code: (\d+)$", done.stdout, re.MULTILINE)
        return {hook: how if how == "Passed" else codes.pop(0) for hook, how in found}

    subprocess.run(["git", "init", "--quiet"], cwd=project.root, check=True)
    before = run("deployment/shop.yml")
    generate = [sys.executable, "-m", "contrast_tasks", "generate"]
    generated = subprocess.run(
        generate, cwd=project.root, env={**environment, "PYTHONPATH": str(ROOT)}, check=False
    ).returncode
    after = run("README")
    project.write("broken.yml", "kind: Deployment\nmetadata: [\n")
    broken = run("contrast.lock")

    assert (before, generated) == ({"lint": "Passed", "generate": "5"}, 0)
    assert after == {"lint": "Passed", "generate": "Passed"}
    assert broken == {"lint": "12", "generate": "12"}


@pytest.mark.parametrize("name", ["action.yml", "templates/ci/github.yml"])
def test_actions_of_others_are_named_by_commit(name: str) -> None:
    used = set(re.findall(r"uses: (\S+)", (ROOT / name).read_text()))

    assert {each for each in used if not PINNED.fullmatch(each)} <= UNPINNED


def test_no_input_of_the_action_is_read_as_a_script() -> None:
    """GitHub puts an expression's value into the text of a script before a shell reads it."""
    action = document("action.yml")
    steps = action["runs"]["steps"]
    named = set(re.findall(r"inputs\.([\w-]+)", (ROOT / "action.yml").read_text()))

    assert [step["name"] for step in steps if "${{" in step["run"]] == []
    assert {step["shell"] for step in steps} == {"bash"}
    assert named == set(action["inputs"])


class Runner:
    """Does the steps of the action as GitHub's runner does: expressions, environment, PATH and both files between steps."""

    def __init__(self, folder: Path, workspace: Path) -> None:
        self.temp = folder / "runner temp"
        self.workspace = workspace
        self.files = {name: folder / name for name in ("GITHUB_ENV", "GITHUB_PATH")}
        for file in self.files.values():
            file.touch()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CONTRAST_")}
        self.environment = {
            **kept,
            **{name: str(file) for name, file in self.files.items()},
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(workspace),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }
        environment_of_this_checkout(self.temp / "contrast-tasks/venv")

    def run(self, **inputs: str) -> list[subprocess.CompletedProcess[str]]:
        action = document("action.yml")
        given = {name: value["default"] for name, value in action["inputs"].items()}
        given |= {name.replace("_", "-"): value for name, value in inputs.items()}
        values = {f"inputs.{name}": value for name, value in given.items()}
        values |= {"github.action_path": str(ROOT), "runner.temp": str(self.temp)}
        done = []
        for step in action["runs"]["steps"]:
            condition = step.get("if", "true")
            if condition != "true" and not values[condition.removesuffix(" != ''")]:
                continue
            own = {
                key: re.sub(r"\$\{\{ (.+?) \}\}", lambda found: values[found[1]], value)
                for key, value in step["env"].items()
            }
            done.append(self._step(step["run"], own))
            if done[-1].returncode:
                break
        return done

    def _step(self, script: str, own: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Source: what GitHub documents for `shell: bash`, and its files GITHUB_PATH and GITHUB_ENV."""
        before = self.files["GITHUB_PATH"].read_text().splitlines()
        kept = dict(
            line.split("=", 1) for line in self.files["GITHUB_ENV"].read_text().splitlines()
        )
        path = os.pathsep.join([*reversed(before), os.environ["PATH"]])
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.workspace,
            env={**self.environment, **kept, "PATH": path, **own},
            capture_output=True,
            text=True,
            check=False,
        )


def environment_of_this_checkout(venv: Path) -> None:
    """Make what the first run of doitw makes, with the packages of these tests."""
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (venv / "bin/python").chmod(0o755)
    shutil.copy(ROOT / "requirements.lock", venv)


@pytest.mark.e2e
def test_the_action_checks_a_project_and_leaves_the_command_to_later_steps(
    project: FakeProject, tmp_path: Path
) -> None:
    runner = Runner(tmp_path, project.root.parent)

    *_, wrote, ran = runner.run(project=project.root.name, sarif_file="out.sarif")

    assert (ran.returncode, wrote.returncode) == (0, 0), ran.stderr + wrote.stderr
    assert '"version": "2.1.0"' in (project.root.parent / "out.sarif").read_text()
    assert runner.files["GITHUB_PATH"].read_text() == f"{runner.temp}/contrast-tasks/bin\n"

    generated = runner.run(project=project.root.name, command="generate --output json")[-1]
    assert generated.returncode == 0, generated.stderr
    assert (project.root / "manifest.json").is_file()

    project.write("broken.yml", "kind: Deployment\nmetadata: [\n")
    *_, wrote, ran = runner.run(
        project=project.root.name, sarif_file="out.sarif", fail_on="warning"
    )
    assert (ran.returncode, wrote.returncode) == (12, 0)
    assert f"::error file={project.root.name}/deployment/broken.yml,line=" in ran.stdout
    found = f'"uri": "{project.root.name}/deployment/broken.yml"'
    assert found in (project.root.parent / "out.sarif").read_text()

    hostile = runner.run(project=project.root.name, command="lint; touch pwned $(touch pwned)")[-1]
    assert hostile.returncode == 2
    assert not list(project.root.parent.rglob("pwned"))


@pytest.mark.e2e
def test_the_jobs_of_gitlab_write_their_reports(project: FakeProject, tmp_path: Path) -> None:
    template = document("templates/ci/gitlab.yml")
    job = {**template[".contrast-tasks"], **template["contrast-lint"]}
    assert job.pop("extends") == ".contrast-tasks"
    venv = tmp_path / "venv"
    environment_of_this_checkout(venv)
    lock = ["git", "show", "HEAD:requirements.lock"]
    (venv / "requirements.lock").write_bytes(subprocess.check_output(lock, cwd=ROOT))
    settings = {**job["variables"], "CONTRAST_PROJECT": "."}
    settings |= {"TOOL": str(ROOT), "TOOL_REVISION": "HEAD"}
    here = str(project.root)
    variables = {key: value.replace("$CI_PROJECT_DIR", here) for key, value in settings.items()}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CONTRAST_")}
    environment = {**kept, **variables, "CI_PROJECT_DIR": here, "CONTRAST_VENV": str(venv)}

    def run() -> subprocess.CompletedProcess[str]:
        script = "\n".join(["set -eo pipefail", *job["before_script"], *job["script"]])
        return subprocess.run(
            ["bash", "-c", script],
            cwd=project.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    first = run()
    assert first.returncode == 0, first.stderr
    project.write("broken.yml", "kind: Deployment\nmetadata: [\n")
    second = run()

    assert second.returncode == 12, second.stderr
    (sarif,), junit = job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]
    assert "broken.yml" in (project.root / sarif).read_text()
    assert "<failure" in (project.root / junit).read_text()
    quality = json.loads((project.root / job["artifacts"]["reports"]["codequality"]).read_text())
    assert {each["location"]["path"] for each in quality} == {"deployment/broken.yml"}
    assert job["artifacts"]["when"] == "always"
