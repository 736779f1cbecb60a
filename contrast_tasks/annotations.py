"""The annotations of this project on workloads, and the variables in which the sidecar gets those of the mesh."""

from typing import Final

PREFIX: Final = "contrast.edgeless.systems/"
POD_ROLE: Final = PREFIX + "pod-role"
SKIP_INITIALIZER: Final = PREFIX + "skip-initializer"
SECURE_PV: Final = PREFIX + "secure-pv"
WORKLOAD_SECRET_ID: Final = PREFIX + "workload-secret-id"

INGRESS: Final = PREFIX + "servicemesh-ingress"
EGRESS: Final = PREFIX + "servicemesh-egress"
ADMIN_PORT: Final = PREFIX + "servicemesh-admin-interface-port"
INGRESS_PEERS: Final = PREFIX + "servicemesh-ingress-peers"
EGRESS_PEERS: Final = PREFIX + "servicemesh-egress-peers"
# A workload with one of these has a mesh.
MESH_KEYS: Final = (INGRESS, EGRESS, ADMIN_PORT)

# `generate` fills them from the annotations, and policies cover them.
MESH_VARIABLES: Final = {
    ADMIN_PORT: "CONTRAST_ADMIN_PORT",
    INGRESS: "CONTRAST_INGRESS_PROXY_CONFIG",
    EGRESS: "CONTRAST_EGRESS_PROXY_CONFIG",
    INGRESS_PEERS: "CONTRAST_INGRESS_PEERS",
    EGRESS_PEERS: "CONTRAST_EGRESS_PEERS",
}
