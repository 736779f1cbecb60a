"""`explain` of a text or a log alone: the workload is found, and each expectation has the line that it comes from."""

import io
import json

import pytest

from tests.fakes.commands import Terminal
from tests.fakes.workloads import IMAGE, FakeProject, deployment

TILL = "deployment/till/till.yaml"
MESSAGE = "CreateContainerRequest is blocked by policy: policy.rego:57: "

CHANGE = (
    "write the value that is asked for into workingDir of the container, if it is meant; then generate, "
    "apply the YAML that it writes, and set the manifest"
)


def _event(container: str, codes: str, kind: str = "CreateContainerRequest") -> str:
    return f'{MESSAGE}DENY {kind} container={container} codes={codes}": unknown'


def test_the_workload_is_found_by_the_name_of_its_container(generated: Terminal) -> None:
    shown = generated.run("explain", _event("till", "E_CWD"))

    assert (shown.code, shown.out.splitlines()) == (
        0,
        [
            "CreateContainerRequest of till in Deployment/till is denied",
            "  E_CWD: the working directory differs from that of the pod and its image",
            '    expected "/"',
            f"    from     image {IMAGE}: its working dir is /",
            f"    from     {TILL}:16: the container has no workingDir",
            f"    change   {CHANGE}",
        ],
    )


def test_the_words_of_an_event_need_no_quotes(generated: Terminal) -> None:
    shown = generated.run("explain", *_event("till", "E_CWD").split())

    assert shown.out.startswith("CreateContainerRequest of till in Deployment/till is denied\n")


def test_a_text_is_read_from_standard_input(
    generated: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sys.stdin", io.StringIO(f"Events:\n  Warning  {_event('till', 'E_TTY')}\n")
    )

    shown = generated.run("explain", "-")

    assert "E_TTY: whether the container has a terminal differs" in shown.out


def test_a_text_may_lie_in_a_file(generated: Terminal, project: FakeProject) -> None:
    (project.root / "events.txt").write_text(_event("till", "E_TTY"))

    assert "in Deployment/till is denied" in generated.run("explain", "events.txt").out


def test_containers_of_one_name_are_told_apart_by_the_pods_name(
    terminal: Terminal, project: FakeProject
) -> None:
    project.write("two.yml", deployment("till").replace("name: till", "name: safe", 1))
    assert terminal.run("generate").code == 0

    alone = terminal.run("explain", _event("till", "E_CWD"))
    named = terminal.run("explain", f"pod/safe-6d4cf56db6-x7k2p {_event('till', 'E_CWD')}")

    assert alone.code == 2
    assert "the denial may be of 2 workloads: Deployment/safe, Deployment/till" in alone.err
    assert named.out.startswith("CreateContainerRequest of till in Deployment/safe is denied\n")


def test_a_container_with_almost_that_name_is_suggested(generated: Terminal) -> None:
    shown = generated.run("explain", _event("tilt", "E_CWD"))

    assert shown.code == 2
    assert "no generated policy has a container 'tilt'" in shown.err
    assert "did you mean 'till'?" in shown.err


def test_before_anything_was_generated_the_next_command_is_named(terminal: Terminal) -> None:
    shown = terminal.run("explain", _event("till", "E_CWD"))

    assert (shown.code, shown.out) == (2, "")
    assert "no workload has a policy yet" in shown.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{MESSAGE}the rest is cut", "has a denial without a line 'DENY ...'"),
        ("Unexpected policy hash ([1]), expected ([2])", "is about the policy itself"),
    ],
)
def test_a_text_that_has_no_denial_of_ours_says_so(
    generated: Terminal, text: str, message: str
) -> None:
    shown = generated.run("explain", text)

    assert (shown.code, shown.out) == (2, "")
    assert message in shown.err


def test_the_older_log_of_an_agent_finds_its_workload_too(
    generated: Terminal, project: FakeProject
) -> None:
    annotations = {"io.kubernetes.cri.container-name": "till"}
    request = {"container_id": "ab", "OCI": {"Annotations": annotations, "Process": {"Cwd": "/x"}}}
    (project.root / "policy.txt").write_text(
        f'["ep":"CreateContainerRequest",{json.dumps(request)}],\n\n'
    )

    shown = generated.run("explain", "policy.txt", "--output", "json")

    (found,) = json.loads(shown.out)["result"]["denials"]
    (denied,) = found["denied"]
    reasons = {each["code"]: each for each in denied["reasons"]}
    assert (found["workload"], found["requests"]) == ("Deployment/till", 1)
    assert (reasons["E_CWD"]["expected"], reasons["E_CWD"]["actual"]) == ("/", "/x")


EXTRA = """\
          workingDir: /srv
          args: [--fast]
          securityContext:
            runAsUser: 7
          env:
            - name: MODE
              value: slow
            - name: APPLES
              valueFrom: {configMapKeyRef: {name: prices, key: apple}}
          volumeMounts:
            - name: scratch
              mountPath: /scratch
      volumes:
        - name: scratch
          emptyDir: {medium: Memory}
"""


@pytest.mark.first(3)
@pytest.mark.parametrize(
    ("codes", "origins"),
    [
        ("E_CWD", [f"{TILL}:18: workingDir"]),
        ("E_ARGS", [f"{TILL}:19: args"]),
        ("E_USER", [f"{TILL}:21: securityContext/runAsUser"]),
        ("E_ENV(MODE)", [f"{TILL}:23: env MODE"]),
        (
            "E_ENV(APPLES)",
            [f"{TILL}:25: env APPLES", "deployment/shop.yml:56: apple of ConfigMap prices"],
        ),
        ("E_ENV(PATH)", [f"image {IMAGE}: its variable PATH"]),
        ("E_ENV(HOME)", [f"{TILL}:16: neither the container nor its image has HOME"]),
        (
            "E_MOUNT_SRC(/scratch)",
            [f"{TILL}:28: the mount at /scratch", f"{TILL}:31: volume scratch"],
        ),
        (
            "E_MOUNT_EXTRA(/etc)",
            [f"{TILL}:16: no mount at /etc; what a runtime mounts by itself is not listed"],
        ),
        ("E_POD_NAME", [f"{TILL}:4: name of the object"]),
        ("E_HOOKS", []),
    ],
)
def test_an_expectation_has_the_line_that_it_comes_from(
    terminal: Terminal, project: FakeProject, codes: str, origins: list[str]
) -> None:
    project.write("till/till.yaml", deployment("till", extra=EXTRA))
    assert terminal.run("generate").code == 0

    shown = terminal.run("explain", _event("till", codes), "--output", "json")

    (found,) = json.loads(shown.out)["result"]["denials"]
    assert found["denied"][0]["reasons"][0]["origins"] == origins


def test_a_variable_of_the_settings_has_its_line_in_contrast_toml(
    terminal: Terminal, project: FakeProject
) -> None:
    project.settings('[workloads."Deployment/till"]\nenv = { MODE = "slow" }\n')
    assert terminal.run("generate").code == 0

    shown = terminal.run("explain", _event("till", "E_ENV(MODE)"))

    line = project.read("contrast.toml").splitlines().index('env = { MODE = "slow" }') + 1
    assert f'    from     contrast.toml:{line}: env of [workloads."Deployment/till"]\n' in shown.out


def test_a_container_that_we_add_names_its_setting(generated: Terminal) -> None:
    name = "Deployment/till"
    shown = generated.run("explain", _event("contrast-initializer", "E_ARGS"), "--policy", name)

    assert (
        "contrast-tasks adds this container; contrast.toml: [components] initializer" in shown.out
    )


def test_what_holds_for_every_policy_is_said_where_no_container_is_named(
    generated: Terminal,
) -> None:
    shown = generated.run("explain", _event("-", "E_NAME,E_PATH", "CopyFileRequest"))

    assert (shown.code, shown.out.splitlines()) == (
        0,
        [
            "CopyFileRequest is denied",
            (
                "  of one of Deployment/cart, Deployment/shelf, Deployment/till, StatefulSet/coordinator; name it"
                " with --policy to see what its policy expects"
            ),
            "  E_NAME: a file is copied that no container of the pod mounts",
            "    change   none should, because of E_PATH",
            "  E_PATH: a file is copied to a place that is not for copied files",
            '    expected "<shared folder>/<container id>-<16 characters>-<name>"',
            "    change   none should: no supported runtime asks for this, so somebody on the host changed the request",
        ],
    )


def test_a_container_that_a_webhook_added_is_the_only_reason(generated: Terminal) -> None:
    shown = generated.run(
        "explain", f"pod/till-6d4cf56db6-x7k2p {_event('?', 'E_ARGS,E_SELECT,E_USER')}"
    )

    head, advice, expected, *_ = shown.out.splitlines()
    assert head == "CreateContainerRequest in Deployment/till is denied"
    assert advice.startswith("  E_SELECT: the pod has a container that the policy does not know")
    assert expected == '    expected ["contrast-initializer", "till"]'
    assert "E_ARGS" not in shown.out


@pytest.mark.parametrize("names", [["till", "istio-proxy"], ["istio-proxy"]])
def test_a_log_with_a_container_that_a_webhook_added_finds_its_workload(
    generated: Terminal, project: FakeProject, names: list[str]
) -> None:
    key = "io.kubernetes.cri."
    annotations = [
        {f"{key}container-name": name, f"{key}sandbox-name": "till-6d4cf56db6-x7k2p"}
        for name in names
    ]
    lines = [
        {
            "kind": "CreateContainerRequest",
            "request": {"container_id": "ab", "OCI": {"Annotations": each}},
        }
        for each in annotations
    ]
    (project.root / "policy.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in lines))

    shown = generated.run("explain", "policy.jsonl", "--output", "json")

    (found,) = json.loads(shown.out)["result"]["denials"]
    assert found["workload"] == "Deployment/till"
    (reason,) = found["denied"][-1]["reasons"]
    assert (reason["code"], reason["actual"]) == ("E_SELECT", "istio-proxy")


def test_a_value_of_a_config_map_is_changed_there(generated: Terminal) -> None:
    shown = generated.run("explain", _event("till", "E_ENV(apple)"))

    assert "    from     deployment/shop.yml:" in shown.out
    assert (
        "    change   write the value that is asked for where it comes from, if it is meant"
        in shown.out
    )


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (
            "/var/run/secrets/kubernetes.io/serviceaccount",
            "set automountServiceAccountToken of the pod to false",
        ),
        ("/data", "take it out of volumeMounts of the container, if it is not meant"),
    ],
)
def test_a_mount_that_is_missing_is_changed_by_what_adds_it(
    generated: Terminal, path: str, change: str
) -> None:
    shown = generated.run("explain", _event("till", f"E_MOUNT_MISSING({path})"))

    assert f"    change   {change}; then " in shown.out


def test_denials_that_repeat_are_counted(generated: Terminal, project: FakeProject) -> None:
    line = json.dumps({"kind": "SetPolicyRequest", "request": {"policy": ""}})
    (project.root / "policy.jsonl").write_text(f"{line}\n{line}\n")

    shown = generated.run("explain", "policy.jsonl", "--policy", "Deployment/till")

    assert shown.out.startswith("SetPolicyRequest in Deployment/till is denied 2 times\n")
