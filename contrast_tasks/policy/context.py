"""The pod whose policy is derived, as the derivation of each container sees it."""

from collections.abc import Mapping
from typing import TypeVar

from contrast_tasks.policy.model import ConfigKey, Elsewhere, PolicyInput, Profile
from contrast_tasks.policy.place import Place
from contrast_tasks.records import Record

Found = TypeVar("Found")


class PodContext(Record):
    """One pod; metadata and spec: of its template."""

    given: PolicyInput
    profile: Profile
    metadata: Place
    spec: Place
    security: Place
    containers: tuple[Place, ...]
    volumes: dict[str, Place]

    @property
    def service_links(self) -> bool:
        """Return whether the kubelet sets variables for every Service of the namespace."""
        return self.spec.flag("enableServiceLinks", default=True)

    @property
    def service_account(self) -> str:
        """Return the name of the ServiceAccount; `serviceAccount` is the deprecated alias."""
        alias = self.spec.text("serviceAccount", "default")
        return self.spec.text("serviceAccountName") or alias

    def config(self, kind: str, name: str) -> Mapping[str, str | bytes] | None:
        """Return the data of a ConfigMap or Secret of the pod's namespace, None if it is unknown.

        No namespace and the namespace `default` are the same.
        """
        return self._of_namespace(self.given.configs, kind, name)

    def elsewhere(self, kind: str, name: str) -> Elsewhere | None:
        """Return what is declared of a ConfigMap or Secret of the pod's namespace, None if nothing is."""
        return self._of_namespace(self.given.elsewhere, kind, name)

    def _of_namespace(
        self, objects: Mapping[ConfigKey, Found], kind: str, name: str
    ) -> Found | None:
        namespace = self.given.owner.namespace or "default"
        names = (namespace, None, "") if namespace == "default" else (namespace,)
        known = (objects.get((kind, each, name)) for each in names)
        return next((found for found in known if found is not None), None)
