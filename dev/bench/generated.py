"""A project as `generate` leaves it, of any number of workloads: annotated YAML, records, policies, the record of its tasks.

Its policies differ in names and in all digests, as those of real workloads do, which makes them larger in packs than if
`generate` made them of one image. Workloads have the container that `generate` injects, and a Service.
"""

import hashlib
import random
import re
from collections.abc import Sequence
from pathlib import Path

from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.files import pretty_json
from contrast_tasks.manifest.codec import render_manifest
from contrast_tasks.manifest.keys import generate_workload_owner, workload_owner_hex
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.manifest.policy_document import annotation_of, make_document
from contrast_tasks.manifest.reference_values import defaults_for
from contrast_tasks.policy.text import render_policy
from contrast_tasks.releases.table import V1_21
from contrast_tasks.steps.project import Paths
from contrast_tasks.tasks.database import DATABASE, Database
from tests.fakes.policy import web

_PER_FILE = 4
_DIGEST = re.compile(rb"[0-9a-f]{64}")
_SETTINGS = f'platform = "local"\nsources = ["deployment"]\nruntime.release = "{V1_21.name}"\n'
_PATHS = Paths(build="build", manifest="manifest.json", channel=V1_21.channel)
_WORKLOAD = """\
apiVersion: apps/v1
kind: {kind}
metadata:
  name: {name}
spec:
  replicas: 1
  selector:
    matchLabels:
      app: {name}
  template:
    metadata:
      annotations:
        {role}{key}: {value}
      labels:
        app: {name}
    spec:
      containers:
        - name: {name}
          image: example/{name}@sha256:{digest}
          env:
            - name: PORT
              value: "8080"
          resources:
            limits:
              memory: 160Mi
            requests:
              memory: 160Mi
          volumeMounts:
            - mountPath: /contrast
              name: contrast-secrets
      initContainers:
        - env:
            - name: COORDINATOR_HOST
              value: coordinator-ready
          image: example/initializer@sha256:{digest}
          name: contrast-initializer
          resources:
            requests:
              memory: 64Mi
          securityContext:
            capabilities:
              add:
                - NET_ADMIN
          volumeMounts:
            - mountPath: /contrast
              name: contrast-secrets
      runtimeClassName: contrast-cc
      volumes:
        - emptyDir:
            medium: Memory
          name: contrast-secrets
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  ports:
    - port: 8080
  selector:
    app: {name}
"""


class _Workload:
    """One workload: its key, its policy and document, its entry in the manifest, its YAML."""

    def __init__(self, name: str, policy: bytes, noise: random.Random) -> None:
        is_coordinator = name == ROLE_COORDINATOR
        kind = "StatefulSet" if is_coordinator else "Deployment"
        own = policy.replace(b"web-svc", name.encode())
        self.policy = _DIGEST.sub(lambda _: noise.randbytes(32).hex().encode(), own)
        self.document = make_document(self.policy, V1_21.channel)
        self.sha256 = hashlib.sha256(self.document).hexdigest()
        self.id, self.key = f"{kind}.{name}", f"{kind}/{name}"
        self.entry = PolicyEntry(
            sans=(name, "*"),
            workload_secret_id="" if is_coordinator else f"apps/v1/Deployment/default/{name}",
            role=name if is_coordinator else "",
        )
        key, value = annotation_of(self.document, V1_21.channel)
        role = f"contrast.edgeless.systems/pod-role: {name}\n        " if is_coordinator else ""
        fields = {"kind": kind, "name": name, "role": role, "key": key, "value": value}
        self.text = _WORKLOAD.format(**fields, digest=noise.randbytes(32).hex())

    def record(self) -> bytes:
        """Return what later commands read of its record."""
        entry = self.entry
        return pretty_json(
            {
                "version": 1,
                "key": self.key,
                "policy_sha256": self.sha256,
                "sans": list(entry.sans),
                "workload_secret_id": entry.workload_secret_id,
                "role": entry.role,
            }
        )


def write_generated(root: Path, count: int, local_root_sha256_hex: str) -> str:
    """Write the project of `count` workloads and a Coordinator, and return the Coordinator's policy hash."""
    noise = random.Random(count)  # only has to be incompressible
    policy = render_policy(web())
    for folder in ("deployment", "workloads", "policies"):
        (root / "build" / folder).mkdir(parents=True)
    (root / DATABASE).parent.mkdir()
    (root / "contrast.toml").write_text(_SETTINGS)
    tasks = Database(str(root / DATABASE))
    coordinator = _Workload(ROLE_COORDINATOR, policy, noise)
    _write(root, "coordinator.yml", [coordinator], tasks)
    entries = {coordinator.sha256: coordinator.entry}
    for start in range(0, count, _PER_FILE):
        numbers = range(start, min(start + _PER_FILE, count))
        workloads = [_Workload(f"svc-{number}", policy, noise) for number in numbers]
        _write(root, f"{start}.yml", workloads, tasks)
        entries |= {each.sha256: each.entry for each in workloads}
    tasks.dump()
    owner = generate_workload_owner()
    (root / "workload-owner.pem").write_bytes(owner)
    manifest = Manifest(
        policies=entries,
        reference_values=defaults_for("local", local_root_sha256_hex=local_root_sha256_hex),
        workload_owner_pub_keys=(workload_owner_hex(owner),),
        seedshare_owner_pub_keys=(),
    )
    (root / "manifest.json").write_bytes(render_manifest(manifest, V1_21.manifest))
    return coordinator.sha256


def _write(root: Path, file: str, workloads: Sequence[_Workload], tasks: Database) -> None:
    """Write all that is made of one source, and record it as `Fresh` does."""
    place = f"build/deployment/{file}"
    contents = {place: "---\n".join(each.text for each in workloads).encode()}
    for each in workloads:
        contents[_PATHS.record(each.id)] = each.record()
        contents[_PATHS.policy(each.id)] = each.policy
        contents[_PATHS.document(each.id)] = each.document
    for name, content in contents.items():
        (root / name).write_bytes(content)
    names = _PATHS.outputs(place, [each.id for each in workloads])
    # Of signatures nobody reads anything.
    states = {name: [0, 0, 0, 0, hashlib.sha256(contents[name]).hexdigest()] for name in names}
    tasks.set(f"output:deployment/{file}", "_values_:", {"outputs": states})
