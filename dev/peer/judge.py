"""Ask our rules for the requests of a peer's suite, as they are and completed, each in a guest that has lived up to it."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from contrast_tasks.agent_messages import Request, fill_defaults
from contrast_tasks.policy.engine import ENGINES, Decision, PolicyEngine
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.text import render_policy
from dev.peer.completion import (
    completed_copy,
    completed_create,
    completed_exec,
    completed_sandbox,
    identifier_in,
)
from dev.peer.honest import HonestPod, Lived, PodNames, container_name, names_in
from dev.peer.suite import PeerCase

_NOBODY = PodNames("", "", "", "")


class Answer(NamedTuple):
    """The decisions on one request: completed, and as it is; sparse: whether anything was completed."""

    completed: Decision
    as_is: Decision
    sparse: bool


class _Created(NamedTuple):
    """A container that the suite has created."""

    name: str
    pod: HonestPod


class PeerGuest:
    """The guest of one pod of the suite. As with the peer, it keeps the pod's name, namespace and network namespace."""

    def __init__(self, data: PolicyData, lived: Lived, *, engine: str = ENGINES[0]) -> None:
        self._lived = lived
        self._policy = render_policy(data)
        self._engine = engine
        self._created: dict[str, _Created] = {}
        self._pod: PodNames | None = None
        self._network: str | None = None

    def ask(self, case: PeerCase) -> Answer:
        """Return the decisions on the next request of the suite. Raises PolicyEngineError if the evaluation fails."""
        if case.kind == "CreateContainerRequest":
            return self._create(case.request)
        plain = fill_defaults(case.kind, case.request)
        if case.kind == "CreateSandboxRequest":
            honest = HonestPod(self._lived, _NOBODY).sandbox()
            return self._both(case.kind, plain, completed_sandbox(case.request, honest), [])
        if case.kind == "CopyFileRequest":
            return self._both(case.kind, plain, completed_copy(case.request), [])
        identifier = str(case.request.get("container_id"))
        created = self._created.get(identifier)
        if created is None:
            return self._both(case.kind, plain, plain, [])
        before = [
            *created.pod.before(created.name),
            *created.pod.run(created.name, identifier),
        ]
        asked = plain
        if case.kind == "ExecProcessRequest":
            asked = completed_exec(case.request, created.pod.create(created.name))
        answer = self._both(case.kind, plain, asked, before)
        if case.kind == "RemoveContainerRequest" and answer.completed.allowed:
            del self._created[identifier]
        return answer

    def _create(self, request: Mapping[str, Any]) -> Answer:
        kind, container, names = (
            "CreateContainerRequest",
            container_name(request),
            names_in(request),
        )
        identifier = identifier_in(request)
        if not container:
            names = names._replace(sandbox=identifier)
        plain = fill_defaults(kind, request)
        pod = HonestPod(self._lived, names)
        if not pod.has(container):
            return self._both(kind, plain, plain, [])
        first = self._pod or names
        before = HonestPod(self._lived, names._replace(name=first.name, namespace=first.namespace))
        completed = completed_create(request, pod.create(container, identifier))
        network = _take_network(completed, self._network)
        answer = self._both(kind, plain, completed, list(before.before(container)))
        if answer.completed.allowed:
            self._pod, self._network = first, network
            self._created[identifier] = _Created(container, pod)
        return answer

    def _both(
        self, kind: str, plain: dict[str, Any], completed: dict[str, Any], before: list[Request]
    ) -> Answer:
        return Answer(
            self._decided(kind, completed, before),
            self._decided(kind, plain, before),
            sparse=_unordered(completed) != _unordered(plain),
        )

    def _decided(self, kind: str, request: dict[str, Any], before: list[Request]) -> Decision:
        guest = PolicyEngine(self._policy, engine=self._engine)
        for each in before:
            decision = guest.ask(each.kind, each.input)
            # Such as a pod of another name, which is denied from the start.
            if not decision.allowed:
                return decision
        return guest.ask(kind, request)


def _unordered(value: Any) -> Any:
    """Return a JSON value with its lists sorted, since completion may put what it found into another order."""
    if isinstance(value, dict):
        return {key: _unordered(each) for key, each in value.items()}
    if isinstance(value, list):
        return sorted(map(_unordered, value), key=json.dumps)
    return value


def _take_network(request: dict[str, Any], pinned: str | None) -> str:
    """Take the network namespace out of a request, as runtimes do, if it is the pod's; return its path, "" without one.

    pinned: that of the pod, None before the first container. A request with another one gets an entry, which we never allow.
    """
    linux = request["OCI"]["Linux"]
    entries = linux["Namespaces"]
    networks = [each for each in entries if each.get("Type") == "network"]
    path = str(networks[0].get("Path", "")) if networks else ""
    others = [each for each in entries if each.get("Type") != "network"]
    if len(networks) < 2 and pinned in {None, path}:
        linux["Namespaces"] = others
    elif not networks:
        linux["Namespaces"] = [*others, {"Type": "network", "Path": "/"}]
    return path
