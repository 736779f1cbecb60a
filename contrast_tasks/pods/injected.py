"""Names of the containers and volumes that `generate` adds to pods."""

from typing import Final

INITIALIZER: Final = "contrast-initializer"
SERVICE_MESH: Final = "contrast-service-mesh"
# Passes the certificates from the initializer to the other containers.
SECRETS_VOLUME: Final = "contrast-secrets"
# Keeps the block device attached that the guest unpacks images into.
IMAGE_STORE: Final = "pvc-holder"
INJECTED: Final = frozenset({INITIALIZER, SERVICE_MESH, IMAGE_STORE})
IMAGE_STORE_VOLUME: Final = "image-store"
# A shell in the guest, which only the reference product's command line adds.
DEBUG_SHELL: Final = "contrast-debug-shell"
