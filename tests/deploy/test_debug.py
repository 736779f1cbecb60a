"""Logs of pods here and on a cluster, and where a command cannot be run."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.deploy import debug
from contrast_tasks.deploy.cluster import Kubectl
from contrast_tasks.deploy.debug import read_logs, run_in_pod
from contrast_tasks.errors import ClusterError, UsageError
from contrast_tasks.kubectl import OnLine, Said
from contrast_tasks.local.messages import PodStatus
from contrast_tasks.local.paths import local_paths
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from tests.deploy.test_cluster import CONFIG
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
    logs, text = read_logs(settings, ["Deployment/web"], say=print, lines=2)

    assert text == ""
    assert {(log.pod, log.container, log.lines, log.is_hidden) for log in logs} == {
        ("web", "app", ("2", "3"), True),
        ("web", "sidecar", ("s",), False),
    }


def test_one_container_of_all_pods(settings: Settings) -> None:
    logs, _ = read_logs(settings, [], say=print, container="app")

    assert {(log.pod, log.lines) for log in logs} == {("web", ("1", "2", "3")), ("emoji", ("e",))}


def test_a_pod_that_does_not_run_is_named_with_those_that_do(settings: Settings) -> None:
    with pytest.raises(ClusterError, match="no workload shop is deployed") as caught:
        read_logs(settings, ["shop"], say=print)

    assert caught.value.hint.startswith("there are: Deployment")


def pod(name: str, *containers: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name.partition("-")[0]}},
        "spec": {"containers": [{"name": each} for each in containers]},
    }


@pytest.fixture
def clustered(tmp_path: Path) -> tuple[Settings, Kubectl, list[Sequence[str]]]:
    """Give a cluster with two pods of `web`, one of whose containers is still to start, and none of `api`."""
    (tmp_path / "contrast.toml").write_text(SETTINGS)
    folder = tmp_path / "build" / "deployment"
    folder.mkdir(parents=True)
    for name in ("web", "api"):
        (folder / f"{name}.yml").write_text(
            f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\n"
            f"spec: {{selector: {{matchLabels: {{app: {name}}}}}, template: {{spec: {{containers: []}}}}}}\n"
        )
    asked: list[Sequence[str]] = []

    def run(arguments: Sequence[str], _content: str, _on_line: OnLine) -> Said:
        if arguments[0] == "config":
            return Said(CONFIG)
        if arguments[0] == "get":
            items = [pod("web-1", "app", "proxy"), pod("web-2", "app", "late")]
            return Said(json.dumps({"kind": "List", "items": items}))
        asked.append(arguments)
        said = {
            "pod/web-1": "[pod/web-1/app] hello\r10%\x85error: forged\n",
            "pod/web-2": 'error: container "app" in pod "web-2" is waiting to start: ImagePullBackOff\n',
        }
        return Said(said[arguments[-1]])

    found = load_settings(tmp_path, environ={}, flags={"platform": "k3s-qemu-snp"})
    return found, Kubectl(run=run), asked


def test_on_a_cluster_each_pod_is_read_and_what_cannot_be_is_told(
    clustered: tuple[Settings, Kubectl, list[Sequence[str]]],
) -> None:
    settings, kubectl, asked = clustered
    told: list[str] = []

    logs, text = read_logs(settings, [], say=told.append, lines=5, cluster=kubectl)

    assert (logs, text) == ((), "[pod/web-1/app] hello\r10%\x85error: forged\n")
    assert told == [
        "shop/Deployment/api has no pod in namespace shop: 'contrast-tasks status' tells why",
        'shop/Pod/web-2: error: container "app" in pod "web-2" is waiting to start: ImagePullBackOff',
    ]
    options = ["logs", "--prefix", "--tail=5", "--ignore-errors", "--all-containers"]
    assert asked == [[*options, "--namespace=shop", f"pod/{name}"] for name in ("web-1", "web-2")]


def test_on_a_cluster_a_workload_without_pods_is_an_error_with_the_way_out(
    clustered: tuple[Settings, Kubectl, list[Sequence[str]]],
) -> None:
    settings, kubectl, _ = clustered

    with pytest.raises(ClusterError, match="shop/Deployment/api has no pod in") as raised:
        read_logs(settings, ["api"], say=print, cluster=kubectl)

    assert raised.value.hint == "'contrast-tasks status' tells why"


def test_on_a_cluster_of_which_nothing_can_be_read_is_an_error_with_the_way_out(
    clustered: tuple[Settings, Kubectl, list[Sequence[str]]],
) -> None:
    settings, kubectl, _ = clustered

    with pytest.raises(ClusterError, match=r'Pod/web-2: .*"web-2" is waiting to start') as raised:
        read_logs(settings, ["web"], say=print, container="late", cluster=kubectl)

    assert raised.value.hint == "'contrast-tasks status' tells why"


def test_on_a_cluster_only_pods_with_the_container_are_read(
    clustered: tuple[Settings, Kubectl, list[Sequence[str]]],
) -> None:
    settings, kubectl, asked = clustered

    read_logs(settings, ["web"], say=print, container="proxy", cluster=kubectl)
    with pytest.raises(ClusterError, match="no pod has a container redis") as raised:
        read_logs(settings, ["web"], say=print, container="redis", cluster=kubectl)

    assert [words[-1] for words in asked] == ["pod/web-1"]
    assert raised.value.hint == "there are: app, proxy, late"


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


def test_a_pod_of_which_nothing_runs_is_told_with_its_phase_and_the_way_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debug.NodeClient, "is_isolated", lambda _self: True)
    failing = replace(status("web"), phase="back-off", message="container app ended with status 1")
    monkeypatch.setattr(debug, "running_pods", lambda _settings: (failing,))

    for container in ("", "app"):
        with pytest.raises(ClusterError) as raised:
            run_in_pod(settings, "web", ["sh"], container=container)

        assert str(raised.value) == (
            "no container of web runs, it is back-off: container app ended with status 1"
        )
        assert raised.value.hint == "see what it wrote with 'contrast-tasks logs Deployment/web'"
