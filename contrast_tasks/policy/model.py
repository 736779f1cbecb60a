"""What the policy generator is given: a pod, its images and its configuration, as plain values."""

from collections.abc import Mapping
from typing import Any

from contrast_tasks.pods.injected import INITIALIZER
from contrast_tasks.pointers import Path
from contrast_tasks.records import Record

ConfigKey = tuple[str, str | None, str]


class ImageFacts(Record):
    """What an image's configuration and layers say; everything of it that a policy depends on.

    reference: as written in the pod; digest: `sha256:<64 hex>` or empty when unknown.
    volumes: mount points of VOLUME; passwd, group: text of the files in the image, empty without such a file.
    layers_diff_ids: uncompressed layer digests in order; None when they are not known.
    """

    reference: str
    digest: str = ""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    volumes: tuple[str, ...] = ()
    layers_diff_ids: tuple[str, ...] | None = None
    passwd: str = ""
    group: str = ""


class Owner(Record):
    """The object that holds the pod template; namespace is None when the YAML names none."""

    kind: str
    name: str
    namespace: str | None = None
    generate_name: str = ""


class PolicyInput(Record):
    """One pod template with all that its expectations are derived from.

    images: by the reference as it stands in the pod. configs: data of ConfigMaps and Secrets by (kind, namespace,
    name); Secret values are already decoded from base64, ConfigMap binaryData are bytes.
    block_claims: volumeMode by name of a StatefulSet's claim templates. indexed_job: the Job sets
    JOB_COMPLETION_INDEX. service_account_automount: False when the ServiceAccount object says so.
    path: where the template stands in its object.
    """

    pod_metadata: Mapping[str, Any]
    pod_spec: Mapping[str, Any]
    owner: Owner
    images: Mapping[str, ImageFacts]
    configs: Mapping[ConfigKey, Mapping[str, str | bytes]] = {}
    block_claims: Mapping[str, str] = {}
    indexed_job: bool = False
    service_account_automount: bool = True
    path: Path = ()


class Profile(Record):
    """The runtime the policy is made for; it selects data, never other rules (docs/internals/policy.md 8).

    shared_paths: prefixes below which the shim copies files. pause: the pause image as the guest sees it.
    hidden_logs: containers whose output the host may not read. forwarded_annotations: prefixes of pod annotations
    that the runtime sends on. sandbox_storages: storages of CreateSandbox. requests: requests that are off unless
    switched on here. gpu_resources: names of limits that count passed-through GPUs.
    """

    name: str
    root_prefix: str = "/run/kata-containers/"
    shared_paths: tuple[str, ...] = (
        "/run/kata-containers/shared/containers/",
        "/run/kata-containers/shared/containers/passthrough/",
    )
    ephemeral_path: str = "/run/kata-containers/sandbox/ephemeral/"
    pause: ImageFacts = ImageFacts(
        reference="pause",
        entrypoint=("/pause",),
        env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",),
        working_dir="/",
        user="65535:65535",
    )
    hidden_logs: frozenset[str] = frozenset({INITIALIZER})
    forwarded_annotations: tuple[str, ...] = ("io.katacontainers.",)
    sandbox_storages: tuple[Mapping[str, Any], ...] = ()
    requests: Mapping[str, bool] = {}
    gpu_resources: tuple[str, ...] = ("nvidia.com/pgpu",)

    def paths_json(self) -> dict[str, Any]:
        """Return the paths of the guest as the data block has them."""
        return {
            "root": self.root_prefix,
            "shared": list(self.shared_paths),
            "ephemeral": self.ephemeral_path,
        }
