"""What a node makes of a pod that runs here: its specifications, its files, and the requests to its guest.

This is where the model of the runtime meets a pod's policy, as in `simulation.py`, only that the pod is then run. Identifiers are
drawn anew each time, as those of a new sandbox are.
"""

import secrets
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from contrast_tasks.agent_messages import Request
from contrast_tasks.decode import Json
from contrast_tasks.local.container import ContainerFailed
from contrast_tasks.local.isolated.bridge import DNS_ADDRESS, MTU, NODE_ADDRESS, PodNetwork
from contrast_tasks.local.isolated.guest import Guest
from contrast_tasks.local.isolated.host_files import PodFiles
from contrast_tasks.local.isolated.names import DOMAIN
from contrast_tasks.local.messages import Isolation
from contrast_tasks.runtime.containerd_versions import containerd_version
from contrast_tasks.runtime.cri import Dns
from contrast_tasks.runtime.kubelet.admission import admitted
from contrast_tasks.runtime.kubelet.quantities import containers_of
from contrast_tasks.runtime.kubelet.security import apparmor_profiles
from contrast_tasks.runtime.kubelet.volume_files import Written
from contrast_tasks.runtime.node import Drawn, Image, Node, Surroundings
from contrast_tasks.runtime.node_files import host_files
from contrast_tasks.runtime.objects import Namespace, child, text
from contrast_tasks.runtime.refusals import ContainerRefused
from contrast_tasks.runtime.shim.network import Network, Route
from contrast_tasks.runtime.shim.service import Host, ShimService
from contrast_tasks.runtime.shim_versions import shim_version
from contrast_tasks.runtime.specifications import PodSpecifications, specify

NODE_NAME: Final = "local"


class ModelledPod:
    """A pod of which a node has made specifications; services: of the cluster. policy: its document, b"" for none.

    shim: makes the requests for it. guest: judges them. files: those that its containers mount, once they are written.
    Raises ContainerFailed if the node makes no sandbox.
    """

    def __init__(
        self,
        isolation: Isolation,
        pod: PodNetwork,
        services: Sequence[Mapping[str, Any]],
        policy: bytes,
    ) -> None:
        document = isolation.document
        place = Json(document)
        metadata = child(place, "metadata")
        self._objects = (*isolation.objects, *services)
        namespace = Namespace(self._objects, text(metadata, "namespace", "default"))
        self._names = [text(each, "name") for each in containers_of(place)]
        self._images = {text(each, "name"): text(each, "image") for each in containers_of(place)}
        drawn = Drawn(
            uid=str(uuid.uuid4()),
            sandbox_id=secrets.token_hex(32),
            container_ids={name: secrets.token_hex(32) for name in self._names},
            addresses=(pod.address, pod.address_6),
            termination_log=secrets.token_hex(4),
            volume_id=secrets.token_hex(32),
        )
        node = Node(
            containerd=containerd_version(isolation.containerd),
            apparmor=apparmor_profiles(place),
            name=NODE_NAME,
            hostname=NODE_NAME,
            address=NODE_ADDRESS,
            resolver=Dns(servers=(DNS_ADDRESS,)),
            dns_server=DNS_ADDRESS,
            domain=DOMAIN,
        )
        images = {
            reference: Image(
                entrypoint=each.entrypoint,
                cmd=each.cmd,
                env=each.env,
                working_dir=each.working_dir,
                user=each.user,
                volumes=each.volumes,
                passwd=each.passwd,
                group=each.group,
            )
            for reference, each in isolation.images.items()
        }
        self._drawn = drawn
        self._specs: PodSpecifications = specify(document, images, node, drawn, self._objects)
        if isinstance(self._specs.sandbox, ContainerRefused):
            raise ContainerFailed("sandbox", _refusal(self._specs.sandbox))
        self._sandbox = self._specs.sandbox
        self.hostname: str = self._sandbox.get("hostname", "")
        self.sysctls: Mapping[str, str] = self._sandbox["linux"].get("sysctl", {})
        self._written = Written(
            admitted(place, namespace, drawn), Surroundings(namespace, node, drawn)
        )
        self._host_files = host_files(self._written, self.hostname, self._specs.resolv_conf)
        network = Network(
            mac=pod.mac,
            mtu=MTU,
            addresses=(f"{pod.address}/24", f"{pod.address_6}/64"),
            routes=(Route("0.0.0.0/0", gateway=NODE_ADDRESS),),
            neighbours=(),
        )
        self.shim = ShimService(
            shim_version(isolation.shim),
            Host(files=self._host_files, network=network, resolv_conf=self._specs.resolv_conf),
        )
        self.guest = Guest(policy)
        self._claims = isolation.claims
        self.files: PodFiles

    def write_files(self, base: Path) -> None:
        """Write what containers will mount."""
        self.files = PodFiles(base, self._written, self._claims)
        self.files.write(self._host_files, self.hostname, self._specs.resolv_conf)
        self.files.lead_parts()

    def create_sandbox(self) -> Iterable[Request]:
        """Return the requests of a new sandbox."""
        sandbox = self._drawn.sandbox_id
        return (*self.shim.create(sandbox, self._sandbox), *self.shim.start(sandbox))

    def spec(self, container: str) -> dict[str, Any]:
        """Return a container's specification; raises ContainerFailed if the node makes none."""
        made = self._specs.containers[container]
        if isinstance(made, ContainerRefused):
            raise ContainerFailed(container, _refusal(made))
        return made

    def identifier(self, container: str) -> str:
        """Return a container's identifier."""
        return self._drawn.container_ids[container]

    def image_of(self, container: str) -> str:
        """Return the reference of a container's image."""
        return self._images[container]


def _refusal(error: ContainerRefused) -> str:
    return f"is not made by {error.by}: {error}"
