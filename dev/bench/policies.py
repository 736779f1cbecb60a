"""What a policy costs: bytes in each channel, loading and judging in the engine beside an empty policy."""

import importlib
import json
import time
from collections.abc import Callable, Iterator

from contrast_tasks.agent_messages import Request
from contrast_tasks.manifest.policy_document import ANNOTATIONS, annotation_of, make_document
from contrast_tasks.policy.engine import ENGINES, PolicyEngine
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.text import render_policy
from contrast_tasks.releases.table import Channel
from dev.bench.timing import Measured
from tests.fakes.policy import one_container, requests_before, rich, web

_LOADS, _QUESTIONS = 20, 100
_CREATE = "CreateContainerRequest"
_EMPTY = f"package agent_policy\nimport rego.v1\ndefault {_CREATE} := true\n"
_BYTES = {"plain": "45000 B", "gzip": "14000 B", "initdata": "14000 B"}


def measure_policies() -> Iterator[Measured]:
    """Yield the sizes of annotations, and the milliseconds of loading a policy and of judging a request."""
    pods = {"one container": one_container(""), "mesh": web(), "large": rich()}
    for name, data in pods.items():
        for channel in ANNOTATIONS:
            budget = _BYTES[channel] if name == "one container" else ""
            size = float(_annotation_bytes(data, channel))
            yield Measured(
                name=f"annotation: {name}, {channel}", value=size, unit="B", budget=budget
            )
    data = web()
    policy = render_policy(data).decode()
    before, request = requests_before(data, "create web-svc")
    for engine in ENGINES:
        load_ms, empty_load_ms = _load_ms(policy, engine), _load_ms(_EMPTY, engine)
        yield Measured(name=f"policy: load, {engine}", value=load_ms)
        yield Measured(name=f"policy: load an empty one, {engine}", value=empty_load_ms)
        yield Measured(
            name=f"policy: create, {engine}", value=_ask_ms(policy, before, request, engine)
        )
        yield Measured(
            name=f"policy: create, an empty one, {engine}",
            value=_ask_ms(_EMPTY, [], request, engine),
        )


def _annotation_bytes(data: PolicyData, channel: Channel) -> int:
    return len(annotation_of(make_document(render_policy(data), channel), channel)[1])


def _load_ms(policy: str, engine: str) -> float:
    """Return the milliseconds until the first answer, since an engine may put off its work until then."""
    module = importlib.import_module(engine)

    def load() -> None:
        loaded = module.Engine()
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
