"""The names of layers by their chain. Source: OCI image specification 1.1, "Layer ChainID"; docs/internals/aks.md 1.4."""

import hashlib
from collections.abc import Sequence


def layer_names(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """Return the name of each layer's device on AKS, 64 hex digits, from the bottom up: the SHA-256 of its chain id's text."""
    names, chain = [], ""
    for diff_id in diff_ids:
        chain = f"sha256:{_sha256(f'{chain} {diff_id}')}" if chain else diff_id
        names.append(_sha256(chain))
    return tuple(names)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
