"""kubectl as a program, and what its errors mean; texts are those of kubectl 1.37 and API server 1.36."""

from pathlib import Path

import pytest

from contrast_tasks.errors import ClusterError
from contrast_tasks.kubectl import KubectlFailed, refused, run_kubectl
from tests.fakes.commands import stand_in


def test_an_absent_kubectl_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(ClusterError, match="kubectl is not installed"):
        run_kubectl(["get", "pods"])


def test_a_kubectl_that_is_no_program_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "kubectl"
    fake.write_bytes(b"\x7fELF")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ClusterError, match="kubectl cannot be run: exec format error"):
        run_kubectl(["get", "pods"])


def test_words_of_kubectl_that_are_not_utf_8_are_quoted_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in(monkeypatch, tmp_path, "printf 'pod 1%%\\r2%% \\377'")

    assert run_kubectl(["get", "pods"]).text == "pod 1%\r2% \ufffd"


def test_a_failing_kubectl_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in(monkeypatch, tmp_path, "echo 'forbidden: not yours' >&2\nexit 1")

    with pytest.raises(ClusterError, match="kubectl get failed: forbidden: not yours"):
        run_kubectl(["get", "pods"])


@pytest.mark.parametrize(
    ("stderr", "message", "hint"),
    [
        pytest.param(
            'E1128 03:44:19.099484   21711 memcache.go:265] "Unhandled Error"\nno server',
            "kubectl apply failed: no server",
            "",
            id="its-own-log-is-left-out",
        ),
        pytest.param(
            "E1128 03:44:19.099484   21711 only a log",
            "kubectl apply failed: E1128 03:44:19.099484   21711 only a log",
            "",
            id="nothing-but-its-log",
        ),
        pytest.param("", "kubectl apply failed: it said nothing", "", id="silent"),
        pytest.param(
            "error: Apply failed with 1 conflict: conflict with kubectl-client-side-apply",
            "kubectl apply failed: Apply failed with 1 conflict: conflict with"
            " kubectl-client-side-apply",
            "another tool owns these fields; deploy --take-over sets them all the same",
            id="conflict",
        ),
    ],
)
def test_what_kubectl_says_is_told_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stderr: str, message: str, hint: str
) -> None:
    (tmp_path / "said").write_text(stderr)
    stand_in(monkeypatch, tmp_path, f"cat '{tmp_path}/said' >&2\nexit 1")

    with pytest.raises(ClusterError) as caught:
        run_kubectl(["apply", "-f", "build"])

    assert (str(caught.value), caught.value.hint) == (message, hint)


def test_each_line_is_told_when_it_is_printed_and_what_is_left_unread_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "answer").write_text("none\n")
    stand_in(monkeypatch, tmp_path, 'echo one\nread answer < "$2"\necho $answer')
    told: list[str] = []

    said = run_kubectl(["get", str(tmp_path / "answer")], "x" * 1_000_000, told.append)

    assert said.text == "one\nnone\n"
    assert told == ["one\n", "none\n"]


def test_what_a_user_may_not_do_is_told_with_the_verb() -> None:
    told = [
        (
            'Error from server (Forbidden): events is forbidden: User "jane" cannot list resource "events" in API group "" in the'
            ' namespace "shop"'
        ),
        (
            'Error from server (Forbidden): deployments.apps "web" is forbidden: User "jane" cannot get resource "deployments" in'
            ' API group "apps" in the namespace "shop"'
        ),
        (
            'Error from server (Forbidden): runtimeclasses.node.k8s.io is forbidden: User "jane" cannot list resource'
            ' "runtimeclasses" in API group "node.k8s.io" at the cluster scope'
        ),
    ]

    failed = refused(["get", "pods"], told)

    assert failed.reasons == {"Forbidden"}
    assert failed.denied == (
        "list on events in namespace shop",
        "get on deployments.apps in namespace shop",
        "list on runtimeclasses.node.k8s.io",
    )
    assert "it takes a Role with the verb list on events in namespace shop" in failed.hint


@pytest.mark.parametrize(
    ("told", "is_late"),
    [
        ("error: timed out waiting for the condition", True),
        ('error: deployment "web" exceeded its progress deadline', False),
    ],
)
def test_what_was_waited_for_too_long_is_no_other_fault(told: str, is_late: bool) -> None:
    failed = refused(["rollout", "status"], [told])

    assert isinstance(failed, KubectlFailed)
    assert failed.is_late is is_late


_PLUGIN = "getting credentials: exec: executable login not found"


@pytest.mark.parametrize(
    ("lines", "message", "hint"),
    [
        (
            [
                "The connection to the server 192.0.2.1:6443 was refused - did you specify the right?"
            ],
            "The connection to the server 192.0.2.1:6443 was refused - did you specify the right?",
            "does the cluster run",
        ),
        (
            [
                'error: unable to recognize "STDIN": Get "https://a/api": dial tcp: lookup a: no such host'
            ],
            'Get "https://a/api": dial tcp: lookup a: no such host',
            "does the cluster run",
        ),
        (
            ["error: You must be logged in to the server (the server has asked for credentials)"],
            "You must be logged in to the server (the server has asked for credentials)",
            "log in to the cluster again",
        ),
        (
            [
                'E1130 16:50:00.000000  1 memcache.go:265] "Unhandled Error" err=<',
                f'\tGet "https://a/api": {_PLUGIN}',
                "\t",
                " >",
                f"Unable to connect to the server: {_PLUGIN}",
                "",
                "It looks like you are trying to use a client-go credential plugin.",
            ],
            f"Unable to connect to the server: {_PLUGIN}",
            "log in to the cluster again",
        ),
    ],
    ids=["refused", "no-name", "no-login", "no-plugin"],
)
def test_a_server_that_cannot_be_asked_at_all_is_told_in_a_line(
    lines: list[str], message: str, hint: str
) -> None:
    failed = refused(["get", "pods"], lines)

    assert str(failed) == f"kubectl get failed: {message}"
    assert failed.hint.startswith(hint)
    assert failed.has_no_way
