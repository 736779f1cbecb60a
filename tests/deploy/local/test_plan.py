"""From annotated YAML to the plan of the local node: names, addresses, services, environments, refusals."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from contrast_tasks.deploy.local.plan import build_plan
from contrast_tasks.errors import ClusterError, ImageError, UsageError
from contrast_tasks.files import sha256_hex
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.pack import Entry, pack_image, write_layout
from contrast_tasks.kube.annotated import load_annotated
from contrast_tasks.local.messages import ContainerPlan, Plan, PodPlan, parse_plan
from contrast_tasks.local.paths import LocalPaths, local_paths
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from tests.fakes.deployment import SETTINGS

POLICY = b"package agent_policy\n"
ADDRESSES = {"": "127.77.0.2", "web": "127.77.0.6", "emoji": "127.77.0.3", "web-0": "127.77.0.7"}


def workload(name: str, kind: str = "Deployment", **spec: Any) -> dict[str, Any]:
    """Return an annotated workload; members of the pod spec are given, the rest is usual."""
    template = {
        "metadata": {
            "labels": {"app": name},
            "annotations": {
                "io.katacontainers.config.agent.policy": base64.b64encode(POLICY).decode()
            },
        },
        "spec": {
            "runtimeClassName": "contrast-cc",
            "containers": [{"name": "app", "image": "@app@"}],
            **spec,
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"template": template},
    }


def meshed(name: str, *, ingress: str = "", egress: str = "", **spec: Any) -> dict[str, Any]:
    env = [
        {"name": "CONTRAST_INGRESS_PROXY_CONFIG", "value": ingress},
        {"name": "CONTRAST_EGRESS_PROXY_CONFIG", "value": egress},
    ]
    mount = [{"name": "contrast-secrets", "mountPath": "/contrast"}]
    inits = [
        {
            "name": "contrast-initializer",
            "image": "@app@",
            "env": [{"name": "COORDINATOR_HOST", "value": "coordinator-ready"}],
            "volumeMounts": mount,
        },
        {
            "name": "contrast-service-mesh",
            "image": "@app@",
            "env": [entry for entry in env if entry["value"]],
            "restartPolicy": "Always",
            "startupProbe": {"exec": {"command": ["test", "-f", "/ready"]}, "periodSeconds": 5},
            "volumeMounts": mount,
        },
    ]
    app = {
        "name": "app",
        "image": "@app@",
        "ports": [{"name": "grpc", "containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": "grpc"}},
        "volumeMounts": mount,
    }
    volumes = [{"name": "contrast-secrets", "emptyDir": {}}]
    return workload(
        name, **{"containers": [app], "initContainers": inits, "volumes": volumes, **spec}
    )


def service(name: str, target: int | str = 8080, port: int = 80) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"{name}-svc"},
        "spec": {"ports": [{"port": port, "targetPort": target}], "selector": {"app": name}},
    }


class Project:
    """A project with one image in its layout, in which annotated YAML is written by the test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "contrast.toml").write_text(SETTINGS)
        config = ImageConfig(
            entrypoint=("/usr/bin/app",),
            cmd=("--serve",),
            env=("PATH=/usr/bin:/bin", "DATA=/app/data", "TITLE=of the image"),
            working_dir="/app",
        )
        entries = (
            Entry(path="usr/bin/app", content=b"#!/bin/sh\n", executable=True),
            Entry(path="app/data/list", content=b"1\n"),
        )
        image = pack_image("test/app:1", config, [entries])
        write_layout(root / "build" / "images", [image])
        self.image = f"test/app:1@{image.descriptor.digest}"

    @property
    def settings(self) -> Settings:
        return load_settings(self.root, environ={})

    @property
    def paths(self) -> LocalPaths:
        return local_paths(self.root)

    def write(self, *objects: Mapping[str, Any], records: bool = True) -> None:
        folder = self.root / "build" / "deployment"
        folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump_all(list(objects)).replace("'@app@'", self.image)
        (folder / "all.yml").write_text(text.replace("@app@", self.image))
        place = self.root / "build" / "workloads"
        place.mkdir(exist_ok=True)
        for obj in objects:
            metadata = obj["metadata"]
            key = f"{obj['kind']}/{metadata.get('name') or metadata['generateName']}"
            record = {
                "key": key,
                "policy_sha256": sha256_hex(POLICY),
                "sans": [],
                "workload_secret_id": "",
                "role": "",
            }
            if records:
                (place / f"{key.replace('/', '.')}.json").write_text(json.dumps(record))

    def plan(self, **changes: Any) -> Plan:
        asked: list[Sequence[str]] = []

        def addresses_of(names: Sequence[str]) -> Mapping[str, str]:
            asked.append(names)
            return ADDRESSES

        return build_plan(
            load_annotated(self.settings),
            settings=self.settings,
            paths=self.paths,
            addresses_of=changes.pop("addresses_of", addresses_of),
            environ=changes.pop("environ", {}),
            say=changes.pop("say", lambda _: None),
            **changes,
        )

    def pod(self, *objects: Mapping[str, Any], **changes: Any) -> PodPlan:
        self.write(*objects)
        return self.plan(**changes).pods[0]

    def container(self, **container: Any) -> ContainerPlan:
        spec = {"containers": [{"name": "app", "image": "@app@", **container}]}
        return self.pod(workload("web", **spec)).containers[0]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def rootfs(project: Project) -> str:
    digest = project.image.rpartition(":")[2]
    return str(project.paths.images / digest / "rootfs")


def test_the_image_is_unpacked_and_its_entrypoint_run_from_there(project: Project) -> None:
    container = project.container()

    assert container.argv == (f"{rootfs(project)}/usr/bin/app", "--serve")
    assert container.working_dir == f"{rootfs(project)}/app"
    assert Path(container.argv[0]).read_bytes() == b"#!/bin/sh\n"
    assert container.image_digest == f"sha256:{project.image.rpartition(':')[2]}"


@pytest.mark.parametrize(
    ("working_dir", "place"),
    [
        ("/app", "/app"),
        ("/srv/none", "/srv/none"),
        ("srv", "/srv"),
        ("/", ""),
        ("/../../srv", "/srv"),
    ],
)
def test_a_working_folder_is_inside_the_image_and_made_if_it_is_not_there(
    project: Project, working_dir: str, place: str
) -> None:
    spec = {"containers": [{"name": "app", "image": "@app@", "workingDir": working_dir}]}

    pod = project.pod(workload("web", **spec))

    assert pod.containers[0].working_dir == f"{rootfs(project)}{place}"
    assert pod.containers[0].working_dir in pod.folders


def test_a_cron_job_is_told_not_to_be_started(project: Project) -> None:
    said: list[str] = []
    cron = workload("nightly", kind="CronJob")
    cron["spec"] = {"jobTemplate": {"spec": cron["spec"]}}
    project.write(workload("web"), cron)

    plan = project.plan(say=said.append)

    assert [pod.name for pod in plan.pods] == ["web"]
    assert said == ["CronJob/nightly is not started: platform local keeps no schedule"]


def test_a_generated_name_is_completed(project: Project) -> None:
    job = workload("nightly", kind="Job")
    job["apiVersion"], job["metadata"] = "batch/v1", {"generateName": "nightly-"}
    project.write(workload("web"), job)

    plan = project.plan(addresses_of=lambda names: dict.fromkeys(names, "127.77.0.2"))

    assert [pod.name for pod in plan.pods] == ["web", "nightly-local"]


def test_an_image_that_lies_there_as_unpacked_is_not_unpacked_again(project: Project) -> None:
    before = project.container()
    inode = Path(before.argv[0]).stat().st_ino
    (Path(rootfs(project)) / "app" / "written-by-the-application").write_text("x")

    after = project.container()

    assert after == before
    assert Path(after.argv[0]).stat().st_ino == inode


def _changed(program: Path) -> None:
    program.write_bytes(b"#!/bin/ls\n")


def _made_writable(program: Path) -> None:
    program.chmod(0o777)


def _made_a_link(program: Path) -> None:
    program.unlink()
    program.symlink_to("/bin/sh")


def _unrecorded(program: Path) -> None:
    (program.parents[3] / "unpacked.json").write_text("[]")


@pytest.mark.parametrize(
    "damage", [Path.unlink, _changed, _made_writable, _made_a_link, _unrecorded]
)
def test_an_image_that_was_changed_on_disk_is_unpacked_anew_and_its_pods_replaced(
    project: Project, damage: Callable[[Path], None]
) -> None:
    before = project.pod(workload("web"))
    program = Path(before.containers[0].argv[0])
    damage(program)

    after = project.pod(workload("web"))

    assert program.read_bytes() == b"#!/bin/sh\n"
    assert not program.is_symlink()
    assert after.digest != before.digest
    assert after.containers[0].argv == before.containers[0].argv


def test_an_image_that_was_changed_on_disk_is_told_of(project: Project) -> None:
    said: list[str] = []
    Path(project.container().argv[0]).unlink()

    project.plan(say=said.append)

    assert len(said) == 1
    assert said[0].startswith(f"image {project.image} was changed in ")


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({"args": ["--list"]}, ["/usr/bin/app", "--list"]),
        ({"command": ["app", "-x"]}, ["app", "-x"]),
        ({"command": ["app"], "args": ["$(NAME)", "$$(NAME)", "$(NONE)"],
          "env": [{"name": "NAME", "value": "cat"}]}, ["app", "cat", "$(NAME)", "$(NONE)"]),
        ({"args": ["--data=/app/data", "/app/data:/app"]},
         ["/usr/bin/app", "--data=ROOT/app/data", "ROOT/app/data:ROOT/app"]),
        ({"args": ["/nowhere", "a/b"]}, ["/usr/bin/app", "/nowhere", "a/b"]),
    ],
    ids=["args", "command", "variables", "paths", "other-paths"],
)  # fmt: skip
def test_command_and_args_are_those_of_kubernetes(
    project: Project, container: dict[str, Any], words: list[str]
) -> None:
    found = project.container(**container).argv

    root = rootfs(project)
    expected = [f"{root}{word}" if word == "/usr/bin/app" else word for word in words]
    assert list(found) == [word.replace("ROOT", root) for word in expected]


def test_the_environment_is_the_images_then_the_pods_with_paths_translated(
    project: Project,
) -> None:
    env = project.container(env=[{"name": "TITLE", "value": "of the pod"}]).env

    assert env["TITLE"] == "of the pod"
    assert env["DATA"] == f"{rootfs(project)}/app/data"
    assert f"{rootfs(project)}/usr/bin" in env["PATH"].split(":")
    assert env["PYTHONPATH"].endswith("contrast_tasks/local/shim")
    assert env["BIND_ADDRESS"] == "127.77.0.6"


def test_the_callers_environment_stays_outside(project: Project) -> None:
    project.write(workload("web"))

    plan = project.plan(environ={"AWS_SECRET": "x", "CONTRAST_ENVOY_BIN": "/e"})

    assert "AWS_SECRET" not in plan.pods[0].containers[0].env
    assert "CONTRAST_ENVOY_BIN" not in plan.pods[0].containers[0].env


def config_map(**values: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": values}


def secret(**values: str) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": encoded}


def test_values_come_from_configmaps_secrets_and_the_pod(project: Project) -> None:
    env = [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "a"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "b"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {
            "name": "M",
            "valueFrom": {"configMapKeyRef": {"name": "x", "key": "a", "optional": True}},
        },
        {"name": "ALL", "value": "$(A)-$(B)"},
    ]
    spec = {"containers": [{"name": "app", "image": "@app@", "env": env,
                            "envFrom": [{"configMapRef": {"name": "c"}, "prefix": "P_"}]}]}  # fmt: skip

    found = project.pod(workload("web", **spec), config_map(a="1"), secret(b="2")).containers[0].env

    assert {key: found[key] for key in ("A", "B", "IP", "L", "ALL", "P_a")} == {
        "A": "1",
        "B": "2",
        "IP": "127.77.0.6",
        "L": "web",
        "ALL": "1-2",
        "P_a": "1",
    }
    assert "M" not in found


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "x", "key": "a"}}, "there is no ConfigMap x in namespace default"),
        ({"configMapKeyRef": {"name": "c", "key": "z"}}, "ConfigMap c has no z"),
        ({"secretKeyRef": {"name": "s", "key": "b"}}, "there is no Secret s in namespace default"),
        ({"fieldRef": {"fieldPath": "status.phase"}}, "platform local cannot provide status.phase"),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "cannot provide resourceFieldRef"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_there_is_named_with_its_variable(
    project: Project, source: dict[str, Any], message: str
) -> None:
    spec = {"containers": [{"name": "app", "image": "@app@", "env": [{"name": "A", "valueFrom": source}]}]}  # fmt: skip

    with pytest.raises(ClusterError) as caught:
        project.pod(workload("web", **spec), config_map(a="1"))

    assert str(caught.value).startswith("Deployment/web container app: env A: ")
    assert message in str(caught.value)


def test_a_value_of_an_object_made_elsewhere_is_the_declared_one(project: Project) -> None:
    table = '[elsewhere."Secret/s"]\nvalues = { b = "2" }\n'
    (project.root / "contrast.toml").write_text(SETTINGS + table)
    source = {"secretKeyRef": {"name": "s", "key": "b"}}
    env = [{"name": "A", "valueFrom": source}]
    spec = {"containers": [{"name": "app", "image": "@app@", "env": env}]}

    assert project.pod(workload("web", **spec)).containers[0].env["A"] == "2"


def test_a_mounted_configmap_is_written_out_and_paths_lead_to_it(project: Project) -> None:
    spec = {
        "containers": [
            {
                "name": "app",
                "image": "@app@",
                "args": ["--config=/etc/shop/settings.ini", "/etc/shopping"],
                "volumeMounts": [{"name": "v", "mountPath": "/etc/shop"}],
            }
        ],
        "volumes": [{"name": "v", "configMap": {"name": "c"}}],
    }

    pod = project.pod(workload("web", **spec), config_map(**{"settings.ini": "x = 1"}))

    place = pod.containers[0].argv[1].removeprefix("--config=")
    assert Path(place).read_text() == "x = 1"
    assert pod.containers[0].argv[2] == "/etc/shopping"


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"hostPath": {"path": "/"}}, "volume v: platform local has no hostPath"),
        ({"configMap": {"name": "none"}}, "there is no ConfigMap none"),
    ],
)
def test_a_volume_that_cannot_be_had_is_refused(
    project: Project, volume: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClusterError, match=message):
        project.pod(workload("web", volumes=[{"name": "v", **volume}]))


def test_a_meshed_pod_has_envoy_in_front_and_the_application_behind(project: Project) -> None:
    pod = project.pod(meshed("web", ingress="web#8080#false"))

    initializer, sidecar, app = pod.containers
    assert [one.role for one in pod.containers] == ["init", "sidecar", "main"]
    assert app.env["BIND_ADDRESS"] == "127.78.0.6"
    assert [one.attested for one in pod.containers] == [True, True, False]
    assert initializer.env["CONTRAST_SECRETS_DIR"] == sidecar.env["CONTRAST_SECRETS_DIR"]
    assert set(pod.listens) == {("127.77.0.6", 8080), ("127.78.0.6", 8080)}
    mesh = json.loads(sidecar.env["CONTRAST_LOCAL_MESH"])
    assert (mesh["pod_address"], mesh["app_address"]) == ("127.77.0.6", "127.78.0.6")
    assert mesh["ports"] == [8080]


def test_probes_are_honoured_and_a_tcp_probe_looks_behind_the_proxy(project: Project) -> None:
    _, sidecar, app = project.pod(meshed("web")).containers

    assert sidecar.startup is not None
    assert sidecar.startup.command == ("test", "-f", sidecar.env["CONTRAST_READY_FILE"])
    assert sidecar.startup.limit_s == 15.0
    assert app.readiness is not None
    assert app.readiness.endpoints == (("127.77.0.6", 8080), ("127.78.0.6", 8080))


def test_an_https_probe_goes_through_the_mesh(project: Project) -> None:
    probe = {"httpGet": {"port": 8080, "scheme": "HTTPS", "path": "/up"}, "timeoutSeconds": 3}
    spec = {"containers": [{"name": "app", "image": "@app@", "readinessProbe": probe}]}

    found = project.pod(workload("web", **spec)).containers[0].readiness

    assert found is not None
    assert (found.kind, found.path, found.timeout_s) == ("https", "/up", 3.0)
    assert found.endpoints == (("127.77.0.6", 8080),)


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ({"tcpSocket": {"port": "http"}}, "names port 'http', the container has none of that name"),
        ({"grpc": {"port": 1}}, "platform local has no probe grpc"),
    ],
)
def test_a_probe_that_cannot_be_asked_is_refused(
    project: Project, probe: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClusterError, match=message):
        project.container(readinessProbe=probe)


def test_services_lead_to_the_target_ports_of_their_pods(project: Project) -> None:
    project.write(meshed("web"), service("web", "grpc", 443), service("nobody"))

    hosts = project.plan().hosts

    assert hosts["web-svc"] == {"443": (("127.77.0.6", 8080),)}
    assert hosts["web-svc.default.svc.cluster.local"] == hosts["web-svc"]
    assert hosts["nobody-svc"] == {"80": ()}


def test_egress_remotes_that_are_services_are_resolved(project: Project) -> None:
    egress = "emoji#127.137.0.1:8081#emoji-svc:80##else#127.137.0.2:8081#example.com:80"
    project.write(meshed("web", egress=egress), meshed("emoji"), service("emoji"))

    pod = next(pod for pod in project.plan().pods if pod.name == "web")

    mesh = json.loads(pod.containers[1].env["CONTRAST_LOCAL_MESH"])
    assert mesh["resolve"] == {"emoji-svc:80": ["127.77.0.3", 8080]}
    assert mesh["egress"] == {
        "127.137.0.1:8081": "127.137.0.1:8081",
        "127.137.0.2:8081": "127.137.0.2:8081",
    }
    assert ("127.137.0.1", 8081) in pod.listens
    assert "CONTRAST_LOCAL_EGRESS" not in pod.containers[2].env


def test_a_second_pod_with_the_same_egress_address_gets_another_one(project: Project) -> None:
    egress = "x#127.137.0.1:8081#x.example:80"
    project.write(meshed("web", egress=egress), meshed("emoji", egress=egress))

    moved = [json.loads(pod.containers[2].env.get("CONTRAST_LOCAL_EGRESS", "{}"))
             for pod in project.plan().pods]  # fmt: skip

    assert moved == [{}, {"127.137.0.1:8081": "127.78.1.6:8081"}]


def test_on_another_net_every_egress_address_moves(project: Project) -> None:
    project.write(meshed("web", egress="x#127.137.0.1:8081#x.example:80"))

    plan = project.plan(addresses_of=lambda _: {"": "127.140.0.2", "web": "127.140.0.9"})

    assert ("127.141.1.9", 8081) in plan.pods[0].listens
    assert ("127.137.0.1", 8081) not in plan.pods[0].listens


def test_replicas_are_pods_of_their_own(project: Project) -> None:
    obj = workload("web")
    obj["spec"]["replicas"] = 2
    project.write(obj)

    pods = project.plan(
        addresses_of=lambda names: {name: f"127.77.0.{n}" for n, name in enumerate(["", *names], 2)}
    ).pods

    assert [(pod.name, pod.address) for pod in pods] == [
        ("web-0", "127.77.0.3"),
        ("web-1", "127.77.0.4"),
    ]


def test_two_workloads_of_one_name_get_names_with_their_kind(project: Project) -> None:
    project.write(workload("web"), workload("web", kind="StatefulSet"))

    names = [
        pod.name for pod in project.plan(
            addresses_of=lambda names: {name: f"127.77.0.{n}" for n, name in enumerate(["", *names], 2)}
        ).pods
    ]  # fmt: skip

    assert names == ["deployment-web", "statefulset-web"]


def coordinator() -> dict[str, Any]:
    obj = workload("coordinator", kind="StatefulSet")
    annotations = obj["spec"]["template"]["metadata"]["annotations"]
    annotations["contrast.edgeless.systems/pod-role"] = "coordinator"
    return obj


def test_the_coordinator_comes_first_at_its_own_address(project: Project) -> None:
    project.write(workload("web"), coordinator())

    pod = project.plan().pods[0]

    assert (pod.name, pod.address, pod.role) == ("coordinator", "127.77.0.2", "coordinator")
    env = pod.containers[0].env
    assert env["CONTRAST_USER_API"] == "127.77.0.2:1313"
    assert env["CONTRAST_STATE"] == str(project.paths.state)
    assert pod.containers[0].attested


def test_without_the_mesh_only_coordinator_and_initializers_run(project: Project) -> None:
    project.write(meshed("web"), coordinator())

    pods = project.plan(with_mesh=False).pods

    assert [[one.name for one in pod.containers] for pod in pods] == [
        ["app"],
        ["contrast-initializer"],
    ]
    assert pods[1].restart_policy == "Never"


def test_the_same_yaml_gives_the_same_digests(project: Project) -> None:
    project.write(meshed("web", egress="x#127.137.0.1:8081#x.example:80"), coordinator())

    first, second = project.plan(), project.plan()

    assert [pod.digest for pod in first.pods] == [pod.digest for pod in second.pods]


def test_a_plan_survives_its_json_form(project: Project) -> None:
    project.write(meshed("web"), coordinator(), service("web"))
    plan = project.plan()

    found = parse_plan(json.loads(json.dumps(plan.to_json())))

    assert found == plan
    assert [pod.digest for pod in found.pods] == [pod.digest for pod in plan.pods]


def test_any_change_of_a_pod_changes_its_digest(project: Project) -> None:
    pod = project.pod(meshed("web"))
    changed = replace(pod.containers[2], env={**pod.containers[2].env, "A": "1"})

    assert replace(pod, containers=(*pod.containers[:2], changed)).digest != pod.digest
    assert replace(pod, policy_sha256="00" * 32).digest != pod.digest


def test_a_confidential_pod_without_policy_is_refused_with_its_place(project: Project) -> None:
    obj = workload("web")
    del obj["spec"]["template"]["metadata"]["annotations"]
    project.write(obj)

    with pytest.raises(UsageError, match="Deployment/web has no annotation io") as caught:
        project.plan()

    assert str(caught.value.where) == "build/deployment/all.yml:1"


@pytest.mark.parametrize(
    ("policy", "error", "message"),
    [
        ("not base64!", UsageError, "found no base64"),
        (base64.b64encode(b"other").decode(), ClusterError, f"wanted {sha256_hex(POLICY)}"),
    ],
)
def test_an_edited_policy_is_refused(
    project: Project, policy: str, error: type[Exception], message: str
) -> None:
    obj = workload("web")
    annotations = obj["spec"]["template"]["metadata"]["annotations"]
    annotations["io.katacontainers.config.agent.policy"] = policy
    project.write(obj)

    with pytest.raises(error, match=message):
        project.plan()


def test_a_pod_that_was_not_generated_here_is_refused(project: Project) -> None:
    project.write(workload("web"), records=False)

    with pytest.raises(ClusterError, match="wanted none: the workload was not generated here"):
        project.plan()


def without_digest(project: Project) -> str:
    return "test/app:1"


def of_another_digest(project: Project) -> str:
    return f"test/app:1@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (without_digest, "has no digest"),
        (of_another_digest, "is in no image layout of build/images"),
    ],
)
def test_an_image_that_cannot_be_run_is_refused(
    project: Project, image: Callable[[Project], str], message: str
) -> None:
    with pytest.raises(ImageError, match=message):
        project.container(image=image(project))


def test_nothing_generated_is_said_with_the_next_command(project: Project) -> None:
    with pytest.raises(UsageError, match="no Kubernetes objects in build/deployment") as caught:
        project.plan()

    assert caught.value.hint == "run 'contrast-tasks generate' first"


def test_a_damaged_record_is_named(project: Project) -> None:
    project.write(workload("web"))
    (project.root / "build" / "workloads" / "Deployment.web.json").write_text("{}")

    with pytest.raises(
        UsageError, match=r"build/workloads/Deployment\.web\.json is not a workload"
    ):
        project.plan()
