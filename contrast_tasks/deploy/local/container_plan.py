"""How one container of a pod becomes a process: paths, command line, probes.

Pods that are processes have no mount namespaces, so absolute paths are translated: below a mount into the volume's folder, else into
the unpacked image if the file exists there. Source of the rules: Kubernetes API, Container.
"""

import os
import posixpath
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from contrast_tasks.deploy.local.environment import expand_variables
from contrast_tasks.deploy.local.images import UnpackedImage
from contrast_tasks.errors import ClusterError
from contrast_tasks.local.messages import Probe

_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
_DEFAULT_PERIOD_S = 10
_DEFAULT_FAILURES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMap:
    """Translates absolute paths of a container to paths of this machine.

    mounts: container path -> folder or file here; rootfs: the unpacked image.
    """

    mounts: Mapping[str, str]
    rootfs: Path

    def translate(self, text: str) -> str:
        """Translate one absolute path; other texts and paths that do not exist are returned unchanged."""
        if not text.startswith("/"):
            return text
        for mount in sorted(self.mounts, key=len, reverse=True):
            if text == mount or text.startswith(mount.rstrip("/") + "/"):
                return self.mounts[mount] + text[len(mount.rstrip("/")) :]
        inside = self.rootfs / text.lstrip("/")
        return str(inside) if os.path.lexists(inside) else text

    def folder(self, text: str) -> str:
        """Translate a working folder, "" for none. A folder that the image lacks is inside it, as runtimes create it there."""
        if not text:
            return ""
        path = posixpath.normpath(f"/{text.lstrip('/')}")
        place = self.translate(path)
        return str(self.rootfs / path[1:]) if place == path else place

    def translate_value(self, text: str) -> str:
        """Translate an environment value or argument if it is a path or a list of paths."""
        option, equals, value = text.partition("=")
        if option.startswith("-") and equals:
            return f"{option}={self.translate_value(value)}"
        parts = text.split(":")
        if all(part.startswith("/") for part in parts):
            return ":".join(self.translate(part) for part in parts)
        return text


def search_path(image_path: str, rootfs: Path) -> str:
    """Return PATH: the folder of this interpreter, the image's folders, the system's."""
    inside = [str(rootfs / folder.lstrip("/")) for folder in image_path.split(":") if folder]
    # Not resolved, because the interpreter of a virtual environment is a link.
    return ":".join([str(Path(sys.executable).parent), *inside, _SYSTEM_PATH])


def command_line(
    container: Mapping[str, Any],
    image: UnpackedImage,
    *,
    env: Mapping[str, str],
    paths: PathMap,
    where: str,
) -> tuple[str, ...]:
    """Return the argument vector. Raises ClusterError if neither pod nor image names a program."""
    command = container.get("command") or image.entrypoint
    # The image's arguments belong to the image's own entrypoint.
    args = container.get("args") or (() if container.get("command") else image.cmd)
    argv = [expand_variables(str(item), env) for item in (*command, *args)]
    if not argv:
        raise ClusterError(f"{where}: neither the pod nor its image names a command")
    return tuple(paths.translate_value(item) for item in argv)


def container_ports(container: Mapping[str, Any]) -> dict[str, int]:
    """Return the declared TCP ports by name, or by number if they have no name."""
    return {
        str(port.get("name") or port["containerPort"]): int(port["containerPort"])
        for port in container.get("ports") or ()
        if port.get("protocol", "TCP") == "TCP"
    }


def probe_plan(
    probe: Mapping[str, Any] | None,
    *,
    ports: Mapping[str, int],
    addresses: Sequence[str],
    paths: PathMap,
    where: str,
) -> Probe | None:
    """Return a probe with its addresses filled in. Raises ClusterError for one that is not supported here.

    addresses: the pod's own, and the application's behind a mesh. A TCP probe connects to both, because the proxy accepts
    every connection.
    """
    if not probe:
        return None
    delay_s = float(probe.get("initialDelaySeconds") or 0)
    period_s = float(probe.get("periodSeconds") or _DEFAULT_PERIOD_S)
    failures = int(probe.get("failureThreshold") or _DEFAULT_FAILURES)
    made = partial(
        Probe,
        timeout_s=float(probe.get("timeoutSeconds") or 1),
        limit_s=delay_s + period_s * failures,
        delay_s=delay_s,
        period_s=period_s,
        failures=failures,
    )
    if "exec" in probe:
        command = tuple(paths.translate_value(str(item)) for item in probe["exec"]["command"])
        return made(kind="exec", command=command)
    if "tcpSocket" in probe:
        port = _port(probe["tcpSocket"]["port"], ports, where)
        return made(kind="tcp", endpoints=tuple((address, port) for address in addresses))
    if "httpGet" in probe:
        get = probe["httpGet"]
        endpoint = (get.get("host") or addresses[0], _port(get["port"], ports, where))
        return made(
            kind=str(get.get("scheme") or "HTTP").lower(),
            endpoints=(endpoint,),
            path=get.get("path") or "/",
            headers=tuple(
                (str(header["name"]), str(header["value"]))
                for header in get.get("httpHeaders") or ()
            ),
        )
    raise ClusterError(f"{where}: platform local has no probe {', '.join(sorted(probe))}")


def _port(value: Any, ports: Mapping[str, int], where: str) -> int:
    if isinstance(value, int):
        return value
    if value in ports:
        return ports[value]
    if str(value).isdecimal():
        return int(value)
    raise ClusterError(
        f"{where}: the probe names port {value!r}, the container has none of that name"
    )
