"""Names of the containers and the volume that `generate` adds to pods."""

from typing import Final

INITIALIZER: Final = "contrast-initializer"
SERVICE_MESH: Final = "contrast-service-mesh"
# Passes the certificates from the initializer to the other containers.
SECRETS_VOLUME: Final = "contrast-secrets"
