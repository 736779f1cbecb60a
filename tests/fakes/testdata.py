"""Where the recorded data of real machines and peers lies: beside the checkout, because it is too large for it."""

from pathlib import Path

_ALL = Path(__file__).resolve().parents[3] / "shared" / "testdata"
ATTESTATION = _ALL / "attestation"
PEER_POLICIES = _ALL / "policy" / "kata"
RECORDINGS = _ALL / "oci"
SHIM_RECORDINGS = _ALL / "shim"
RELEASES = _ALL / "releases"
REPORTS = _ALL / "reports"
CORPUS = _ALL / "corpus" / "yaml"
WALKTHROUGH = _ALL.parent / "seed" / "workload-deployment.md"
AKS = _ALL / "aks"
