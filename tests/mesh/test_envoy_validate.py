"""The bootstraps we render, judged by the real Envoy."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.guest.secret_files import SecretFiles, write_credentials
from contrast_tasks.guest.sidecar import tls_paths
from contrast_tasks.mesh.envoy import render_bootstrap
from contrast_tasks.mesh.envoy_binary import find_envoy
from contrast_tasks.mesh.envoy_tls import secret_files
from contrast_tasks.mesh.local import LocalMesh
from tests.fakes.mesh import mesh_of
from tests.fakes.mesh_pki import Authority

pytestmark = pytest.mark.e2e
WEB = {
    "ingress": "web#8080#false##metrics#7890#true",
    "egress": "emoji#127.137.0.1:8081#emoji-svc:8080##voting#127.137.0.2:8081#[fd00::1]:8080",
    "admin_port": "9901",
    "ingress_peers": "8081=web,10.0.0.1",
    "egress_peers": "emoji=emoji",
}
LOCAL = LocalMesh(
    pod_address="127.77.0.2",
    app_address="127.78.0.2",
    ports=(8080, 8081, 7890),
    resolve={"emoji-svc:8080": ("127.77.0.3", 8080)},
    egress={},
)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a folder with the secrets that the bootstrap names."""
    folder = tmp_path_factory.mktemp("tls")
    files = SecretFiles.below(folder / "contrast")
    key = ec.generate_private_key(ec.SECP256R1())
    write_credentials(files, Authority().issue(key.public_key()), key)
    for name, secret in secret_files(tls_paths(files)).items():
        (folder / name).write_text(json.dumps(secret))
    return str(folder)


def validate(bootstrap: object) -> subprocess.CompletedProcess[str]:
    command = [
        find_envoy(os.environ),
        "--mode",
        "validate",
        "--disable-hot-restart",
        "--config-yaml",
        json.dumps(bootstrap),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("annotations", "local"),
    [
        pytest.param({}, None, id="default"),
        pytest.param(WEB, None, id="web"),
        pytest.param(WEB, LOCAL, id="web-local"),
    ],
)
def test_envoy_accepts_what_we_render(
    annotations: dict[str, str], local: LocalMesh | None, secrets: str
) -> None:
    bootstrap = render_bootstrap(mesh_of(**annotations), secrets_directory=secrets, local=local)

    result = validate(bootstrap)

    assert result.returncode == 0, result.stderr


def test_envoy_refuses_missing_secrets(tmp_path: Path) -> None:
    bootstrap = render_bootstrap(mesh_of(), secrets_directory=str(tmp_path))

    result = validate(bootstrap)

    assert result.returncode == 1
    assert str(tmp_path) in result.stderr
