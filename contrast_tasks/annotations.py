"""Annotations on workloads, and the environment variables that pass those of the mesh to the sidecar."""

from typing import Final

from contrast_tasks import variables

PREFIX: Final = "contrast.edgeless.systems/"
POD_ROLE: Final = PREFIX + "pod-role"
# The role of the Coordinator's pod, in the annotation and in the manifest.
ROLE_COORDINATOR: Final = "coordinator"
SKIP_INITIALIZER: Final = PREFIX + "skip-initializer"
SECURE_PV: Final = PREFIX + "secure-pv"
WORKLOAD_SECRET_ID: Final = PREFIX + "workload-secret-id"
IMAGE_STORE_SIZE: Final = PREFIX + "image-store-size"

INGRESS: Final = PREFIX + "servicemesh-ingress"
EGRESS: Final = PREFIX + "servicemesh-egress"
ADMIN_PORT: Final = PREFIX + "servicemesh-admin-interface-port"
INGRESS_PEERS: Final = PREFIX + "servicemesh-ingress-peers"
EGRESS_PEERS: Final = PREFIX + "servicemesh-egress-peers"
_HYPERVISOR: Final = "io.katacontainers.config.hypervisor."
# The annotations that the guest takes its policy from, by release. Source: docs/internals/releases.md 1.1.
POLICY: Final = "io.katacontainers.config.agent.policy"
INITDATA: Final = f"{_HYPERVISOR}cc_init_data"
POLICY_KEYS: Final = (POLICY, INITDATA)
# Those by which a guest is launched with its ID block, each followed by the product line of the processor; the runtime passes
# them on to the guest. Source: docs/internals/releases.md 3.
ID_BLOCK: Final = f"{_HYPERVISOR}snp_id_block_"
ID_AUTH: Final = f"{_HYPERVISOR}snp_id_auth_"
ID_GUEST_POLICY: Final = f"{_HYPERVISOR}snp_guest_policy_"
ID_PREFIXES: Final = (ID_BLOCK, ID_AUTH, ID_GUEST_POLICY)

# A workload with at least one of these gets the mesh.
MESH_KEYS: Final = (INGRESS, EGRESS, ADMIN_PORT)

# Set by `generate` from the annotations; policies cover their values.
MESH_VARIABLES: Final = {
    ADMIN_PORT: variables.ADMIN_PORT,
    INGRESS: variables.INGRESS,
    EGRESS: variables.EGRESS,
    INGRESS_PEERS: variables.INGRESS_PEERS,
    EGRESS_PEERS: variables.EGRESS_PEERS,
}
