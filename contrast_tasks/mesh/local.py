"""The mesh of a pod on the local platform: addresses of this machine instead of a packet filter.

The local backend passes it to the sidecar in an environment variable:

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
    """The addresses on which the proxy of one pod listens on this machine, and those to which it connects.

    pod_address: of the proxy. app_address: of the application behind it. ports: protected ports of the pod.
    resolve: `host:port` of a remote -> address and port of its pod; other remotes are resolved by DNS.
    egress: annotated listen address -> the address used instead.
    """

    pod_address: str
    app_address: str
    ports: tuple[int, ...]
    resolve: Mapping[str, tuple[str, int]]
    egress: Mapping[str, str]

    def render(self) -> str:
        """Return the value of the environment variable."""
        return json.dumps(asdict(self), sort_keys=True)

    def moved(self, config: MeshConfig) -> MeshConfig:
        """Return the configuration with the egress listen addresses of this machine."""
        entries = []
        for entry in config.egress:
            address, _, port = self.egress.get(entry.listen, entry.listen).rpartition(":")
            entries.append(entry.replace(listen_ip=address, listen_port=int(port)))
        return config.replace(egress=tuple(entries))


def parse_local_mesh(text: str) -> LocalMesh:
    """Return what `render` wrote; raises SettingsError for any other text."""
    try:
        return read_record(LocalMesh, parse_json(text))
    except DecodeError as err:
        raise SettingsError(f"CONTRAST_LOCAL_MESH is malformed: {err}") from err
