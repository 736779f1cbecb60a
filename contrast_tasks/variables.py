"""Names of the environment variables that one program of this project sets and another reads.

The programs document their meaning: coordinator/options.py, guest/initializer.py, guest/sidecar.py,
packet_filter/deny.py and attestation/issuers/environment.py. local/shim/sitecustomize.py runs inside applications and repeats its two names.
"""

from typing import Final

COORDINATOR_HOST: Final = "COORDINATOR_HOST"
COORDINATOR_POLICY_HASH: Final = "CONTRAST_COORDINATOR_POLICY_HASH"
COORDINATOR_REFERENCE_VALUES: Final = "CONTRAST_COORDINATOR_REFERENCE_VALUES"
SECRETS_DIR: Final = "CONTRAST_SECRETS_DIR"
DONE_FILE: Final = "CONTRAST_DONE_FILE"
RETRY_SECONDS: Final = "CONTRAST_RETRY_SECONDS"
KEY_GID: Final = "CONTRAST_KEY_GID"
KEY_UID: Final = "CONTRAST_KEY_UID"
CRYPTSETUP_DEVICE: Final = "CRYPTSETUP_DEVICE"

# Read by the reference product's initializer.
MESH_DISABLED: Final = "CONTRAST_SERVICE_MESH_DISABLED"
MESH_DIR: Final = "CONTRAST_MESH_DIR"
READY_FILE: Final = "CONTRAST_READY_FILE"
INGRESS: Final = "CONTRAST_INGRESS_PROXY_CONFIG"
EGRESS: Final = "CONTRAST_EGRESS_PROXY_CONFIG"
INGRESS_PEERS: Final = "CONTRAST_INGRESS_PEERS"
EGRESS_PEERS: Final = "CONTRAST_EGRESS_PEERS"
ADMIN_PORT: Final = "CONTRAST_ADMIN_PORT"
LOCAL_MESH: Final = "CONTRAST_LOCAL_MESH"
PACKET_FILTER: Final = "CONTRAST_PACKET_FILTER"
ENVOY_BIN: Final = "CONTRAST_ENVOY_BIN"

USER_API: Final = "CONTRAST_USER_API"
MESH_API: Final = "CONTRAST_MESH_API"
HTTP_API: Final = "CONTRAST_HTTP_API"
TRANSIT_API: Final = "CONTRAST_TRANSIT_API"
HTTP: Final = "CONTRAST_HTTP"
STATE: Final = "CONTRAST_STATE"
METRICS: Final = "CONTRAST_METRICS"
PEER_ADDRESS: Final = "CONTRAST_PEER_ADDRESS"
CERTIFICATE_LIFETIME: Final = "CONTRAST_CERTIFICATE_LIFETIME"
LOG_LEVEL: Final = "CONTRAST_LOG_LEVEL"
LOG_FORMAT: Final = "CONTRAST_LOG_FORMAT"

EVIDENCE: Final = "CONTRAST_EVIDENCE"
HOST_DATA: Final = "CONTRAST_HOST_DATA"
ENDORSEMENTS: Final = "CONTRAST_ENDORSEMENTS"
ENDORSEMENTS_FETCH: Final = "CONTRAST_ENDORSEMENTS_FETCH"
ENDORSEMENTS_MIRRORS: Final = "CONTRAST_ENDORSEMENTS_MIRRORS"
ENDORSEMENTS_PROXY: Final = "CONTRAST_ENDORSEMENTS_PROXY"

LOCAL_POD: Final = "CONTRAST_LOCAL_POD"
LOCAL_HOSTS: Final = "CONTRAST_LOCAL_HOSTS"
LOCAL_EGRESS: Final = "CONTRAST_LOCAL_EGRESS"

# The command's own, which are no settings: the project's folder and how the command was called (set by the wrapper `doitw`), the
# wrapper's two, the cache of downloads, the kernel of the tests' virtual machine, and how long a benchmark runs.
PROJECT: Final = "CONTRAST_PROJECT"
COMMAND: Final = "CONTRAST_COMMAND"
VENV: Final = "CONTRAST_VENV"
PIP_ARGS: Final = "CONTRAST_PIP_ARGS"
CACHE_DIR: Final = "CONTRAST_CACHE_DIR"
TEST_KERNEL: Final = "CONTRAST_TEST_KERNEL"
BENCH_CERTIFICATES: Final = "CONTRAST_BENCH_CERTIFICATES"

PREFIX: Final = "CONTRAST_"
# All of these, besides which every setting has one.
READ: Final = frozenset(
    value
    for value in tuple(globals().values())
    if isinstance(value, str) and value.startswith(PREFIX) and value != PREFIX
)
