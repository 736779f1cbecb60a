"""Deploy, restart and status on a cluster: what is asked of kubectl, and what is refused."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.deploy.apply import run_deploy, run_restart, run_status, run_stop
from contrast_tasks.deploy.cluster import Kubectl, run_kubectl
from contrast_tasks.errors import ClusterError, UsageError
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from tests.fakes.deployment import Project


class FakeKubectl:
    """Remembers what it was asked and prints what the test wants.

    classes: the cluster's runtime classes, which are not counted as asked for; an error is raised.
    """

    def __init__(
        self, output: str = "", classes: Sequence[str] | ClusterError = ("contrast-cc",)
    ) -> None:
        self.asked: list[Sequence[str]] = []
        self.output = output
        self.classes = classes

    def __call__(self, arguments: Sequence[str]) -> str:
        if list(arguments) == LOOK:
            if isinstance(self.classes, ClusterError):
                raise self.classes
            return "".join(f"runtimeclass.node.k8s.io/{name}\n" for name in self.classes)
        self.asked.append(list(arguments))
        return self.output


LOOK = ["get", "runtimeclasses", "--output=name", "--request-timeout=5s"]
JOB = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  generateName: nightly-\n"


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


def test_the_annotated_yaml_is_applied_server_side(project: Project) -> None:
    kubectl = FakeKubectl("deployment.apps/web serverside-applied\nservice/web unchanged\n")

    done = run_deploy(settings(project), say=quiet, cluster=Kubectl(kubectl))

    folder = str(project.root / "build" / "deployment")
    assert kubectl.asked == [
        [
            *("apply", "--server-side", "--field-manager=contrast-tasks", "--recursive"),
            *("-f", folder),
        ]
    ]
    assert done.started == ("deployment.apps/web serverside-applied",)


def test_a_pod_without_policy_is_refused_and_nothing_applied(project: Project) -> None:
    project.write_workload("web", "Deployment", None)
    kubectl = FakeKubectl()

    with pytest.raises(UsageError, match=r"Deployment/web has no annotation") as caught:
        run_deploy(settings(project), say=quiet, cluster=Kubectl(kubectl))

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
        run_deploy(settings(project), say=quiet, cluster=Kubectl(kubectl), **options)  # type: ignore[arg-type]  # a table of options

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
        run_deploy(settings(project), say=quiet, cluster=Kubectl(kubectl))

    assert there in str(caught.value)
    assert "install the runtime" in caught.value.hint
    assert kubectl.asked == []


def test_who_may_not_read_runtime_classes_may_deploy_and_is_told(project: Project) -> None:
    forbidden = ClusterError("kubectl get failed: runtimeclasses is forbidden")
    said: list[str] = []

    run_deploy(settings(project), say=said.append, cluster=Kubectl(FakeKubectl(classes=forbidden)))

    assert said == [
        "the runtime classes of the cluster were not looked up: kubectl get failed: runtimeclasses is forbidden"
    ]


def test_restart_rolls_every_workload_but_the_coordinator(project: Project) -> None:
    kubectl = FakeKubectl()

    done = run_restart(settings(project), say=quiet, cluster=Kubectl(kubectl))

    assert kubectl.asked == [
        ["rollout", "restart", "deployment/web"],
        ["rollout", "status", "--timeout=60s", "deployment/web"],
    ]
    assert done == ("web",)


def test_a_written_namespace_is_named_and_none_is_the_one_of_the_context() -> None:
    kubectl = FakeKubectl()

    Kubectl(kubectl).restart([("Deployment", "shop", "web"), ("StatefulSet", "", "db")])

    assert kubectl.asked == [
        ["rollout", "restart", "-n", "shop", "deployment/web"],
        ["rollout", "restart", "statefulset/db"],
    ]


def test_restart_refuses_an_unknown_name_and_restarts_nothing(project: Project) -> None:
    kubectl = FakeKubectl()

    with pytest.raises(
        ClusterError, match=r"no workload wep is deployed, there are: Deployment/web"
    ):
        run_restart(settings(project), say=quiet, names=["web", "wep"], cluster=Kubectl(kubectl))

    assert kubectl.asked == []


def test_what_has_no_rollout_is_told_and_left_out(project: Project) -> None:
    project.write_workload("debug", "ReplicaSet", b"package agent_policy\n")
    kubectl, said = FakeKubectl(), list[str]()

    done = run_restart(settings(project), say=said.append, wait_s=0, cluster=Kubectl(kubectl))

    assert done == ("web",)
    assert said[0] == "ReplicaSet/debug cannot be restarted in place: delete it, then deploy again"


def test_waiting_shares_its_time_among_the_workloads() -> None:
    kubectl, instants = FakeKubectl(), iter([0.0, 4.0, 30.0])

    Kubectl(kubectl, clock=lambda: next(instants)).wait(
        [("Deployment", "", "a"), ("Job", "", "once"), ("Deployment", "", "b")], timeout_s=10
    )

    assert kubectl.asked == [
        ["rollout", "status", "--timeout=6s", "deployment/a"],
        ["rollout", "status", "--timeout=1s", "deployment/b"],
    ]


def test_status_that_waited_in_vain_on_a_cluster_says_for_what(project: Project) -> None:
    def refuses(arguments: Sequence[str]) -> str:
        if arguments[0] == "rollout":
            raise ClusterError("kubectl rollout failed: timed out waiting for the condition")
        return "NAME  READY\n"

    found = run_status(settings(project), wait_s=1, cluster=Kubectl(refuses))

    assert found.text == "NAME  READY\n"
    assert found.behind == "kubectl rollout failed: timed out waiting for the condition"


def test_a_bare_pod_cannot_be_restarted() -> None:
    with pytest.raises(ClusterError, match="Pod/debug cannot be restarted in place"):
        Kubectl(FakeKubectl()).restart([("Pod", "", "debug")])


def test_status_is_the_clusters_own_text(project: Project) -> None:
    found = run_status(settings(project), cluster=Kubectl(FakeKubectl("NAME  READY\n")))

    assert found.text == "NAME  READY\n"


def test_stop_is_for_the_local_platform(project: Project) -> None:
    with pytest.raises(ClusterError, match="stop works on platform local only"):
        run_stop(settings(project), say=quiet)


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

    assert run_kubectl(["get", "pods"]) == "pod \ufffd"


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
            "kubectl apply failed: error: Apply failed with 1 conflict: conflict with"
            " kubectl-client-side-apply",
            "another tool owns these fields; take them over with"
            " 'kubectl apply -f build --force-conflicts'",
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


def test_objects_whose_names_the_server_completes_are_created(project: Project) -> None:
    kubectl = FakeKubectl()
    folder = project.root / "build" / "deployment"
    (folder / "job.yml").write_text(JOB)

    run_deploy(settings(project), say=quiet, cluster=Kubectl(kubectl))

    own = "--field-manager=contrast-tasks"
    assert kubectl.asked == [
        [
            *("apply", "--server-side", own, "--recursive"),
            *("-f", str(folder / "coordinator.yml"), "-f", str(folder / "web.yml")),
        ],
        ["create", own, "-f", str(folder / "job.yml")],
    ]


def test_a_file_that_must_be_both_applied_and_created_is_refused(project: Project) -> None:
    kubectl = FakeKubectl()
    file = project.root / "build" / "deployment" / "web.yml"
    file.write_text(f"{file.read_text()}---\n{JOB}")

    with pytest.raises(UsageError, match=r"Job/nightly- has metadata\.generateName") as error:
        run_deploy(settings(project), say=quiet, cluster=Kubectl(kubectl))

    assert "a file of its own" in error.value.hint
    assert kubectl.asked == []
