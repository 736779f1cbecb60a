"""The mesh of a pod without a network namespace: addresses of this machine in the place of the packet filter.

The local backend writes it to the sidecar's environment, the sidecar reads it back:

    {"pod_address": "127.77.0.3", "app_address": "127.78.0.3", "ports": [8080],
     "resolve": {"emoji-svc:8080": ["127.77.0.4", 8080]},
     "egress": {"127.137.0.1:8081": "127.137.0.1:8081"}}
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from contrast_tasks.decode import DecodeError, parse_json, read_record
from contrast_tasks.errors import SettingsError
from contrast_tasks.mesh.model import MeshConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMesh:
    """Where the proxy of one pod listens on this machine, and where it connects to.

    app_address: of the application behind the proxy, which holds pod_address. ports: protected ports of the pod.
    resolve: `host:port` of a remote -> address and port of the pod behind it; other remotes are left to DNS.
    egress: annotated listen address -> the one used here.
    """

    pod_address: str
    app_address: str
    ports: tuple[int, ...]
    resolve: Mapping[str, tuple[str, int]]
    egress: Mapping[str, str]

    def render(self) -> str:
        """Return the text of the environment variable."""
        return json.dumps(asdict(self), sort_keys=True)

    def moved(self, config: MeshConfig) -> MeshConfig:
        """Return the configuration with its egress listeners at their addresses on this machine."""
        entries = []
        for entry in config.egress:
            address, _, port = self.egress.get(entry.listen, entry.listen).rpartition(":")
            entries.append(entry.replace(listen_ip=address, listen_port=int(port)))
        return config.replace(egress=tuple(entries))


def parse_local_mesh(text: str) -> LocalMesh:
    """Return what `render` wrote; raise SettingsError, naming the place, for another text."""
    try:
        return read_record(LocalMesh, parse_json(text))
    except DecodeError as err:
        raise SettingsError(f"CONTRAST_LOCAL_MESH is not understood: {err}") from err
