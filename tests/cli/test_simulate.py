"""`simulate`: what a user sees of a pod's life and its policy."""

import json

import pytest

from contrast_tasks.errors import MismatchError, UsageError
from tests.fakes.commands import Terminal
from tests.fakes.sweeps import rest_swept
from tests.fakes.workloads import FakeProject, deployment

PROBE = "          livenessProbe: {exec: {command: [/bin/check]}}\n"


@pytest.fixture
def web(terminal: Terminal, project: FakeProject) -> Terminal:
    project.write("web.yml", deployment("web", extra=PROBE))
    assert terminal.run("generate").code == 0
    return terminal


def test_every_request_of_every_pod_is_allowed(web: Terminal) -> None:
    shown = web.run("simulate")

    assert shown.code == 0
    for line in shown.out.splitlines():
        _, _, counts = line.partition(": ")
        allowed, _, asked, *_ = counts.split()
        assert allowed == asked


def test_a_pod_is_put_on_a_node_that_has_the_profile_that_it_asks_for(
    terminal: Terminal, project: FakeProject
) -> None:
    asked = (
        "          securityContext: {appArmorProfile: {type: Localhost, localhostProfile: mine}}\n"
    )
    project.write("web.yml", deployment("web", extra=asked))
    assert terminal.run("generate").code == 0

    assert terminal.run("simulate", "Deployment/web").code == 0


def test_the_sequence_is_shown_on_request(web: Terminal) -> None:
    lines = web.run("simulate", "Deployment/web", "--requests").out.splitlines()

    kinds = [line.split()[1].rstrip(":") for line in lines[1:] if not line.startswith("    ")]
    assert kinds[0] == "CheckRequest"
    assert kinds[-1] == "DestroySandboxRequest"
    assert any(line.endswith("run check in web: allowed") for line in lines)
    assert any(line.endswith("read output of contrast-initializer: hidden") for line in lines)
    assert lines[1].endswith("not asked")


def test_the_json_form_has_counts_and_on_request_all_decisions(web: Terminal) -> None:
    words = ("simulate", "Deployment/web", "--output", "json")
    short = json.loads(web.run(*words).out)["result"]["Deployment/web"]
    whole = json.loads(web.run(*words, "--requests").out)
    decisions = whole["result"]["Deployment/web"]["decisions"]

    # In the form of JUnit these are the cases.
    assert whole["tasks"] == [{"name": "Deployment/web", "status": "unchanged"}]
    assert short["denied"] == 0
    assert short["decisions"] == short["refused"] == []
    verdicts = [each["verdict"] for each in decisions]
    assert verdicts.count("allowed") == short["requests"]
    assert verdicts.count("hidden") == short["hidden"] == 2


def test_a_denial_is_shown_with_what_the_policy_prints(
    web: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A node whose containerd gives the sandbox an option that none gives.
    from contrast_tasks.runtime import containerd_versions as known

    bent = known.CONTAINERD[1].replace(name="1.9", sandbox_file_options=("rbind", "rw"))
    monkeypatch.setattr(known, "CONTAINERD", (*known.CONTAINERD, bent))

    shown = web.run("simulate", "Deployment/web", "--containerd", "1.9")

    assert shown.code == MismatchError.exit_code
    assert "CreateContainerRequest: create pause: denied" in shown.out
    assert "DENY CreateContainerRequest container=pause codes=E_MOUNT_OPTS" in shown.out
    assert "Deployment/web: request" in shown.err
    assert "E_MOUNT_OPTS" in shown.err


@pytest.mark.parametrize(
    "version", rest_swept(["1.6", "1.7.29", "2.4.2"], kept=lambda version: version == "1.6")
)
def test_other_versions_of_containerd_are_allowed_too(web: Terminal, version: str) -> None:
    assert web.run("simulate", "Deployment/web", "--containerd", version).code == 0


def test_an_unknown_version_and_an_unknown_workload_are_refused(web: Terminal) -> None:
    version = web.run("simulate", "--containerd", "9")
    workload = web.run("simulate", "Deployment/wbe")

    assert version.code == workload.code == UsageError.exit_code
    assert "containerd 9 is not modelled" in version.err
    assert "no workload 'Deployment/wbe'" in workload.err


def test_without_a_policy_of_the_sources_there_is_nothing_to_ask(
    terminal: Terminal, project: FakeProject
) -> None:
    project.write("web.yml", deployment("web"))

    shown = terminal.run("simulate", "Deployment/web")

    assert shown.code == 3
    assert "run 'contrast-tasks generate' first" in shown.err


@pytest.mark.sweep
def test_many_workloads_are_simulated_like_few(terminal: Terminal, project: FakeProject) -> None:
    for number in range(8):
        project.write(f"web-{number}.yml", deployment(f"web-{number}"))
    assert terminal.run("generate").code == 0

    together = terminal.run("simulate").out.splitlines()

    assert [line for line in together if "web-" in line] == sorted(
        terminal.run("simulate", f"Deployment/web-{number}").out.strip() for number in range(8)
    )
