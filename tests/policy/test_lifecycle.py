"""A pod's own life passes its own policy, under both engines and in the order the runtime asks."""

import pytest

from contrast_tasks.policy.engine import ENGINES, PolicyEngine
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.simulate import simulate, synthesise_lifecycle
from contrast_tasks.policy.text import render_policy
from tests.fakes.policy import bent, coordinator, derived, emojivoto, one_container, rich, web

PODS = {
    "emoji": lambda: emojivoto("emoji"),
    "voting": lambda: emojivoto("voting"),
    "web": web,
    "vote-bot": lambda: emojivoto("vote-bot"),
    "coordinator": coordinator,
    "rich": rich,
    "host-name": lambda: one_container("", pod="hostname: other"),
    "full-host-name": lambda: one_container(
        "", pod="hostname: a, subdomain: b, setHostnameAsFQDN: true".replace(", ", "\n")
    ),
    "long-name": lambda: one_container("", name=f"{'a' * 62}-{'b' * 30}"),
    "terminal": lambda: one_container("tty: true"),
    "shared-mount": lambda: one_container(
        "volumeMounts: [{name: s, mountPath: /s, mountPropagation: Bidirectional}]",
        pod="volumes: [{name: s, emptyDir: {}}]",
    ),
    "own-shm": lambda: one_container(
        "volumeMounts: [{name: s, mountPath: /dev/shm}]",
        pod="volumes: [{name: s, emptyDir: {medium: Memory}}]",
    ),
    "unicode": lambda: one_container(
        'env: [{name: FACE, value: "\U0001f600 \\"q\\" \\\\ \\n\\t"}]'
    ),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("pod", PODS)
def test_every_request_of_a_pods_life_is_allowed(pod: str, engine: str) -> None:
    data = PODS[pod]()

    denials = simulate(render_policy(data), data, engine=engine)

    assert [(each.request.purpose, each.decision.prints) for each in denials] == []


@pytest.mark.parametrize(
    "kind", ["Pod", "Deployment", "StatefulSet", "ReplicaSet", "DaemonSet", "Job", "CronJob"]
)
@pytest.mark.parametrize("name", ["has.dots-in", "n" * 50, "x" * 63])
def test_names_of_every_kind_and_length_pass(kind: str, name: str) -> None:
    data = one_container("", kind=kind, name=name)

    denials = simulate(render_policy(data), data)

    assert denials == ()


def test_containers_are_started_in_the_order_of_the_pod() -> None:
    starts = [r.purpose for r in synthesise_lifecycle(web()) if r.kind == "StartContainerRequest"]

    assert starts == [
        "start pause",
        "start contrast-initializer",
        "start contrast-service-mesh",
        "start web-svc",
    ]


def test_the_synthesised_life_is_the_same_every_time() -> None:
    assert synthesise_lifecycle(web()) == synthesise_lifecycle(emojivoto("web"))


def test_a_policy_that_would_deny_its_own_pod_is_found() -> None:
    data = web()
    main = data.containers[-1].replace(images=("example.com/other@sha256:00",))
    other = data.replace(containers=(*data.containers[:-1], main))

    denials = simulate(render_policy(data), other)

    assert denials[0].request.purpose == "create web-svc"
    assert set(denials[0].decision.codes) == {"E_ANNOTATION", "E_IMG_REF"}
    assert [each.request.purpose for each in denials[1:3]] == [
        "start web-svc",
        "read output of web-svc",
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_restarted_container_passes_after_its_removal(engine: str) -> None:
    data = emojivoto("vote-bot")
    life = synthesise_lifecycle(data)
    guest = PolicyEngine(render_policy(data), engine=engine)
    created = next(i for i, r in enumerate(life) if r.purpose == "create vote-bot")
    for request in life[: created + 2]:
        assert guest.ask(request.kind, request.input).allowed
    old, new = life[created].input["container_id"], "f" * 64
    again = bent(life[created].input, "container_id", new)
    again = _renamed(again, old, new)

    assert guest.ask("CreateContainerRequest", again).allowed
    assert not guest.ask("StartContainerRequest", {"container_id": new}).allowed
    assert guest.ask("RemoveContainerRequest", {"container_id": old, "timeout": 0}).allowed
    assert guest.ask("StartContainerRequest", {"container_id": new}).allowed


@pytest.mark.parametrize("engine", ENGINES)
def test_a_creation_that_failed_in_the_guest_can_be_repeated(engine: str) -> None:
    data = emojivoto("vote-bot")
    life = synthesise_lifecycle(data)
    guest = PolicyEngine(render_policy(data), engine=engine)
    created = next(i for i, r in enumerate(life) if r.purpose == "create vote-bot")
    for request in life[: created + 1]:
        guest.ask(request.kind, request.input)

    again = _renamed(life[created].input, life[created].input["container_id"], "e" * 64)

    assert guest.ask("CreateContainerRequest", again).allowed
    assert guest.ask("StartContainerRequest", {"container_id": "e" * 64}).allowed


def test_both_engines_keep_the_same_state() -> None:
    data = rich()
    states = []
    for engine in ENGINES:
        guest = PolicyEngine(render_policy(data), engine=engine)
        for request in synthesise_lifecycle(data)[:-12]:
            guest.ask(request.kind, request.input)
        states.append(guest.state)

    assert all(state == states[0] for state in states)
    assert states[0]["p:name"] == "rich-0"
    assert states[0]["s:prepare"] is True


def _renamed(request: object, old: str, new: str) -> dict[str, object]:
    import json

    changed: dict[str, object] = json.loads(json.dumps(request).replace(old, new))
    return changed


def test_a_pod_of_an_unset_namespace_may_run_in_any_one() -> None:
    data: PolicyData = derived(
        "containers: [{name: a, image: 'i@sha256:" + "5a" * 32 + "'}]", namespace=None
    )

    assert data.pod.namespace is None
