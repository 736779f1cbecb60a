"""The annotations by which a pod brings its ID block, for each product line that its machine may have.

The runtime takes those of the processor that it emulates. Without them it launches a guest without an ID block, whose
evidence every verifier refuses. Source: docs/internals/releases.md 3.
"""

import base64
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import islice

from contrast_tasks.annotations import ID_AUTH, ID_BLOCK, ID_GUEST_POLICY
from contrast_tasks.attestation.snp.id_block import id_auth, id_block
from contrast_tasks.attestation.snp.vmsa import CPU_SIGNATURES, DIGEST_BYTES, digests_by_vcpus
from contrast_tasks.releases.table import IdBlocks
from contrast_tasks.trusted_guests import SnpReference

_START_ADDRESS_BYTES = 4


def id_annotations(
    entries: Iterable[SnpReference], vcpus: int, form: IdBlocks
) -> Mapping[str, str]:
    """Return the three annotations of each product with an entry that holds for so many virtual processors.

    entries: those of the pod's platform; of several that hold for a product, the first counts. {} if none holds.
    """
    found: dict[str, str] = {}
    products: set[str] = set()
    for entry in entries:
        digest = None if entry.product_name in products else launch_digest(entry, vcpus, form)
        if digest is not None:
            products.add(entry.product_name)
            found.update(_of_product(entry.product_name, digest, entry.guest_policy.to_word()))
    return found


def launch_digest(entry: SnpReference, vcpus: int, form: IdBlocks) -> bytes | None:
    """Return the measurement that an entry accepts of a guest with so many processors, 48 bytes.

    None if it accepts none: it holds for another number, or what it needs is missing or malformed.
    """
    measurement = _bytes(entry.trusted_measurement_hex, DIGEST_BYTES)
    if measurement is None or not 1 <= vcpus <= form.max_cpus:
        return None
    if form.by_entry or entry.apeip_hex is None:
        return measurement if vcpus == (entry.cpus or 1) else None
    start = _bytes(entry.apeip_hex, _START_ADDRESS_BYTES)
    signature = CPU_SIGNATURES.get(entry.product_name)
    if start is None or signature is None:
        return None
    return _extended(measurement, int.from_bytes(start, "big"), signature, vcpus)


@lru_cache(maxsize=256)
def _extended(measurement: bytes, start: int, signature: int, vcpus: int) -> bytes:
    digests = digests_by_vcpus(measurement, start, cpu_signature=signature)
    return next(islice(digests, vcpus - 1, None))


@lru_cache(maxsize=256)
def _of_product(product: str, measurement: bytes, policy: int) -> Mapping[str, str]:
    block = id_block(measurement, policy)
    return {
        f"{ID_BLOCK}{product}": base64.b64encode(block).decode(),
        f"{ID_AUTH}{product}": base64.b64encode(id_auth(block)).decode(),
        f"{ID_GUEST_POLICY}{product}": str(policy),
    }


def _bytes(text: str, size: int) -> bytes | None:
    """Return hex of the wanted size as bytes; None for other text, which the checks of the manifest report."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return None
    return found if len(found) == size else None
