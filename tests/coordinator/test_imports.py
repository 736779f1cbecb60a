"""What the Coordinator's image has to hold: the trusted base stays small."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = ("doit", "jinja2", "yaml")
FORBIDDEN_PARTS = ("tasks", "steps", "kube", "images", "policy", "cli", "report", "local", "mesh")


def test_the_whole_coordinator_loads_without_the_pipeline() -> None:
    code = (
        "import pkgutil, importlib, sys, coordinator\n"
        "for m in pkgutil.walk_packages(coordinator.__path__, 'coordinator.'):\n"
        "    importlib.import_module(m.name)\n"
        "for name in ('claims', 'issuers.environment', 'issuers.simulated', 'validators'):\n"
        "    importlib.import_module(f'contrast_tasks.attestation.{name}')\n"
        "import contrast_tasks.manifest.codec\n"
        "print('\\n'.join(sys.modules))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    loaded = set(done.stdout.split())
    assert "coordinator.transport" in loaded
    assert [name for name in FORBIDDEN if name in loaded] == []
    assert [part for part in FORBIDDEN_PARTS if f"contrast_tasks.{part}" in loaded] == []


def test_outside_of_kubernetes_its_client_is_not_loaded() -> None:
    code = "import sys, coordinator.service; print('\\n'.join(sys.modules))"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "coordinator.service" in done.stdout
    assert not {"urllib3", "coordinator.kubernetes"} & set(done.stdout.split())


def test_options_are_parsed_before_anything_heavy_is_loaded() -> None:
    code = "import sys, coordinator.__main__; print('\\n'.join(sys.modules))"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "coordinator.options" in done.stdout
    assert not {"grpc", "cryptography", "OpenSSL"} & set(done.stdout.split())
