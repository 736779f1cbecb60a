"""Deploy, status, restart and stop with the real kubectl against an API server that answers as a real one does."""

import json
import shutil
import subprocess
from http import HTTPStatus
from pathlib import Path

import pytest

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.deploy.apply import DeployResult, run_deploy, run_restart, run_status, run_stop
from contrast_tasks.deploy.cluster import Access, Kubectl
from contrast_tasks.deploy.debug import read_logs
from contrast_tasks.deploy.runtime import render_runtime, render_uninstall
from contrast_tasks.errors import ClusterError
from contrast_tasks.kube.sizes import LIMIT_BYTES, applied_bytes
from contrast_tasks.platforms import platform
from contrast_tasks.prepare.coordinator import render_coordinator
from contrast_tasks.releases.table import V1_12, V1_15, V1_21, Release
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from tests.fakes.deployment import Project
from tests.fakes.kube.cluster import NAMESPACES, RUNTIME_CLASSES, Cluster, Key, Object
from tests.fakes.kube.kinds import Resource, kind
from tests.fakes.kube.server import KubeServer
from tests.fakes.kube.servers import ON_FAKE, AnyServer
from tests.fakes.kube.status import Failure

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed"),
]
OTHER = """\
apiVersion: v1
kind: Namespace
metadata:
  name: shop
---
apiVersion: v1
kind: Service
metadata:
  name: api
  namespace: shop
spec:
  ports:
    - port: 80
"""
DEFINITION = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: things.example.com
spec:
  group: example.com
  names: {kind: Thing, plural: things}
  scope: Namespaced
  versions:
    - name: v1
      schema: {openAPIV3Schema: {type: object}}
      served: true
      storage: true
"""
JOB = """\
apiVersion: batch/v1
kind: Job
metadata:
  generateName: nightly-
spec:
  template:
    metadata:
      annotations:
        io.katacontainers.config.agent.policy: cGFja2FnZSBhZ2VudF9wb2xpY3kK
    spec:
      containers:
        - image: nightly
          name: nightly
      restartPolicy: Never
      runtimeClassName: contrast-cc
"""


JOB_SPEC = {
    "template": {
        "spec": {"containers": [{"name": "mine", "image": "mine"}], "restartPolicy": "Never"}
    }
}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> SimulatedProcessor:
    return SimulatedProcessor.load_or_create(tmp_path_factory.mktemp("cluster") / "processor")


@pytest.fixture
def project(tmp_path: Path, simulated: SimulatedProcessor) -> Project:
    return Project(tmp_path / "project", simulated)


@pytest.fixture
def server(any_server: AnyServer) -> AnyServer:
    body = {"metadata": {"name": "contrast-cc"}, "handler": "contrast-cc"}
    any_server.cluster.create(RUNTIME_CLASSES, "", body)
    return any_server


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cluster(server: AnyServer, tmp_path: Path, said: list[str]) -> Kubectl:
    kubeconfig = server.write_kubeconfig(tmp_path / "kubeconfig", context="test-cluster")
    return Kubectl(Access(kubeconfig=str(kubeconfig)), say=said.append)


def settings(project: Project) -> Settings:
    return load_settings(project.root, environ={}, flags={"platform": "k3s-qemu-snp"})


def deploy(project: Project, cluster: Kubectl, said: list[str], **options: bool) -> DeployResult:
    return run_deploy(settings(project), say=said.append, cluster=cluster, **options)  # type: ignore[arg-type]  # a table of options


def names(server: AnyServer, name: str, namespace: str = "default") -> list[str]:
    _, found = server.cluster.list(kind(name), namespace)
    return [one["metadata"]["name"] for one in found]


def test_a_first_deploy_says_where_it_goes_and_what_it_created(
    project: Project, cluster: Kubectl, server: AnyServer, said: list[str]
) -> None:
    done = deploy(project, cluster, said)

    assert said[0] == f"to context test-cluster, namespace default of {server.url}"
    assert done.started == ("default/StatefulSet/coordinator", "default/Deployment/web")
    assert said[1:] == [f"created {key}" for key in done.started]
    assert names(server, "Deployment") == ["web"]
    assert names(server, "ConfigMap") == ["contrast-tasks"]
    web = server.cluster.get(Key(kind("Deployment"), "default", "web"))
    assert web["metadata"]["labels"]["contrast-tasks/inventory"] == "contrast-tasks"
    # A label there would replace the pods.
    assert "contrast-tasks/inventory" not in web["spec"]["template"]["metadata"]["labels"]


def test_a_second_deploy_changes_nothing(
    project: Project, cluster: Kubectl, server: AnyServer, said: list[str]
) -> None:
    deploy(project, cluster, said)
    before = server.cluster.versions()

    done = deploy(project, cluster, said)

    assert not done.changed
    assert done.unchanged == ("default/StatefulSet/coordinator", "default/Deployment/web")
    assert server.cluster.versions() == before


def test_only_what_differs_counts_as_changed(
    project: Project, cluster: Kubectl, said: list[str]
) -> None:
    deploy(project, cluster, said)
    project.write_workload("web", "Deployment", b"package agent_policy\n# another\n")

    done = deploy(project, cluster, said)

    assert done.replaced == ("default/Deployment/web",)


def test_namespaces_come_before_what_lies_in_them_though_their_file_comes_last(
    project: Project, cluster: Kubectl, server: AnyServer, said: list[str]
) -> None:
    folder = project.root / "build" / "deployment"
    namespace, service = OTHER.split("---\n")
    (folder / "a-service.yml").write_text(service)
    (folder / "z-namespace.yml").write_text(f"{namespace}---\n{DEFINITION}")

    done = deploy(project, cluster, said)

    assert {"Namespace/shop", "CustomResourceDefinition/things.example.com"} <= {*done.started}
    assert names(server, "Service", "shop") == ["api"]
    assert not deploy(project, cluster, said).changed


def test_an_object_that_the_server_refuses_is_told_before_anything_is_applied(
    project: Project, cluster: Kubectl, server: AnyServer, said: list[str]
) -> None:
    file = project.root / "build" / "deployment" / "web.yml"
    large = f"      annotations:\n        large: {'x' * 262145}\n"
    file.write_text(file.read_text().replace("      annotations:\n", large))
    before = server.cluster.versions()

    with pytest.raises(ClusterError, match="may not be more than 262144 bytes") as caught:
        deploy(project, cluster, said)

    assert "Deployment" in str(caught.value)
    assert str(caught.value).endswith("\napplied: nothing")
    assert server.cluster.versions() == before


@ON_FAKE
def test_what_fails_half_way_is_told_with_what_was_applied(
    project: Project, cluster: Kubectl, server: KubeServer, said: list[str]
) -> None:
    def admit(_cluster: Cluster, resource: Resource, made: Object) -> None:
        is_real = not any("dryRun" in request.query for request in server.requests[-1:])
        if resource.kind == "Deployment" and is_real:
            raise Failure(
                HTTPStatus.FORBIDDEN, "Forbidden", f"quota for {made['metadata']['name']}"
            )

    server.cluster.admissions.append(admit)

    with pytest.raises(ClusterError, match="quota for web") as caught:
        deploy(project, cluster, said)

    assert "applied: default/StatefulSet/coordinator" in str(caught.value)
    assert "not applied: default/Deployment/web" in str(caught.value)
    inventory = server.cluster.get(Key(kind("ConfigMap"), "default", "contrast-tasks"))
    assert "StatefulSet" in inventory["data"]["objects"]
    assert "Deployment" in inventory["data"]["objects"]
    server.cluster.admissions.pop()
    assert deploy(project, cluster, said).started == ("default/Deployment/web",)


@ON_FAKE
def test_warnings_of_the_server_are_shown(
    project: Project, cluster: Kubectl, server: KubeServer, said: list[str]
) -> None:
    server.cluster.warnings = ['unknown field \\"spec.x\\"']

    deploy(project, cluster, said)

    assert [line for line in said if "unknown field" in line] == [
        'warning of the API server: unknown field "spec.x"'
    ]


def test_fields_of_another_tool_are_taken_over_on_request_only(
    project: Project, cluster: Kubectl, server: AnyServer, said: list[str]
) -> None:
    deploy(project, cluster, said)
    key = Key(kind("Deployment"), "default", "web")
    annotation = "io.katacontainers.config.agent.policy"
    body = {"spec": {"template": {"metadata": {"annotations": {annotation: "theirs"}}}}}
    server.cluster.apply(key, body, manager="other", force=True)

    with pytest.raises(ClusterError, match='conflict with "other"') as caught:
        deploy(project, cluster, said)
    assert "--force-conflicts" not in str(caught.value)
    assert "deploy --take-over" in caught.value.hint

    done = deploy(project, cluster, said, take_over=True)

    assert done.replaced == ("default/Deployment/web",)


def test_what_is_gone_from_the_sources_is_told_and_removed_on_request(
    project: Project, cluster: Kubectl, server: AnyServer, said: list[str]
) -> None:
    folder = project.root / "build" / "deployment"
    (folder / "other.yml").write_text(OTHER)
    deploy(project, cluster, said)
    (folder / "other.yml").unlink()

    deploy(project, cluster, said)
    told = "shop/Service/api is no longer in the deployment, and still on the cluster"
    assert told in said
    assert any("deploy --prune" in line for line in said)
    done = deploy(project, cluster, said, prune=True)

    assert done.stopped == ("shop/Service/api",)
    assert names(server, "Service", "shop") == []
    said.clear()
    deploy(project, cluster, said)
    assert not any("--prune" in line for line in said)
    # Others may use it too.
    assert "Namespace/shop is no longer in the deployment, and still on the cluster" in said
    assert "shop" in [one["metadata"]["name"] for one in server.cluster.list(NAMESPACES)[1]]


def test_a_namespace_that_nobody_has_made_is_told_once(
    project: Project, server: AnyServer, tmp_path: Path, said: list[str]
) -> None:
    kubeconfig = server.write_kubeconfig(tmp_path / "kubeconfig", namespace="other")

    with pytest.raises(ClusterError) as caught:
        deploy(project, Kubectl(Access(kubeconfig=str(kubeconfig))), said)

    assert str(caught.value).count('namespaces "other" not found') == 1
    assert "kubectl create namespace other" in caught.value.hint


def test_jobs_whose_names_the_server_completes_are_made_each_time(
    project: Project, cluster: Kubectl, server: AnyServer, said: list[str]
) -> None:
    file = project.root / "build" / "deployment" / "web.yml"
    file.write_text(f"{file.read_text()}---\n{JOB}")

    for _ in range(2):
        deploy(project, cluster, said)

    assert len(names(server, "Job")) == 2
    assert "created Job/nightly-" in said
    label = {"contrast-tasks/inventory": "contrast-tasks"}
    mine = {"metadata": {"name": "mine", "labels": label}, "spec": JOB_SPEC}
    server.cluster.create(kind("Job"), "default", mine)
    assert run_stop(settings(project), say=said.append, cluster=cluster)
    assert names(server, "Job") == ["mine"]


def test_stop_removes_what_was_deployed_but_the_coordinators_history(
    project: Project, cluster: Kubectl, server: AnyServer, said: list[str]
) -> None:
    deploy(project, cluster, said)
    mine = {"metadata": {"name": "mine"}}
    server.cluster.create(kind("ConfigMap"), "default", mine)

    assert run_stop(settings(project), say=said.append, cluster=cluster)

    coordinator = server.cluster.get(Key(kind("StatefulSet"), "default", "coordinator"))
    assert coordinator["spec"]["replicas"] == 0
    assert names(server, "Deployment") == []
    assert not run_stop(settings(project), say=said.append, cluster=cluster)
    text = "spec:\n  replicas: 1\n"
    file = project.root / "build" / "deployment" / "coordinator.yml"
    file.write_text(file.read_text().replace("spec:\n", text, 1))
    assert "default/StatefulSet/coordinator" in deploy(project, cluster, said).replaced
    assert run_stop(settings(project), say=said.append, cluster=cluster, everything=True)
    assert names(server, "StatefulSet") == []
    assert names(server, "ConfigMap") == ["mine"]
    assert not run_stop(settings(project), say=said.append, cluster=cluster)


def test_restart_checks_all_before_it_touches_one(
    project: Project, cluster: Kubectl, server: AnyServer, said: list[str]
) -> None:
    project.write_workload("api", "Deployment", b"package agent_policy\n")
    deploy(project, cluster, said)
    server.cluster.delete(Key(kind("Deployment"), "default", "web"))

    with pytest.raises(ClusterError, match="default/Deployment/web is not on the cluster"):
        run_restart(settings(project), say=said.append, wait_s=0, cluster=cluster)

    annotation = "kubectl.kubernetes.io/restartedAt"
    key = Key(kind("Deployment"), "default", "api")
    assert annotation not in str(server.cluster.get(key))
    deploy(project, cluster, said)
    named = ["Deployment/api", "api", "WEB"]
    done = run_restart(settings(project), names=named, say=said.append, wait_s=0, cluster=cluster)
    assert done == ("api", "web")
    assert annotation in str(server.cluster.get(key))


def test_status_tells_of_each_workload_why_it_is_not_ready(
    project: Project, cluster: Kubectl, server: AnyServer, said: list[str]
) -> None:
    folder = project.root / "build" / "deployment"
    (folder / "other.yml").write_text(OTHER)
    project.write_workload("api", "Deployment", b"package agent_policy\n", namespace="shop")
    deploy(project, cluster, said)
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off\nrestarting"}}
    server.cluster.create(
        kind("Pod"),
        "shop",
        {
            "metadata": {"name": "api-1", "labels": {"app": "api"}},
            "spec": {"containers": [{"name": "api", "image": "api"}]},
            "status": {
                "phase": "Running",
                "containerStatuses": [{"name": "api", "restartCount": 3, "state": waiting}],
            },
        },
    )
    server.cluster.create(
        kind("Event"),
        "default",
        {
            "metadata": {"name": "web.1"},
            "type": "Warning",
            "reason": "FailedCreate",
            "message": 'pods "web-1" is forbidden: exceeded quota',
            "involvedObject": {
                "kind": "ReplicaSet",
                "name": "web-5d4f",
                "namespace": "default",
            },
        },
    )

    found = run_status(settings(project), say=said.append, cluster=cluster)

    lines = {line.workload: line for line in found.on_cluster}
    assert lines["shop/Deployment/api"].restarts == 3
    assert lines["shop/Deployment/api"].reason == "api: CrashLoopBackOff: back-off restarting"
    assert lines["default/Deployment/web"].pod == ""
    assert "exceeded quota" in lines["default/Deployment/web"].reason
    assert found.running


def allow(server: AnyServer, folder: Path, *rules: Object) -> Kubectl:
    """Return kubectl as a user who has a Role of these rules."""
    metadata = {"metadata": {"name": "jane"}}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "jane"}
    subject = {"kind": "ServiceAccount", "name": "jane", "namespace": "default"}
    server.cluster.create(kind("ServiceAccount"), "default", metadata)
    server.cluster.create(kind("Role"), "default", {**metadata, "rules": list(rules)})
    binding = {**metadata, "roleRef": role, "subjects": [subject]}
    server.cluster.create(kind("RoleBinding"), "default", binding)
    token = server.log_in(folder / "jane", "jane", "default")
    kubeconfig = server.write_kubeconfig(folder / "jane.yml", token=token)
    return Kubectl(Access(kubeconfig=str(kubeconfig)))


def rule(group: str, *resources: str) -> Object:
    return {"apiGroups": [group], "resources": list(resources), "verbs": ["get", "list"]}


@pytest.mark.parametrize(
    ("rules", "untold"),
    [
        (
            [rule("", "pods"), rule("apps", "deployments", "statefulsets")],
            [
                (
                    "events may not be listed, so reasons may be missing: "
                    "it takes the verb list on events in namespace default"
                )
            ],
        ),
        (
            [rule("", "pods", "events")],
            [
                (
                    "whether somebody changed workloads may not be looked up: it takes the verb "
                    "get on statefulsets.apps in namespace default, get on deployments.apps in namespace default"
                )
            ],
        ),
    ],
)
def test_status_shows_what_the_user_may_read_and_tells_the_verb_that_the_rest_takes(
    project: Project,
    cluster: Kubectl,
    server: AnyServer,
    said: list[str],
    tmp_path: Path,
    rules: list[Object],
    untold: list[str],
) -> None:
    deploy(project, cluster, said)
    jane = allow(server, tmp_path, *rules)

    found = run_status(settings(project), say=said.append, cluster=jane)

    assert [(line.workload, line.phase) for line in found.on_cluster] == [
        ("default/StatefulSet/coordinator", "no pod"),
        ("default/Deployment/web", "no pod"),
    ]
    assert list(found.untold) == untold


def test_a_workload_whose_pods_are_replaced_by_hand_is_waited_for_too(
    project: Project, cluster: Kubectl, server: AnyServer, said: list[str]
) -> None:
    project.write_workload("web", "StatefulSet", b"package agent_policy\n")
    (project.root / "build/deployment/coordinator.yml").unlink()
    file = project.root / "build" / "deployment" / "web.yml"
    by_hand = "spec:\n  replicas: 2\n  updateStrategy:\n    type: OnDelete\n"
    file.write_text(file.read_text().replace("spec:\n", by_hand, 1))
    deploy(project, cluster, said)
    key = Key(kind("StatefulSet"), "default", "web")
    server.cluster.set_status(key, {"replicas": 2, "readyReplicas": 1})

    behind = run_status(settings(project), say=said.append, wait_s=1, cluster=cluster).behind
    assert behind == "default/StatefulSet/web is not rolled out: the time is over"
    server.cluster.set_status(key, {"replicas": 2, "readyReplicas": 2})

    found = run_status(settings(project), say=said.append, wait_s=30, cluster=cluster)
    assert found.behind == ""


def test_status_before_anything_is_deployed_says_so(
    project: Project, cluster: Kubectl, said: list[str]
) -> None:
    found = run_status(settings(project), say=said.append, cluster=cluster)

    assert {line.phase for line in found.on_cluster} == {"not deployed"}
    assert not found.running
    assert said[0].startswith("in context test-cluster, namespace default of https://")


def test_status_for_whom_may_list_no_pods_is_an_error_with_the_verb(
    project: Project, cluster: Kubectl, server: AnyServer, said: list[str], tmp_path: Path
) -> None:
    deploy(project, cluster, said)

    with pytest.raises(ClusterError, match='cannot list resource "pods"') as caught:
        run_status(settings(project), say=said.append, cluster=allow(server, tmp_path))

    assert "the verb list on pods in namespace default" in caught.value.hint


@ON_FAKE
def test_logs_show_what_is_there_and_tell_what_is_not(
    project: Project, cluster: Kubectl, server: KubeServer, said: list[str]
) -> None:
    deploy(project, cluster, said)
    containers = [{"name": name, "image": name} for name in ("web", "proxy")]
    body = {
        "metadata": {"name": "web-1", "labels": {"app": "web"}},
        "spec": {"containers": containers},
    }
    server.cluster.create(kind("Pod"), "default", body)
    server.written["web-1", "web"] = "hello\nerror: no prefix\n"
    said.clear()

    _, text = read_logs(settings(project), [], say=said.append, cluster=cluster)

    assert text == "[pod/web-1/web] hello\n[pod/web-1/web] error: no prefix\n"
    assert said[0].startswith("StatefulSet/coordinator has no pod in namespace default: ")
    assert said[1:] == [
        'default/Pod/web-1: error: container "proxy" in pod "web-1" is waiting to start: ContainerCreating'
    ]


def test_status_tells_what_somebody_changed_in_the_pods_of_a_workload(
    project: Project, cluster: Kubectl, server: AnyServer, said: list[str]
) -> None:
    deploy(project, cluster, said)
    assert run_status(settings(project), say=said.append, cluster=cluster).drift == ()
    spec = {"containers": [{"name": "web", "image": "evil"}, {"name": "more", "image": "x"}]}
    key = Key(kind("Deployment"), "default", "web")
    server.cluster.apply(key, {"spec": {"template": {"spec": spec}}}, manager="x", force=True)

    found = run_status(settings(project), say=said.append, cluster=cluster)

    path = "default/Deployment/web: spec.template.spec.containers"
    image, more = sorted(found.drift, key=len, reverse=True)
    assert image.startswith(f"{path}[web].image: deployed web@sha256:")
    assert image.endswith("found evil")
    assert more == f"{path}[more]: not deployed, and is there"


def test_what_others_added_to_pods_is_told_and_removed_on_request(
    project: Project, cluster: Kubectl, server: AnyServer, said: list[str]
) -> None:
    deploy(project, cluster, said)
    web = {"name": "web", "command": ["sh"], "env": [{"name": "DEBUG", "value": "1"}]}
    spec = {"containers": [web], "hostNetwork": True}
    key = Key(kind("Deployment"), "default", "web")
    server.cluster.apply(key, {"spec": {"template": {"spec": spec}}}, manager="x", force=True)

    place = "default/Deployment/web: spec.template.spec"
    assert sorted(run_status(settings(project), say=said.append, cluster=cluster).drift) == [
        f"{place}.containers[web].command: not deployed, and is there",
        f"{place}.containers[web].env: not deployed, and is there",
        f"{place}.hostNetwork: not deployed, and is there",
    ]
    done = deploy(project, cluster, said, take_over=True)

    assert done.replaced == ("default/Deployment/web",)
    assert run_status(settings(project), say=said.append, cluster=cluster).drift == ()
    assert deploy(project, cluster, said).replaced == ()


CLASS = Key(RUNTIME_CLASSES, "", "contrast-cc")


def test_a_deployment_for_a_runtime_class_that_is_not_there_is_refused_and_nothing_stored(
    project: Project, cluster: Kubectl, server: AnyServer, said: list[str]
) -> None:
    server.cluster.delete(CLASS)
    before = server.cluster.versions()

    with pytest.raises(ClusterError, match="the cluster has no runtime class contrast-cc"):
        deploy(project, cluster, said)

    assert server.cluster.versions() == before


@pytest.mark.parametrize(
    ("name", "release", "target"),
    [
        ("k3s-qemu-snp", V1_12, ""),
        ("aks-clh-snp", V1_12, ""),
        ("metal-qemu-tdx", V1_15, "k3s"),
        ("metal-qemu-snp-gpu", V1_21, "rke2"),
    ],
)
def test_the_api_server_takes_what_installs_a_runtime_and_what_removes_it(
    server: AnyServer, tmp_path: Path, name: str, release: Release, target: str
) -> None:
    kubeconfig = server.write_kubeconfig(tmp_path / "kubeconfig", context="test-cluster")
    image = f"example.org/image@sha256:{'ab' * 32}"
    handler = f"contrast-cc-{name}-00112233"
    found = platform(name)
    snapshotter = None if found.pulls_in_guest else image
    texts = [
        render_runtime(
            found, handler, release, installer=image, snapshotter=snapshotter, target=target
        ),
        render_uninstall(found, handler, release, installer=image, target=target),
    ]

    for text in texts:
        done = subprocess.run(
            [
                *("kubectl", "--kubeconfig", str(kubeconfig), "apply", "--server-side"),
                *("-f", "-"),
            ],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    assert server.cluster.get(Key(RUNTIME_CLASSES, "", handler))["handler"] == handler
    namespace = release.installer.namespace or "default"
    assert set(names(server, "DaemonSet", namespace)) == {
        f"{handler}-nodeinstaller",
        f"{handler}-nodeuninstaller",
    }


@pytest.mark.parametrize(
    ("release", "components"),
    [
        (V1_12, ComponentSettings().replace(are_declared_reference=True)),
        (V1_15, ComponentSettings()),
        (V1_21, ComponentSettings()),
    ],
)
def test_the_api_server_knows_every_field_of_the_coordinators_resources(
    server: AnyServer, tmp_path: Path, release: Release, components: ComponentSettings
) -> None:
    kubeconfig = server.write_kubeconfig(tmp_path / "kubeconfig", context="test-cluster")
    text = render_coordinator(release, components, replicas=3, with_metrics=True)

    done = subprocess.run(
        [
            *("kubectl", "--kubeconfig", str(kubeconfig), "apply", "--server-side"),
            *("--validate=strict", "-f", "-"),
        ],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    found = server.cluster.get(Key(kind("StatefulSet"), "default", "coordinator"))
    ports = {
        each["containerPort"]
        for each in found["spec"]["template"]["spec"]["containers"][0]["ports"]
    }
    # Source: docs/internals/releases.md 5.5.
    assert ports == {1313, 7777, 8200, 9102, *([1314] if release is V1_21 else [])}
    assert found["spec"]["replicas"] == 3


@pytest.mark.parametrize(("more", "code"), [(-1000, 0), (1000, 1)])
def test_what_a_client_side_apply_notes_counts_as_an_annotation(
    server: AnyServer, tmp_path: Path, more: int, code: int
) -> None:
    key = "io.katacontainers.config.agent.policy"
    kubeconfig = server.write_kubeconfig(tmp_path / "kubeconfig", context="test-cluster")
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "web", "image": "web"}]},
    }
    size = (LIMIT_BYTES - applied_bytes(pod, "")) // 2 + more // 2
    carried = "x" * size
    assert (applied_bytes(pod, carried) > LIMIT_BYTES) is bool(code)
    pod["metadata"]["annotations"] = {key: carried}

    done = subprocess.run(
        ["kubectl", "--kubeconfig", str(kubeconfig), "apply", "-f", "-"],
        input=json.dumps(pod),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code
    assert ("may not be more than 262144 bytes" in done.stderr) is bool(code)
