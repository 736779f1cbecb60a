"""Sizes both ends agree on, in bytes; both are above gRPC's default of 4 MiB for received messages."""

# One policy is 50-100 KiB and GetManifests returns the whole history.
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
MAX_REQUEST_BYTES = 16 * 1024 * 1024
# One stored object must fit a ConfigMap.
MAX_OBJECT_BYTES = 1024 * 1024 - 1

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
    ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
)
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
    # Answers a slow load balancer would otherwise let die in silence.
    ("grpc.keepalive_time_ms", 15_000),
)
