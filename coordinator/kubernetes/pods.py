"""The other Coordinators of a namespace: pods that are ready, since readiness says that a state is served.

Source: docs/internals/coordinator.md 8.3.
"""

from contrast_tasks.addresses import MESH_API_PORT, joined
from contrast_tasks.annotations import POD_ROLE, ROLE_COORDINATOR
from contrast_tasks.decode import DecodeError, Json
from coordinator.kubernetes.api import Api, items_of
from coordinator.store.base import StoreError


class PodPresence:
    """Presence by the pods of the namespace: whichever Coordinator's pod is ready serves, since readiness says so."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def announce(self) -> None:
        """Do nothing: the readiness probe tells."""

    def withdraw(self) -> None:
        """Do nothing: the readiness probe tells."""

    def others(self) -> list[str]:
        """Return the mesh APIs of the other pods that are ready; raises StoreError."""
        return [joined(each, MESH_API_PORT) for each in other_coordinators(self._api)]


def other_coordinators(api: Api) -> list[str]:
    """Return the addresses of the other Coordinators' pods that are ready. Raises StoreError."""
    found = api.get("pods", {"labelSelector": "app.kubernetes.io/name=coordinator"})
    try:
        return [
            pod.at("status").at("podIP").text()
            for pod in items_of(found)
            if pod.at("metadata").at("name").text() != api.account.pod and _is_ready(pod)
        ]
    except DecodeError as err:
        raise StoreError("the API server's list of pods is malformed") from err


def _is_ready(pod: Json) -> bool:
    """Return whether a pod has the role of a Coordinator, is ready, and has an address."""
    annotations, status = pod.at("metadata").filled("annotations"), pod.filled("status")
    role = annotations.get(POD_ROLE) if annotations is not None else None
    if role is None or role.text() != ROLE_COORDINATOR or status is None:
        return False
    conditions = status.filled("conditions")
    ready = [
        one.at("status").text()
        for one in (conditions.items() if conditions is not None else [])
        if one.at("type").text() == "Ready"
    ]
    return ready == ["True"] and status.filled("podIP") is not None
