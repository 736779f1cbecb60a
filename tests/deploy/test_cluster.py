"""Deploy, restart and status on a cluster: what is asked of kubectl, and what is refused."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.deploy.apply import run_deploy, run_restart, run_stop
from contrast_tasks.deploy.cluster import Access, Id, Kubectl
from contrast_tasks.errors import ClusterError, UsageError
from contrast_tasks.kubectl import KubectlFailed, OnLine, Said, refused
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from tests.fakes.commands import stand_in
from tests.fakes.deployment import Project


class FakeKubectl:
    """Remembers what it was asked, but for where it goes and the runtime classes that it has."""

    def __init__(self, classes: Sequence[str] = ("contrast-cc",)) -> None:
        self.asked: list[Sequence[str]] = []
        self.classes = classes

    def __call__(self, arguments: Sequence[str], _content: str, _on_line: OnLine) -> Said:
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


def test_restart_tells_of_what_no_rollout_restarts(project: Project) -> None:
    text = (project.root / "build/deployment/web.yml").read_text()
    pod = textwrap.indent(text[text.index("  template:") :], "    ")
    (project.root / "build/deployment/web.yml").write_text(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly}\nspec:\n  jobTemplate:\n    spec:\n"
        + pod
    )
    said: list[str] = []

    run_restart(settings(project), say=said.append, wait_s=0, cluster=Kubectl(run=FakeKubectl()))

    assert "CronJob/nightly needs no restart: its next job gets a new certificate" in said


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


def test_a_restart_that_fails_half_way_tells_what_was_restarted_and_what_was_not() -> None:
    ids = [Id("apps/v1", "Deployment", "shop", name) for name in ("a", "b", "c")]
    live = {"kind": "List", "items": [each.render() for each in ids]}

    def run(arguments: Sequence[str], _content: str, _on_line: OnLine) -> Said:
        if arguments[-1] == "deployment/b":
            raise refused(arguments, ["Error from server (Forbidden): not yours"])
        return Said(json.dumps(live))

    with pytest.raises(ClusterError) as caught:
        Kubectl(run=run).restart(ids)

    assert str(caught.value) == (
        "kubectl rollout failed: Error from server (Forbidden): not yours\n"
        "restarted: shop/Deployment/a\n"
        "not restarted: shop/Deployment/b, shop/Deployment/c"
    )


def test_a_cluster_that_does_not_answer_is_told_once_and_not_asked_again(
    project: Project,
) -> None:
    said: list[str] = []

    def run(arguments: Sequence[str], _content: str, _on_line: OnLine) -> Said:
        if "config" in arguments:
            return Said(CONFIG)
        raise refused(arguments, ["Unable to connect to the server: dial tcp: i/o timeout"])

    with pytest.raises(ClusterError, match="Unable to connect to the server"):
        run_deploy(settings(project), say=said.append, cluster=Kubectl(run=run))

    assert len(said) == 1


class Watched:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    @contextmanager
    def __call__(self, *work: object) -> "Iterator[Watched]":
        self.told.append(work)
        yield self

    def begin(self, name: str) -> None:
        self.told.append(f"begin {name}")

    def end(self, name: str, size_bytes: int = 0) -> None:
        self.told.append(f"end {name}{size_bytes or ''}")


def test_who_watches_is_told_again_and_again_which_workload_is_waited_for() -> None:
    now, asked, watched = [0.0], list[str](), Watched()

    def run(arguments: Sequence[str], _content: str, _on_line: OnLine) -> Said:
        asked.append(f"{arguments[-1]} {arguments[2]}")
        if arguments[-1] == "deployment/a" and now[0] == 0:
            now[0] += 10
            raise refused(arguments, ["error: timed out waiting for the condition"])
        if arguments[-1] == "deployment/b":
            raise refused(arguments, ["error: timed out waiting for the condition"])
        return Said("")

    ids = [Id("apps/v1", "Deployment", "shop", name) for name in ("a", "b")]
    with pytest.raises(ClusterError) as caught:
        Kubectl(run=run, clock=lambda: now[0]).wait(ids, timeout_s=15, watch=watched)

    assert str(caught.value) == "shop/Deployment/b is not rolled out: the time is over"
    assert asked == [
        "deployment/a --timeout=10s",
        "deployment/a --timeout=5s",
        "deployment/b --timeout=5s",
    ]
    assert watched.told == [
        ("waiting for", 2, "workload"),
        *["begin shop/Deployment/a"] * 2,
        "end shop/Deployment/a",
        "begin shop/Deployment/b",
    ]


def test_who_watches_is_told_of_each_object_when_it_is_applied() -> None:
    watched = Watched()

    def run(_arguments: Sequence[str], _content: str, on_line: OnLine) -> Said:
        on_line("configmap/a serverside-applied\n")
        assert watched.told[-2:] == ["end ConfigMap/a", "begin ConfigMap/b"]
        on_line("configmap/b serverside-applied\n")
        return Said("")

    objects = [Id("v1", "ConfigMap", "", name).render() for name in ("a", "b")]
    for is_trial in (True, False):
        Kubectl(run=run).apply(objects, is_trial=is_trial, watch=watched)

    each = ["begin ConfigMap/a", "end ConfigMap/a", "begin ConfigMap/b", "end ConfigMap/b"]
    assert watched.told == [("trying", 2, "object"), *each, ("applying", 2, "object"), *each]


def test_the_cluster_that_is_meant_is_named_to_kubectl() -> None:
    kubectl = FakeKubectl()

    Kubectl(Access("config", "there", "shop"), run=kubectl).delete([Id("v1", "Service", "", "web")])

    options = ["--kubeconfig=config", "--context=there", "--namespace=shop"]
    assert kubectl.asked[0][:4] == [*options, "delete"]


def test_a_configuration_without_a_cluster_is_said() -> None:
    with pytest.raises(ClusterError, match="names no cluster") as caught:
        Kubectl(run=lambda _arguments, _content, _on_line: Said('{"contexts": null}')).target()

    assert "--context" in caught.value.hint


def test_without_a_configuration_a_context_is_asked_for() -> None:
    def run(_arguments: Sequence[str], _content: str, _on_line: OnLine) -> Said:
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
    stand_in(monkeypatch, tmp_path, "echo 'Warning: unknown field \"spec.x\"' >&2")
    said: list[str] = []
    cluster = Kubectl(say=said.append)

    for _ in range(2):
        cluster.delete([Id("v1", "Service", "", "web")])

    assert said == ['warning of the API server: unknown field "spec.x"']
