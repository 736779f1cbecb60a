"""Pods, images and a peer profile for tests of the policy package, and ways to bend a request."""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import yaml

from contrast_tasks.agent_messages import Request
from contrast_tasks.policy.derive import derive, expect
from contrast_tasks.policy.engine import ENGINES, PolicyEngine
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.model import ConfigKey, ImageFacts, LayerFacts, PolicyInput, Profile
from contrast_tasks.policy.profiles import KATA_QEMU
from contrast_tasks.policy.simulate import NOT_ASKED
from contrast_tasks.policy.text import render_policy
from contrast_tasks.prepare.policy_input import policy_input
from contrast_tasks.runtime.containerd_versions import containerd_version
from contrast_tasks.runtime.controllers import pod_of
from contrast_tasks.runtime.drawing import drawn_for
from contrast_tasks.runtime.life import Cluster, live
from contrast_tasks.runtime.node import Image, Node
from contrast_tasks.runtime.shim_versions import shim_version

_NAMES = """
AddARPNeighborsRequest AddSwapPathRequest AddSwapRequest CloseStdinRequest CopyFileRequest CreateContainerRequest
CreateSandboxRequest DestroySandboxRequest ExecProcessRequest GetDiagnosticDataRequest GetIPTablesRequest
GetMetricsRequest GetOOMEventRequest GuestDetailsRequest ListInterfacesRequest ListRoutesRequest
MemAgentCompactConfig MemAgentMemcgConfig MemHotplugByProbeRequest OnlineCPUMemRequest PauseContainerRequest
ReadStreamRequest RemoveContainerRequest RemoveStaleVirtiofsShareMountsRequest ReseedRandomDevRequest
ResizeVolumeRequest ResumeContainerRequest SetGuestDateTimeRequest SetIPTablesRequest SetPolicyRequest
SignalProcessRequest StartContainerRequest StartTracingRequest StatsContainerRequest StopTracingRequest
TtyWinResizeRequest UpdateContainerRequest UpdateEphemeralMountsRequest UpdateInterfaceRequest UpdateRoutesRequest
VolumeStatsRequest WaitProcessRequest WriteStreamRequest
"""
# Every message the agent asks a policy about (docs/internals/policy.md 2).
REQUESTS = tuple(_NAMES.split())

DIGEST = "sha256:" + "5a" * 32
OTHER_DIGEST = "sha256:" + "5b" * 32

INITIALIZER = f"""
name: contrast-initializer
image: example.com/initializer:1@{DIGEST}
env: [{{name: COORDINATOR_HOST, value: coordinator-ready}}]
securityContext: {{capabilities: {{add: [NET_ADMIN]}}}}
volumeMounts: [{{name: contrast-secrets, mountPath: /contrast}}]
"""
MESH = f"""
name: contrast-service-mesh
image: example.com/mesh:1@{DIGEST}
restartPolicy: Always
args: [run]
env: [{{name: CONTRAST_INGRESS_PROXY_CONFIG, value: "web#8080#false"}}]
securityContext: {{privileged: true, capabilities: {{add: [NET_ADMIN]}}}}
startupProbe: {{exec: {{command: [test, -f, /ready]}}, periodSeconds: 5}}
volumeMounts: [{{name: contrast-secrets, mountPath: /contrast}}]
"""
SECRETS = "{name: contrast-secrets, emptyDir: {medium: Memory}}"
PLAIN = f"{{name: app, image: 'example.com/app:1@{DIGEST}'}}"


def image(reference: str, **facts: Any) -> ImageFacts:
    """Return facts of an image with an entrypoint and the usual PATH."""
    known: dict[str, Any] = {
        "entrypoint": ("/bin/app",),
        "env": ("PATH=/usr/local/bin:/usr/bin:/bin",),
        "working_dir": "/srv",
        "layers": (LayerFacts(diff_id="sha256:" + "11" * 32),),
    }
    known |= facts
    return ImageFacts(reference=reference, digest=reference.partition("@")[2], **known)


def workload(
    spec: str,
    *,
    kind: str = "Pod",
    name: str = "app",
    namespace: str | None = None,
    labels: str = "{}",
) -> dict[str, Any]:
    """Return an object of that kind around a pod spec in YAML."""
    pod = {"metadata": {"labels": yaml.safe_load(labels)}, "spec": yaml.safe_load(spec)}
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if kind == "Pod":
        return {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": metadata | pod["metadata"],
            "spec": pod["spec"],
        }
    inner: dict[str, Any] = {"template": pod}
    if kind == "CronJob":
        inner = {"jobTemplate": {"spec": inner}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": inner}


def given(
    obj: Mapping[str, Any], *, images: Mapping[str, ImageFacts] | None = None, **rest: Any
) -> PolicyInput:
    """Return the generator's input; images that are not named get plain facts."""
    spec = json.dumps(obj)
    found = dict(images or {})
    for part in spec.split('"image": "')[1:]:
        reference = part.partition('"')[0]
        found.setdefault(reference, image(reference))
    return policy_input(obj, images=found, configs=rest.pop("configs", {}), **rest)


def derived(
    spec: str, *, tolerant: bool = False, profile: Profile = KATA_QEMU, **rest: Any
) -> PolicyData:
    """Return the expectations of a pod spec in YAML; tolerant: also those of a pod with errors."""
    names = {key: rest.pop(key) for key in ("kind", "name", "namespace", "labels") if key in rest}
    obj = workload(spec, **names)
    pod = given(obj, **rest)
    data = expect(pod, profile) if tolerant else derive(pod, profile)
    return _kept(data, Given(obj, pod.images, pod.configs))


def one_container(fields: str, *, pod: str = "", **rest: Any) -> PolicyData:
    """Return the expectations of a pod with one container `app`, whose fields are given in flow YAML."""
    comma = ", " if fields else ""
    container = f"{{name: app, image: 'example.com/app:1@{DIGEST}'{comma}{fields}}}"
    return derived(f"containers: [{container}]\n{pod}", **rest)


WEB_SPEC = f"""
runtimeClassName: contrast-cc
serviceAccountName: web
initContainers:
- {json.dumps(yaml.safe_load(INITIALIZER))}
- {json.dumps(yaml.safe_load(MESH))}
containers:
- name: web-svc
  image: docker.io/buoyantio/emojivoto-web:v11@{DIGEST}
  env:
  - {{name: WEB_PORT, value: "8080"}}
  - {{name: EMOJISVC_HOST, value: "127.137.0.1:8081"}}
  - {{name: VOTINGSVC_HOST, value: "127.137.0.2:8081"}}
  - {{name: INDEX_BUNDLE, value: dist/index_bundle.js}}
  ports: [{{containerPort: 8080, name: https}}]
  readinessProbe: {{httpGet: {{port: 8080, scheme: HTTPS}}, initialDelaySeconds: 1, periodSeconds: 5}}
  resources: {{limits: {{memory: 700Mi}}, requests: {{memory: 700Mi}}}}
  volumeMounts: [{{name: contrast-secrets, mountPath: /contrast}}]
volumes:
- {SECRETS}
"""
VOTE_BOT_SPEC = f"""
runtimeClassName: contrast-cc
initContainers:
- {json.dumps(yaml.safe_load(INITIALIZER))}
containers:
- name: vote-bot
  image: ghcr.io/edgelesssys/contrast/emojivoto-web:coco-1@{DIGEST}
  command: [emojivoto-vote-bot]
  env: [{{name: WEB_HOST, value: "web-svc:443"}}]
  resources: {{limits: {{memory: 700Mi}}, requests: {{memory: 700Mi}}}}
  volumeMounts: [{{name: contrast-secrets, mountPath: /contrast}}]
volumes:
- {SECRETS}
"""
# Every kind of volume, variable and probe in one pod.
RICH_SPEC = f"""
shareProcessNamespace: true
securityContext: {{runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000, sysctls: [{{name: net.core.somaxconn, value: "9"}}]}}
initContainers:
- name: prepare
  image: example.com/prepare:1@{DIGEST}
  command: [sh, -c, "echo $(POD_NAME)"]
  env: [{{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}]
  volumeMounts: [{{name: scratch, mountPath: /scratch}}, {{name: cache, mountPath: /cache}}]
containers:
- name: app
  image: example.com/app:1@{DIGEST}
  args: ["--ip=$(POD_IP)", "--host=$(KUBERNETES_SERVICE_HOST)", "$(NOT_THERE)"]
  env:
  - {{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
  - {{name: POD_NS, valueFrom: {{fieldRef: {{fieldPath: metadata.namespace}}}}}}
  - {{name: POD_UID, valueFrom: {{fieldRef: {{fieldPath: metadata.uid}}}}}}
  - {{name: MODE, valueFrom: {{configMapKeyRef: {{name: settings, key: mode}}}}}}
  - {{name: MAYBE, valueFrom: {{configMapKeyRef: {{name: settings, key: maybe, optional: true}}}}}}
  - {{name: CPUS, valueFrom: {{resourceFieldRef: {{resource: limits.cpu}}}}}}
  livenessProbe: {{exec: {{command: [check, "$(POD_IP)"]}}}}
  lifecycle: {{preStop: {{exec: {{command: [stop]}}}}}}
  securityContext: {{readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
  volumeMounts:
  - {{name: scratch, mountPath: /scratch}}
  - {{name: cache, mountPath: /cache}}
  - {{name: cache, mountPath: /cache-too, readOnly: true}}
  - {{name: settings, mountPath: /etc/settings}}
  - {{name: keys, mountPath: /etc/settings/keys}}
  - {{name: info, mountPath: /etc/info}}
  - {{name: all, mountPath: /etc/all}}
  volumeDevices: [{{name: disk, devicePath: /dev/disk0}}]
volumes:
- {{name: scratch, emptyDir: {{}}}}
- {{name: cache, emptyDir: {{medium: Memory}}}}
- {{name: settings, configMap: {{name: settings}}}}
- {{name: keys, secret: {{secretName: keys}}}}
- {{name: info, downwardAPI: {{items: [{{path: labels, fieldRef: {{fieldPath: metadata.labels}}}}]}}}}
- {{name: all, projected: {{sources: [{{configMap: {{name: settings}}}}]}}}}
- {{name: disk, persistentVolumeClaim: {{claimName: disk}}}}
"""
RICH_CONFIGS = {("ConfigMap", None, "settings"): {"mode": "fast"}}


def emojivoto(name: str, *, mesh: bool = True) -> PolicyData:
    """Return the expectations of one of the four pods, by the name of its Deployment."""
    if name == "vote-bot":
        return derived(VOTE_BOT_SPEC, kind="Deployment", name=name)
    spec = WEB_SPEC if name == "web" else WEB_SPEC.replace("web-svc", f"{name}-svc")
    return derived(spec, kind="Deployment", name=name)


@cache
def web() -> PolicyData:
    """Return the expectations of the web pod."""
    return emojivoto("web")


@cache
def rich() -> PolicyData:
    """Return the expectations of the pod with everything."""
    return derived(RICH_SPEC, kind="StatefulSet", name="rich", configs=RICH_CONFIGS)


@cache
def policy_of(name: str) -> bytes:
    """Return the policy text of `web` or `rich`."""
    return render_policy({"web": web, "rich": rich}[name]())


def coordinator() -> PolicyData:
    """Return the expectations of the Coordinator's own StatefulSet as it is shipped."""
    from contrast_tasks.prepare.coordinator import render_coordinator
    from contrast_tasks.releases.table import RELEASES
    from contrast_tasks.settings.components import ComponentSettings

    text = render_coordinator(RELEASES[-1], ComponentSettings())
    documents = [each for each in yaml.safe_load_all(text) if each["kind"] == "StatefulSet"]
    spec = documents[0]["spec"]["template"]["spec"]
    spec["containers"][0]["image"] += f"@{DIGEST}"
    source = given(documents[0])
    return _kept(derive(source, KATA_QEMU), Given(documents[0], source.images, {}))


class Given(NamedTuple):
    """What a pod's expectations were derived from."""

    workload: Mapping[str, Any]
    images: Mapping[str, ImageFacts]
    configs: Mapping[ConfigKey, Mapping[str, str | bytes]]


# By the identity of the expectations, which the values keep alive.
_DERIVED: dict[int, tuple[PolicyData, Given]] = {}


def _kept(data: PolicyData, source: Given) -> PolicyData:
    _DERIVED[id(data)] = (data, source)
    return data


def life_of(
    data: PolicyData, *, containerd: str = "2", shim: str = "contrast-4.1.0"
) -> list[Request]:
    """Return the requests that a policy is asked for in the life of a pod; data: as `derived` returned it.

    They come from the model of the runtime, which knows nothing of expectations.
    """
    source = _DERIVED[id(data)][1]
    pod = pod_of(source.workload)
    cluster = Cluster(
        node=Node(containerd=containerd_version(containerd)),
        shim=shim_version(shim),
        objects=[_object(key, content) for key, content in source.configs.items()],
    )
    images = {reference: _seen(facts) for reference, facts in source.images.items()}
    life = live(pod, images, cluster, drawn_for(pod))
    assert life.refused == {}  # a fake for tests
    return [each for each in life.requests if each.kind not in NOT_ASKED]


def _object(key: ConfigKey, content: Mapping[str, str | bytes]) -> dict[str, Any]:
    kind, namespace, name = key
    texts = {key: each for key, each in content.items() if isinstance(each, str)}
    member = "data" if kind == "ConfigMap" else "stringData"
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace or "default"},
        member: texts,
    }


def _seen(facts: ImageFacts) -> Image:
    """Return an image as the node sees it, which leaves pulling it to the guest."""
    return Image(
        entrypoint=facts.entrypoint,
        cmd=facts.cmd,
        env=facts.env,
        working_dir=facts.working_dir,
        user=facts.user,
        volumes=facts.volumes,
    )


def by_purpose(life: Iterable[Request]) -> dict[str, Request]:
    """Return the first request for each purpose."""
    found: dict[str, Request] = {}
    for each in life:
        found.setdefault(each.purpose, each)
    return found


@cache
def walked(name: str) -> tuple[tuple[Request, str], ...]:
    """Return the requests of the life of `web` or `rich`, each with the state before it, as JSON."""
    return walk({"web": web, "rich": rich}[name](), policy_of(name))


def walk(data: PolicyData, policy: bytes) -> tuple[tuple[Request, str], ...]:
    """Live through a pod once; return its requests with the state before each, as JSON."""
    guest = PolicyEngine(policy)
    steps = []
    for request in life_of(data):
        steps.append((request, json.dumps(guest.state)))
        decision = guest.ask(request.kind, request.input)
        is_hidden = set(decision.codes) == {"E_LOGS"}
        assert decision.allowed or is_hidden, (request.purpose, decision.prints)
    return tuple(steps)


@cache
def _loaded(policy: bytes, engine: str) -> PolicyEngine:
    return PolicyEngine(policy, engine=engine)


def guest_in(state: str, policy: bytes, *, engine: str = ENGINES[0]) -> PolicyEngine:
    """Return a guest in a state of `walk`, or "{}" for that of a new one.

    It is loaded once for all tests, so one of a policy and engine is in use at a time.
    """
    guest = _loaded(policy, engine)
    set_state(guest, state)
    return guest


def set_state(guest: PolicyEngine, state: str) -> None:
    """Put a guest into a state of `walk`; both engines keep the same one (test_lifecycle)."""
    guest.restore(json.loads(state))


def requests_before(data: PolicyData, purpose: str) -> tuple[list[Request], Request]:
    """Return the requests of the pod's life before the one of that purpose, and that one.

    What changes nothing is left out: copying, waiting, and reading, which is denied for some containers.
    """
    idle = {"CopyFileRequest", "ReadStreamRequest", "WaitProcessRequest"}
    life = [r for r in life_of(data) if r.kind not in idle or r.purpose == purpose]
    for index, request in enumerate(life):
        if request.purpose == purpose:
            return life[:index], request
    raise KeyError(purpose)


def bent(request: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy with the member at a path like `OCI/Mounts/0/source` replaced; `+` as last part appends."""
    changed = copy.deepcopy(dict(request))
    *parents, last = [part.replace("~1", "/") for part in path.split("/")]
    place: Any = changed
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if last == "+":
        place.append(value)
    elif isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return changed


def places(
    value: Any, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield every member and element below a JSON value with its path."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield (*path, key), item
        yield from places(item, (*path, key))


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return the container of the last part of a path."""
    for part in path[:-1]:
        value = value[part]
    return value
