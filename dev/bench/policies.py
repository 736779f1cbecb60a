"""What a policy costs: bytes in each channel, loading and judging in the engine beside an empty policy and a peer's."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from contrast_tasks.agent_messages import Request
from contrast_tasks.manifest.policy_document import ANNOTATIONS, annotation_of, make_document
from contrast_tasks.policy.engine import ENGINES, PolicyEngine, new_engine
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.text import render_policy
from contrast_tasks.releases.table import Channel
from dev.bench.timing import Measured
from tests.fakes.policy import one_container, requests_before, rich, web

_LOADS, _QUESTIONS, _SERVICES = 20, 100, 140
_CREATE = "CreateContainerRequest"
_EMPTY = f"package agent_policy\nimport rego.v1\ndefault {_CREATE} := true\n"
_BYTES = {"plain": "45000 B", "gzip": "14000 B", "initdata": "14000 B"}


class Peer(NamedTuple):
    """A policy of another generator, and a CreateContainer request that it allows in a new guest."""

    policy: str
    request: Request

    @classmethod
    def in_folder(cls, folder: Path) -> "Peer":
        """Return the policy of policy.rego and the request of request.json."""
        document = json.loads((folder / "request.json").read_text())
        return cls((folder / "policy.rego").read_text(), Request(kind=_CREATE, input=document))


def measure_policies(peer: Peer | None = None) -> Iterator[Measured]:
    """Yield the sizes of annotations, and the milliseconds of loading a policy and of judging a request.

    peer: to be measured too; the ratios of ours are to it, otherwise to the empty policy.
    """
    pods = {"one container": one_container(""), "mesh": web(), "large": rich()}
    for name, data in pods.items():
        for channel in ANNOTATIONS:
            budget = _BYTES[channel] if name == "one container" else ""
            size = float(_annotation_bytes(data, channel))
            yield Measured(
                name=f"annotation: {name}, {channel}", value=size, unit="B", budget=budget
            )
    policy, empty = render_policy(web()).decode(), Peer(_EMPTY, _created(web(), "web-svc")[1])
    for engine in ENGINES:
        others = {"an empty one": empty, **({"the peer's": peer} if peer else {})}
        loads = {name: _load_ms(each.policy, engine) for name, each in others.items()}
        asked = {
            name: _ask_ms(each.policy, [], each.request, engine) for name, each in others.items()
        }
        yield _beside(f"policy: load, {engine}", _load_ms(policy, engine), loads)
        for name, value in loads.items():
            yield Measured(name=f"policy: load {name}, {engine}", value=value)
        for container in ("web-svc", "pause"):
            before, request = _created(web(), container)
            value = _ask_ms(policy, before, request, engine)
            yield _beside(f"policy: create {container}, {engine}", value, asked)
        for name, value in asked.items():
            yield Measured(name=f"policy: create, {name}, {engine}", value=value)
        before, request = requests_before(web(), "copy /etc/hosts of web-svc")
        value = _ask_ms(policy, before, request, engine)
        yield Measured(name=f"policy: copy a file, {engine}", value=value)
        value = _ask_ms(policy, *_created(web(), "web-svc", services=_SERVICES), engine)
        yield Measured(name=f"policy: create, {_SERVICES} Services, {engine}", value=value)


def _beside(name: str, value: float, others: dict[str, float]) -> Measured:
    """Return a value with its ratio to the peer's, or to the empty policy's if there is no peer."""
    return Measured(name=name, value=value, ratio=value / list(others.values())[-1])


def _created(
    data: PolicyData, container: str, *, services: int = 0
) -> tuple[list[Request], Request]:
    """Return the requests before the creation of a container, and that; services: more of them than the API server."""
    before, request = requests_before(data, f"create {container}")
    more = [
        f"S{number}_{kind}"
        for number in range(services)
        for kind in (
            *("SERVICE_HOST=10.96.0.1", "SERVICE_PORT=80", "SERVICE_PORT_WEB=80"),
            *("PORT=tcp://10.96.0.1:80", "PORT_80_TCP=tcp://10.96.0.1:80"),
            *("PORT_80_TCP_PROTO=tcp", "PORT_80_TCP_PORT=80", "PORT_80_TCP_ADDR=10.96.0.1"),
        )
    ]
    for variable in more:
        request.input["OCI"]["Process"]["Env"].append(variable)
    return before, request


def _annotation_bytes(data: PolicyData, channel: Channel) -> int:
    return len(annotation_of(make_document(render_policy(data), channel), channel)[1])


def _load_ms(policy: str, engine: str) -> float:
    """Return the milliseconds until the first answer, since an engine may put off its work until then."""

    def load() -> None:
        loaded = new_engine(engine)
        loaded.add_policy("policy.rego", policy)
        loaded.add_data_json('{"pstate": {}}')
        loaded.set_input_json("{}")
        loaded.eval_query("data.agent_policy.AllowRequestsFailingPolicy")

    return _best_ms(load, _LOADS)


def _ask_ms(policy: str, before: list[Request], request: Request, engine: str) -> float:
    guest = PolicyEngine(policy.encode(), engine=engine)
    for each in before:
        guest.ask(each.kind, each.input)
    state = json.dumps(guest.state)

    def ask() -> None:
        # The change of state that an allowed request makes is undone, so that each is the first.
        guest.restore(json.loads(state))
        guest.ask(request.kind, request.input)

    return _best_ms(ask, _QUESTIONS)


def _best_ms(action: Callable[[], object], count: int) -> float:
    """Return the processor time of the fastest call, which does not depend on other processes."""
    best = float("inf")
    for _ in range(count):
        before = time.process_time()
        action()
        best = min(best, time.process_time() - before)
    return round(best * 1000, 3)
