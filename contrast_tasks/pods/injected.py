"""Names of what `generate` adds to a pod."""

from typing import Final

INITIALIZER: Final = "contrast-initializer"
SERVICE_MESH: Final = "contrast-service-mesh"
# Holds the certificates, between the initializer and everything else in the pod.
SECRETS_VOLUME: Final = "contrast-secrets"
