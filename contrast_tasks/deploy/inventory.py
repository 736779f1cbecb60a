"""Which objects a deployment has on a cluster: a ConfigMap there, so that whoever deploys next knows it, from any machine."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from contrast_tasks.decode import DecodeError, parse_json
from contrast_tasks.deploy.cluster import Id, Kubectl
from contrast_tasks.errors import ClusterError

_OBJECTS = "objects"
# Not removed with what they hold, which may be others' too.
KEPT_KINDS = frozenset({"Namespace", "CustomResourceDefinition", "PersistentVolumeClaim"})
# Whose an object is, for people and `kubectl get --selector`: the name of the inventory, as far as a label has room for it.
_LABEL, _MAX_LABEL = "contrast-tasks/inventory", 63


class Inventory:
    """The ConfigMap of this name; namespace: where it lies."""

    def __init__(self, cluster: Kubectl, name: str, namespace: str) -> None:
        self._cluster = cluster
        self._id = Id("v1", "ConfigMap", namespace, name)
        self._label = name[:_MAX_LABEL].rstrip(".-")

    def mark(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Return an object with a label that names its inventory, unless it may be others' too."""
        if obj["kind"] in KEPT_KINDS:
            return dict(obj)
        metadata = obj["metadata"]
        labels = {**(metadata.get("labels") or {}), _LABEL: self._label}
        return {**obj, "metadata": {**metadata, "labels": labels}}

    def marks(self, obj: Mapping[str, Any]) -> bool:
        """Return whether an object has that label."""
        return (obj["metadata"].get("labels") or {}).get(_LABEL) == self._label

    def read(self) -> frozenset[Id]:
        """Return the objects that were deployed; none before the first deploy. Raises ClusterError."""
        found = self._cluster.get([self._id]).get(self._id)
        if found is None:
            return frozenset()
        try:
            rows = parse_json(found.at("data").at(_OBJECTS).text()).items()
            return frozenset(Id(*row.texts()) for row in rows)
        except (DecodeError, TypeError) as err:
            raise ClusterError(
                f"{self._id.key} is no inventory of a deployment",
                hint="delete it, or name another one as cluster.inventory in contrast.toml",
            ) from err

    def write(self, objects: Collection[Id]) -> None:
        """Note what is deployed now."""
        self._cluster.apply([self._render(objects)], take_over=True)

    def remove(self) -> None:
        """Forget the deployment."""
        self._cluster.delete([self._id])

    def _render(self, objects: Collection[Id]) -> dict[str, Any]:
        rows = ",\n".join(json.dumps(list(each)) for each in sorted(objects))
        made = self._id.render()
        made["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "contrast-tasks"}
        return {**made, "data": {_OBJECTS: f"[\n{rows}\n]\n"}}
