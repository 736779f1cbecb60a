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

from contrast_tasks.mesh.annotations import parse_mesh
from contrast_tasks.mesh.envoy import (
    BootstrapOptions,
    LocalListener,
    TlsPaths,
    render_bootstrap,
    render_secrets,
)
from contrast_tasks.mesh.envoy_binary import find_envoy

pytestmark = pytest.mark.e2e
NOW = datetime(2025, 10, 1, tzinfo=UTC)
WEB = {
    "ingress": "web#8080#false##metrics#7890#true",
    "egress": "emoji#127.137.0.1:8081#emoji-svc:8080##voting#127.137.0.2:8081#[fd00::1]:8080",
    "admin_port": "9901",
    "ingress_peers": "8081=web,10.0.0.1",
    "egress_peers": "emoji=emoji",
}
LOCAL = BootstrapOptions(
    mode="local",
    local_listeners=(
        LocalListener(
            bind_ip="127.77.0.2", port=8080, app_ip="127.78.0.2", require_client_certificate=False
        ),
        LocalListener(
            bind_ip="127.77.0.2", port=8081, app_ip="127.78.0.2", require_client_certificate=True
        ),
        LocalListener(
            bind_ip="127.77.0.2",
            port=7890,
            app_ip="127.78.0.2",
            require_client_certificate=False,
            is_plain=True,
        ),
    ),
    resolve={"emoji-svc:8080": ("127.77.0.3", 8080)},
)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsPaths:
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
    return TlsPaths.in_directory(str(directory))


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
    ("annotations", "options"),
    [
        pytest.param({}, BootstrapOptions(), id="default"),
        pytest.param({}, BootstrapOptions.reference(), id="default-reference"),
        pytest.param(WEB, BootstrapOptions(), id="web"),
        pytest.param(WEB, BootstrapOptions.reference(), id="web-reference"),
        pytest.param(WEB, LOCAL, id="web-local"),
    ],
)
def test_envoy_accepts_what_we_render(
    annotations: dict[str, str], options: BootstrapOptions, tls: TlsPaths
) -> None:
    bootstrap = render_bootstrap(parse_mesh(**annotations), paths=tls, options=options)

    result = validate(bootstrap)

    assert result.returncode == 0, result.stderr


def test_envoy_accepts_watched_secrets(tls: TlsPaths, tmp_path: Path) -> None:
    for name, secret in render_secrets(tls).items():
        (tmp_path / name).write_text(json.dumps(secret))
    options = BootstrapOptions(secrets_directory=str(tmp_path))
    bootstrap = render_bootstrap(parse_mesh(**WEB), paths=tls, options=options)

    result = validate(bootstrap)

    assert result.returncode == 0, result.stderr


def test_envoy_refuses_missing_certificates(tmp_path: Path) -> None:
    bootstrap = render_bootstrap(parse_mesh(), paths=TlsPaths.in_directory(str(tmp_path)))

    result = validate(bootstrap)

    assert result.returncode == 1
    assert f"Invalid path: {tmp_path}" in result.stderr
