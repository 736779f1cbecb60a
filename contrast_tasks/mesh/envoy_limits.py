"""What one pod's Envoy may use: connections, buffers, memory, and the time of a handshake.

All of it belongs to the guest's memory, which an attacker must not exhaust. There is no limit of headers, since Envoy passes
bytes on and reads no HTTP. Source: docs/internals/service-mesh.md 7, addition 8; Envoy's list of what an edge proxy should set.
"""

from typing import Any, Final

# Measured: 14 MiB at the start, 34 KiB for an idle connection with mutual TLS, twice that for one that is stalled.
MAX_CONNECTIONS: Final = 2048
MAX_HEAP_BYTES: Final = 96 * 1024 * 1024
# In each direction of one connection, before reading stops.
_BUFFER_BYTES: Final = 64 * 1024
_HANDSHAKE: Final = "10s"

_MONITORS: Final = "envoy.resource_monitors."
_TYPES: Final = "type.googleapis.com/envoy.extensions.resource_monitors."
_HEAP: Final = _MONITORS + "fixed_heap"
_CONNECTIONS: Final = _MONITORS + "global_downstream_max_connections"


def limit_listener(listener: dict[str, Any]) -> None:
    """Bound the buffers of a listener and the handshakes of its filter chains."""
    listener["per_connection_buffer_limit_bytes"] = _BUFFER_BYTES
    for chain in listener["filter_chains"]:
        if "transport_socket" in chain:
            chain["transport_socket_connect_timeout"] = _HANDSHAKE


def limit_cluster(cluster: dict[str, Any]) -> None:
    """Bound the buffers of a cluster, and let as many connections out as may come in; Envoy's default is 1024."""
    cluster["per_connection_buffer_limit_bytes"] = _BUFFER_BYTES
    thresholds = {"max_connections": MAX_CONNECTIONS, "max_pending_requests": MAX_CONNECTIONS}
    cluster["circuit_breakers"] = {"thresholds": [thresholds]}


def overload_manager() -> dict[str, Any]:
    """Return the part of the bootstrap that refuses connections when there are too many, or too little memory is left."""
    heap = {
        "@type": _TYPES + "fixed_heap.v3.FixedHeapConfig",
        "max_heap_size_bytes": MAX_HEAP_BYTES,
    }
    connections = {
        "@type": _TYPES + "downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": MAX_CONNECTIONS,
    }
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {"name": _HEAP, "typed_config": heap},
            {"name": _CONNECTIONS, "typed_config": connections},
        ],
        "actions": [_action("shrink_heap", 0.9), _action("stop_accepting_connections", 0.95)],
    }


def _action(name: str, share: float) -> dict[str, Any]:
    trigger = {"name": _HEAP, "threshold": {"value": share}}
    return {"name": f"envoy.overload_actions.{name}", "triggers": [trigger]}
