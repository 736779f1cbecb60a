"""What setting the planned manifest would change, asked of the real Coordinator."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrast_tasks.attestation.errors import WrongPolicyHash
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.client.plan import running_difference
from contrast_tasks.client.set import run_set
from contrast_tasks.errors import CoordinatorUnreachable
from contrast_tasks.manifest.keys import generate_workload_owner
from contrast_tasks.steps.plan import Difference
from tests.fakes.deployment import COORDINATOR_POLICY, WEB, Project, running_coordinator

OWNER = generate_workload_owner()
PLANNED = b"{}\n"


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan") / "processor"
    SimulatedProcessor.load_or_create(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, processor: Path) -> Project:
    project = Project(tmp_path, SimulatedProcessor.load_or_create(processor))
    project.write_owner(OWNER)
    return project


@pytest.fixture
def coordinator(project: Project, processor: Path) -> Iterator[str]:
    with running_coordinator(project, processor=processor) as address:
        yield address


def refuse(line: str) -> None:
    raise AssertionError(line)


def test_a_coordinator_without_a_manifest_gets_its_first_one(
    project: Project, coordinator: str
) -> None:
    planned = project.manifest.read_bytes()

    found = running_difference(project.settings, planned, say=refuse, coordinator=coordinator)

    assert found == Difference(
        what="changed",
        name=f"coordinator {coordinator}",
        detail="set gives it its first manifest",
    )


def test_a_manifest_that_is_in_force_is_no_change(project: Project, coordinator: str) -> None:
    run_set(project.settings, say=lambda _: None, coordinator=coordinator)
    planned = project.manifest.read_bytes()

    assert (
        running_difference(project.settings, planned, say=refuse, coordinator=coordinator) is None
    )


def test_another_manifest_in_force_is_a_change(project: Project, coordinator: str) -> None:
    run_set(project.settings, say=lambda _: None, coordinator=coordinator)

    found = running_difference(project.settings, PLANNED, say=refuse, coordinator=coordinator)

    assert found is not None
    assert found.detail == "another manifest is in force; set replaces it and rotates the mesh CA"


def test_the_planned_manifest_says_which_coordinator_is_genuine_before_the_first(
    project: Project, coordinator: str
) -> None:
    planned = project.manifest.read_bytes()
    project.manifest.unlink()

    found = running_difference(project.settings, planned, say=refuse, coordinator=coordinator)

    assert found is not None


def test_a_coordinator_that_is_not_genuine_is_refused(project: Project, processor: Path) -> None:
    with (
        running_coordinator(project, host_data=WEB, processor=processor) as address,
        pytest.raises(WrongPolicyHash),
    ):
        running_difference(project.settings, PLANNED, say=refuse, coordinator=address)


def test_a_coordinator_that_was_given_and_does_not_answer_is_an_error(project: Project) -> None:
    with pytest.raises(CoordinatorUnreachable):
        running_difference(project.settings, PLANNED, say=refuse, coordinator="127.0.0.1:1")


def test_without_a_local_deployment_nothing_is_compared(project: Project) -> None:
    assert running_difference(project.settings, PLANNED, say=refuse) is None


def test_a_local_coordinator_that_does_not_answer_is_told_and_not_compared(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        "contrast_tasks.client.coordinator.coordinator_address", lambda *_: ("127.0.0.1", 1)
    )

    assert running_difference(project.settings, PLANNED, say=said.append) is None
    [line] = said
    assert line.startswith("the coordinator that runs was not compared: ")


def test_the_coordinator_says_who_has_to_be_restarted_and_what_it_would_refuse(
    project: Project, coordinator: str
) -> None:
    run_set(project.settings, say=lambda _: None, coordinator=coordinator)
    in_force = project.manifest.read_bytes()
    project.owner_digests = ("ab" * 32,)
    planned = project.write_manifest()
    project.manifest.write_bytes(in_force)
    told: list[str] = []

    found = running_difference(
        project.settings,
        planned,
        say=told.append,
        policies=lambda: [COORDINATOR_POLICY, b"package other\n"],
        coordinator=coordinator,
    )

    assert found is not None
    assert found.detail == (
        "another manifest is in force; set replaces it and rotates the mesh CA, then restart web"
    )
    name = f"warning: coordinator {coordinator}"
    other = hashlib.sha256(b"package other\n").hexdigest()
    assert told == [
        f"{name}: it would refuse the planned manifest: policy provided that the manifest does not name: {other}",
        f"{name}: the planned manifest does not list our owner key: this locks us out of updates",
    ]
    # In JSON too, with the word of docs/reference/refusals.md.
    [answer] = found.changes
    assert answer.what == "refused, policies_differ"
    assert answer.after == f"policy provided that the manifest does not name: {other}"
