"""The environment variables of a local container: from the pod, ConfigMaps, Secrets and the downward API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contrast_tasks.errors import ClusterError
from contrast_tasks.policy.values import expand, literal

Configs = Mapping[tuple[str, str, str], Mapping[str, bytes]]
"""(kind, namespace, name) of ConfigMaps and Secrets -> key -> value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """The values that the downward API and references to other objects can read."""

    name: str
    namespace: str
    address: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    service_account: str
    configs: Configs

    def config(self, kind: str, reference: Mapping[str, Any], where: str) -> Mapping[str, bytes]:
        """Return the values of a ConfigMap or Secret. Raises ClusterError if it is missing and not optional."""
        name = reference["name"]
        values = self.configs.get((kind, self.namespace, name))
        if values is None and not reference.get("optional"):
            raise ClusterError(f"{where}: there is no {kind} {name} in namespace {self.namespace}")
        return values or {}

    def field(self, path: str) -> str | None:
        """Return the value of a fieldPath of the downward API, None for one that is not supported here."""
        fields = {
            "metadata.name": self.name,
            "metadata.namespace": self.namespace,
            "status.podIP": self.address,
            "status.hostIP": "127.0.0.1",
            "spec.nodeName": "local",
            "spec.serviceAccountName": self.service_account,
        }
        fields |= {f"metadata.labels['{key}']": value for key, value in self.labels.items()}
        fields |= {
            f"metadata.annotations['{key}']": value for key, value in self.annotations.items()
        }
        return fields.get(path)


def environment(container: Mapping[str, Any], pod: PodFacts, where: str) -> dict[str, str]:
    """Return the container's declared variables in order. Raises ClusterError for a missing reference."""
    env: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if reference := source.get(key):
                values = pod.config(kind, reference, where)
                prefix = source.get("prefix") or ""
                env |= {prefix + name: value.decode() for name, value in values.items()}
    for variable in container.get("env") or ():
        name = variable["name"]
        if "valueFrom" in variable:
            value = _value_from(variable["valueFrom"], pod, f"{where}: env {name}")
            if value is not None:
                env[name] = value
        else:
            env[name] = expand_variables(str(variable.get("value") or ""), env)
    return env


def expand_variables(text: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the variable's value as the kubelet does: unknown names stay, `$$` becomes `$`."""
    return literal(expand(text, lambda name: (env[name],) if name in env else None)) or ""


def _value_from(source: Mapping[str, Any], pod: PodFacts, where: str) -> str | None:
    for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        if reference := source.get(key):
            value = pod.config(kind, reference, where).get(reference["key"])
            if value is None and not reference.get("optional"):
                raise ClusterError(f"{where}: {kind} {reference['name']} has no {reference['key']}")
            return None if value is None else value.decode()
    path = (source.get("fieldRef") or {}).get("fieldPath", "")
    if (field := pod.field(path)) is None:
        raise ClusterError(f"{where}: platform local cannot provide {path or min(source)}")
    return field
