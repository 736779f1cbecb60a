"""`explain` and `simulate`: why a task ran or will run, why a request was denied, what a pod's own life is answered."""

import gzip
import json
import sys

import pytest

from tests.fakes.commands import Terminal
from tests.fakes.policy import bent, policy_of, requests_before, web
from tests.fakes.workloads import FakeProject

SHOP = "deployment/shop.yml"
SHELF = f"workload:{SHOP}#Deployment/shelf"
TILL = "deployment/till/till.yaml"
DENIAL = "is blocked by policy: DENY CreateContainerRequest container=web-svc codes=E_ARGS,E_ENV(X)"


def test_before_the_first_run_every_task_has_not_run(terminal: Terminal) -> None:
    shown = terminal.run("explain", "Deployment/shelf")

    assert shown.out == f"{SHELF}\n  will run because it had not run before\n"


def test_with_nothing_to_do_it_says_so(generated: Terminal) -> None:
    shown = generated.run("explain")

    assert (shown.code, shown.out) == (0, "")
    assert shown.err == "everything is up to date; name a task, a workload or a file\n"


def test_an_edit_is_named_with_the_tasks_it_makes_run(
    generated: Terminal, project: FakeProject
) -> None:
    project.write("shop.yml", project.read(SHOP).replace("replicas: 1", "replicas: 2", 1))

    shown = generated.run("explain", "--output", "json")

    tasks = {task["name"]: task for task in json.loads(shown.out)["result"]["tasks"]}
    workload = next(name for name in tasks if name.startswith("workload:"))
    assert tasks[workload]["stale"] == ["its document changed"]
    assert f"output:{TILL}" not in tasks
    assert f"{SHOP} changed" in tasks[f"output:{SHOP}"]["stale"]


def test_a_setting_of_one_workload_is_named_by_its_table(
    generated: Terminal, project: FakeProject
) -> None:
    project.settings('[workloads."Deployment/shelf"]\nsans = ["shelf.example"]\n')

    shown = generated.run("explain", "Deployment/shelf")

    assert shown.out == (
        f"{SHELF}\n"
        "  ran last because it had not run before\n"
        '  will run because [workloads."Deployment/shelf"] changed\n'
    )


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('workloads."*".service_links=false', '[workloads."*"]'),
        ('workloads."Deployment/sh*".user="1"', '[workloads."Deployment/sh*"]'),
        ("defaults.cpu_limits=false", "[defaults]"),
        ('lint.ignore=[{rule="memory-request", reason="so"}]', "[lint] ignore"),
    ],
)
def test_a_setting_of_several_workloads_is_named_by_its_table(
    generated: Terminal, line: str, name: str
) -> None:
    shown = generated.run("explain", "Deployment/shelf", "--set", line)

    assert f"will run because {name} changed" in shown.out


@pytest.mark.parametrize("key", ["defaults.service_mesh", "defaults.initializer"])
def test_a_default_is_named_that_changed(generated: Terminal, key: str) -> None:
    table, _, name = key.partition(".")

    shown = generated.run("explain", "Deployment/shelf", "--set", f"{key}=false")

    assert f"will run because [{table}] {name} changed" in shown.out


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (
            "reference_values.snp.Milan.minimum_tcb.snp=9",
            "[reference_values] snp.Milan.minimum_tcb.snp",
        ),
        ("owners.disable_updates=false", "[owners] disable_updates"),
        ('manifest="other.json"', "manifest"),
        ('workloads."Deployment/shelf".secret_id="x"', "workloads"),
        ('platform="local"', "platform"),
        ('runtime.release="v1.10.0"', "[runtime] release"),
    ],
)
def test_the_checks_name_the_setting_that_changed(
    generated: Terminal, line: str, name: str
) -> None:
    shown = generated.run("explain", "sources", "--set", line)

    assert f"will run because {name} changed" in shown.out


def test_another_release_is_named_as_the_reason_for_another_policy(generated: Terminal) -> None:
    shown = generated.run("explain", "Deployment/shelf", "--set", 'runtime.release="v1.9.0"')

    assert "will run because [runtime] release changed" in shown.out


def test_an_image_of_our_own_is_named_that_changed(generated: Terminal) -> None:
    words = ("--set", 'components.initializer="shop/init:v2"')

    shown = generated.run("explain", "Deployment/shelf", *words)

    assert "will run because [components] initializer changed" in shown.out


def test_the_reason_of_the_last_run_is_kept(generated: Terminal, project: FakeProject) -> None:
    (project.root / "build/policies/Deployment.shelf.rego").unlink()
    generated.run("generate")

    shown = generated.run("explain", "build/policies/Deployment.shelf.rego")

    assert shown.out == (
        f"output:{SHOP}\n"
        "  ran last because build/policies/Deployment.shelf.rego is gone\n"
        "  is up to date\n"
    )


def test_an_output_changed_by_hand_is_named(generated: Terminal, project: FakeProject) -> None:
    (project.root / "manifest.json").write_text("{}")

    shown = generated.run("explain", "manifest.json")

    assert "will run because manifest.json was changed after it was written" in shown.out


def test_a_run_that_was_asked_for_is_told_as_such(generated: Terminal) -> None:
    generated.run("generate", "--always")

    shown = generated.run("explain", "sources")

    assert "ran last because everything was asked to run\n" in shown.out


def test_a_task_behind_one_that_runs_waits_for_it(
    generated: Terminal, project: FakeProject
) -> None:
    project.write("shop.yml", project.read(SHOP).replace("replicas: 1", "replicas: 2", 1))

    shown = generated.run("explain", f"output:{TILL}")

    assert "waits for check, and runs if they make something new" in shown.out


def test_nothing_is_recorded_by_explaining(generated: Terminal, project: FakeProject) -> None:
    project.settings('[workloads."Deployment/shelf"]\nsans = ["shelf.example"]\n')
    before = (project.root / ".contrast/doit.db").read_bytes()

    generated.run("explain")

    assert (project.root / ".contrast/doit.db").read_bytes() == before


def test_an_unknown_subject_has_the_nearest_known_one(generated: Terminal) -> None:
    shown = generated.run("explain", "Deployment/shelv")

    assert shown.code == 2
    assert "did you mean 'Deployment/shelf'?" in shown.err


def test_a_denial_in_an_event_is_explained_by_the_policy(
    terminal: Terminal, project: FakeProject
) -> None:
    (project.root / "web.rego").write_bytes(policy_of("web"))

    shown = terminal.run("explain", DENIAL, "--policy", "web.rego")

    assert shown.code == 0
    assert shown.out.startswith("CreateContainerRequest of web-svc is denied\n  E_ARGS: ")
    assert '    expected ["/bin/app"]\n' in shown.out
    assert "  E_ENV (X): " in shown.out


@pytest.mark.parametrize("name", ["policy.rego.gz", "initdata.toml", "other.rego"])
def test_the_policy_may_be_compressed_or_in_initdata(
    terminal: Terminal, project: FakeProject, name: str
) -> None:
    policy = policy_of("web")
    # What JSON escapes in a policy, TOML escapes in the same way.
    initdata = f"version = '0.1.0'\nalgorithm = 'sha-512'\ndata = {{ 'policy.rego' = {json.dumps(policy.decode())} }}"
    files = {
        "policy.rego.gz": gzip.compress(policy),
        "initdata.toml": initdata.encode(),
        "other.rego": gzip.compress(policy),
    }
    (project.root / name).write_bytes(files[name])

    shown = terminal.run("explain", DENIAL, "--policy", name)

    assert shown.code == 0
    assert '    expected ["/bin/app"]\n' in shown.out


def test_a_file_without_a_policy_is_a_usage_error(terminal: Terminal, project: FakeProject) -> None:
    (project.root / "initdata.toml").write_text("version = '0.1.0'\nalgorithm = 'sha256'\n[data]\n")

    shown = terminal.run("explain", DENIAL, "--policy", "initdata.toml")

    assert shown.code == 2
    assert (
        "initdata.toml is neither a policy nor initdata with one: found no 'policy.rego'"
        in shown.err
    )


def test_a_log_of_requests_is_asked_again_and_both_sides_are_shown(
    terminal: Terminal, project: FakeProject
) -> None:
    before, request = requests_before(web(), "create web-svc")
    changed = bent(request.input, "OCI/Process/Args", ["sh"])
    entries = [*((each.kind, each.input) for each in before), (request.kind, changed)]
    text = "".join(f"{json.dumps({'kind': kind, 'request': each})}\n" for kind, each in entries)
    (project.root / "policy.jsonl").write_text(text)
    (project.root / "web.rego").write_bytes(policy_of("web"))

    shown = terminal.run("explain", "policy.jsonl", "--policy", "web.rego", "--output", "json")

    ((denial,),) = [each["denied"] for each in json.loads(shown.out)["result"]["denials"]]
    assert (denial["kind"], denial["container"]) == ("CreateContainerRequest", "web-svc")
    assert [(each["expected"], each["actual"]) for each in denial["reasons"]] == [
        (["/bin/app"], ["sh"])
    ]


def test_the_policy_may_be_named_by_its_workload(generated: Terminal) -> None:
    shown = generated.run(
        "explain",
        "DENY CreateContainerRequest container=shelf codes=E_CWD",
        "--policy",
        "Deployment/shelf",
    )

    assert shown.out.startswith(
        "CreateContainerRequest of shelf in Deployment/shelf is denied\n  E_CWD: "
    )


def test_the_requests_of_a_guest_are_evaluated(terminal: Terminal, project: FakeProject) -> None:
    terminal.run("generate")
    lines = [
        {"kind": "GuestDetailsRequest", "request": {}},
        {"kind": "CreateContainerRequest", "request": {"container_id": "x"}},
        {"kind": "SetPolicyRequest", "request": {"policy": ""}},
    ]
    (project.root / "policy.jsonl").write_text("\n".join(map(json.dumps, lines)))
    policy = "build/policies/Deployment.till.rego"

    shown = terminal.run("explain", "policy.jsonl", "--policy", policy, "--output", "json")

    result = json.loads(shown.out)["result"]["denials"][0]
    assert shown.code == 0
    assert result["requests"] == 3
    assert [each["kind"] for each in result["denied"]] == [
        "CreateContainerRequest",
        "SetPolicyRequest",
    ]
    assert [reason["code"] for reason in result["denied"][0]["reasons"]] == ["E_SELECT"]


def test_a_log_without_a_denial_is_one_line(generated: Terminal, project: FakeProject) -> None:
    line = json.dumps({"kind": "GuestDetailsRequest", "request": {}})
    (project.root / "policy.jsonl").write_text(f"{line}\n")

    shown = generated.run("explain", "policy.jsonl", "--policy", "Deployment/shelf")

    assert (shown.code, shown.out) == (0, "none of 1 requests is denied\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(
            ["explain", DENIAL], "no generated policy has a container 'web-svc'", id="no-policy"
        ),
        pytest.param(["explain", "--policy", "x"], "expected also what it denied", id="no-denial"),
        pytest.param(
            ["explain", DENIAL, "--policy", "Deployment/tell"],
            "did you mean 'Deployment/till'?",
            id="unknown-workload",
        ),
        pytest.param(
            ["explain", DENIAL, "--policy", "none.rego"],
            "cannot read none.rego: no such file or directory",
            id="no-policy-file",
        ),
        pytest.param(
            ["explain", "gone/policy.jsonl", "--policy", "Deployment/till"],
            "cannot read gone/policy.jsonl: no such file",
            id="no-log",
        ),
        pytest.param(
            ["explain", "contrast.toml", "--policy", "Deployment/till"],
            "contrast.toml holds neither requests nor a denial",
            id="no-requests",
        ),
        pytest.param(
            ["explain", "DENY nothing", "--policy", "Deployment/till"],
            "the text holds neither requests nor a denial",
            id="no-denial-line",
        ),
    ],
)
def test_what_cannot_be_explained_is_a_usage_error(
    generated: Terminal, words: list[str], message: str
) -> None:
    shown = generated.run(*words)

    assert (shown.code, shown.out) == (2, "")
    assert message in shown.err


def test_a_policy_that_is_not_there_yet_names_the_next_command(terminal: Terminal) -> None:
    shown = terminal.run("explain", DENIAL, "--policy", "Deployment/till")

    assert shown.code == 2
    assert "Deployment/till has no policy yet" in shown.err


def test_simulate_counts_the_requests_of_each_pod(generated: Terminal) -> None:
    shown = generated.run("simulate", "Deployment/till")

    assert shown.code == 0
    assert shown.out.startswith("Deployment/till: ")
    assert shown.out.endswith(" requests allowed\n")


def test_simulate_knows_the_nearest_workload(terminal: Terminal) -> None:
    shown = terminal.run("simulate", "Deployment/tell")

    assert shown.code == 2
    assert "did you mean 'Deployment/till'?" in shown.err


def test_a_missing_engine_is_no_bug_of_ours(
    generated: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "regorus", None)

    shown = generated.run("simulate")

    assert shown.code == 2
    assert "install contrast-tasks with the extra 'simulate'" in shown.err


def test_a_path_may_be_written_in_another_way(generated: Terminal) -> None:
    shown = generated.run("explain", "./deployment/../deployment/shop.yml")

    assert f"output:{SHOP}\n" in shown.out


def test_a_policy_that_is_not_ours_is_a_usage_error(
    terminal: Terminal, project: FakeProject
) -> None:
    (project.root / "other.rego").write_text("package agent_policy\n")

    shown = terminal.run("explain", DENIAL, "--policy", "other.rego")

    assert shown.code == 2
    assert "the policy has no data block" in shown.err


def test_simulating_before_generating_names_the_next_command(terminal: Terminal) -> None:
    shown = terminal.run("simulate", "Deployment/till")

    assert shown.code == 3
    assert "Deployment/till has no policy of the sources and settings as they are now" in shown.err
    assert "hint: run 'contrast-tasks generate' first" in shown.err


def test_the_former_command_names_those_in_its_place(terminal: Terminal) -> None:
    shown = terminal.run("policy", "simulate")

    assert (shown.code, shown.out) == (2, "")
    assert "unknown command 'policy'" in shown.err
    assert "'simulate'" in shown.err
    assert "'explain --policy'" in shown.err
