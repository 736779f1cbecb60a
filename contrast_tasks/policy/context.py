"""What the derivation of every container of a pod has in common."""

from collections.abc import Mapping

from contrast_tasks.policy.model import PolicyInput, Profile
from contrast_tasks.policy.place import Place
from contrast_tasks.records import Record


class PodContext(Record):
    """The pod being derived; metadata and spec are the template's."""

    given: PolicyInput
    profile: Profile
    metadata: Place
    spec: Place
    security: Place
    containers: tuple[Place, ...]
    volumes: dict[str, Place]

    @property
    def service_links(self) -> bool:
        """Return whether the kubelet sets variables for all Services of the namespace."""
        return self.spec.flag("enableServiceLinks", default=True)

    @property
    def service_account(self) -> str:
        """Return the name of the ServiceAccount; `serviceAccount` is the deprecated alias."""
        alias = self.spec.text("serviceAccount", "default")
        return self.spec.text("serviceAccountName") or alias

    def config(self, kind: str, name: str) -> Mapping[str, str | bytes] | None:
        """Return the data of a ConfigMap or Secret of the pod's namespace, None when it was not given.

        An object without a namespace and one in `default` stand for each other.
        """
        namespace = self.given.owner.namespace
        places = {None: (None, "", "default"), "default": ("default", None, "")}
        for place in places.get(namespace or None, (namespace,)):
            found = self.given.configs.get((kind, place, name))
            if found is not None:
                return found
        return None
