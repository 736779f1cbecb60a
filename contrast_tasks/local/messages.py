"""The messages between client and node: the complete plan of a deployment, and the status of its pods.

A pod's digest covers its whole plan. A running pod with the same digest is left alone, any other is replaced.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from contrast_tasks.decode import Json, read_record
from contrast_tasks.errors import ClusterError
from contrast_tasks.files import canonical_json, sha256_hex
from contrast_tasks.manifest.policy_document import DocumentError, parse_document

Endpoint = tuple[str, int]
"""An address and a port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One probe with its addresses filled in.

    kind: `tcp` (every endpoint must accept), `http` or `https` (the first endpoint must answer 200-399; as by the kubelet,
        the certificate is not verified) or `exec` (exit status 0).
    limit_s: seconds after which a start-up probe has failed; readiness probes have no limit.
    delay_s, period_s, failures: when a liveness probe begins, how often probes of a running container are repeated, and how many
        failures in a row count.
    """

    kind: str
    endpoints: tuple[Endpoint, ...] = ()
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    timeout_s: float = 1.0
    limit_s: float = 60.0
    delay_s: float = 0.0
    period_s: float = 10.0
    failures: int = 3

    @property
    def told(self) -> str:
        """Return what it asks, in words."""
        if self.kind == "exec":
            return " ".join(self.command)
        path = self.path if self.kind in {"http", "https"} else ""
        return ", ".join(f"{self.kind} {port}{path}" for _, port in self.endpoints)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """An image of an isolated pod: where it is, and its configuration with the names that images use.

    layout: folder of the OCI layout. reference: pinned. passwd, group: content of its files, None without one.
    """

    layout: str
    reference: str
    digest: str
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    env: tuple[str, ...]
    working_dir: str
    user: str
    volumes: tuple[str, ...]
    passwd: str | None
    group: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What an isolated pod needs beside its containers' roles and probes; the node derives everything else from it.

    document: the Pod as a cluster would have it. images: by reference as the pod writes it. objects: the ConfigMaps, Secrets
    and ServiceAccounts that it names. containerd, shim: versions of the node that is modelled. claims: folder or file of each
    claim by name.
    """

    document: Any
    images: Mapping[str, ImagePlan]
    objects: tuple[Any, ...]
    containerd: str
    shim: str
    claims: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """One container.

    role: `init` runs to its end, `sidecar` is an init container that keeps running, `main` is any other.
    argv, env, working_dir: complete, with paths of this machine; empty in an isolated pod, whose document has them.
    image_digest: `sha256:...` of the unpacked image, empty for our own components.
    unpacking: 64 hex digits, new each time the image is unpacked.
    attested: whether the container may ask the simulated processor for evidence.
    """

    name: str
    role: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str
    image_digest: str = ""
    rootfs: str = ""
    unpacking: str = ""
    attested: bool = False
    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPlan:
    """One pod.

    workload: `<Kind>/<name>` or `<namespace>/<Kind>/<name>`; address: the pod's own loopback address.
    listens: all endpoints that its processes bind; policy: base64 of its document;
    policy_sha256: hex digest of the generated policy's document, the host data of the pod's evidence.
    isolation: None for a pod of processes, whose containers are complete.
    """

    name: str
    workload: str
    role: str
    address: str
    restart_policy: str
    grace_s: float
    listens: tuple[Endpoint, ...]
    folders: tuple[str, ...]
    policy: str
    policy_sha256: str
    containers: tuple[ContainerPlan, ...]
    isolation: Isolation | None = None

    @property
    def digest(self) -> str:
        """Return the SHA-256 hex over the whole plan of the pod."""
        return sha256_hex(canonical_json(asdict(self)))

    def policy_document(self) -> bytes:
        """Return the policy's document, b"" for a pod without one; `measured_policy_sha256` checks it."""
        return base64.b64decode(self.policy)

    def measured_policy_sha256(self) -> str:
        """Return the SHA-256 hex of the policy's document, "" for a pod that is not confidential.

        Raises ClusterError if it is absent, not base64, not the one that was generated, or has no policy in it.
        """
        if not self.policy and not self.policy_sha256:
            return ""
        try:
            content = base64.b64decode(self.policy, validate=True)
        except binascii.Error as err:
            raise ClusterError(f"pod {self.name}: the policy is not base64") from err
        digest = sha256_hex(content)
        if not content or digest != self.policy_sha256:
            raise ClusterError(
                f"pod {self.name}: its policy has hash {digest if content else '(none)'}, "
                f"wanted {self.policy_sha256} as generated",
                hint="run generate, then deploy again",
            )
        try:
            parse_document(content)
        except DocumentError as err:
            raise ClusterError(f"pod {self.name}: {err}", hint="run generate again") from err
        return digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All pods and host names of a deployment.

    hosts: name -> port (text) -> endpoints on this machine, tried in order. services: the Services, for isolated pods.
    """

    pods: tuple[PodPlan, ...]
    hosts: Mapping[str, Mapping[str, tuple[Endpoint, ...]]]
    services: tuple[Any, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document of schemas/local-plan.schema.json."""
        return {"version": 2, **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What applying a plan did to the pods; sorted names."""

    started: tuple[str, ...]
    replaced: tuple[str, ...]
    unchanged: tuple[str, ...]
    stopped: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodStatus:
    """One pod as the node sees it.

    started: all containers run or have succeeded. ready: the pod serves or has succeeded. message: explains the phase.
    pids: of the running containers by name, as the node numbers them. hidden: containers whose output the policy hides.
    denied: the line with which the pod's policy last denied a request.
    """

    name: str
    workload: str
    role: str
    address: str
    phase: str
    started: bool
    ready: bool
    restarts: int
    message: str
    policy_sha256: str
    digest: str
    pids: Mapping[str, int]
    hidden: tuple[str, ...] = ()
    denied: str = ""

    def has_reached(self, until: str) -> bool:
        """Return whether the pod is `ready`, `started`, or at least `tried`: one of its containers runs, or could not."""
        if until == "ready":
            return self.ready
        is_tried = bool(self.pids or self.denied) or self.phase in {"back-off", "failed"}
        return self.started or (until == "tried" and is_tried)


def parse_plan(document: Any) -> Plan:
    """Return the plan of a JSON document.

    Raises ClusterError for a document that does not match the schema: a name that Kubernetes does not allow, or a plan
    from another version than the running daemon's.
    """
    from contrast_tasks.schema import validate

    if problems := validate(document, "local-plan"):
        pointer, message = problems[0]
        raise ClusterError(
            f"the deployment cannot run here: {pointer}: {message}",
            hint="if it could before the last update, stop the running local backend and deploy again",
        )
    return read_record(Plan, Json({key: document[key] for key in ("pods", "hosts", "services")}))
