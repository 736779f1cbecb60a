"""Members of a container in a pod. Source: Kubernetes API reference, core/v1 Container."""

from typing import Final

PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
