"""The commands that call a stage: what they hand over, what they say, what they exit with."""

import json
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from contrast_tasks.client.audit_report import AuditReport
from contrast_tasks.client.recover import RecoverResult
from contrast_tasks.client.set import SetResult
from contrast_tasks.client.verify import VerifyResult
from contrast_tasks.deploy.apply import DeployResult, StatusResult
from contrast_tasks.deploy.pods_report import PodLine
from contrast_tasks.errors import CoordinatorUnreachable, EvidenceRejected
from contrast_tasks.local.messages import PodStatus
from contrast_tasks.schema import validate
from tests.fakes.commands import Terminal, quiet_environment
from tests.fakes.workloads import FakeProject

SET = SetResult(
    coordinator="h:1",
    generation=1,
    is_repeat=False,
    manifest_sha256="a",
    mesh_ca_sha256="b",
    files=("mesh-ca.pem",),
)
VERIFIED = VerifyResult(
    coordinator="h:1",
    folder=Path("verify"),
    files=("manifest.0.json",),
    generations=1,
    manifest_sha256="a",
    root_ca_sha256="b",
    mesh_ca_sha256="c",
)


AUDITED = AuditReport(
    folder="verify",
    root_ca_sha256="a",
    mesh_ca_sha256="b",
    generations=(),
    since=None,
    workloads=(),
    trusts_simulated=True,
)
RECOVERED = RecoverResult(
    coordinator="h:1",
    generation=1,
    manifest_sha256="a",
    mesh_ca_sha256="b",
    files=(),
    restart=(),
)


SAID = "something happened"


class Stage:
    """Stands in for a stage function: keeps what it was given, says one line."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.given: dict[str, Any] = {}

    def __call__(self, settings: Any, **given: Any) -> Any:
        self.given = {"settings": settings, **given}
        if "say" in given:
            given["say"](SAID)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def _replace(monkeypatch: pytest.MonkeyPatch, name: str, result: Any) -> Stage:
    stage = Stage(result)
    monkeypatch.setattr(f"contrast_tasks.{name}", stage)
    return stage


def test_flags_leave_injected_containers_out(terminal: Terminal, project: FakeProject) -> None:
    assert terminal.run("generate").code == 0
    assert "contrast-initializer" in project.read("build/deployment/shop.yml")

    shown = terminal.run("generate", "--skip-initializer", "--skip-service-mesh")

    assert shown.code == 0
    assert "contrast-initializer" not in project.read("build/deployment/shop.yml")


def test_deploy_generates_first_and_then_deploys(
    terminal: Terminal, project: FakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = _replace(
        monkeypatch,
        "deploy.apply.run_deploy",
        DeployResult(platform="local", started=("web",), coordinator="127.0.0.2:1313"),
    )

    shown = terminal.run("deploy", "--without-mesh")

    assert shown.code == 0
    assert "manifest.json" in project.outputs()
    assert shown.err.splitlines()[-2:] == ["something happened", "coordinator 127.0.0.2:1313"]
    assert stage.given["with_mesh"] is False


def test_deploy_does_not_deploy_what_cannot_be_generated(
    terminal: Terminal, project: FakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = _replace(monkeypatch, "deploy.apply.run_deploy", DeployResult(platform="local"))
    project.write("broken.yml", "a: [")

    shown = terminal.run("deploy")

    assert shown.code == 12
    assert stage.given == {}


def test_deploy_goes_on_without_values_that_only_a_running_coordinator_can_tell(
    terminal: Terminal, project: FakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = project.read("contrast.toml")
    (project.root / "contrast.toml").write_text(text.partition("[reference_values")[0])
    stage = _replace(monkeypatch, "deploy.apply.run_deploy", DeployResult(platform="k3s-qemu-snp"))

    shown = terminal.run("deploy")

    assert terminal.run("generate", "--always").code == 13
    assert shown.code == 0
    assert stage.given["with_mesh"] is True
    assert "that only you can know: deployed without, set will need them\n" in shown.err


@pytest.mark.parametrize("name", ["snapshot.unchanged", "session.run_command_line"])
def test_an_interrupt_is_one_line_before_a_command_begins_too(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"contrast_tasks.cli.{name}", interrupt)

    shown = terminal.run("generate")

    assert (shown.code, shown.out) == (130, "")
    assert shown.err == "contrast-tasks: interrupted, finished work is kept\n"


def test_an_interrupt_while_the_program_is_loaded_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Loading(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "contrast_tasks.cli.main", Loading("main"))

    with pytest.raises(SystemExit) as caught:
        runpy.run_module("contrast_tasks", run_name="__main__")

    assert caught.value.code == 130
    assert capsys.readouterr().err == "contrast-tasks: interrupted\n"


def test_set_hands_over_paths_as_the_caller_sees_them(
    terminal: Terminal, project: FakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = _replace(monkeypatch, "client.set.run_set", SET)

    shown = terminal.run(
        "set",
        "-c",
        "h:1",
        "-m",
        "other.json",
        "--workload-owner-key",
        "./key.pem",
        "build/deployment",
    )

    assert (shown.code, shown.out) == (0, "")
    assert shown.err.splitlines() == [
        "something happened",
        "wrote mesh-ca.pem",
        "set other.json at coordinator h:1: manifest a is in force (generation 1), mesh CA b",
    ]
    assert stage.given["coordinator"] == "h:1"
    assert stage.given["manifest"] == project.root / "other.json"
    assert stage.given["owner_key"] == project.root / "key.pem"
    assert stage.given["owner_key_name"] == "./key.pem"
    assert stage.given["paths"] == [project.root / "build/deployment"]


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "5x", ""])
@pytest.mark.parametrize("command", ["set", "verify", "recover"])
def test_a_time_that_never_ends_is_refused(terminal: Terminal, command: str, text: str) -> None:
    shown = terminal.run(command, "-c", "h:1", f"--timeout={text}")

    assert shown.code == 2
    assert f"argument --timeout: is '{text}', expected seconds from 0" in shown.err


@pytest.mark.parametrize(
    ("command", "stage", "result"),
    [
        ("set", "client.set.run_set", SET),
        ("verify", "client.verify.run_verify", VERIFIED),
        ("audit", "client.audit.run_audit", AUDITED),
        ("recover", "client.recover.run_recover", RECOVERED),
    ],
)
def test_whoever_has_the_manifest_needs_no_project(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    stage: str,
    result: Any,
) -> None:
    quiet_environment(monkeypatch, tmp_path / "cache")
    called = _replace(monkeypatch, stage, result)

    shown = Terminal(tmp_path, capsys, monkeypatch).run(command)

    assert shown.code == 0
    assert (called.given["settings"].platform, called.given["settings"].sources) == ("", ())


def test_verify_says_what_it_wrote_and_what_is_in_force(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    _replace(monkeypatch, "client.verify.run_verify", VERIFIED)

    shown = terminal.run("verify", "--folder", "kept/")

    assert (shown.code, shown.out) == (0, "")
    assert shown.err.splitlines() == [
        "something happened",
        "wrote kept/manifest.0.json",
        "verified coordinator h:1 against manifest.json: manifest a is in force (generation 1), mesh CA c",
    ]


def test_verify_as_json_is_one_document_without_conversation(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    _replace(monkeypatch, "client.verify.run_verify", VERIFIED)

    shown = terminal.run("verify", "--output", "json")

    assert (shown.code, shown.err) == (0, "")
    document = json.loads(shown.out)
    assert document["result"]["manifest_sha256"] == "a"
    assert document["version"] == "1.0"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EvidenceRejected("the report is for another key", hint="compare"), 41),
        (CoordinatorUnreachable("nobody answers at h:1"), 40),
    ],
)
def test_a_refusal_has_its_own_exit_code_and_is_in_the_document(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    _replace(monkeypatch, "client.verify.run_verify", error)

    shown = terminal.run("verify", "--output", "json")

    assert shown.code == code
    [failure] = json.loads(shown.out)["errors"]
    assert (failure["message"], failure["exit_code"]) == (str(error), code)


def test_commands_in_a_row_stop_at_the_first_failure(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    _replace(monkeypatch, "deploy.apply.run_deploy", DeployResult(platform="local"))
    _replace(monkeypatch, "client.set.run_set", CoordinatorUnreachable("nobody answers"))
    verify = _replace(monkeypatch, "client.verify.run_verify", VERIFIED)

    shown = terminal.run("deploy", "set", "verify")

    assert shown.code == 40
    assert shown.err.endswith("contrast-tasks: error: nobody answers\n")
    assert verify.given == {}


def test_commands_in_a_row_make_one_document(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    _replace(monkeypatch, "client.set.run_set", SET)
    _replace(monkeypatch, "client.verify.run_verify", VERIFIED)

    shown = terminal.run("set", "verify", "--output", "json")

    document = json.loads(shown.out)
    assert document["command"] == "set verify"
    assert sorted(document["result"]) == ["set", "verify"]


def test_status_is_data(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    _replace(
        monkeypatch,
        "deploy.apply.run_status",
        StatusResult(
            platform="k",
            running=True,
            on_cluster=(
                PodLine(
                    "shop/Deployment/web", "web-1", "Running", is_ready=True, restarts=2, reason=""
                ),
                PodLine("Job/once", "", "no pod", is_ready=False, restarts=0, reason="Quota: no"),
            ),
            outdated=("Deployment/api: what is deployed is of another build",),
            drift=("Deployment/web: spec.x: deployed 1, found 2",),
            untold=("events may not be listed",),
        ),
    )

    shown = terminal.run("status")

    assert shown.code == 0
    assert shown.out == (
        "shop/Deployment/web  web-1  Running  ready  2 restarts\n"
        "Job/once             -  no pod  Quota: no\n"
    )
    assert shown.err.splitlines() == [
        SAID,
        "warning: events may not be listed",
        "not deployed yet: Deployment/api: what is deployed is of another build",
        "  hint: 'contrast-tasks deploy' brings this build there",
        "warning: changed on the cluster: Deployment/web: spec.x: deployed 1, found 2",
        "  hint: 'contrast-tasks deploy --take-over' sets it back",
        "1 of 2 pods is not ready",
    ]


WEB = PodStatus(
    name="web",
    workload="Deployment/web",
    role="",
    address="127.0.0.3",
    phase="starting",
    started=False,
    ready=False,
    restarts=1,
    message="",
    policy_sha256="",
    digest="",
    pids={},
)


def test_status_is_a_report_that_says_what_is_not_ready(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = StatusResult(platform="local", running=True, pods=(WEB,))
    _replace(monkeypatch, "deploy.apply.run_status", found)

    shown = terminal.run("status")

    hint = "  hint: 'contrast-tasks logs Deployment/web' shows what its containers wrote"
    assert (shown.code, shown.err) == (0, f"{SAID}\n1 of 1 pods is not ready\n{hint}\n")
    assert shown.out == "Deployment/web  127.0.0.3  starting  not ready  1 restart\n"


def test_status_names_the_next_command_to_those_who_wait(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = StatusResult(platform="local", running=True, pods=(WEB,), coordinator="initial")
    _replace(monkeypatch, "deploy.apply.run_status", found)

    shown = terminal.run("status")

    assert shown.err == (
        f"{SAID}\n"
        "1 of 1 pods is not ready\n"
        "  hint: the coordinator has no manifest, and pods wait for it: 'contrast-tasks set'\n"
    )


def test_status_that_waited_in_vain_is_an_error_below_the_report(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = "not ready: web is starting"
    found = StatusResult(platform="local", running=True, pods=(WEB,), behind=behind)
    _replace(monkeypatch, "deploy.apply.run_status", found)

    shown = terminal.run("status", "--wait", "1")

    assert shown.code == 30
    assert shown.out.startswith("Deployment/web ")
    assert shown.err == (
        f"{SAID}\ncontrast-tasks: error: {behind}\n  hint: 'contrast-tasks logs Deployment/web' shows what its containers wrote\n"
    )


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("status",), 0, "nothing is running"),
        (("status", "--wait", "1"), 30, "contrast-tasks: error: nothing is running"),
    ],
    ids=["report", "waited"],
)
def test_nothing_running_is_one_line(
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    line: str,
) -> None:
    _replace(monkeypatch, "deploy.apply.run_status", StatusResult(platform="local", running=False))

    shown = terminal.run(*words)

    assert (shown.code, shown.out, shown.err.splitlines()[1]) == (code, "", line)


def test_restart_hands_over_names(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = _replace(monkeypatch, "deploy.apply.run_restart", ("web",))

    shown = terminal.run("restart", "web", "--wait", "3")

    assert (shown.code, shown.err) == (0, "something happened\n1 workload restarted, all ready\n")
    assert (stage.given["names"], stage.given["wait_s"]) == (["web"], 3.0)


def test_stop_says_what_it_did(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    _replace(monkeypatch, "deploy.apply.run_stop", result=True)

    assert terminal.run("stop").err == "something happened\n"


def test_config_shows_where_each_value_comes_from(
    terminal: Terminal, project: FakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTRAST_LOCK", "other.lock")
    project.settings('\n[workloads."Deployment/till"]\ningress = ""\nenv = { A = "b" }\n')

    shown = terminal.run("config", "show", "--origin", "--set", 'defaults.memory="9Mi"')

    lines = shown.out.splitlines()
    assert 'platform = "metal-qemu-snp"  # contrast.toml:1' in lines
    assert 'lock = "other.lock"  # environment CONTRAST_LOCK' in lines
    assert 'runtime.release = "v1.11.0"  # contrast.toml:3' in lines
    assert 'build_dir = "build"  # default' in lines
    assert 'workloads."Deployment/till".ingress = ""  # contrast.toml:15' in lines
    assert 'workloads."Deployment/till".env.A = "b"  # contrast.toml:16' in lines
    assert any(line.startswith('defaults.memory = "9Mi"  # ') for line in lines)
    assert any(
        line.startswith('reference_values.snp.Milan.trusted_measurement = "abab') for line in lines
    )


def test_config_shows_a_proxy_beside_mirrors(terminal: Terminal) -> None:
    lines = (
        'endorsements.proxy="http://proxy.example:3128"',
        'endorsements.mirrors."https://a/"="https://b/"',
    )

    shown = terminal.run("config", "show", "--set", lines[0], "--set", lines[1])

    assert shown.code == 0
    assert 'endorsements.proxy = "http://proxy.example:3128"\n' in shown.out
    assert 'endorsements.mirrors."https://a/" = "https://b/"\n' in shown.out


def test_the_runtimes_resources_are_data_or_a_file(
    terminal: Terminal, project: FakeProject
) -> None:
    digest = f"@sha256:{'ab' * 32}"
    words = ["runtime", "--reference-values", "k3s-qemu-tdx", "--installer", f"r/i{digest}"]
    words += ["--set", 'runtime.class="contrast-cc-k3s-qemu-tdx-1a2b3c4d"']

    shown = terminal.run(*words)
    written = terminal.run(*words, "--write", "runtime.yml")

    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("# The runtime of platform K3s-QEMU-TDX, release v1.11.0:")
    assert (written.out, written.err) == ("", "wrote runtime.yml\n")
    assert project.read("runtime.yml") == shown.out


def test_the_coordinators_resources_are_data(terminal: Terminal) -> None:
    shown = terminal.run("coordinator", "--set", 'components.coordinator="r/c:2"')

    assert shown.err == ""
    assert "kind: StatefulSet" in shown.out
    assert "image: r/c:2\n" in shown.out


@pytest.mark.parametrize(
    ("what", "start"), [("alerts", "# For the Prometheus Operator"), ("dashboard", "{\n")]
)
def test_what_watches_a_coordinator_is_data_without_a_project(
    terminal: Terminal, project: FakeProject, what: str, start: str
) -> None:
    (project.root / "contrast.toml").unlink()

    shown = terminal.run("coordinator", what)
    written = terminal.run("coordinator", what, "--write", "watching")

    assert (shown.code, shown.err, written.err) == (0, "", "wrote watching\n")
    assert shown.out.startswith(start)
    assert project.read("watching") == shown.out
    assert terminal.run("coordinator", "graphs").code == 2


def test_the_coordinators_resources_next_to_the_deployment_replace_ours(
    terminal: Terminal, project: FakeProject
) -> None:
    terminal.run("generate")
    policy = project.outputs()["build/policies/StatefulSet.coordinator.rego"]

    assert terminal.run("coordinator", "--write", "deployment/coordinator.yml").code == 0
    shown = terminal.run("generate")

    assert shown.code == 0
    assert project.outputs()["build/policies/StatefulSet.coordinator.rego"] == policy
    assert json.loads(project.read("build/workloads/StatefulSet.coordinator.json"))["file"] == (
        "deployment/coordinator.yml"
    )


def test_lock_tells_what_it_dropped(terminal: Terminal, project: FakeProject) -> None:
    project.write("shop.yml", "")
    (project.root / "deployment/till/till.yaml").unlink()

    shown = terminal.run("lock", "--offline")

    assert shown.code == 0
    assert "dropped shop/app:v1" in shown.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 0),
        (("--fail-on", "error"), 0),
        (("--fail-on", "warning"), 11),
        (("--fail-on", "note"), 11),
    ],
)
def test_lint_writes_nothing_and_exits_with_the_worst_finding_that_counts(
    terminal: Terminal, project: FakeProject, words: tuple[str, ...], code: int
) -> None:
    outside = 'workloads."Deployment/till".runtime_class=false'
    shown = terminal.run("lint", "--set", outside, *words)

    assert shown.code == code
    assert "warning[G004 not-confidential]: Deployment/till" in shown.err
    assert project.outputs() == {}
    assert not (project.root / "workload-owner.pem").exists()


def test_check_tells_what_generate_would_write_and_writes_nothing(
    terminal: Terminal, project: FakeProject
) -> None:
    first = terminal.run("generate", "--check")
    assert (first.code, project.outputs()) == (5, {})
    assert "added Deployment/till" in first.out

    terminal.run("generate")
    same, before = terminal.run("generate", "--check"), project.outputs()
    assert (same.code, same.out, same.err) == (0, "", "no changes\n")

    other = terminal.run("generate", "--check", "--set", 'defaults.memory="900Mi"')
    assert (other.code, project.outputs()) == (5, before)
    assert "changed build/deployment/till/till.yaml" in other.out

    edited = project.root / "manifest.json"
    edited.write_text(edited.read_text() + "\n")
    assert terminal.run("generate", "--check").out.startswith("changed manifest.json (")


def test_check_fails_as_generate_does(terminal: Terminal, project: FakeProject) -> None:
    words = ("--set", 'defaults.memory="1Ki"')

    checked, generated = (
        terminal.run("generate", "--check", *words),
        terminal.run("generate", *words),
    )

    assert checked.code == generated.code == 12


def test_check_fails_for_values_that_only_the_user_knows_once_all_is_written(
    terminal: Terminal, project: FakeProject
) -> None:
    text = project.read("contrast.toml")
    (project.root / "contrast.toml").write_text(text.partition("[reference_values")[0])

    runs = [terminal.run("generate", *words) for words in (("--check",), (), ("--check",), ())]

    assert [shown.code for shown in runs] == [5, 13, 13, 13]
    *_, checked, generated = (shown.err.splitlines() for shown in runs)
    assert checked == ["no changes", *generated[1:]]
    assert "manifest.json:43: error[M032 missing-measurement]" in checked[1]


def test_paths_on_the_command_line_are_those_of_the_caller(
    terminal: Terminal, project: FakeProject
) -> None:
    shown = terminal.run("generate", "deployment/shop.yml", "-m", "other.json")

    assert shown.code == 0
    assert (project.root / "other.json").exists()
    assert not (project.root / "build/deployment/till").exists()


@pytest.mark.parametrize("form", ["json", "events", "sarif", "junit"])
def test_a_machine_form_is_the_only_thing_on_stdout(terminal: Terminal, form: str) -> None:
    shown = terminal.run("generate", "--output", form)

    assert (shown.code, shown.err) == (0, "")
    assert shown.out


def test_every_line_of_the_stream_keeps_its_schema(
    terminal: Terminal, project: FakeProject
) -> None:
    project.write("broken.yml", "a: [")

    shown = terminal.run("generate", "--output", "events")

    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert lines[0] == {"event": "begin", "version": "1.0", "command": "generate"}
    assert lines[-1]["event"] == "end"
    assert lines[-1]["exit_code"] == shown.code == 12
    assert {line["event"] for line in lines} == {"begin", "task", "finding", "error", "end"}
    assert [problem for line in lines for problem in validate(line, "events")] == []


def test_a_usage_error_is_told_in_the_form_that_was_asked_for(terminal: Terminal) -> None:
    shown = terminal.run("generate", "--nonsense", "--output", "json")

    assert shown.code == 2
    assert json.loads(shown.out)["errors"][0]["kind"] == "UsageError"


def test_a_release_that_nobody_named_says_why_it_is_the_one(
    terminal: Terminal, project: FakeProject
) -> None:
    (project.root / "contrast.toml").write_text('platform = "rke2-qemu-tdx"\nsources = ["d"]\n')

    shown = terminal.run("config", "show", "--origin")

    line = 'runtime.release = "v1.12.0"  # default: the newest with the platform'
    assert line in shown.out.splitlines()


def test_the_release_is_a_flag_too(terminal: Terminal) -> None:
    shown = terminal.run("lint", "--release", "v1.18.0")

    assert shown.code == 2
    assert "command line: error: runtime.release: release v1.18.0 is not supported" in shown.err
