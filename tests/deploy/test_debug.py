"""Logs of pods here and on a cluster, and where a command cannot be run."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from contrast_tasks.deploy import debug
from contrast_tasks.deploy.cluster import Kubectl, Said
from contrast_tasks.deploy.debug import read_logs, run_in_pod
from contrast_tasks.errors import ClusterError, UsageError
from contrast_tasks.local.messages import PodStatus
from contrast_tasks.local.paths import local_paths
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from tests.fakes.deployment import SETTINGS


def status(
    name: str, *, pids: dict[str, int] | None = None, hidden: Sequence[str] = ()
) -> PodStatus:
    return PodStatus(
        name=name,
        workload=f"Deployment/{name}",
        role="",
        address="127.77.0.3",
        phase="ready",
        started=True,
        ready=True,
        restarts=0,
        message="",
        policy_sha256="",
        digest="",
        pids=pids or {},
        hidden=tuple(hidden),
    )


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "contrast.toml").write_text(SETTINGS)
    found = load_settings(tmp_path, environ={})
    logs = local_paths(tmp_path).logs
    logs.mkdir(parents=True)
    for name, lines in (("web-app", "1\n2\n3\n"), ("web-sidecar", "s\n"), ("emoji-app", "e\n")):
        (logs / f"{name}.log").write_text(lines)
    pods = (status("web", pids={"app": 1}, hidden=["app"]), status("emoji"))
    monkeypatch.setattr(debug, "running_pods", lambda _settings: pods)
    return found


def test_the_last_lines_of_each_container_come_with_where_they_are_from(
    settings: Settings,
) -> None:
    logs, text = read_logs(settings, ["Deployment/web"], lines=2)

    assert text == ""
    assert {(log.pod, log.container, log.lines, log.is_hidden) for log in logs} == {
        ("web", "app", ("2", "3"), True),
        ("web", "sidecar", ("s",), False),
    }


def test_one_container_of_all_pods(settings: Settings) -> None:
    logs, _ = read_logs(settings, [], container="app")

    assert {(log.pod, log.lines) for log in logs} == {("web", ("1", "2", "3")), ("emoji", ("e",))}


def test_a_pod_that_does_not_run_is_named_with_those_that_do(settings: Settings) -> None:
    with pytest.raises(ClusterError, match="no workload shop is deployed") as caught:
        read_logs(settings, ["shop"])

    assert caught.value.hint.startswith("there are: Deployment")


def test_on_a_cluster_kubectl_reads_them(tmp_path: Path) -> None:
    (tmp_path / "contrast.toml").write_text(SETTINGS)
    folder = tmp_path / "build" / "deployment"
    folder.mkdir(parents=True)
    (folder / "web.yml").write_text(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n"
        "spec: {template: {spec: {containers: []}}}\n"
    )
    asked: list[Sequence[str]] = []

    def run(arguments: Sequence[str], _content: str) -> Said:
        asked.append(arguments)
        return Said("[pod/web-x] hello\n")

    cluster = load_settings(tmp_path, environ={}, flags={"platform": "k3s-qemu-snp"})
    logs, text = read_logs(cluster, [], lines=5, cluster=Kubectl(run=run))

    assert (logs, text) == ((), "[pod/web-x] hello\n")
    assert asked[0][:4] == ["logs", "--prefix", "--tail=5", "--all-containers"]
    assert "Deployment/web" in " ".join(asked[0]) or "deployment/web" in " ".join(asked[0]).lower()


def test_commands_in_pods_of_a_cluster_are_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "contrast.toml").write_text(SETTINGS)
    cluster = load_settings(tmp_path, environ={}, flags={"platform": "k3s-qemu-snp"})

    with pytest.raises(UsageError) as raised:
        run_in_pod(cluster, "web", ["sh"])

    assert str(raised.value) == "exec works on platform local only, this is k3s-qemu-snp"
    assert "policies deny commands" in raised.value.hint


def test_pods_that_are_processes_cannot_be_entered(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debug.NodeClient, "is_isolated", lambda _self: False)

    with pytest.raises(ClusterError, match="pods are processes of this machine"):
        run_in_pod(settings, "web", ["sh"])


def test_a_container_that_does_not_run_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debug.NodeClient, "is_isolated", lambda _self: True)

    with pytest.raises(ClusterError) as raised:
        run_in_pod(settings, "web", ["sh"], container="redis")

    assert str(raised.value) == "web runs no container redis, there are: app"
