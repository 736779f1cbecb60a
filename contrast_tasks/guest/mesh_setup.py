"""What the sidecar makes of its environment: the mesh configuration and Envoy's bootstrap.

The three CONTRAST_* variables are those that `generate` writes into the pod and that its policy covers. On this
machine the local backend adds CONTRAST_LOCAL_MESH, because pods without network namespaces cannot redirect traffic:

    {"pod_address": "127.77.0.3", "app_address": "127.78.0.3", "ports": [8080],
     "resolve": {"emoji-svc:8080": ["127.77.0.4", 8080]},
     "egress": {"127.137.0.1:8081": "127.137.0.1:8081"}}
"""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from contrast_tasks.errors import SettingsError
from contrast_tasks.guest.secret_files import SecretFiles
from contrast_tasks.mesh.annotations import parse_mesh
from contrast_tasks.mesh.envoy import (
    BootstrapOptions,
    LocalListener,
    TlsPaths,
    render_bootstrap,
    render_secrets,
)
from contrast_tasks.mesh.model import MeshConfig

ADMIN_SOCKET = "envoy-admin.sock"
BOOTSTRAP_FILE = "envoy-config.yml"
SECRETS_FOLDER = "envoy-secrets"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMesh:
    """Addresses that stand in for the packet filter; `egress` maps annotated to real listen addresses."""

    pod_address: str
    app_address: str
    ports: tuple[int, ...]
    resolve: Mapping[str, tuple[str, int]]
    egress: Mapping[str, str]


def parse_local_mesh(text: str) -> LocalMesh:
    """Return the value of CONTRAST_LOCAL_MESH; raise SettingsError if it is not of that form."""
    try:
        document = json.loads(text)
        return LocalMesh(
            pod_address=document["pod_address"],
            app_address=document["app_address"],
            ports=tuple(int(port) for port in document["ports"]),
            resolve={name: (ip, int(port)) for name, (ip, port) in document["resolve"].items()},
            egress=dict(document["egress"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise SettingsError(f"CONTRAST_LOCAL_MESH is not understood: {err!r}") from err


def parse_config(environ: Mapping[str, str]) -> MeshConfig:
    """Return the configuration of the pod; raises MeshError with every problem."""
    return parse_mesh(
        ingress=environ.get("CONTRAST_INGRESS_PROXY_CONFIG"),
        egress=environ.get("CONTRAST_EGRESS_PROXY_CONFIG"),
        admin_port=environ.get("CONTRAST_ADMIN_PORT"),
        ingress_peers=environ.get("CONTRAST_INGRESS_PEERS"),
        egress_peers=environ.get("CONTRAST_EGRESS_PEERS"),
    )


def moved(config: MeshConfig, local: LocalMesh) -> MeshConfig:
    """Return the configuration with the egress listeners where this machine has room for them."""
    entries = []
    for entry in config.egress:
        address, _, port = local.egress.get(entry.listen, entry.listen).rpartition(":")
        entries.append(replace(entry, listen_ip=address, listen_port=int(port)))
    return replace(config, egress=tuple(entries))


def local_listeners(config: MeshConfig, local: LocalMesh) -> tuple[LocalListener, ...]:
    """Return one ingress listener per port, in the mode that the annotation gives it."""
    plain, without_client = config.ports("plain"), config.ports("tls")
    return tuple(
        LocalListener(
            bind_ip=local.pod_address,
            port=port,
            app_ip=local.app_address,
            require_client_certificate=port not in without_client,
            is_plain=port in plain,
        )
        for port in local.ports
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSetup:
    """Everything Envoy is started with.

    admin: ("127.0.0.1", port) if the admin interface was asked for, else None and it is a socket in the working
    folder; listeners: how many must be active before the pod is ready; secrets: file name to content.
    """

    bootstrap: dict[str, Any]
    secrets: Mapping[str, dict[str, Any]]
    admin: tuple[str, int] | None
    listeners: int


def prepare_mesh(
    config: MeshConfig, *, files: SecretFiles, folder: Path, local: LocalMesh | None
) -> MeshSetup:
    """Return Envoy's start-up files; `folder` is where they will lie, certificates are watched for renewal."""
    paths = TlsPaths.in_directory(str(files.key.parent))
    secrets_directory = str(folder / SECRETS_FOLDER)
    admin_ip = "127.0.0.1"
    if local is None:
        options = BootstrapOptions(secrets_directory=secrets_directory, dual_stack=has_ipv6())
    else:
        config = moved(config, local)
        admin_ip = local.app_address
        options = BootstrapOptions(
            mode="local",
            local_listeners=local_listeners(config, local),
            resolve=local.resolve,
            secrets_directory=secrets_directory,
            admin_ip=admin_ip,
        )
    bootstrap = render_bootstrap(config, paths=paths, options=options)
    listeners = bootstrap["static_resources"]["listeners"]
    if local is not None:
        for listener in listeners:
            # Another pod's Envoy on the same address must be an error; shared ports would split connections.
            listener["enable_reuse_port"] = False
    if config.admin_port is None:
        # Relative, as a socket's path may have 107 bytes only; Envoy runs in `folder`.
        bootstrap["admin"] = {"address": {"pipe": {"path": ADMIN_SOCKET, "mode": 0o600}}}
    return MeshSetup(
        bootstrap=bootstrap,
        secrets=render_secrets(paths),
        admin=None if config.admin_port is None else (admin_ip, config.admin_port),
        listeners=len(listeners),
    )


def has_ipv6() -> bool:
    """Return whether this kernel lets us listen on IPv6; without it nobody can come in that way either."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True
