"""Size limits that client and Coordinator share, in bytes, and the gRPC options of the Coordinator's servers."""

from contrast_tasks.manifest.sizes import MAX_REQUEST_BYTES

# One policy has 50-100 KiB and GetManifests returns the whole history; gRPC's default is 4 MiB.
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
# All manifests and policies of a response; certificates and framing take the rest.
MAX_HISTORY_BYTES = MAX_RESPONSE_BYTES - 1024 * 1024
# Packs of a request, each of which takes a while to read, and of an answer; all of a history, which stays in memory.
MAX_PACKS = 32
MAX_ANSWER_BYTES = 32 * 1024 * 1024
# Of all answers with the history that are on their way, if it is more than one.
MAX_PENDING_BYTES = 32 * 1024 * 1024
MAX_PACKED_HISTORY_BYTES = 128 * 1024 * 1024
# What its keys and names take in memory.
PACK_BYTES = 1024
# A request could hold millions of empty documents.
MAX_POLICIES = 16_384
# Requests of the mesh API are empty.
MAX_MESH_REQUEST_BYTES = 64 * 1024

_FOR_EACH_CONNECTION: tuple[tuple[str, int], ...] = (
    # Load balancers drop idle connections without a word.
    ("grpc.keepalive_time_ms", 15_000),
    # Each takes memory until it is over, and nobody needs many.
    ("grpc.max_concurrent_streams", 32),
    # A peer that stays silent after the handshake, or never ends a request, loses its place.
    ("grpc.server_handshake_timeout_ms", 20_000),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.max_connection_age_ms", 600_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
)
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
    *_FOR_EACH_CONNECTION,
)
MESH_SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESH_REQUEST_BYTES),
    *_FOR_EACH_CONNECTION,
)
