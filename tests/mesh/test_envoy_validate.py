"""The bootstraps we render, judged by the real Envoy."""

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from contrast_tasks.mesh.envoy import render_bootstrap
from contrast_tasks.mesh.envoy_binary import find_envoy
from contrast_tasks.mesh.envoy_tls import secret_files
from contrast_tasks.mesh.local import LocalMesh
from tests.fakes.mesh import mesh_of
from tests.fakes.mesh_pki import tls_paths

pytestmark = pytest.mark.e2e
NOW = datetime(2025, 10, 1, tzinfo=UTC)
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
    directory = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mesh CA")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (directory / "certChain.pem").write_bytes(pem)
    (directory / "mesh-ca.pem").write_bytes(pem)
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    for name, secret in secret_files(tls_paths(directory)).items():
        (directory / name).write_text(json.dumps(secret))
    return str(directory)


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
