"""A pod's own life passes its own policy, under both engines and in the order the runtime asks."""

from itertools import product

import pytest

from contrast_tasks.platforms import platform
from contrast_tasks.policy.engine import ENGINES, PolicyEngine
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.profiles import profile_of
from contrast_tasks.policy.simulate import denials
from contrast_tasks.policy.text import render_policy
from contrast_tasks.releases.table import RELEASES, Release
from tests.fakes.policy import (
    DIGEST,
    RICH_CONFIGS,
    RICH_SPEC,
    bent,
    coordinator,
    derived,
    emojivoto,
    image,
    life_of,
    one_container,
    rich,
    web,
)
from tests.fakes.sweeps import rest_swept

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


@pytest.mark.first(2)
@pytest.mark.parametrize(
    ("pod", "version", "engine"),
    rest_swept(
        product(PODS, ["1.6", "1.7", "2"], ENGINES),
        kept=lambda pod, version, _engine: pod == "emoji" or (pod, version) == ("rich", "2"),
    ),
)
def test_every_request_of_a_pods_life_is_allowed(pod: str, version: str, engine: str) -> None:
    data = PODS[pod]()

    found = denials(render_policy(data), life_of(data, containerd=version), engine=engine)

    assert [(each.request.purpose, each.decision) for each in found] == []


# One release for each pair of what the policy expects and how the node behaves.
NODES = {
    (
        profile_of(release, platform("metal-qemu-snp")).name,
        release.shim_of("metal-qemu-snp"),
    ): release
    for release in RELEASES
}


@pytest.mark.first(1)
@pytest.mark.parametrize("release", NODES.values(), ids=lambda each: each.name)
def test_a_pod_is_allowed_on_the_nodes_of_its_release(release: Release) -> None:
    data = derived(
        RICH_SPEC,
        kind="StatefulSet",
        name="rich",
        configs=RICH_CONFIGS,
        profile=profile_of(release, platform("metal-qemu-snp")),
    )
    life = life_of(data, containerd=release.containerd, shim=release.shim_of("metal-qemu-snp"))

    assert denials(render_policy(data), life) == ()


def test_agents_of_releases_before_and_after_the_typed_message_are_known() -> None:
    assert {profile for profile, _ in NODES} == {"kata-qemu", "kata-qemu-bytes"}


@pytest.mark.parametrize(
    ("name", "kind"),
    rest_swept(
        product(
            ["has.dots-in", "n" * 50, "x" * 63],
            ["Pod", "Deployment", "StatefulSet", "ReplicaSet", "DaemonSet", "Job", "CronJob"],
        ),
        kept=lambda name, kind: (name[0], kind) in {("h", "Pod"), ("n", "CronJob"), ("x", "Job")},
    ),
)
def test_names_of_every_kind_and_length_pass(kind: str, name: str) -> None:
    data = one_container("", kind=kind, name=name)

    assert denials(render_policy(data), life_of(data)) == ()


def test_containers_are_started_in_the_order_of_the_pod() -> None:
    starts = [r.purpose for r in life_of(web()) if r.kind == "StartContainerRequest"]

    assert starts[:4] == [
        "start pause",
        "start contrast-initializer",
        "start contrast-service-mesh",
        "start web-svc",
    ]


def test_the_life_is_the_same_every_time() -> None:
    assert life_of(web()) == life_of(emojivoto("web"))


def _web_with(**changes: object) -> bytes:
    """Return a policy of the web pod whose main container differs from what was derived."""
    data = web()
    main = data.containers[-1].replace(**changes)
    return render_policy(data.replace(containers=(*data.containers[:-1], main)))


def test_a_policy_that_would_deny_its_own_pod_is_found() -> None:
    found = denials(_web_with(images=("example.com/other@sha256:00",)), life_of(web()))

    assert found[0].request.purpose == "create web-svc"
    assert found[0].decision is not None
    assert "E_IMG_REF" in found[0].decision.codes
    assert found[1].request.purpose == "start web-svc"


def test_rules_that_want_no_empty_dns_line_are_found() -> None:
    text = render_policy(web()).decode()
    line = r"`[^\x00-\x08\x0a-\x1f\x7f]*`"
    assert line in text

    found = denials(text.replace(line, line.replace("]*", "]+")).encode(), life_of(web()))

    assert found[0].request.kind == "CreateSandboxRequest"
    assert found[0].decision is not None
    assert set(found[0].decision.codes) == {"E_DNS"}


def test_an_environment_in_another_order_than_containerds_is_found() -> None:
    reference = f"example.com/app:1@{DIGEST}"
    given = image(reference, env=("PATH=/bin", "HOME=/root", "PORT=80"))
    data = one_container(
        'env: [{name: PORT, value: "8080"}]',
        images={reference: given},
    )
    main = data.containers[-1]
    swapped = main.env.replace(head=tuple(reversed(main.env.head)))
    wrong = data.replace(containers=(*data.containers[:-1], main.replace(env=swapped)))

    assert denials(render_policy(data), life_of(data)) == ()
    found = denials(render_policy(wrong), life_of(data))

    assert found[0].request.purpose == "create app"
    assert found[0].decision is not None
    assert set(found[0].decision.codes) == {"E_ENV"}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_restarted_container_passes_after_its_removal(engine: str) -> None:
    data = emojivoto("vote-bot")
    life = [each for each in life_of(data) if each.kind != "ReadStreamRequest"]
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
    life = [each for each in life_of(data) if each.kind != "ReadStreamRequest"]
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
        for request in life_of(data)[:60]:
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
