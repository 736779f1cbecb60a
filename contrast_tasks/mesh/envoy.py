"""The Envoy bootstrap of one pod, from its mesh configuration; static resources only.

Two modes. `tproxy` is the pod's: two transparent listeners on 15006 (client certificate required) and 15007
(not required) take whatever the packet filter redirects. `local` runs without a packet filter: one listener per
address and port in their place. Source: docs/internals/service-mesh.md 7 and its additions 1-7, 5 (IPv6), 8 (DNS).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from contrast_tasks.mesh import envoy_tls
from contrast_tasks.mesh.annotations import MTLS_PORT, TLS_PORT
from contrast_tasks.mesh.envoy_tls import TlsPaths
from contrast_tasks.mesh.model import EgressEntry, MeshConfig

__all__ = ["BootstrapOptions", "LocalListener", "TlsPaths", "render_bootstrap", "render_secrets"]

_TYPES: Final = "type.googleapis.com/"
_TCP_PROXY: Final = _TYPES + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_ORIGINAL_DST: Final = _TYPES + "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"
_PORT_INPUT: Final = (
    _TYPES + "envoy.extensions.matching.common_inputs.network.v3.DestinationPortInput"
)
_STRING: Final = _TYPES + "google.protobuf.StringValue"
_INGRESS_CLUSTER: Final = "IngressCluster"
_BLACK_HOLE: Final = "BlackHoleCluster"
_BLACK_HOLE_CHAIN: Final = "BlackHoleFilter"
# (level, name, value) of SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT on Linux; accepted sockets
# inherit them from the listening one.
_KEEPALIVE_OPTIONS: Final = ((1, 9, 1), (6, 4, 60), (6, 5, 10), (6, 6, 6))
_KEEPALIVE: Final = {"keepalive_time": 60, "keepalive_interval": 10, "keepalive_probes": 6}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalListener:
    """One ingress listener of local mode: bind_ip:port in front of the application at app_ip:port.

    is_plain stands for an ingress entry with flag true: a bare relay without TLS.
    """

    bind_ip: str
    port: int
    app_ip: str
    require_client_certificate: bool
    is_plain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapOptions:
    """What may differ between a pod, a local run and the reference's form.

    local_listeners: ingress of local mode. resolve: `host:port` of egress remotes to (ip, port), local mode only;
    hosts that are not in it are left to DNS. secrets_directory: where the files of `render_secrets` lie, so that
    renewed certificates are picked up; None reads the certificates once. The rest are the additions to the
    reference's form, each on by default; `reference()` is that form.
    """

    mode: Literal["tproxy", "local"] = "tproxy"
    local_listeners: tuple[LocalListener, ...] = ()
    resolve: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    secrets_directory: str | None = None
    tls_versions: bool = True
    optional_client_certificate: bool = False
    dual_stack: bool = True
    prefer_ipv4: bool = True
    start_without_dns: bool = True
    keepalive: bool = True
    admin_ip: str = "127.0.0.1"
    egress_prefix: str = "egress_"

    @classmethod
    def reference(cls) -> "BootstrapOptions":
        """Return the options under which the bootstrap has the reference's form."""
        return cls(
            tls_versions=False,
            optional_client_certificate=True,
            dual_stack=False,
            prefer_ipv4=False,
            start_without_dns=False,
            keepalive=False,
            admin_ip="0.0.0.0",  # noqa: S104  # the reference's address, behind the mesh
            egress_prefix="",
        )


def render_bootstrap(
    config: MeshConfig, *, paths: TlsPaths, options: BootstrapOptions | None = None
) -> dict[str, Any]:
    """Return the bootstrap as a JSON value with proto field names in snake case."""
    chosen = options or BootstrapOptions()
    renderer = _Renderer(config, paths, chosen)
    ingress = renderer.local_ingress() if chosen.mode == "local" else renderer.transparent_ingress()
    listeners, clusters = ingress
    bootstrap: dict[str, Any] = {
        "static_resources": {
            "listeners": [*map(renderer.egress_listener, config.egress), *listeners],
            "clusters": [*map(renderer.egress_cluster, config.egress), *clusters],
        }
    }
    if chosen.secrets_directory is not None:
        # Envoy takes secrets from files through its discovery service, which wants to know who asks.
        bootstrap["node"] = {"id": "contrast-service-mesh", "cluster": "contrast"}
    if config.admin_port is not None:
        bootstrap["admin"] = {"address": _address(chosen.admin_ip, config.admin_port)}
    return bootstrap


def render_secrets(paths: TlsPaths) -> dict[str, dict[str, Any]]:
    """Return the files (name to JSON value) that belong into `secrets_directory`."""
    return envoy_tls.secret_files(paths)


def _address(ip: str, port: int, **more: Any) -> dict[str, Any]:
    return {"socket_address": {"address": ip, "port_value": port, **more}}


def _proxy(stat_prefix: str, cluster: str) -> dict[str, Any]:
    config = {"@type": _TCP_PROXY, "stat_prefix": stat_prefix, "cluster": cluster}
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}


def _string_action(name: str) -> dict[str, Any]:
    return {"action": {"name": name, "typed_config": {"@type": _STRING, "value": name}}}


class _Renderer:
    """The parts of one bootstrap."""

    def __init__(self, config: MeshConfig, paths: TlsPaths, options: BootstrapOptions) -> None:
        self._config = config
        self._options = options
        self._tls = envoy_tls.TlsContexts(
            paths=paths,
            secrets_directory=options.secrets_directory,
            tls_versions=options.tls_versions,
            optional_client_certificate=options.optional_client_certificate,
        )

    def transparent_ingress(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the two listeners behind the packet filter and the clusters they lead to."""
        listeners = [
            self._transparent("ingress", MTLS_PORT, require_client=True),
            self._transparent("ingressWithoutClientAuth", TLS_PORT, require_client=False),
        ]
        original = {
            "name": _INGRESS_CLUSTER,
            "type": "ORIGINAL_DST",
            "lb_policy": "CLUSTER_PROVIDED",
            "dns_lookup_family": "V4_ONLY",
        }
        black_hole = {"name": _BLACK_HOLE, "type": "STATIC", "connect_timeout": "10s"}
        return listeners, [original, black_hole]

    def local_ingress(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return a listener and a cluster per address and port."""
        listeners: list[dict[str, Any]] = []
        clusters: list[dict[str, Any]] = []
        for local in self._options.local_listeners:
            name = f"ingress_{local.bind_ip}_{local.port}"
            chain: dict[str, Any] = {"name": name, "filters": [_proxy(name, name)]}
            if not local.is_plain:
                peers = self._config.ingress_peers.get(local.port, ())
                chain["transport_socket"] = self._tls.downstream(
                    require_client=local.require_client_certificate, peers=peers
                )
            listener = {
                "name": name,
                "address": _address(local.bind_ip, local.port),
                "filter_chains": [chain],
            }
            listeners.append(self._kept_alive(listener))
            clusters.append(self._static_cluster(name, local.app_ip, local.port))
        return listeners, clusters

    def egress_listener(self, entry: EgressEntry) -> dict[str, Any]:
        """Return the plain listener that the application connects to."""
        name = self._options.egress_prefix + entry.name
        return self._kept_alive(
            {
                "name": name,
                "address": _address(entry.listen_ip, entry.listen_port),
                "filter_chains": [{"name": name, "filters": [_proxy(name, name)]}],
            }
        )

    def egress_cluster(self, entry: EgressEntry) -> dict[str, Any]:
        """Return the cluster that carries an egress entry over TLS to its remote."""
        name = self._options.egress_prefix + entry.name
        place = self._options.resolve.get(entry.remote)
        if self._options.mode == "local" and place is not None:
            cluster = self._static_cluster(name, *place)
        else:
            family = "V4_PREFERRED" if self._options.prefer_ipv4 else "V4_ONLY"
            cluster = {
                "name": name,
                "type": "LOGICAL_DNS",
                "dns_lookup_family": family,
                "load_assignment": _endpoint(name, entry.remote_host, entry.remote_port),
            }
        if self._options.start_without_dns:
            cluster |= {"connect_timeout": "5s", "wait_for_warm_on_init": False}
        if self._options.keepalive:
            cluster["upstream_connection_options"] = {"tcp_keepalive": dict(_KEEPALIVE)}
        cluster["transport_socket"] = self._tls.upstream(peers=entry.peers)
        return cluster

    def _transparent(self, name: str, port: int, *, require_client: bool) -> dict[str, Any]:
        ip, more = ("::", {"ipv4_compat": True}) if self._options.dual_stack else ("0.0.0.0", {})  # noqa: S104
        chains = [self._tls_chain(name, require_client=require_client, peers=())]
        ports = {str(port): _string_action(_BLACK_HOLE_CHAIN)}
        if require_client:
            for pinned, peers in sorted(self._config.ingress_peers.items()):
                pinned_name = f"{name}_{pinned}"
                chains.append(self._tls_chain(pinned_name, require_client=True, peers=peers))
                ports[str(pinned)] = _string_action(pinned_name)
        black_hole = [_proxy(_BLACK_HOLE_CHAIN, _BLACK_HOLE)]
        chains.append({"name": _BLACK_HOLE_CHAIN, "filters": black_hole})
        original_dst = {"@type": _ORIGINAL_DST}
        listener = {
            "name": name,
            "address": _address(ip, port, **more),
            "transparent": True,
            "listener_filters": [
                {"name": "envoy.filters.listener.original_dst", "typed_config": original_dst}
            ],
            "filter_chain_matcher": {
                "matcher_tree": {
                    "input": {"name": "port", "typed_config": {"@type": _PORT_INPUT}},
                    "exact_match_map": {"map": ports},
                },
                "on_no_match": _string_action(name),
            },
            "filter_chains": chains,
        }
        return self._kept_alive(listener)

    def _tls_chain(
        self, name: str, *, require_client: bool, peers: tuple[str, ...]
    ) -> dict[str, Any]:
        return {
            "name": name,
            "filters": [_proxy(name, _INGRESS_CLUSTER)],
            "transport_socket": self._tls.downstream(require_client=require_client, peers=peers),
        }

    def _static_cluster(self, name: str, ip: str, port: int) -> dict[str, Any]:
        return {
            "name": name,
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": _endpoint(name, ip, port),
        }

    def _kept_alive(self, listener: dict[str, Any]) -> dict[str, Any]:
        if not self._options.keepalive:
            return listener
        options = [
            {"level": level, "name": name, "int_value": value, "state": "STATE_PREBIND"}
            for level, name, value in _KEEPALIVE_OPTIONS
        ]
        return {**listener, "socket_options": options}


def _endpoint(name: str, host: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(host, port)}}
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
