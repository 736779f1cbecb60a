"""The input of the policy generator: a pod, its images and its configuration, as plain values."""

from collections.abc import Mapping
from typing import Any

from contrast_tasks.pods.injected import INITIALIZER
from contrast_tasks.pointers import Path
from contrast_tasks.records import Record
from contrast_tasks.releases.shims import CopyForm, EmptyDirs

ConfigKey = tuple[str, str | None, str]


class LayerFacts(Record):
    """A layer: the digest of its archive, the root hash of its device, and what the device does not give to the guest.

    root: 64 hex digits, None if unknown. lost: in words.
    """

    diff_id: str
    root: str | None = None
    lost: tuple[str, ...] = ()


class ImageFacts(Record):
    """Everything about an image that a policy depends on.

    reference: as written in the pod. digest: `sha256:<64 hex>`, "" if unknown. volumes: mount points of VOLUME.
    passwd, group: text of the files in the image, "" if it has none.
    layers: from the bottom up, None if unknown.
    """

    reference: str
    digest: str = ""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    volumes: tuple[str, ...] = ()
    layers: tuple[LayerFacts, ...] | None = None
    passwd: str = ""
    group: str = ""


class Elsewhere(Record):
    """What is declared of a ConfigMap or Secret that is made elsewhere; the values of other keys are the host's choice.

    keys: () if they are not known.
    """

    keys: tuple[str, ...] = ()
    values: Mapping[str, str] = {}


class Owner(Record):
    """The object with the pod template; namespace: None if the YAML names none."""

    kind: str
    name: str
    namespace: str | None = None
    generate_name: str = ""


class PolicyInput(Record):
    """One pod template and everything else that its expectations are derived from.

    images: by reference, as written in the pod. configs: data of ConfigMaps and Secrets by (kind, namespace, name),
    with base64 decoded; ConfigMap binaryData is bytes. elsewhere: those that are not known, under the same keys. claims: volumeMode of the PersistentVolumeClaims that are known, by
    name. block_claims: volumeMode of a StatefulSet's claim templates by
    name. indexed_job: whether the Job sets JOB_COMPLETION_INDEX. service_account_automount: as the ServiceAccount
    object sets it. services: name and place of the Service of the namespace that sets a variable, by the variable.
    path: of the template in its object.
    """

    pod_metadata: Mapping[str, Any]
    pod_spec: Mapping[str, Any]
    owner: Owner
    images: Mapping[str, ImageFacts]
    configs: Mapping[ConfigKey, Mapping[str, str | bytes]] = {}
    elsewhere: Mapping[ConfigKey, Elsewhere] = {}
    claims: Mapping[str, str] = {}
    block_claims: Mapping[str, str] = {}
    indexed_job: bool = False
    service_account_automount: bool = True
    services: Mapping[str, str] = {}
    path: Path = ()


class Profile(Record):
    """The runtime for which a policy is made; it selects data, never rules (docs/internals/policy.md 8).

    shared_paths: prefixes of the paths to which the shim copies files. pause: the pause image as the guest sees it.
    hidden_logs: containers whose output the host may not read. forwarded_annotations: prefixes of the pod annotations
    that the runtime passes on. empty_dirs: how an emptyDir on disk reaches the guest. copy_form: what
    the agent shows of copied files. sandbox_storages: storages of
    CreateSandbox. requests: optional requests, and whether they are allowed. root_end: what follows a container's id in the
    path of its root file system. layer_folder: pattern of the folder that options name where the node attaches the layers of
    images as devices, "" where the guest pulls images (docs/internals/aks.md 1.4).
    """

    name: str
    root_prefix: str = "/run/kata-containers/"
    root_end: str = "/rootfs"
    layer_folder: str = ""
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
    empty_dirs: EmptyDirs = "local"
    copy_form: CopyForm = "typed"
    sandbox_storages: tuple[Mapping[str, Any], ...] = ()
    requests: Mapping[str, bool] = {}

    def paths_json(self) -> dict[str, Any]:
        """Return the paths of the guest in the form of the data block."""
        return {
            "root": self.root_prefix,
            "shared": list(self.shared_paths),
            "ephemeral": self.ephemeral_path,
            **self._layer_paths(),
        }

    def _layer_paths(self) -> dict[str, str]:
        if not self.layer_folder:
            return {}
        return {"layers": self.layer_folder, "root_end": self.root_end}
