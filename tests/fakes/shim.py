"""A sandbox with one container in a shim, as short as a test can say it."""

from collections.abc import Mapping, Sequence
from typing import Any

from contrast_tasks.agent_messages import Request
from contrast_tasks.runtime.host_files import HostFiles
from contrast_tasks.runtime.shim.network import Network
from contrast_tasks.runtime.shim.service import Host, ShimService
from contrast_tasks.runtime.shim_versions import shim_version

SANDBOX, APP, OTHER = "5a" * 32, "c1" * 32, "c2" * 32
VOLUMES = "/var/lib/kubelet/pods/31df313a/volumes"


def spec_of(
    kind: str = "container",
    *,
    mounts: Sequence[Mapping[str, Any]] = (),
    annotations: Mapping[str, str] | None = None,
    linux: Mapping[str, Any] | None = None,
    **members: Any,
) -> dict[str, Any]:
    """Return a specification with the members that every one has."""
    names = {
        "container-type": kind,
        "image-name": "registry.test/app@sha256:1",
        "container-name": "app",
    }
    kept = names if kind == "container" else {"container-type": kind}
    return {
        "ociVersion": "1.1.0",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/app"], "cwd": "/"},
        "root": {"path": "rootfs"},
        "mounts": [
            {"type": "bind", "options": ["rbind", "rprivate", "rw"], **each} for each in mounts
        ],
        "annotations": {
            **{f"io.kubernetes.cri.{key}": value for key, value in kept.items()},
            **(annotations or {}),
        },
        "linux": {"resources": {}, "cgroupsPath": "/pod", "namespaces": [], **(linux or {})},
        **members,
    }


def service_of(
    shim: str = "stock-4.1.0",
    *,
    files: HostFiles | None = None,
    network: Network | None = None,
    resolv_conf: str = "nameserver 10.96.0.10\n",
) -> ShimService:
    """Return a shim that nobody has called yet."""
    host = Host(
        files=files or HostFiles(trees={}), network=network or Network(), resolv_conf=resolv_conf
    )
    return ShimService(shim_version(shim), host)


def running(shim: str = "stock-4.1.0", **host: Any) -> ShimService:
    """Return a shim with a sandbox."""
    service = service_of(shim, **host)
    list(service.create(SANDBOX, spec_of("sandbox")))
    list(service.start(SANDBOX))
    return service


def kinds(requests: Sequence[Request]) -> list[str]:
    """Return the kinds of requests, without `Request`."""
    return [each.kind.removesuffix("Request") for each in requests]
