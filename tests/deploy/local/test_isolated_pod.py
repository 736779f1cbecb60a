"""From annotated YAML to what a node of namespaces needs: the pod as a cluster has it, its images, its objects, its claims."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from contrast_tasks.deploy.local.isolated_pod import IsolatedShared, build_isolated_pod
from contrast_tasks.errors import ClusterError
from contrast_tasks.kube.annotated import Annotated, load_annotated
from contrast_tasks.local.messages import ImagePlan, Isolation, PodPlan, parse_plan
from contrast_tasks.local.messages import Plan as LocalPlan
from contrast_tasks.local.paths import local_paths
from contrast_tasks.settings.load import load_settings
from tests.fakes.deployment import SETTINGS

DIGEST = "sha256:" + "1" * 64


def image(reference: str) -> ImagePlan:
    return ImagePlan(
        layout="others",
        reference=reference,
        digest=DIGEST,
        entrypoint=("serve",),
        cmd=(),
        env=(),
        working_dir="",
        user="",
        volumes=(),
        passwd=None,
        group=None,
    )


def workload(kind: str = "Deployment", *, spec: Any = None, **pod: Any) -> dict[str, Any]:
    container = {"name": "app", "image": "shop/app:1"}
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [container], **pod},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web"},
        "spec": {"template": template, **(spec or {})},
    }


def config_map(name: str = "settings") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"key": "v"},
    }


class Project:
    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "contrast.toml").write_text(SETTINGS)

    def objects(self, *documents: dict[str, Any]) -> tuple[Annotated, ...]:
        folder = self.root / "build" / "deployment"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "all.yml").write_text(yaml.safe_dump_all(documents))
        return load_annotated(load_settings(self.root, environ={}))

    def pod(self, *documents: dict[str, Any], index: int = 0, name: str = "web") -> PodPlan:
        objects = self.objects(*documents)
        shared = IsolatedShared(
            settings=load_settings(self.root, environ={}),
            paths=local_paths(self.root),
            objects=objects,
            find_image=image,
            with_mesh=True,
        )
        item = next(each for each in objects if each.is_workload)
        return build_isolated_pod(item, name, index, "127.77.0.4", shared)

    def isolation(self, *documents: dict[str, Any], **more: Any) -> Isolation:
        found = self.pod(*documents, **more).isolation
        assert found is not None
        return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_a_replica_of_a_set_has_its_number_host_name_and_claims(project: Project) -> None:
    claims = [{"metadata": {"name": "data"}, "spec": {}}]
    spec = {"serviceName": "web", "replicas": 2, "volumeClaimTemplates": claims}

    found = project.isolation(workload("StatefulSet", spec=spec), index=1)

    assert found.document["metadata"]["name"] == "web-1"
    assert found.document["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"
    assert found.document["spec"]["hostname"] == "web-1"
    folder = project.root / ".contrast" / "local" / "volumes" / "data-web-1"
    assert found.claims == {"data-web-1": str(folder)}
    assert folder.is_dir()


def test_pods_of_a_deployment_have_names_as_a_cluster_draws_them_always_the_same(
    project: Project,
) -> None:
    names = [
        project.isolation(workload(), name=name).document["metadata"]["name"]
        for name in ("web-0", "web-1", "web-0")
    ]

    assert names[0] == names[2] != names[1]
    for name in names:
        suffix = name.removeprefix("web-6c9d7f8b54-")
        assert len(suffix) == 5
        assert set(suffix) <= set("bcdfghjklmnpqrstvwxz2456789")


def test_probes_go_to_the_address_in_the_node_and_ports_are_forwarded_from_this_machine(
    project: Project,
) -> None:
    container = {
        "name": "app",
        "image": "shop/app:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 2},
        "livenessProbe": {"tcpSocket": {"port": 8080}, "failureThreshold": 5},
    }

    found = project.pod(workload(containers=[container]))

    (app,) = found.containers
    assert found.listens == (("127.77.0.4", 8080),)
    assert app.readiness is not None
    assert app.liveness is not None
    assert (app.readiness.endpoints, app.readiness.period_s) == ((("10.244.0.4", 8080),), 2)
    assert (app.liveness.kind, app.liveness.failures) == ("tcp", 5)
    assert app.argv == ()


def test_only_the_objects_that_a_pod_names_are_part_of_it(project: Project) -> None:
    source = [{"configMapRef": {"name": "settings"}}]
    container = {"name": "app", "image": "shop/app:1", "envFrom": source}

    found = project.isolation(
        workload(containers=[container]), config_map(), config_map("of-somebody-else")
    )

    assert [each["metadata"]["name"] for each in found.objects] == ["settings"]


def test_an_object_that_is_missing_is_named_unless_it_is_optional(project: Project) -> None:
    def mounting(**more: Any) -> dict[str, Any]:
        return workload(volumes=[{"name": "v", "configMap": {"name": "settings", **more}}])

    with pytest.raises(ClusterError) as raised:
        project.pod(mounting())

    assert str(raised.value) == (
        "Deployment/web: there is no ConfigMap settings in namespace default"
    )
    assert project.isolation(mounting(optional=True)).objects == ()


def test_an_object_made_elsewhere_has_the_values_that_are_declared(project: Project) -> None:
    settings = project.root / "contrast.toml"
    settings.write_text(SETTINGS + '[elsewhere."ConfigMap/settings"]\nvalues = { a = "1" }\n')
    volume = {"name": "v", "configMap": {"name": "settings"}}

    (found,) = project.isolation(workload(volumes=[volume])).objects

    assert (found["kind"], found["data"]) == ("ConfigMap", {"a": "1"})


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        pytest.param(
            {"volumes": [{"name": "v", "hostPath": {"path": "/srv"}}]},
            "Deployment/web: volume v: platform local has no hostPath",
            id="files of a host",
        ),
        pytest.param(
            {
                "containers": [
                    {
                        "name": "app",
                        "image": "shop/app:1",
                        "volumeDevices": [{"name": "v", "devicePath": "/dev/x"}],
                    }
                ]
            },
            "Deployment/web container app: platform local attaches no block devices",
            id="a disk",
        ),
    ],
)
def test_what_cannot_be_had_is_refused(project: Project, pod: dict[str, Any], message: str) -> None:
    with pytest.raises(ClusterError) as raised:
        project.pod(workload(**pod))

    assert str(raised.value) == message


def test_a_plan_survives_its_json_form(project: Project) -> None:
    plan = LocalPlan(pods=(project.pod(workload()),), hosts={}, services=({"kind": "Service"},))

    assert parse_plan(json.loads(json.dumps(plan.to_json()))) == plan
