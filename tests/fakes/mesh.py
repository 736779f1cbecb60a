"""Mesh configurations from annotation values written as keywords."""

from contrast_tasks.annotations import ADMIN_PORT, EGRESS, EGRESS_PEERS, INGRESS, INGRESS_PEERS
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding, Findings
from contrast_tasks.mesh.grammar import MeshConfig, parse_mesh
from contrast_tasks.mesh.place import Spot

KEYS = {
    "ingress": INGRESS,
    "egress": EGRESS,
    "admin_port": ADMIN_PORT,
    "ingress_peers": INGRESS_PEERS,
    "egress_peers": EGRESS_PEERS,
}


def read_mesh(**values: str) -> tuple[MeshConfig, list[Finding]]:
    """Return what the annotations mean, and everything that was found in them."""
    findings = Findings[Spot](lambda spot: Location(file=str(spot)))
    config = parse_mesh({KEYS[name]: value for name, value in values.items()}, findings)
    return config, findings


def mesh_of(**values: str) -> MeshConfig:
    """Return what annotations without a fault mean."""
    config, findings = read_mesh(**values)
    assert findings == []
    return config
