"""Sizes both ends agree on, in bytes; both are above gRPC's default of 4 MiB for received messages."""

# One policy is 50-100 KiB and GetManifests returns the whole history.
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
MAX_REQUEST_BYTES = 16 * 1024 * 1024
# All manifests and policies; the rest of a response is for certificates and framing.
MAX_HISTORY_BYTES = MAX_RESPONSE_BYTES - 1024 * 1024
# One stored object must fit a ConfigMap.
MAX_OBJECT_BYTES = 1024 * 1024 - 1

# A manifest that fits names no more than some thousands; a request could hold millions of empty documents.
MAX_POLICIES = 10_000
# Requests of the mesh API are empty.
MAX_MESH_REQUEST_BYTES = 64 * 1024

_SERVER_TIMES: tuple[tuple[str, int], ...] = (
    # Answers a slow load balancer would otherwise let die in silence.
    ("grpc.keepalive_time_ms", 15_000),
    # A peer that shakes hands and then says nothing, or no end of something, does not keep its place.
    ("grpc.server_handshake_timeout_ms", 20_000),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.max_connection_age_ms", 600_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
)
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
    *_SERVER_TIMES,
)
MESH_SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESH_REQUEST_BYTES),
    *_SERVER_TIMES,
)
