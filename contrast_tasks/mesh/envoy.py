"""The Envoy bootstrap of one pod, from its mesh configuration, with static resources only.

In a guest, the packet filter brings connections to two listeners: 15006 requires a client certificate,
15007 does not. On the local platform there is no packet filter, so a pod has one listener for each port.
Source: docs/internals/service-mesh.md 7 and its additions 1-7, 5 (IPv6), 8 (DNS).
"""

from collections.abc import Sequence
from typing import Any, Final

from contrast_tasks.mesh.envoy_limits import limit_cluster, limit_listener, overload_manager
from contrast_tasks.mesh.envoy_tls import downstream, upstream
from contrast_tasks.mesh.grammar import MTLS_PORT, RESERVED_PORTS, TLS_PORT
from contrast_tasks.mesh.interception import Interception
from contrast_tasks.mesh.local import LocalMesh
from contrast_tasks.mesh.model import EgressEntry, MeshConfig

ADMIN_SOCKET: Final = "envoy-admin.sock"

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
# Keeps names from annotations apart from those of our listeners and clusters.
_EGRESS_PREFIX: Final = "egress_"
# SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT on Linux; accepted sockets inherit them.
_KEEPALIVE_OPTIONS: Final = [
    {"level": level, "name": name, "int_value": value, "state": "STATE_PREBIND"}
    for level, name, value in ((1, 9, 1), (6, 4, 60), (6, 5, 10), (6, 6, 6))
]
_GUEST: Final = Interception()
_KEEPALIVE: Final = {"keepalive_time": 60, "keepalive_interval": 10, "keepalive_probes": 6}

Resource = dict[str, Any]
"""An Envoy message or a part of one, with protobuf field names in snake case."""


def render_bootstrap(
    config: MeshConfig,
    *,
    secrets_directory: str,
    local: LocalMesh | None = None,
    interception: Interception = _GUEST,
) -> Resource:
    """Return the bootstrap as a JSON value.

    secrets_directory: has the files of `envoy_tls.secret_files`. local: addresses of a pod on the local platform.
    interception: how connections are brought to a guest's listeners.
    """
    if local is None:
        listeners, clusters = _guest_ingress(config, secrets_directory, interception)
    else:
        config = local.moved(config)
        listeners, clusters = _local_ingress(config, secrets_directory, local)
    listeners = [*map(_egress_listener, config.egress), *listeners]
    for listener in listeners:
        listener["socket_options"] = _KEEPALIVE_OPTIONS
        limit_listener(listener)
        if local is not None:
            # With shared ports, a second Envoy on the same address would get some of the connections instead of an error.
            listener["enable_reuse_port"] = False
    remotes = [_egress_cluster(entry, secrets_directory, local) for entry in config.egress]
    clusters = [*remotes, *clusters]
    for cluster in clusters:
        limit_cluster(cluster)
    return {
        # Envoy reads secret files through its discovery service, which requires a node.
        "node": {"id": "contrast-service-mesh", "cluster": "contrast"},
        "static_resources": {"listeners": listeners, "clusters": clusters},
        "overload_manager": overload_manager(),
        "admin": {"address": _admin_address(config, local)},
    }


def admin_endpoint(config: MeshConfig, local: LocalMesh | None) -> tuple[str, int] | None:
    """Return the address of the admin interface, None if the annotation does not request it."""
    if config.admin_port is None:
        return None
    return "127.0.0.1" if local is None else local.app_address, config.admin_port


def _admin_address(config: MeshConfig, local: LocalMesh | None) -> Resource:
    if (endpoint := admin_endpoint(config, local)) is not None:
        return _address(*endpoint)
    # Relative to Envoy's working directory, since the path of a socket has at most 107 bytes.
    return {"pipe": {"path": ADMIN_SOCKET, "mode": 0o600}}


def _guest_ingress(
    config: MeshConfig, secrets_directory: str, interception: Interception
) -> tuple[list[Resource], list[Resource]]:
    """Return the two listeners behind the packet filter, and their clusters; none if nothing is to be redirected to them."""
    if not config.has_ingress:
        return [], []
    ip, more = ("::", {"ipv4_compat": True}) if interception.dual_stack else ("0.0.0.0", {})  # noqa: S104

    def chain(name: str, *, require_client: bool, peers: Sequence[str] = ()) -> Resource:
        socket = downstream(secrets_directory, require_client=require_client, peers=peers)
        return {
            "name": name,
            "filters": [_proxy(name, _INGRESS_CLUSTER)],
            "transport_socket": socket,
        }

    def listener(name: str, port: int, *, require_client: bool) -> Resource:
        chains = [chain(name, require_client=require_client)]
        # Envoy would connect to itself.
        ports = {str(own): _string_action(_BLACK_HOLE_CHAIN) for own in RESERVED_PORTS}
        for pinned, peers in sorted(config.ingress_peers.items()) if require_client else ():
            pinned_name = f"{name}_{pinned}"
            chains.append(chain(pinned_name, require_client=True, peers=peers))
            ports[str(pinned)] = _string_action(pinned_name)
        black_hole = [_proxy(_BLACK_HOLE_CHAIN, _BLACK_HOLE)]
        chains.append({"name": _BLACK_HOLE_CHAIN, "filters": black_hole})
        original_dst = {"@type": _ORIGINAL_DST}
        return {
            "name": name,
            "address": _address(ip, port, **more),
            **({"transparent": True} if interception.is_transparent else {}),
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

    listeners = [
        listener("ingress", MTLS_PORT, require_client=True),
        listener("ingressWithoutClientAuth", TLS_PORT, require_client=False),
    ]
    original = {
        "name": _INGRESS_CLUSTER,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "dns_lookup_family": "V4_ONLY",
    }
    return listeners, [
        original,
        {"name": _BLACK_HOLE, "type": "STATIC", "connect_timeout": "10s"},
    ]


def _local_ingress(
    config: MeshConfig, secrets_directory: str, local: LocalMesh
) -> tuple[list[Resource], list[Resource]]:
    """Return a listener and a cluster for each port, in the mode of its ingress entry.

    Without ingress the listeners only pass on what reaches the application by itself in a guest, where the admin interface
    is out of reach.
    """
    listeners: list[Resource] = []
    clusters: list[Resource] = []
    for port in local.ports:
        if not config.has_ingress and port == config.admin_port:
            continue
        name = f"ingress_{local.pod_address}_{port}"
        chain: Resource = {"name": name, "filters": [_proxy(name, name)]}
        if config.has_ingress and port not in config.ports("plain"):
            chain["transport_socket"] = downstream(
                secrets_directory,
                require_client=port not in config.ports("tls"),
                peers=config.ingress_peers.get(port, ()),
            )
        address = _address(local.pod_address, port)
        listeners.append({"name": name, "address": address, "filter_chains": [chain]})
        clusters.append(_static_cluster(name, local.app_address, port))
    return listeners, clusters


def _egress_listener(entry: EgressEntry) -> Resource:
    """Return the plain listener to which the application connects."""
    name = _EGRESS_PREFIX + entry.name
    return {
        "name": name,
        "address": _address(entry.listen_ip, entry.listen_port),
        "filter_chains": [{"name": name, "filters": [_proxy(name, name)]}],
    }


def _egress_cluster(
    entry: EgressEntry, secrets_directory: str, local: LocalMesh | None
) -> Resource:
    """Return the cluster that connects to the remote of an egress entry over TLS."""
    name = _EGRESS_PREFIX + entry.name
    place = None if local is None else local.resolve.get(entry.remote)
    if place is not None:
        cluster = _static_cluster(name, *place)
    else:
        cluster = {
            "name": name,
            "type": "LOGICAL_DNS",
            "connect_timeout": "5s",
            "dns_lookup_family": "V4_PREFERRED",
            "load_assignment": _endpoint(name, entry.remote_host, entry.remote_port),
        }
    return {
        **cluster,
        # The other listeners start even if a name server does not answer.
        "wait_for_warm_on_init": False,
        "upstream_connection_options": {"tcp_keepalive": _KEEPALIVE},
        "transport_socket": upstream(secrets_directory, peers=entry.peers),
    }


def _static_cluster(name: str, ip: str, port: int) -> Resource:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": _endpoint(name, ip, port),
    }


def _endpoint(name: str, host: str, port: int) -> Resource:
    endpoint = {"endpoint": {"address": _address(host, port)}}
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}


def _address(ip: str, port: int, **more: Any) -> Resource:
    return {"socket_address": {"address": ip, "port_value": port, **more}}


def _proxy(stat_prefix: str, cluster: str) -> Resource:
    config = {"@type": _TCP_PROXY, "stat_prefix": stat_prefix, "cluster": cluster}
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}


def _string_action(name: str) -> Resource:
    return {"action": {"name": name, "typed_config": {"@type": _STRING, "value": name}}}
