"""A small generated project: annotated YAML, records and a manifest, as `generate` leaves them."""

import base64
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.files import sha256_hex
from contrast_tasks.manifest.codec import render_manifest
from contrast_tasks.manifest.keys import workload_owner_digest
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.manifest.reference_values import defaults_for
from contrast_tasks.releases.table import V1_16
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from coordinator.options import Options
from coordinator.service import run

COORDINATOR_POLICY = b"package agent_policy\n# coordinator\n"
WEB_POLICY = b"package agent_policy\n# web\n"
COORDINATOR = sha256_hex(COORDINATOR_POLICY)
WEB = sha256_hex(WEB_POLICY)

# The newest release whose annotation is the policy itself, so that a test reads what it writes.
SETTINGS = """\
platform = "local"
sources = ["deployment"]
runtime.release = "v1.11.0"
"""
_WORKLOAD = """\
apiVersion: apps/v1
kind: {kind}
metadata:
  name: {name}
spec:
  selector:
    matchLabels:
      app: {name}
  template:
    metadata:
      annotations:
        io.katacontainers.config.agent.policy: {policy}
{role}      labels:
        app: {name}
    spec:
      containers:
        - image: {name}@sha256:{digest}
          name: {name}
      runtimeClassName: contrast-cc
"""
_ROLE = "        contrast.edgeless.systems/pod-role: coordinator\n"


class Project:
    """A project directory whose build output can be changed by a test."""

    def __init__(self, root: Path, processor: SimulatedProcessor) -> None:
        self.root = root
        self.processor = processor
        self.entries: dict[str, PolicyEntry] = {
            COORDINATOR: PolicyEntry(sans=("coordinator", "*"), role="coordinator"),
            WEB: PolicyEntry(
                sans=("web", "*"), workload_secret_id="apps/v1/Deployment/default/web"
            ),
        }
        self.owner_digests: tuple[str, ...] | None = ()
        self.owner_keys: tuple[str, ...] | None = None
        self.approvals = 1
        self.release = V1_16
        self.seedshare_owners: tuple[str, ...] = ()
        self.root_sha256_hex = processor.root_sha256_hex
        root.mkdir(exist_ok=True)
        (root / "contrast.toml").write_text(SETTINGS)
        self.write_workload("coordinator", "StatefulSet", COORDINATOR_POLICY)
        self.write_workload("web", "Deployment", WEB_POLICY)
        self.write_manifest()

    @property
    def settings(self) -> Settings:
        return load_settings(self.root, environ={})

    @property
    def manifest(self) -> Path:
        return self.root / "manifest.json"

    def write_workload(
        self, name: str, kind: str, policy: bytes | None, *, namespace: str = ""
    ) -> None:
        folder = self.root / "build" / "deployment"
        folder.mkdir(parents=True, exist_ok=True)
        text = _WORKLOAD.format(
            kind=kind,
            name=name,
            policy=base64.b64encode(policy or b"").decode(),
            role=_ROLE if name == "coordinator" else "",
            digest="00" * 32,
        )
        if namespace:
            text = text.replace("metadata:\n", f"metadata:\n  namespace: {namespace}\n", 1)
        (folder / f"{name}.yml").write_text(text)

    def write_record(self, name: str, **changes: object) -> None:
        folder = self.root / "build" / "workloads"
        folder.mkdir(parents=True, exist_ok=True)
        record = {
            "key": f"Deployment/{name}",
            "policy_sha256": WEB,
            "sans": [name, "*"],
            "workload_secret_id": f"apps/v1/Deployment/default/{name}",
            "role": "",
            **changes,
        }
        (folder / f"{name}.json").write_text(json.dumps(record))

    def write_manifest(self) -> bytes:
        values = defaults_for("local", local_root_sha256_hex=self.root_sha256_hex)
        content = render_manifest(
            Manifest(
                policies=self.entries,
                reference_values=values,
                workload_owner_key_digests=self.owner_digests,
                workload_owner_pub_keys=self.owner_keys,
                workload_owner_approvals=self.approvals,
                seedshare_owner_pub_keys=self.seedshare_owners,
            ),
            self.release.manifest,
        )
        self.manifest.write_bytes(content)
        return content

    def write_owner(self, pem: bytes, *, listed: bool = True) -> None:
        (self.root / "workload-owner.pem").write_bytes(pem)
        if listed:
            self.owner_digests = (workload_owner_digest(pem),)
            self.write_manifest()


@contextmanager
def running_coordinator(
    project: Project, *, host_data: str = COORDINATOR, processor: Path
) -> Iterator[str]:
    """Run the real Coordinator in a thread; yields host:port of its user API."""
    with running_apis(project, host_data=host_data, processor=processor) as apis:
        yield apis.user_api


class Apis(NamedTuple):
    """Where a Coordinator listens: host:port."""

    user_api: str
    http_api: str


@contextmanager
def running_apis(
    project: Project, *, host_data: str = COORDINATOR, processor: Path
) -> Iterator[Apis]:
    """Run the real Coordinator in a thread; yields its addresses."""
    stop, ready = Event(), Event()
    ports: list[Apis] = []
    failures: list[BaseException] = []

    class Ports(logging.Handler):
        """Reads the ports from the start-up message, as an operator would."""

        def emit(self, record: logging.LogRecord) -> None:
            if hasattr(record, "user_api"):
                ports.append(Apis(*(f"127.0.0.1:{getattr(record, name)}" for name in Apis._fields)))

    def wait() -> None:
        ready.set()
        stop.wait()

    environ: Mapping[str, str] = {
        "CONTRAST_EVIDENCE": f"simulated:{processor}",
        "CONTRAST_HOST_DATA": host_data,
    }
    options = Options(
        user_api=("127.0.0.1", 0),
        mesh_api=("127.0.0.1", 0),
        http_api=("127.0.0.1", 0),
        transit_api=("127.0.0.1", 0),
        http=("127.0.0.1", 0),
        state=project.root / "state",
        endorsements=project.root / "endorsements",
        force_new=False,
        with_metrics=False,
        with_address=False,
    )

    def serve() -> None:
        try:
            run(options, environ, wait)
        except BaseException as err:  # noqa: BLE001  # the test has to see it
            failures.append(err)
            ready.set()

    log, handler = logging.getLogger("coordinator"), Ports()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    thread = Thread(target=serve)
    thread.start()
    try:
        assert ready.wait(30)
        assert not failures, failures
        yield ports[0]
    finally:
        stop.set()
        thread.join(30)
        log.removeHandler(handler)
        log.setLevel(level)
