import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.settings.model import Settings
from contrast_tasks.steps.plan import Difference
from tests.fakes.commands import Terminal
from tests.fakes.workloads import FakeProject, deployment, service, stream

CLASS = "contrast-cc-metal-qemu-snp-0a1b2c3d"
LIVE = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "cart", "namespace": "default"},
    "spec": {"template": {"spec": {"containers": [], "runtimeClassName": "runc"}}},
}
CONFIG = {
    "contexts": [{"name": "there", "context": {}}],
    "clusters": [{"name": "there", "cluster": {"server": "https://192.0.2.1"}}],
}
KUBECTL = f"""#!/bin/sh
case "$*" in
"get runtimeclasses --output=name --request-timeout=5s")
    echo "runtimeclass.node.k8s.io/runc"
    %s ;;
"config view --minify --output=json") echo '{json.dumps(CONFIG)}' ;;
"get --ignore-not-found --output=json --filename=-"*) cat >/dev/null; %s ;;
*) exit 64 ;;
esac
"""
HAS_CLASS = f"echo runtimeclass.node.k8s.io/{CLASS}"


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a kubectl first on PATH; its cluster has the runtime class of the project."""
    program = tmp_path / "programs" / "kubectl"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    program.write_text(KUBECTL % (HAS_CLASS, ":"))
    program.chmod(0o755)
    return program


pytestmark = pytest.mark.usefixtures("kubectl")


def test_a_runtime_class_that_the_cluster_lacks_is_told(terminal: Terminal, kubectl: Path) -> None:
    kubectl.write_text(KUBECTL % (":", ":"))
    terminal.run("generate")

    shown = terminal.run("plan", "--detailed-exitcode")

    assert (shown.code, shown.out) == (0, "")
    assert (
        f"warning[G070 runtime-class-absent]: the cluster has no runtime class {CLASS}" in shown.err
    )


def test_a_cluster_that_does_not_answer_changes_no_plan(terminal: Terminal, kubectl: Path) -> None:
    kubectl.write_text("#!/bin/sh\necho 'no route to host' >&2\nexit 1\n")
    terminal.run("generate")

    shown = terminal.run("plan", "--detailed-exitcode")

    assert shown.code == 0
    assert "was not looked at: kubectl get failed: no route to host" in shown.err


def test_what_somebody_changed_on_the_cluster_is_told(terminal: Terminal, kubectl: Path) -> None:
    kubectl.write_text(KUBECTL % (HAS_CLASS, f"echo '{json.dumps(LIVE)}'"))
    terminal.run("generate")

    shown = terminal.run("plan", "--detailed-exitcode")

    place = "default/Deployment/cart: spec.template.spec.runtimeClassName"
    assert shown.code == 0
    assert f"warning: changed on the cluster: {place}: deployed {CLASS}, found runc" in shown.err


def test_before_the_first_run_everything_is_added(terminal: Terminal, project: FakeProject) -> None:
    shown = terminal.run("plan")

    assert shown.code == 0
    assert "added Deployment/cart\n" in shown.out
    assert "added manifest.json\n" in shown.out
    assert "added build/deployment/till/till.yaml\n" in shown.out
    assert project.outputs() == {}


def test_what_was_generated_has_no_changes(terminal: Terminal) -> None:
    terminal.run("generate")

    shown = terminal.run("plan", "--detailed-exitcode")

    assert (shown.code, shown.out, shown.err) == (0, "", "no changes\n")


def test_one_changed_workload_is_one_line_and_its_files(
    terminal: Terminal, project: FakeProject
) -> None:
    terminal.run("generate")
    before = project.outputs()
    project.settings(
        '\n[workloads."Deployment/till"]\nsans = ["203.0.113.34"]\nenv = { A = "b" }\n'
    )

    shown = terminal.run("plan", "--detailed-exitcode")

    assert shown.code == 5
    assert shown.out == (
        "changed Deployment/till (policy_sha256, sans)\n"
        "  ~ names in its certificate: till * -> till * 203.0.113.34\n"
        "  + till: variable: A\n"
        "changed manifest.json (setting it rotates the mesh CA, workloads must be restarted)\n"
        "changed build/deployment/till/till.yaml\n"
        "changed build/policies/Deployment.till.rego\n"
    )
    assert project.outputs() == before


def test_what_a_policy_allows_otherwise_is_told_in_the_words_of_the_yaml(
    terminal: Terminal, project: FakeProject
) -> None:
    project.settings('\n[workloads."Deployment/till"]\nenv = { A = "secret1", B = "b" }\n')
    terminal.run("generate")
    project.settings(
        '\n[workloads."Deployment/till"]\nenv = { A = "secret2", C = "c" }\nuser = "1000:1000"\n'
    )

    shown = terminal.run("plan")
    document = json.loads(terminal.run("plan", "--output", "json").out)

    assert shown.out.splitlines()[1:5] == [
        "  ~ till: user: 0:0 -> 1000:1000",
        "  - till: variable: B",
        "  + till: variable: C",
        "  ~ till: variable A: a value -> another value",
    ]
    assert "secret" not in shown.out
    assert document["result"]["changes"][0]["changes"][0] == {
        "what": "till: user",
        "before": "0:0",
        "after": "1000:1000",
    }


def test_a_coordinator_with_another_manifest_is_a_change(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.run("generate")
    asked: list[tuple[bytes, str]] = []
    sent: set[str] = set()

    def compare(settings: Settings, planned: bytes, **given: Any) -> Difference:
        asked.append((planned, given["coordinator"]))
        sent.update(hashlib.sha256(policy).hexdigest() for policy in given["policies"]())
        return Difference(what="changed", name="coordinator 127.0.0.1:1", detail="another")

    monkeypatch.setattr("contrast_tasks.client.plan.running_difference", compare)

    shown = terminal.run("plan", "-c", "127.0.0.1:1", "--detailed-exitcode")

    assert (shown.code, shown.out, shown.err) == (
        5,
        "changed coordinator 127.0.0.1:1 (another)\n",
        "",
    )
    manifest = (terminal.root / "manifest.json").read_bytes()
    assert asked == [(manifest, "127.0.0.1:1")]
    assert sent == set(json.loads(manifest)["Policies"])


def test_a_coordinator_that_does_not_answer_is_an_error(terminal: Terminal) -> None:
    terminal.run("generate")

    shown = terminal.run("plan", "-c", "127.0.0.1:1")

    assert shown.code == 40


def test_a_removed_workload_is_told(terminal: Terminal, project: FakeProject) -> None:
    terminal.run("generate")
    (project.root / "deployment/till/till.yaml").unlink()

    shown = terminal.run("plan", "--output", "json")

    changes = json.loads(shown.out)["result"]["changes"]
    assert {"what": "removed", "name": "Deployment/till", "detail": "", "changes": []} in changes


def test_a_plan_that_cannot_be_made_says_why(terminal: Terminal, project: FakeProject) -> None:
    project.write("broken.yml", "a: [")

    shown = terminal.run("plan")

    assert shown.code == 12
    assert "deployment/broken.yml:" in shown.err


def test_planning_leaves_no_keys_and_no_lock_behind(
    terminal: Terminal, project: FakeProject
) -> None:
    text = project.read("contrast.toml").replace("owners.disable_updates = true\n", "")
    (project.root / "contrast.toml").write_text(text)
    lock = project.read("contrast.lock")

    shown = terminal.run("plan")

    assert shown.code == 0
    assert not (project.root / "workload-owner.pem").exists()
    assert project.read("contrast.lock") == lock


def test_generate_after_a_plan_is_still_up_to_date(terminal: Terminal) -> None:
    terminal.run("generate")
    terminal.run("plan")

    assert terminal.run("generate").err.startswith("up to date")


RESOURCES = "          resources: {{limits: {{memory: {0}}}, requests: {{memory: {0}}}}}\n"
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{p: {0}, {1}: x}}\n"


def test_what_no_policy_has_is_shown_before_and_after_too(
    terminal: Terminal, project: FakeProject
) -> None:
    def write(memory: str, replicas: int, password: str, key: str) -> None:
        web = deployment("web", extra=RESOURCES.format(memory))
        web = web.replace("replicas: 1", f"replicas: {replicas}")
        project.write("web.yml", stream(web, SECRET.format(password, key), service("web")))

    write("160Mi", 1, "old", "gone")
    assert terminal.run("generate").code == 0
    write("256Mi", 3, "new", "come")

    shown = terminal.run("plan")
    changes = json.loads(terminal.run("plan", "--output", "json").out)["result"]["changes"]

    assert shown.out == (
        "changed Deployment/web\n"
        "  ~ spec.replicas: 1 -> 3\n"
        "  ~ containers.web.resources.limits.memory: 160Mi -> 256Mi\n"
        "  ~ containers.web.resources.requests.memory: 160Mi -> 256Mi\n"
        "changed Secret/s\n"
        "  ~ stringData.p: a value -> another value\n"
        "  - stringData.gone: a value\n"
        "  + stringData.come: another value\n"
        "changed build/deployment/web.yml\n"
    )
    assert changes[0]["changes"][0] == {"what": "spec.replicas", "before": "1", "after": "3"}
