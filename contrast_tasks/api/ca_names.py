"""Common names of the Coordinator's certificate authorities. Source: docs/internals/coordinator.md 7.1."""

from typing import Final

ROOT_CA: Final = "system:coordinator:root"
MESH_CA: Final = "system:coordinator:intermediate"
