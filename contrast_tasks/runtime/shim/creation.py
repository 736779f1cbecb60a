"""The request that creates a container, and those that copy its files before (docs/internals/policy.md 3.2, 6.3)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from contrast_tasks.agent_messages import Request, fill_defaults
from contrast_tasks.annotations import POLICY_KEYS
from contrast_tasks.runtime.shim.copies import GUEST_FOLDER, copy_requests
from contrast_tasks.runtime.shim.devices import guest_devices
from contrast_tasks.runtime.shim.forms import in_form
from contrast_tasks.runtime.shim.images import pull_storage
from contrast_tasks.runtime.shim.layers import layer_storages
from contrast_tasks.runtime.shim.mounts import Copied, Guest, guest_mounts
from contrast_tasks.runtime.shim.oci import shares_processes, specification
from contrast_tasks.runtime.shim_versions import Shim

Spec = Mapping[str, Any]
"""The content of a config.json."""

BUNDLES: Final = "/run/containerd/io.containerd.runtime.v2.task/k8s.io"
_KATA: Final = "io.katacontainers.pkg.oci."
_CRI: Final = "io.kubernetes.cri."


class Creation(NamedTuple):
    """How a container is created: the requests in order, and what they copy."""

    requests: tuple[Request, ...]
    copies: tuple[Copied, ...]


def is_sandbox(spec: Spec) -> bool:
    """Return whether a specification is that of a pod's sandbox."""
    found: str = spec["annotations"][f"{_CRI}container-type"]
    return found == "sandbox"


def name_of(spec: Spec) -> str:
    """Return the container's name, "pause" for the sandbox."""
    found: str = spec["annotations"].get(f"{_CRI}container-name", "pause")
    return found


def creation(
    identifier: str, spec: Spec, rootfs: Sequence[Mapping[str, Any]], *, shim: Shim, guest: Guest
) -> Creation:
    """Return the requests for a container; rootfs: the mounts of its root file system."""
    name = name_of(spec)
    linux = spec["linux"]
    devices = guest_devices(linux.get("devices", []), guest.disk_address)
    found = guest_mounts(spec["mounts"], guest)
    annotations = _annotations(identifier, spec) | devices.marks
    spec = {**spec, "linux": {**linux, "devices": devices.kept}}
    if shim.attaches_layers:
        root = f"{GUEST_FOLDER}{identifier}"
        image = layer_storages(rootfs, root, guest.layer_address)
    else:
        root = f"/run/kata-containers/{identifier}/rootfs"
        image = (pull_storage(annotations, root, rootfs, is_described=shim.describes_pull),)
    message = {
        "container_id": identifier,
        "exec_id": identifier,
        "devices": devices.attached,
        "storages": [*image, *found.storages],
        "OCI": specification(spec, mounts=found.mounts, annotations=annotations, root=root),
        "sandbox_pidns": shares_processes(spec),
    }
    kind = "CreateContainerRequest"
    create = in_form(Request(kind, fill_defaults(kind, message), f"create {name}"), shim)
    return Creation((*_copies(found.copies, name, shim), create), found.copies)


def _copies(copies: Sequence[Copied], name: str, shim: Shim) -> Iterator[Request]:
    for each in copies:
        purpose = f"copy {each.destination} of {name}"
        yield from copy_requests(each.tree, each.folder, purpose, form=shim.copy_form)


def _annotations(identifier: str, spec: Spec) -> dict[str, str]:
    """Return the annotations without the policy, which the guest has already, and with the shim's own."""
    found = {key: value for key, value in spec["annotations"].items() if key not in POLICY_KEYS}
    found[f"{_KATA}bundle_path"] = f"{BUNDLES}/{identifier}"
    found[f"{_KATA}container_type"] = "pod_sandbox" if is_sandbox(spec) else "pod_container"
    namespaces = spec["linux"].get("namespaces", ())
    network = next((each.get("path") for each in namespaces if each["type"] == "network"), None)
    if is_sandbox(spec) and network:
        found["nerdctl/network-namespace"] = network
    return found
