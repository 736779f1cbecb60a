"""How one container of a pod becomes a process: command line, environment, paths, probes.

There are no mount namespaces here, so absolute paths are translated: below a mount to the volume's folder, else
into the unpacked image if the file is there. Source of the rules: Kubernetes API, Container.
"""

import base64
import os
import posixpath
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ClusterError
from contrast_tasks.local.messages import Endpoint, Probe

_REFERENCE = re.compile(r"\$(\$|\(([A-Za-z_.-][A-Za-z0-9_.-]*)\))")
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
_DEFAULT_PERIOD_S = 10
_DEFAULT_FAILURES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMap:
    """Where absolute paths of a container are on this machine.

    mounts: container path -> folder or file here; rootfs: the unpacked image, None for none.
    """

    mounts: Mapping[str, str]
    rootfs: Path | None

    def translate(self, text: str) -> str:
        """Return the place of one absolute path, the text itself if it is none or nothing is there."""
        if not text.startswith("/"):
            return text
        for mount in sorted(self.mounts, key=len, reverse=True):
            if text == mount or text.startswith(mount.rstrip("/") + "/"):
                return self.mounts[mount] + text[len(mount.rstrip("/")) :]
        if self.rootfs is not None:
            inside = self.rootfs / text.lstrip("/")
            if os.path.lexists(inside):
                return str(inside)
        return text

    def folder(self, text: str) -> str:
        """Return the place of a working folder, "" for none; one that the image lacks is inside it, as runtimes make it."""
        if not text:
            return ""
        path = posixpath.normpath(f"/{text.lstrip('/')}")
        place = self.translate(path)
        return str(self.rootfs / path[1:]) if place == path and self.rootfs is not None else place

    def translate_value(self, text: str) -> str:
        """Return an environment value or argument with its path, or list of paths, translated."""
        option, equals, value = text.partition("=")
        if option.startswith("-") and equals:
            return f"{option}={self.translate_value(value)}"
        parts = text.split(":")
        if all(part.startswith("/") for part in parts):
            return ":".join(self.translate(part) for part in parts)
        return text


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the variable's value; unknown names stay, `$$` is one `$`."""

    def value(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return env.get(match[2], match[0])

    return _REFERENCE.sub(value, text)


def search_path(image_path: str, rootfs: Path | None) -> str:
    """Return PATH: our interpreter's folder, the image's folders, the system's."""
    inside = [
        str(rootfs / folder.lstrip("/"))
        for folder in image_path.split(":")
        if rootfs is not None and folder
    ]
    # Not resolved: a virtual environment's interpreter is a link.
    return ":".join([str(Path(sys.executable).parent), *inside, _SYSTEM_PATH])


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """What the downward API and references to other objects can ask for.

    configs: (kind, namespace, name) -> key -> bytes, kinds ConfigMap and Secret.
    """

    name: str
    namespace: str
    address: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    service_account: str
    configs: Mapping[tuple[str, str, str], Mapping[str, bytes]]


def environment(container: Mapping[str, Any], pod: PodFacts, where: str) -> dict[str, str]:
    """Return the container's own variables in order; raise ClusterError for a missing reference."""
    env: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if reference := source.get(key):
                values = _config(kind, reference, pod, where)
                prefix = source.get("prefix") or ""
                env |= {prefix + name: value.decode() for name, value in values.items()}
    for variable in container.get("env") or ():
        name = variable["name"]
        if "valueFrom" in variable:
            value = _value_from(variable["valueFrom"], pod, f"{where}: env {name}")
            if value is not None:
                env[name] = value
        else:
            env[name] = expand(str(variable.get("value") or ""), env)
    return env


def _config(
    kind: str, reference: Mapping[str, Any], pod: PodFacts, where: str
) -> Mapping[str, bytes]:
    name = reference["name"]
    found = pod.configs.get((kind, pod.namespace, name))
    if found is None and not reference.get("optional"):
        raise ClusterError(f"{where}: there is no {kind} {name} in namespace {pod.namespace}")
    return found or {}


def _value_from(source: Mapping[str, Any], pod: PodFacts, where: str) -> str | None:
    for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        if reference := source.get(key):
            values = _config(kind, reference, pod, where)
            value = values.get(reference["key"])
            if value is None and not reference.get("optional"):
                raise ClusterError(f"{where}: {kind} {reference['name']} has no {reference['key']}")
            return None if value is None else value.decode()
    path = (source.get("fieldRef") or {}).get("fieldPath", "")
    fields = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "status.podIP": pod.address,
        "status.hostIP": "127.0.0.1",
        "spec.nodeName": "local",
        "spec.serviceAccountName": pod.service_account,
    }
    for prefix, table in (
        ("metadata.labels", pod.labels),
        ("metadata.annotations", pod.annotations),
    ):
        fields |= {f"{prefix}['{name}']": value for name, value in table.items()}
    if path not in fields:
        raise ClusterError(f"{where}: platform local cannot provide {path or min(source)}")
    return fields[path]


def config_values(obj: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the keys of a ConfigMap or Secret."""
    if obj["kind"] == "ConfigMap":
        texts, encoded = obj.get("data") or {}, obj.get("binaryData") or {}
    else:
        texts, encoded = obj.get("stringData") or {}, obj.get("data") or {}
    return {
        **{key: base64.b64decode(value) for key, value in encoded.items()},
        **{key: str(value).encode() for key, value in texts.items()},
    }


def command_line(
    container: Mapping[str, Any],
    *,
    entrypoint: Sequence[str],
    cmd: Sequence[str],
    env: Mapping[str, str],
    paths: PathMap,
    where: str,
) -> tuple[str, ...]:
    """Return the argument vector; raise ClusterError if neither pod nor image names a program."""
    command = container.get("command") or entrypoint
    # The image's arguments belong to the image's own entrypoint.
    args = container.get("args") or (() if container.get("command") else cmd)
    argv = [expand(str(item), env) for item in (*command, *args)]
    if not argv:
        raise ClusterError(f"{where}: neither the pod nor its image names a command")
    return tuple(paths.translate_value(item) for item in argv)


def container_ports(container: Mapping[str, Any]) -> dict[str, int]:
    """Return the declared TCP ports by name, or by number where they have none."""
    return {
        str(port.get("name") or port["containerPort"]): int(port["containerPort"])
        for port in container.get("ports") or ()
        if port.get("protocol", "TCP") == "TCP"
    }


def probe_plan(
    probe: Mapping[str, Any] | None,
    *,
    ports: Mapping[str, int],
    pod_address: str,
    app_address: str,
    paths: PathMap,
    where: str,
) -> Probe | None:
    """Return a probe with its addresses filled in.

    A TCP probe asks the application behind the mesh as well: the proxy alone accepts every connection.
    """
    if not probe:
        return None
    limit_s = float(probe.get("initialDelaySeconds") or 0) + float(
        probe.get("periodSeconds") or _DEFAULT_PERIOD_S
    ) * int(probe.get("failureThreshold") or _DEFAULT_FAILURES)
    timeout_s = float(probe.get("timeoutSeconds") or 1)
    if "exec" in probe:
        command = tuple(paths.translate_value(str(item)) for item in probe["exec"]["command"])
        return Probe(kind="exec", command=command, timeout_s=timeout_s, limit_s=limit_s)
    if "tcpSocket" in probe:
        port = _port(probe["tcpSocket"]["port"], ports, where)
        endpoints: tuple[Endpoint, ...] = tuple(
            (address, port) for address in dict.fromkeys((pod_address, app_address))
        )
        return Probe(kind="tcp", endpoints=endpoints, timeout_s=timeout_s, limit_s=limit_s)
    if "httpGet" in probe:
        get = probe["httpGet"]
        endpoint = (get.get("host") or pod_address, _port(get["port"], ports, where))
        return Probe(
            kind=str(get.get("scheme") or "HTTP").lower(),
            endpoints=(endpoint,),
            path=get.get("path") or "/",
            headers=tuple(
                (str(header["name"]), str(header["value"]))
                for header in get.get("httpHeaders") or ()
            ),
            timeout_s=timeout_s,
            limit_s=limit_s,
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
