"""Deploy, restart and status on a cluster: what is asked of kubectl, and what is refused."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.deploy.apply import run_deploy, run_restart, run_stop
from contrast_tasks.deploy.cluster import Access, Id, Kubectl, KubectlFailed, Said, run_kubectl
from contrast_tasks.errors import ClusterError, UsageError
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from tests.fakes.deployment import Project


class FakeKubectl:
    """Remembers what it was asked, but for where it goes and the runtime classes that it has."""

    def __init__(self, classes: Sequence[str] = ("contrast-cc",)) -> None:
        self.asked: list[Sequence[str]] = []
        self.classes = classes

    def __call__(self, arguments: Sequence[str], _content: str) -> Said:
        match arguments[:2]:
            case ["config", "view"]:
                return Said(CONFIG)
            case ["get", "runtimeclasses"]:
                return Said("".join(f"runtimeclass.node.k8s.io/{each}\n" for each in self.classes))
        self.asked.append(list(arguments))
        return Said("")


CONFIG = json.dumps(
    {
        "contexts": [{"name": "there", "context": {}}],
        "clusters": [{"name": "there", "cluster": {"server": "https://192.0.2.1"}}],
    }
)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> SimulatedProcessor:
    return SimulatedProcessor.load_or_create(tmp_path_factory.mktemp("cluster") / "processor")


@pytest.fixture
def project(tmp_path: Path, simulated: SimulatedProcessor) -> Project:
    return Project(tmp_path, simulated)


def settings(project: Project) -> Settings:
    return load_settings(project.root, environ={}, flags={"platform": "k3s-qemu-snp"})


def quiet(_line: str) -> None:
    pass


def test_a_pod_without_policy_is_refused_and_nothing_applied(project: Project) -> None:
    project.write_workload("web", "Deployment", None)
    kubectl = FakeKubectl()

    with pytest.raises(UsageError, match=r"Deployment/web has no annotation") as caught:
        run_deploy(settings(project), say=quiet, cluster=Kubectl(run=kubectl))

    assert str(caught.value.where) == "build/deployment/web.yml:1"
    assert kubectl.asked == []


@pytest.mark.parametrize(
    ("options", "name"), [({"fresh": True}, "--fresh"), ({"with_mesh": False}, "--without-mesh")]
)
def test_what_only_this_machine_can_do_is_refused_and_nothing_applied(
    project: Project, options: dict[str, bool], name: str
) -> None:
    kubectl = FakeKubectl()

    with pytest.raises(UsageError, match=f"{name} works on platform local only"):
        run_deploy(settings(project), say=quiet, cluster=Kubectl(run=kubectl), **options)  # type: ignore[arg-type]  # a table of options

    assert kubectl.asked == []


@pytest.mark.parametrize(
    ("classes", "there"),
    [
        ((), "there is none of its kind"),
        (
            ("gvisor", "contrast-cc-k3s-qemu-snp-00112233"),
            "there are contrast-cc-k3s-qemu-snp-0011",
        ),
    ],
)
def test_a_runtime_class_that_the_cluster_lacks_is_refused_and_nothing_applied(
    project: Project, classes: Sequence[str], there: str
) -> None:
    kubectl = FakeKubectl(classes=classes)

    with pytest.raises(ClusterError, match="has no runtime class contrast-cc, so") as caught:
        run_deploy(settings(project), say=quiet, cluster=Kubectl(run=kubectl))

    assert there in str(caught.value)
    assert "install the runtime" in caught.value.hint
    assert kubectl.asked == []


def test_restart_refuses_an_unknown_name_and_restarts_nothing(project: Project) -> None:
    kubectl = FakeKubectl()

    with pytest.raises(ClusterError, match="no workload wep is deployed") as caught:
        run_restart(
            settings(project), say=quiet, names=["web", "wep"], cluster=Kubectl(run=kubectl)
        )

    assert caught.value.hint.startswith("there are: Deployment/web")

    assert kubectl.asked == []


def test_waiting_shares_its_time_among_the_workloads() -> None:
    kubectl, instants = FakeKubectl(), iter([0.0, 4.0, 30.0])
    ids = [Id("apps/v1", "Deployment", "shop", "a"), Id("batch/v1", "Job", "", "once")]

    Kubectl(run=kubectl, clock=lambda: next(instants)).wait(
        [*ids, Id("apps/v1", "Deployment", "", "b")], timeout_s=10
    )

    assert kubectl.asked == [
        ["rollout", "status", "--timeout=6s", "--namespace=shop", "deployment/a"],
        ["rollout", "status", "--timeout=1s", "deployment/b"],
    ]


def test_the_cluster_that_is_meant_is_named_to_kubectl() -> None:
    kubectl = FakeKubectl()

    Kubectl(Access("config", "there", "shop"), run=kubectl).delete([Id("v1", "Service", "", "web")])

    options = ["--kubeconfig=config", "--context=there", "--namespace=shop"]
    assert kubectl.asked[0][:4] == [*options, "delete"]


def test_a_configuration_without_a_cluster_is_said() -> None:
    with pytest.raises(ClusterError, match="names no cluster") as caught:
        Kubectl(run=lambda _arguments, _content: Said('{"contexts": null}')).target()

    assert "--context" in caught.value.hint


def test_without_a_configuration_a_context_is_asked_for() -> None:
    def run(_arguments: Sequence[str], _content: str) -> Said:
        raise KubectlFailed("kubectl config failed: error: current-context must exist")

    with pytest.raises(ClusterError, match="current-context") as caught:
        Kubectl(run=run).target()

    assert "--context" in caught.value.hint


def test_a_configuration_that_is_not_there_is_said_as_kubectl_does_not(tmp_path: Path) -> None:
    kubectl = FakeKubectl()

    with pytest.raises(ClusterError, match="there is no configuration of kubectl at "):
        Kubectl(Access(str(tmp_path / "absent")), run=kubectl).target()

    assert kubectl.asked == []


@pytest.mark.parametrize("option", ["take_over", "prune"])
def test_what_only_a_cluster_can_do_is_refused_on_this_machine(
    project: Project, option: str
) -> None:
    with pytest.raises(UsageError, match="works on clusters only"):
        run_deploy(project.settings, say=quiet, **{option: True})  # type: ignore[arg-type]  # a table of options
    with pytest.raises(UsageError, match="--all works on clusters only"):
        run_stop(project.settings, say=quiet, everything=True)


def test_warnings_of_the_api_server_are_told_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "kubectl"
    fake.write_text("#!/bin/sh\necho 'Warning: unknown field \"spec.x\"' >&2\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    said: list[str] = []
    cluster = Kubectl(say=said.append)

    for _ in range(2):
        cluster.delete([Id("v1", "Service", "", "web")])

    assert said == ['warning of the API server: unknown field "spec.x"']


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
    fake = tmp_path / "kubectl"
    fake.write_text("#!/bin/sh\nprintf 'pod \\377'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    assert run_kubectl(["get", "pods"]).text == "pod \ufffd"


def test_a_failing_kubectl_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "kubectl"
    fake.write_text("#!/bin/sh\necho 'forbidden: not yours' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

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
    fake = tmp_path / "kubectl"
    fake.write_text(f"#!/bin/sh\ncat '{tmp_path}/said' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    with pytest.raises(ClusterError) as caught:
        run_kubectl(["apply", "-f", "build"])

    assert (str(caught.value), caught.value.hint) == (message, hint)
