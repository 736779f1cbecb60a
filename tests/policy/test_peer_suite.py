"""The peer's cases (data only, from outside the repository), judged leniently as the peer does, and by our own rules."""

import json
from pathlib import Path

import pytest
import yaml

from contrast_tasks.agent_messages import fill_defaults
from contrast_tasks.policy.engine import ENGINES, PolicyEngine
from contrast_tasks.policy.model import ImageFacts, PolicyInput
from contrast_tasks.prepare.policy_input import policy_input
from tests.fakes.peer import exact_policy, peer_policy
from tests.fakes.testdata import PEER_POLICIES

if not PEER_POLICIES.is_dir():
    pytest.skip(
        "the peer suite lies outside the repository and is not here", allow_module_level=True
    )

DIRECTORIES = sorted(path.parent for path in PEER_POLICIES.rglob("testcases.json"))
PEER_IMAGES = json.loads((PEER_POLICIES / "images.json").read_text())


def _images() -> dict[str, ImageFacts]:
    found = {}
    for reference, facts in PEER_IMAGES.items():
        config = facts["config"]
        found[reference] = ImageFacts(
            reference=reference,
            entrypoint=tuple(config.get("Entrypoint", ())),
            cmd=tuple(config.get("Cmd", ())),
            env=tuple(config.get("Env", ())),
            working_dir=config.get("WorkingDir", ""),
            user=config.get("User", ""),
            volumes=tuple(config.get("Volumes", {})),
            passwd=facts["passwd"],
            group=facts["group"],
        )
    return found


def _given(directory: Path) -> PolicyInput:
    (pod,) = (doc for doc in yaml.safe_load_all((directory / "pod.yaml").read_text()) if doc)
    configs = {}
    extra = directory / "config_map.yaml"
    for document in yaml.safe_load_all(extra.read_text()) if extra.exists() else ():
        key = ("ConfigMap", document["metadata"].get("namespace"), document["metadata"]["name"])
        configs[key] = document.get("data", {})
    return policy_input(pod, images=_images(), configs=configs)


def _name(directory: Path) -> str:
    return directory.relative_to(PEER_POLICIES).as_posix()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("directory", DIRECTORIES, ids=_name)
def test_every_case_is_decided_as_the_peer_decides_it(directory: Path, engine: str) -> None:
    guest = PolicyEngine(peer_policy(_given(directory)), engine=engine)
    cases = json.loads((directory / "testcases.json").read_text())

    decisions = {
        case["description"]: guest.ask(
            case["kind"], fill_defaults(case["kind"], case["request"])
        ).allowed
        for case in cases
    }

    assert decisions == {case["description"]: case["allowed"] for case in cases}


def test_all_published_cases_are_run() -> None:
    cases = [
        case for path in DIRECTORIES for case in json.loads((path / "testcases.json").read_text())
    ]

    # As many are at hand; whoever has the others lays them into the same folder.
    assert len(cases) >= 58


@pytest.mark.parametrize("engine", ENGINES)
def test_a_peers_case_does_not_depend_on_the_sandboxes_before_it(engine: str) -> None:
    guest = PolicyEngine(peer_policy(_given(PEER_POLICIES / "createsandbox")), engine=engine)
    request = fill_defaults("CreateSandboxRequest", {"sandbox_pidns": False})

    allowed = [guest.ask("CreateSandboxRequest", request).allowed for _ in range(2)]

    assert allowed == [True, True]


# The one request of these directories that leaves nothing out.
COMPLETE = {"createcontainer/sysctls": ["sysctls listed in yaml or settings"]}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("directory", DIRECTORIES, ids=_name)
def test_our_rules_deny_what_the_peer_denies_and_every_incomplete_container(
    directory: Path, engine: str
) -> None:
    guest = PolicyEngine(exact_policy(_given(directory)), engine=engine)
    cases = json.loads((directory / "testcases.json").read_text())

    allowed = [
        case
        for case in cases
        if guest.ask(case["kind"], fill_defaults(case["kind"], case["request"])).allowed
    ]

    assert all(case["allowed"] for case in allowed)
    created = [case["description"] for case in allowed if "Container" in case["kind"]]
    assert [each for each in created if "remove" not in each] == COMPLETE.get(_name(directory), [])
