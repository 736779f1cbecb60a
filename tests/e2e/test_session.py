"""Commands one after the other, as people type them: the README's session, and what came before must not matter."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrast_tasks.local.client import NodeClient
from contrast_tasks.local.paths import local_paths
from tests.fakes.secrets import shown_by_files

pytestmark = pytest.mark.e2e

CHECKOUT = Path(__file__).parents[2]
FOLDERS = ("contrast_tasks", "coordinator", "dev", "examples", "schemas", "templates")
FILES = ("contrast.toml", "dodo.py", "doitw", "requirements.lock")


class Shell:
    """A clone with an environment that is there already, and somebody who types into it."""

    def __init__(self, root: Path, venv: Path) -> None:
        self.root, self.venv = root, venv
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CONTRAST_")}
        self._environ = {**kept, "CONTRAST_VENV": str(venv), "NO_COLOR": "1"}
        self._environ.pop("PYTHONPATH", None)

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.root,
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        # As somebody may keep it who has trouble.
        with (self.root / "shown.txt").open("a") as file:
            file.write(done.stdout + done.stderr)
        return done

    def end(self) -> None:
        """Stop what runs; neither what was shown nor any file may show a secret."""
        NodeClient(paths=local_paths(self.root)).shutdown()
        if (self.root / "seed-shares.json").exists():
            assert shown_by_files(self.root) == []

    def succeed(self, line: str) -> str:
        """Type a line that must work and return everything that was shown."""
        done = self.type(line)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Return a clone in which nobody has typed anything yet."""
    folder = tmp_path_factory.mktemp("session")
    root, venv = folder / "clone", folder / "venv"
    for name in FOLDERS:
        shutil.copytree(
            CHECKOUT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "_data")
        )
    for name in FILES:
        shutil.copy(CHECKOUT / name, root / name)
    (venv / "bin").mkdir(parents=True)
    shutil.copy(CHECKOUT / "requirements.lock", venv)
    (venv / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (venv / "bin" / "python").chmod(0o755)
    return Shell(root, venv)


@pytest.fixture(scope="module")
def generated(clone: Shell, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Return a clone that was deployed once and stopped before a manifest was set."""
    shell = copied(clone, tmp_path_factory.mktemp("generated") / "clone")
    shell.succeed("./doitw deploy")
    shell.succeed("./doitw stop")
    return shell


def copied(shell: Shell, root: Path) -> Shell:
    shutil.copytree(shell.root, root, symlinks=True)
    return Shell(root, shell.venv)


@pytest.fixture
def fresh(clone: Shell, tmp_path: Path) -> Iterator[Shell]:
    shell = copied(clone, tmp_path / "clone")
    yield shell
    shell.end()


@pytest.fixture
def shell(generated: Shell, tmp_path: Path) -> Iterator[Shell]:
    shell = copied(generated, tmp_path / "clone")
    yield shell
    shell.end()


def readme_session() -> list[str]:
    """Return the lines of the README's first block, but for the one that runs these tests."""
    block = re.search(r"```sh\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    return [line for line in block[1].splitlines() if not line.startswith("./doitw test")]


def test_the_session_of_the_readme_works_line_by_line_before_and_after_a_demo(
    fresh: Shell,
) -> None:
    fresh.succeed("./doitw demo")

    shown = {line.partition("#")[0].strip(): fresh.succeed(line) for line in readme_session()}
    again = fresh.succeed("./doitw deploy set verify")

    first = shown["./doitw deploy set verify"]
    for said in (first, again):
        assert "set manifest.json at coordinator " in said
        assert "(generation 1), mesh CA " in said
        assert "wrote seed-shares.json\n" in said
        assert "recover" not in said
    assert "up to date" in shown["./doitw generate"]
    assert "not ready" in shown["./doitw status"] or "pods are ready" in shown["./doitw status"]
    # One more where pods have namespaces, and another if the packages of an image are in the cache.
    assert re.search("all 1[789] steps passed", shown["./doitw demo"])


def test_a_restarted_coordinator_is_recovered_by_deploy_if_share_and_key_are_here(
    shell: Shell,
) -> None:
    shell.succeed("./doitw deploy set verify")
    shell.succeed("./doitw stop")

    deployed = shell.succeed("./doitw deploy")
    ready = shell.succeed("./doitw status --wait 60")
    verified = shell.succeed("./doitw verify")

    assert "recovered it with seed-shares.json and seedshare-owner.pem" in deployed
    assert "all 5 pods are ready" in ready
    assert "(generation 1), mesh CA " in verified


def test_pods_that_kept_running_get_certificates_of_the_recovered_coordinator(
    shell: Shell,
) -> None:
    shell.succeed("./doitw deploy set")
    shell.succeed("./doitw status --wait 60")
    client = NodeClient(paths=local_paths(shell.root))
    client.restart(["coordinator"])
    client.wait(["coordinator"], until="started", timeout_s=60)

    deployed = shell.succeed("./doitw deploy")
    again = shell.type("./doitw recover")

    assert "recovered it with seed-shares.json and seedshare-owner.pem" in deployed
    assert "restarted web, for a certificate of the new mesh CA" in deployed
    assert again.returncode == 2
    assert "is not in recovery mode, there is nothing to recover" in again.stderr
    shell.succeed("./doitw status --wait 60")


def test_without_the_share_deploy_names_both_ways_and_a_fresh_one_begins_anew(
    shell: Shell,
) -> None:
    shell.succeed("./doitw deploy set")
    shell.succeed("./doitw stop")
    share = shell.root / "seed-shares.json"
    share.rename(shell.root / "kept-elsewhere.json")

    refused = [shell.type(f"./doitw {words}") for words in ("deploy", "set", "verify")]
    recovered = shell.succeed("./doitw recover --seed kept-elsewhere.json")
    fresh = shell.succeed("./doitw deploy --fresh set verify")

    for done in refused:
        assert done.returncode == 40
        assert "in recovery mode" in done.stderr
        assert "'./doitw recover'" in done.stderr
        assert "'./doitw deploy --fresh'" in done.stderr
    assert "recovered coordinator " in recovered
    assert "to begin anew\nthe coordinator's earlier history is forgotten\n" in fresh
    assert "(generation 1), mesh CA " in fresh


def test_a_repeated_set_says_that_workloads_need_a_restart(shell: Shell) -> None:
    shell.succeed("./doitw deploy set")
    shell.succeed("./doitw status --wait 60")

    again = shell.succeed("./doitw set verify")
    restarted = shell.succeed("./doitw restart")
    audit = shell.succeed("./doitw audit")

    assert "manifest.json is in force already" in again
    assert "until './doitw restart'" in again
    assert "(generation 2), mesh CA " in again
    assert "4 pods restarted, all ready\n" in restarted
    assert "changed  nothing: set again, unchanged\n" in audit
