"""A run that does nothing loads nothing it does not need."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.fakes.commands import Terminal
from tests.fakes.workloads import FakeProject

pytestmark = pytest.mark.e2e

_ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = (
    "cryptography",
    "grpc",
    "jinja2",
    "jsonschema",
    "OpenSSL",
    "urllib3",
    "ruamel",
    "yaml",
)
_DRIVER = textwrap.dedent(
    """
    import sys
    from contrast_tasks.cli.main import main
    code = main(sys.argv[1:])
    print("\\n".join(sorted({name.partition(".")[0] for name in sys.modules})))
    sys.exit(code)
    """
)


def _modules(project: FakeProject, *words: str, says: str = "up to date (4 workloads") -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER, *words],
        cwd=project.root,
        env={**os.environ, "CONTRAST_PROJECT": str(project.root), "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.startswith(says)
    return set(done.stdout.splitlines())


def _make_old(project: FakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files be older than two seconds, without waiting for it."""
    import time

    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10_000_000_000)


def test_a_no_op_loads_no_heavy_module(terminal: Terminal, project: FakeProject) -> None:
    terminal.run("generate")

    loaded = _modules(project, "generate")

    assert "doit" in loaded
    assert not loaded.intersection(FORBIDDEN)


def test_a_first_run_loads_no_http_client_and_no_schema_validator(project: FakeProject) -> None:
    loaded = _modules(project, "generate", says="")

    assert not loaded.intersection({"urllib3", "certifi", "jsonschema"})


def test_one_changed_workload_needs_no_keys_images_or_schemas(
    terminal: Terminal, project: FakeProject
) -> None:
    terminal.run("generate")
    text = project.read("deployment/shop.yml")
    project.write(
        "shop.yml", text.replace("- name: shelf\n", "- name: shelf\n          args: [new]\n")
    )

    loaded = _modules(project, "generate", says="")

    assert "yaml" in loaded
    assert not loaded.intersection({"cryptography", "jsonschema", "urllib3", "tarfile"})


def test_a_no_op_from_the_snapshot_does_not_even_load_doit(
    terminal: Terminal, project: FakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.run("generate")
    _make_old(project, monkeypatch)
    terminal.run("generate")

    loaded = _modules(project, "generate")

    assert not loaded.intersection((*FORBIDDEN, "doit", "argparse", "tomllib", "dataclasses"))


def test_help_and_version_load_no_heavy_module() -> None:
    for word in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", _DRIVER, word],
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert not set(done.stdout.splitlines()).intersection((*FORBIDDEN, "doit"))
